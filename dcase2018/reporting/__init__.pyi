from .plot import plot_history as plot_history
