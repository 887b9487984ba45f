"""Atomic writes: a reader sees the old file or folder, or the complete new one.

A result is written to a hidden path beside its target, `.NAME.HOST-PID-RANDOM.tmp.SUFFIX`, flushed to disk,
and renamed to the target. A killed writer leaves that path behind. A later writer of the same target removes
it: at once on the same host or under the lock of the target, otherwise after a day.
"""

import logging
import os
import platform
import re
import secrets
import shutil
import signal
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import IO, Any

from dcase2018.utils.errors import InputError
from dcase2018.utils.input_files import require_regular_file
from dcase2018.utils.locks import UNSUPPORTED, exclusive_lock
from dcase2018.utils.signals import catch_stop_signals

log = logging.getLogger(__name__)

StrPath = str | os.PathLike[str]

LEFTOVER_SECONDS = 24 * 3600  # age at which the temporary path of another writer is taken for a leftover
COMMIT_SECONDS = 60.0  # longest wait for another process that renames the same files

# Temporary path and target of each file of `written_together`, which renames them at its end.
_pending: ContextVar[list[tuple[Path, Path]] | None] = ContextVar("pending", default=None)

_not_flushed_devices: set[int] = set()  # of file systems that cannot flush files, each reported once


@cache
def _host() -> str:
    return f"{zlib.crc32(platform.node().encode()):08x}"


def temporary_path(path: Path) -> Path:
    """Return a new hidden path beside `path` to write to, which no other writer uses.

    It has the suffix of `path`, because Keras and matplotlib choose the file format by it.
    """
    writer = f"{_host()}-{os.getpid()}-{secrets.token_hex(4)}"
    return path.with_name(f".{path.name}.{writer}.tmp{path.suffix}")


def remove_leftovers(path: Path, min_age_seconds: float = 0.0) -> None:
    """Remove temporary paths that killed writers of `path` left behind.

    Parameters
    ----------
    path
        The target, or `FOLDER / "*"` for all targets in a folder.
    min_age_seconds
        Age of a path that no running writer uses. 0 needs a lock that excludes other writers.
    """
    name = ".+" if path.name == "*" else re.escape(path.name)
    pattern = re.compile(rf"\.{name}\.([0-9a-f]{{8}})-(\d{{1,9}})-[0-9a-f]{{8}}\.tmp.*", re.DOTALL)
    for leftover in path.parent.glob(".*.tmp*"):
        match = pattern.fullmatch(leftover.name)
        if match and (
            (match[1] == _host() and not _is_running(int(match[2])))
            or _age_seconds(leftover) >= min_age_seconds
        ):
            remove(leftover)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user
        pass
    return True


def _age_seconds(path: Path) -> float:
    try:
        return time.time() - path.lstat().st_mtime
    except FileNotFoundError:  # another writer renamed it
        return 0


@contextmanager
def atomic_path(
    path: Path, fsync: bool = True, rename: Callable[[Path, Path], object] = os.replace
) -> Iterator[Path]:
    """Yield a temporary path for a file or folder; rename it to `path` on leaving without an error.

    Parameters
    ----------
    path
        The target. A symbolic link stays, and its target is replaced.
    fsync
        Whether the result must survive a power failure. Without it, the result survives a kill.
    rename
        Function that moves the temporary path to the target.

    Raises
    ------
    OSError
        If the result cannot be written. `path` is then unchanged.
    """
    path = _follow_link(path)
    remove_leftovers(path, LEFTOVER_SECONDS)
    partial = temporary_path(path)
    pending = _pending.get()
    try:
        yield partial
        if fsync:
            for written in (*partial.rglob("*"), partial):
                fsync_path(written)
        if pending is not None:
            pending.append((partial, path))
            return
        rename(partial, path)
    except BaseException as error:
        remove(partial)
        if isinstance(error, OSError) and error.errno and not error.filename:
            error.filename = str(path)  # for example, if the disk is full
        raise
    if fsync:
        fsync_path(path.parent)


@contextmanager
def written_together() -> Iterator[None]:
    """Write files that belong together: those that the block writes replace their targets at its end.

    At the end, all old targets are removed before the first new one is renamed. A kill in this moment
    leaves some of the new files and none of the old ones. Signals are handled afterwards. Of two processes
    that write the same files, one waits for the other.

    Raises
    ------
    OSError
        If a file cannot be written. An error in the block leaves all targets unchanged.
    """
    written: list[tuple[Path, Path]] = []
    token = _pending.set(written)
    try:
        yield
        with catch_stop_signals() as stop:
            _replace_together(written)
    finally:
        _pending.reset(token)
        for partial, _ in written:
            remove(partial)
    if stop.signum:
        signal.raise_signal(stop.signum)


def _replace_together(written: Sequence[tuple[Path, Path]]) -> None:
    """Replace targets by their temporary paths, under a lock if there are several."""
    paths = [path for _, path in written]
    with ExitStack() as stack:
        if len(paths) > 1:
            last = paths[-1]
            stack.enter_context(exclusive_lock(last.parent, last, f".{last.name}.lock", COMMIT_SECONDS))
            for path in paths:
                path.unlink(missing_ok=True)
        for partial, path in written:
            partial.replace(path)
        for folder in {path.parent for path in paths}:
            fsync_path(folder)


