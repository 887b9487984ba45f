"""Graceful shutdown on SIGINT (Ctrl-C) and SIGTERM."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from dcase2018.utils.errors import Dcase2018Error

SIGNALS = (signal.SIGINT, signal.SIGTERM)
MSG_STOPPED = "stopped; run the same command again to resume"


class Interrupted(Dcase2018Error):
    """A signal stopped the work, and completed work is saved."""

    def __init__(self, signum: int, message: str) -> None:
        super().__init__(signum, message)  # the arguments with which pickle restores it
        self.exit_code = 128 + signum

    def __str__(self) -> str:
        return str(self.args[1])


class StopFlag:
    """Number of the signal that was received, or 0."""

    signum = 0


@contextmanager
def catch_stop_signals(on_signal: Callable[[], None] = lambda: None) -> Iterator[StopFlag]:
    """Record the first signal in a `StopFlag` and call `on_signal`; a second signal has its usual effect.

    Outside the main thread, which alone receives signals, nothing is recorded.
    """
    stop = StopFlag()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    previous = {signum: signal.getsignal(signum) for signum in SIGNALS}

    def record(signum: int, frame: FrameType | None) -> None:
        stop.signum = signum
        signal.signal(signum, previous[signal.Signals(signum)])
        on_signal()

    for signum in SIGNALS:
        signal.signal(signum, record)
    try:
        yield stop
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)


@contextmanager
def sigterm_as_exception() -> Iterator[None]:
    """Raise `Interrupted` on SIGTERM, as Python raises `KeyboardInterrupt` on Ctrl-C.

    It has no effect outside the main thread, or if SIGTERM has a handler.
    """

    def stop(signum: int, frame: FrameType | None) -> None:
        raise Interrupted(signum, MSG_STOPPED)

    is_main_thread = threading.current_thread() is threading.main_thread()
    if not is_main_thread or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
