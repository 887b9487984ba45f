"""Files and folders that appear whole or not at all.

A result is written beside its target, synced, and renamed over it, so that a reader sees the old one
or the new one, never a part. A writer that is killed leaves at most one hidden `.partial-NAME`, which
the next writer of NAME replaces.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from dcase2018.utils.errors import Dcase2018Error

StrPath = str | os.PathLike[str]  # what a library's user may give for a path


@contextmanager
def atomic_path(path: Path, fsync: bool = True) -> Iterator[Path]:
    """Yield the path to write a file or a folder to; on leaving without an error it becomes `path`.

    What is not `durable` survives the death of the program, but perhaps not that of the machine. A link is
    followed, and stays.

    Raises
    ------
    OSError
        If it cannot be written; `path` is then what it was.
    """
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    partial = path.with_name(f".partial-{path.name}")
    try:
        yield partial
        if fsync:
            for written in (*partial.rglob("*"), partial):
                sync(written)
        partial.replace(path)
    except BaseException as error:
        remove(partial)
        if isinstance(error, OSError) and error.errno and not error.filename:
            error.filename = str(path)  # such as where the disk is full
        raise
    if fsync:
        sync(path.parent)


@contextmanager
def atomic_directory(path: Path, fsync: bool = True, overwrite: bool = False) -> Iterator[Path]:
    """Yield a new folder to fill; on leaving without an error it becomes `path` (see `published`).

    Parameters
    ----------
    replacing
        Remove what stands at `path` when all is written. A writer that is killed in that moment leaves it
        in a hidden `.replaced-NAME`.

    Raises
    ------
    OSError
        If it cannot be written, or `path` is there already and not empty, and nothing is to be replaced.
    """
    with atomic_path(path, fsync) as partial:
        name = partial.name.removeprefix(".partial-")
        target, aside = partial.with_name(name), partial.with_name(f".replaced-{name}")
        remove(partial)  # of a writer that was killed
        partial.mkdir(parents=True)
        yield partial
        if overwrite and target.exists():
            remove(aside)
            target.rename(aside)
    if overwrite:
        remove(aside)


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it, if it is there."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def exclusive_lock(folder: Path, result: Path) -> Iterator[None]:
    """Keep other processes from writing into a folder in which `result` is being made.

    Raises
    ------
    Dcase2018Error
        If another process is at it.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Dcase2018Error(f"{result} is being written by another process; wait for it to end") from None
    finally:
        os.close(descriptor)  # which gives the lock back


@contextmanager
def work_directory(result: Path, kind: str) -> Iterator[Path]:
    """Hold a hidden folder beside a result, `.NAME.KIND`, for what is finished on the way to it.

    It is removed when the result is there; if that fails, what lies in it stays for the next to make it.

    Raises
    ------
    Dcase2018Error
        If another process is making this result.
    OSError
        If the folder cannot be written to.
    """
    folder = result.absolute().with_name(f".{result.name}.{kind}")  # for other processes too
    ensure_writable(folder)
    with exclusive_lock(folder, result):
        done = False
        try:
            yield folder
            done = True
        finally:
            if done or not any(folder.glob("[!.]*")):
                shutil.rmtree(folder, ignore_errors=not done)


def open_text(path: Path, mode: str = "r") -> IO[str]:
    """Open a CSV. File names are bytes to the system: what is not UTF-8 goes through as it came."""
    return path.open(mode, encoding="utf-8", errors="surrogateescape", newline="")


@contextmanager
def open_atomic(path: Path) -> Iterator[IO[str]]:
    """Open a text file for writing that is published on leaving; its folder is made if need be.

    Raises
    ------
    OSError
        If it cannot be written; `path` is then what it was.
    """
    ensure_writable(path.parent)
    with atomic_path(path) as partial, open_text(partial, "w") as file:
        yield file


def write_json(path: Path, values: Any) -> None:
    """Write values as JSON; raises what `open_atomic` raises."""
    import json  # here, for what writes no JSON starts without it

    with open_atomic(path) as file:
        file.write(json.dumps(values, indent=2) + "\n")


def sync(path: Path) -> None:
    """Have the disk hold what was written to a file or folder."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def ensure_writable(folder: Path) -> None:
    """Make `folder` and try a file in it: better to fail now than after an hour's work.

    Raises
    ------
    OSError
        If the folder cannot be made or written to.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder):
        pass
