"""Progress of long work, on standard error: a bar on a terminal, a line now and then elsewhere."""

import logging
import multiprocessing
import sys
import time
from types import TracebackType

from tqdm import tqdm

log = logging.getLogger(__name__)


class Progress:
    """Count work that is done, with figures beside it.

    Parameters
    ----------
    what
        The work's name, such as "extract".
    total
        Number of items to come.
    unit
        What an item is, in the plural.
    done
        Items that earlier work did.
    every
        Seconds between two lines where there is no terminal.
    delay
        Seconds before there is a bar, for work that is often short.
    """

    def __init__(
        self, what: str, total: int, unit: str, done: int = 0, every: float = 10.0, delay: float = 0.0
    ) -> None:
        self.what, self.total, self.unit, self.every = what, total, unit, every
        self.done = self.first = done
        self.started = self.told = time.monotonic()
        alone = multiprocessing.parent_process() is None  # or others write to the terminal too
        self.bar = tqdm(
            total=total,
            initial=done,
            desc=what,
            unit=f" {unit}",
            disable=not (sys.stderr.isatty() and log.isEnabledFor(logging.INFO) and alone),
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
        """Seconds since the work began."""
        return time.monotonic() - self.started

    def update(self, n: int, **figures: object) -> None:
        """Count `n` more items; `figures` stand beside the count."""
        self.done += n
        if not self.bar.disable:
            self.bar.set_postfix(figures, refresh=False)
            self.bar.update(n)
        elif time.monotonic() - self.told >= self.every:
            self.told = time.monotonic()
            log.info("%s", self._line(figures))

    def _line(self, figures: dict[str, object]) -> str:
        left = self.elapsed / max(self.done - self.first, 1) * (self.total - self.done)
        parts = [f"{self.what}: {self.done}/{self.total} {self.unit}"]
        parts += [f"{name}={value}" for name, value in figures.items()]
        return ", ".join([*parts, f"{left:.0f} s left"])
