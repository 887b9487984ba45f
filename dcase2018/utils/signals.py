"""Ctrl-C and SIGTERM as a wish to end in order."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from dcase2018.utils.errors import Dcase2018Error

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(Dcase2018Error):
    """A signal ended the work, and what it had done is kept."""

    def __init__(self, signum: int, message: str) -> None:
        super().__init__(signum, message)  # from which another process makes it anew
        self.exit_code = 128 + signum

    def __str__(self) -> str:
        return str(self.args[1])


class StopFlag:
    """The signal that has come, or 0."""

    signum = 0


@contextmanager
def catch_stop_signals(pass_on: Callable[[], None] = lambda: None) -> Iterator[StopFlag]:
    """Note the first signal in a `Wish` instead of dying of it; a second one is not held back.

    Outside the main thread, where signals do not arrive, nothing is noted. `pass_on` is called when it came.
    """
    stop_flag = StopFlag()
    if threading.current_thread() is not threading.main_thread():
        yield stop_flag
        return
    before = {signum: signal.getsignal(signum) for signum in SIGNALS}

    def note(signum: int, frame: FrameType | None) -> None:
        stop_flag.signum = signum
        signal.signal(signum, before[signal.Signals(signum)])
        pass_on()

    for signum in SIGNALS:
        signal.signal(signum, note)
    try:
        yield stop_flag
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


@contextmanager
def sigterm_as_exception() -> Iterator[None]:
    """Have SIGTERM raise `Interrupted`, as Ctrl-C raises `KeyboardInterrupt`, where nobody else minds it."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise Interrupted(signum, "stopped; what was finished is kept, and the same command goes on")

    mine = threading.current_thread() is threading.main_thread()
    if not mine or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