@contextmanager
def atomic_directory(path: Path, fsync: bool = True, overwrite: bool = False) -> Iterator[Path]:
    """Yield a new folder to fill; rename it to `path` on leaving without an error (see `atomic_path`).

    Parameters
    ----------
    overwrite
        Replace what exists at `path`. Linux exchanges both folders in one step. Elsewhere, the old folder is
        renamed to `.NAME.bak` first. An error restores it, and after a kill the next call.

    Raises
    ------
    OSError
        If the folder cannot be written, or `path` exists, is not an empty folder, and `overwrite` is False.
    """
    path = _follow_link(path)
    backup = _backup(path)
    if overwrite and backup.exists() and not path.exists():
        backup.rename(path)
    with atomic_path(path, fsync, _overwrite if overwrite else os.replace) as partial:
        partial.mkdir(parents=True)
        yield partial
    if overwrite:
        remove(partial)  # the old folder, if both were exchanged
        remove(backup)


def _backup(path: Path) -> Path:
    return path.with_name(f".{path.name}.bak")


def _overwrite(partial: Path, path: Path) -> None:
    """Exchange two folders, or rename the second to `.NAME.bak` and the first to its place."""
    if path.exists() and _exchange(partial, path):
        return
    backup = _backup(path)
    try:
        if path.exists():
            remove(backup)  # from a killed writer, which had finished
            path.rename(backup)
        partial.replace(path)
    except BaseException:
        if backup.exists() and not path.exists():
            backup.rename(path)
        raise


def _exchange(first: Path, second: Path) -> bool:
    """Exchange two paths atomically; return False if the system or the file system cannot."""
    import ctypes  # 10 ms that many commands do not need

    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)  # Linux
    if renameat2 is None:
        return False
    at_fdcwd, rename_exchange = -100, 2
    if not renameat2(at_fdcwd, os.fsencode(first), at_fdcwd, os.fsencode(second), rename_exchange):
        return True
    number = ctypes.get_errno()
    if number in UNSUPPORTED:
        return False
    raise OSError(number, os.strerror(number), str(second))


def _follow_link(path: Path) -> Path:
    if path.name in ("", ".."):
        raise InputError(f"{str(path)!r} is not the name of a file or folder to write; name another")
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def remove(path: Path) -> None:
    """Remove a file, or a folder and its content, if it exists."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def work_directory(target: Path, suffix: str) -> Iterator[Path]:
    """Yield the folder for intermediate results of `target`, the hidden `.NAME.SUFFIX` beside it, locked.

    It is removed on leaving without an error. After an error its content stays, so that the same work can be
    resumed. Leftovers of killed writers of `target` and in the folder are removed.

    Raises
    ------
    Dcase2018Error
        If another process is writing `target`.
    OSError
        If the folder cannot be written to.
    """
    folder = target.absolute().with_name(f".{target.name}.{suffix}")  # absolute for other processes
    ensure_writable(folder)
    try:
        with exclusive_lock(folder, target):
            remove_leftovers(_follow_link(target))
            remove_leftovers(folder / "*")
            try:
                yield folder
                for path in folder.glob("[!.]*"):
                    remove(path)
            finally:
                remove_leftovers(folder / "*")
    finally:  # after the lock is closed: NFS removes no folder with an open file
        with suppress(OSError):  # it is not empty, or in use again
            folder.rmdir()


def open_text(path: Path, mode: str = "r") -> IO[str]:
    """Open a CSV file. Bytes that are not UTF-8, as in some file names, are preserved.

    Raises
    ------
    InputError
        If the path to read is not a regular file.
    OSError
        If it does not exist, or cannot be read or written.
    """
    if mode == "r":
        require_regular_file(path)
    return path.open(mode, encoding="utf-8", errors="surrogateescape", newline="")


@contextmanager
def open_atomic(path: Path) -> Iterator[IO[str]]:
    """Open a text file to write atomically, and make its folder.

    Raises
    ------
    OSError
        If the file cannot be written. `path` is then unchanged.
    """
    ensure_writable(path.parent)
    with atomic_path(path) as partial, open_text(partial, "w") as file:
        yield file


def write_json(path: Path, values: Any) -> None:
    """Write values to a JSON file atomically; raises what `open_atomic` raises."""
    import json  # 10 ms that many commands do not need

    with open_atomic(path) as file:
        file.write(json.dumps(values, indent=2) + "\n")


def fsync_path(path: Path) -> None:
    """Flush a file or folder to disk. If its file system cannot, a warning is logged once.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in UNSUPPORTED and not (isinstance(error, PermissionError) and path.is_dir()):
            error.filename = str(path)
            raise
        _warn_not_flushed(path)


def _warn_not_flushed(path: Path) -> None:
    """Warn once per file system."""
    device = path.stat().st_dev
    if device not in _not_flushed_devices:
        _not_flushed_devices.add(device)
        folder = path if path.is_dir() else path.parent
        log.warning(
            "%s is not flushed to disk, as its file system cannot; a power failure may lose files", folder
        )


def ensure_writable(folder: Path) -> None:
    """Make `folder` and write a test file in it, so that a long computation does not fail at its end.

    Raises
    ------
    OSError
        If the folder cannot be made or written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass
