from .comparison import compare as compare
from .comparison import render_comparison as render_comparison
from .folder import check_report as check_report
from .folder import report as report
from .folder import report_sides as report_sides
from .intervals import intervals as intervals
from .plot import plot_history as plot_history
