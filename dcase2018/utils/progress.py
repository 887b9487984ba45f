"""Progress of long computations: a bar on a terminal or in a notebook, otherwise a log line at intervals."""

import logging
import multiprocessing
import os
import sys
import time
from types import TracebackType

from tqdm import tqdm

log = logging.getLogger(__name__)

BAR_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{unit} [{remaining} left{postfix}]"
LOG_SECONDS = 10.0  # between two log lines, without a terminal
DEFAULT_BAR_WIDTH, MIN_BAR_WIDTH = 10, 4  # characters; the first is that of tqdm without a known width


def terminal_columns() -> int:
    """Return the width of the terminal: COLUMNS, or that of standard error, or 80 if both are unknown."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns):
        return int(columns)
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except (OSError, ValueError):  # standard error is no terminal, or no file
        return 80


def _is_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


def _has_bar() -> bool:
    """Whether there is a notebook or a terminal, at a log level that shows progress in it."""
    if _is_notebook():  # which shows warnings by default
        return log.isEnabledFor(logging.WARNING)
    return sys.stderr.isatty() and log.isEnabledFor(logging.INFO)


def _bar_class() -> type[tqdm]:
    """Return the bar of a terminal, or of a notebook as far as its widgets are installed."""
    if not _is_notebook():
        return tqdm
    from tqdm import auto

    return auto.tqdm


class Progress:
    """Count finished items, with other figures beside the count.

    Parameters
    ----------
    name
        Name of the computation, such as "extract".
    total
        Number of items.
    unit
        Name of an item, in the plural.
    done
        Number of items that an earlier run finished.
    delay
        Seconds before a bar appears, for computations that are often short.
    """

    def __init__(self, name: str, total: int, unit: str, done: int = 0, delay: float = 0.0) -> None:
        self.name, self.total, self.unit = name, total, unit
        self.done = self.first = done
        self.started = self.last_logged = time.monotonic()
        is_main_process = multiprocessing.parent_process() is None  # bars of several processes would mix
        self.bar = _bar_class()(
            total=total,
            initial=done,
            desc=name,
            unit=f" {unit}",
            disable=not (_has_bar() and is_main_process),
            bar_format=BAR_FORMAT,
            ncols=None if _is_notebook() else terminal_columns() - 1,
            nrows=24,  # a terminal without a size has 0, in which tqdm shows nothing
            delay=delay,
        )

    def __enter__(self) -> "Progress":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self.bar.close()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def update(self, n: int, **postfix: object) -> None:
        """Count `n` more items, and show the figures of `postfix`."""
        self.done += n
        if not self.bar.disable:
            self._fit_width(postfix)
            self.bar.update(n)
        elif time.monotonic() - self.last_logged >= LOG_SECONDS:
            self.last_logged = time.monotonic()
            log.info("%s", self._format_line(postfix))

    def _fit_width(self, postfix: dict[str, object]) -> None:
        """Leave out the unit, and then the last figures, until the bar fits in a line of the terminal."""
        if _is_notebook():
            self.bar.set_postfix(postfix, refresh=False)
            return
        self.bar.ncols = terminal_columns() - 1
        figures = list(postfix.items())
        choices = [(f" {self.unit}", len(figures)), *(("", n) for n in range(len(figures), -1, -1))]
        for unit, n_figures in choices:
            self.bar.unit = unit
            self.bar.set_postfix(dict(figures[:n_figures]), refresh=False)
            line = self.bar.format_meter(**(self.bar.format_dict | {"ncols": None}))
            if len(line) - DEFAULT_BAR_WIDTH + MIN_BAR_WIDTH <= self.bar.ncols:
                return

    def _format_line(self, postfix: dict[str, object]) -> str:
        seconds_left = self.elapsed / max(self.done - self.first, 1) * (self.total - self.done)
        counts = f"{self.name}: {self.done}/{self.total} {self.unit}"
        figures = [f"{name}={value}" for name, value in postfix.items()]
        return ", ".join([counts, *figures, f"{seconds_left:.0f} s left"])
