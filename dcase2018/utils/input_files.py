"""Checks of input paths before they are read: reading a pipe would block, and a device may not end."""

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from dcase2018.utils.errors import InputError

MAX_LINE = 10_000_000  # characters


def require_regular_file(path: Path, max_bytes: int | None = None, subject: str = "") -> None:
    """Check that an existing path is a regular file of at most `max_bytes`.

    Parameters
    ----------
    subject
        Replaces the path in messages.

    Raises
    ------
    InputError
        If it is not.
    OSError
        If it does not exist or its folder cannot be read.
    """
    status, subject = path.stat(), subject or str(path)
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{subject} is not a regular file")
    if max_bytes is not None and status.st_size > max_bytes:
        raise InputError(f"{subject} has {status.st_size} bytes; at most {max_bytes} are allowed")


def as_paths(paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], name: str) -> list[Path]:
    """Return one path or several as a list; raise `InputError`, which names the argument, if it is empty."""
    listed = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not listed:
        raise InputError(f"{name} is empty; name at least one path")
    return [Path(path) for path in listed]


def iter_lines(file: IO[str]) -> Iterator[str]:
    """Yield the lines of a text file. A file without line ends is not read to its end.

    Raises
    ------
    InputError
        If a line has more than `MAX_LINE` characters.
    """
    while line := file.readline(MAX_LINE):
        if len(line) == MAX_LINE:
            raise InputError(f"{file.name}: a line has {MAX_LINE} characters or more; give a text file")
        yield line
