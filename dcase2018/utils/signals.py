"""Ctrl-C and SIGTERM as a wish to end in order."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from dcase2018.utils.errors import Dcase2018Error

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StoppedError(Dcase2018Error):
    """A signal ended the work, and what it had done is kept."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(number, message)  # from which another process makes it anew
        self.exit_code = 128 + number

    def __str__(self) -> str:
        return str(self.args[1])


class Wish:
    """The signal that has come, or 0."""

    number = 0


@contextmanager
def wish_to_end(pass_on: Callable[[], None] = lambda: None) -> Iterator[Wish]:
    """Note the first signal in a `Wish` instead of dying of it; a second one is not held back.

    Outside the main thread, where signals do not arrive, nothing is noted. `pass_on` is called when it came.
    """
    wish = Wish()
    if threading.current_thread() is not threading.main_thread():
        yield wish
        return
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def note(number: int, frame: FrameType | None) -> None:
        wish.number = number
        signal.signal(number, before[signal.Signals(number)])
        pass_on()

    for number in SIGNALS:
        signal.signal(number, note)
    try:
        yield wish
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def ended_in_order() -> Iterator[None]:
    """Have SIGTERM raise `StoppedError`, as Ctrl-C raises `KeyboardInterrupt`, where nobody else minds it."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise StoppedError(number, "stopped; what was finished is kept, and the same command goes on")

    mine = threading.current_thread() is threading.main_thread()
    if not mine or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
