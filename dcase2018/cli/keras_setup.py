"""Keras, loaded without its backend's greetings, and memory that suits it.

What takes long to import is imported where it is needed: all commands import this module, few call it.
"""

import logging
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from dcase2018.utils.errors import InputError
from dcase2018.utils.signals import Interrupted, catch_stop_signals

log = logging.getLogger(__name__)

# Of glibc's malloc.h: blocks from the heap alone, one heap for all threads, and none given back.
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
MALLOPT = {M_MMAP_MAX: 0, M_ARENA_MAX: 1, M_TRIM_THRESHOLD: 2**31 - 1}


def load_keras() -> None:
    """Import Keras.

    Raises
    ------
    InputError
        If the backend that KERAS_BACKEND names cannot be loaded.
    Interrupted
        If a signal came in the meantime, which libraries do not bear while they are imported.
    """
    keep_freed_memory()
    log.info("loading Keras ...")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with catch_stop_signals() as stop_flag, _unheard():
        _import_keras()
    if stop_flag.signum:
        raise Interrupted(stop_flag.signum, "interrupted")


def _import_keras() -> None:
    try:
        import keras

        keras.ops.zeros(())  # the devices greet when they are first used
    except (ImportError, ValueError) as error:
        backend = os.environ.get("KERAS_BACKEND")
        if backend is None:
            raise
        raise InputError(
            f"KERAS_BACKEND={backend} cannot be loaded ({error}); install it, or name another"
        ) from None
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # its advice is for who writes networks


def keep_freed_memory() -> None:
    """Have the C library keep freed memory for what is asked for next, where that is glibc.

    A step of training frees and asks for the same large blocks again and again. Given back to the system
    and cleared each time, they can take longer than the arithmetic.
    """
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        for parameter, value in MALLOPT.items():
            mallopt(parameter, value)


@contextmanager
def _unheard() -> Iterator[None]:
    """Keep what is written to standard error to itself, unless the work fails or the process dies of it.

    A forked process waits for the end: a word from this one, or its silence.
    """
    if log.isEnabledFor(logging.DEBUG):
        yield
        return
    import tempfile

    sys.stderr.flush()
    terminal = os.dup(2)
    listening, speaking = os.pipe()
    with tempfile.TemporaryFile() as said:
        watcher = os.fork()
        if not watcher:
            _watch(listening, speaking, said.fileno(), terminal)
        os.dup2(said.fileno(), 2)
    try:
        yield
        os.write(speaking, b"done")
    finally:
        os.dup2(terminal, 2)
        for descriptor in (terminal, listening, speaking):
            os.close(descriptor)
        os.waitpid(watcher, 0)


def _watch(listening: int, speaking: int, said: int, terminal: int) -> None:
    """Show what was said if the other process ends without a word; never return."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # they are for the other
    os.close(speaking)
    if not os.read(listening, 4):
        os.lseek(said, 0, os.SEEK_SET)
        while piece := os.read(said, 1 << 16):
            os.write(terminal, piece)
    os._exit(0)
