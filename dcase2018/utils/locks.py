"""Locks between processes, which the system releases when their holder ends."""

import errno
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dcase2018.utils.errors import Dcase2018Error

log = logging.getLogger(__name__)

# What a file system answers if it has no locks, or cannot flush folders.
UNSUPPORTED = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL)


@contextmanager
def exclusive_lock(
    folder: Path, target: Path, name: str = ".lock", max_wait_seconds: float = 0
) -> Iterator[None]:
    """Lock a folder, so that one process at a time writes `target`.

    The lock is on the file `name` in the folder, and also holds between hosts on NFS. The system releases
    the lock of a killed process. On a file system without locks, a warning is logged and nothing is locked.

    Raises
    ------
    Dcase2018Error
        If another process holds the lock for longer than `max_wait_seconds`.
    """
    from filelock import FileLock, Timeout  # takes 80 ms to import

    lock = FileLock(folder / name, timeout=max_wait_seconds, poll_interval=0.01)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # filelock's, where it uses a file with the process's number
            lock.acquire()
    except Timeout:
        raise Dcase2018Error(
            f"{target} is being written by another process; wait until it has finished"
        ) from None
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        log.warning("%s is not locked, as its file system has no locks; run one process at a time", target)
    try:
        yield
    finally:
        (folder / name).unlink(missing_ok=True)
        lock.release()
