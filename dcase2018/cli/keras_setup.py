"""Load Keras for a command: backend errors, signals during the import, and memory settings."""

import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from dcase2018.utils.errors import InputError
from dcase2018.utils.signals import Interrupted, catch_stop_signals

log = logging.getLogger(__name__)

# Parameters of glibc's mallopt: no mmap for large blocks, one arena for all threads, no trimming of the heap.
M_TRIM_THRESHOLD, M_MMAP_MAX, M_ARENA_MAX = -1, -4, -8
MALLOPT = {M_MMAP_MAX: 0, M_ARENA_MAX: 1, M_TRIM_THRESHOLD: 2**31 - 1}


def load_keras() -> None:
    """Import Keras and initialize its backend.

    Raises
    ------
    InputError
        If the backend that KERAS_BACKEND names cannot be loaded, or no temporary folder is writable.
    Interrupted
        If a signal arrived during the import, which libraries do not survive midway.
    """
    check_temporary_folder()
    keep_freed_memory()
    log.info("loading Keras ...")
    with catch_stop_signals() as stop_flag, _hidden_stderr():
        _import_keras()
    if stop_flag.signum:
        raise Interrupted(stop_flag.signum, "interrupted")


def _import_keras() -> None:
    try:
        import keras

        keras.ops.zeros(())  # the first operation initializes the devices
    except (ImportError, ValueError) as error:
        backend = os.environ.get("KERAS_BACKEND")
        if backend is None:
            raise
        raise InputError(
            f"KERAS_BACKEND={backend} cannot be loaded ({error}); install it, or choose another backend"
        ) from None
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # its warnings are advice for developers


def check_temporary_folder() -> None:
    """Check, before the work, that temporary files can be written, as Keras needs.

    Raises
    ------
    InputError
        If no temporary folder exists and is writable.
    """
    try:
        with tempfile.TemporaryFile():
            pass
    except OSError as error:
        raise InputError(f"{error.strerror}; set TMPDIR to a folder that can be written to") from None


@contextmanager
def _hidden_stderr() -> Iterator[None]:
    """Discard standard error, unless the block raises or messages are verbose.

    TensorFlow's start-up lines come from C++ code that runs before it reads any setting.
    """
    if log.isEnabledFor(logging.DEBUG):
        yield
        return
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as hidden:
        os.dup2(hidden.fileno(), 2)
        try:
            yield
        except BaseException:
            hidden.seek(0)
            os.write(stderr, hidden.read())
            raise
        finally:
            os.dup2(stderr, 2)
            os.close(stderr)


def keep_freed_memory() -> None:
    """Make glibc's malloc reuse freed memory instead of returning it to the system.

    A training step frees and allocates the same large blocks again and again. Returning and clearing them
    each time can take longer than the arithmetic. Other C libraries are left unchanged.
    """
    import ctypes

    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        for parameter, value in MALLOPT.items():
            mallopt(parameter, value)
