"""Progress of long computations: a bar on a terminal or in a notebook, otherwise a log line at intervals."""

import logging
import multiprocessing
import sys
import time
from types import TracebackType

from tqdm import tqdm

log = logging.getLogger(__name__)


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
    interval
        Seconds between two log lines, without a terminal.
    delay
        Seconds before a bar appears, for computations that are often short.
    """

    def __init__(
        self, name: str, total: int, unit: str, done: int = 0, interval: float = 10.0, delay: float = 0.0
    ) -> None:
        self.name, self.total, self.unit, self.interval = name, total, unit, interval
        self.done = self.first = done
        self.started = self.last_logged = time.monotonic()
        is_main_process = multiprocessing.parent_process() is None  # bars of several processes would mix
        self.bar = _bar_class()(
            total=total,
            initial=done,
            desc=name,
            unit=f" {unit}",
            disable=not (_has_bar() and is_main_process),
            dynamic_ncols=True,
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
            self.bar.set_postfix(postfix, refresh=False)
            self.bar.update(n)
        elif time.monotonic() - self.last_logged >= self.interval:
            self.last_logged = time.monotonic()
            log.info("%s", self._format_line(postfix))

    def _format_line(self, postfix: dict[str, object]) -> str:
        seconds_left = self.elapsed / max(self.done - self.first, 1) * (self.total - self.done)
        counts = f"{self.name}: {self.done}/{self.total} {self.unit}"
        figures = [f"{name}={value}" for name, value in postfix.items()]
        return ", ".join([counts, *figures, f"{seconds_left:.0f} s left"])
