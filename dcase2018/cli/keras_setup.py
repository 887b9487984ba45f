"""Load Keras for a command: signals during the import, and memory settings."""

import importlib
import logging
import tempfile

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
    with catch_stop_signals() as stop_flag:
        importlib.import_module("dcase2018.models.backend")
    if stop_flag.signum:
        raise Interrupted(stop_flag.signum, "interrupted")


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
