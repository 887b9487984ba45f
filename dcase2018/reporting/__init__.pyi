from .intervals import intervals as intervals
from .plot import plot_history as plot_history
