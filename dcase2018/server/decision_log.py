"""An open decisions file. Each decision is on disk when `append` returns; a crash loses none."""

import csv
import fcntl
import io
import logging
import os
from contextlib import suppress
from dataclasses import astuple
from pathlib import Path

from dcase2018.data.csv_tables import BYTE_ORDER_MARK
from dcase2018.label_quality.review_decisions import COLUMNS, Decision, read_decisions
from dcase2018.utils.atomic import fsync_path
from dcase2018.utils.errors import Dcase2018Error, InputError
from dcase2018.utils.locks import UNSUPPORTED

log = logging.getLogger(__name__)


class DecisionLog:
    """A decisions file, open for appending and locked against other processes. Use it as a context manager.

    A row that a crash left incomplete is removed from the end of the file, with a warning.

    Parameters
    ----------
    path
        The file. It and its folder are made if they do not exist.

    Attributes
    ----------
    rows : list of Decision
        All rows of the file.

    Raises
    ------
    InputError
        If the file is not a decisions file.
    Dcase2018Error
        If another process has opened it for appending.
    OSError
        If the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            self._lock()
            self._repair(path.read_bytes())
            self.rows = read_decisions(path)
            self._size = os.fstat(self._descriptor).st_size
            fsync_path(path.parent)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "DecisionLog":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file, which unlocks it."""
        os.close(self._descriptor)

    def append(self, decision: Decision) -> None:
        """Write a row and flush it to disk. After an error, the file is as it was.

        Raises
        ------
        Dcase2018Error
            If another program changed, replaced or removed the file.
        OSError
            If the row cannot be written.
        """
        self._check_unchanged()
        row = _encode(astuple(decision))
        try:
            self._write(row)
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
            raise
        self._size += len(row)
        self.rows.append(decision)

    def _write(self, content: bytes) -> None:
        while content:
            content = content[os.write(self._descriptor, content) :]
        os.fsync(self._descriptor)

    def _check_unchanged(self) -> None:
        ours = os.fstat(self._descriptor)
        with suppress(FileNotFoundError):
            if os.path.samestat(ours, self.path.stat()) and ours.st_size == self._size:
                return
        raise Dcase2018Error(
            f"{self.path} was changed by another program; stop dcase2018 review and start it again"
        )

    def _lock(self) -> None:
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Dcase2018Error(
                f"{self.path} is being written by another review; stop it, or choose another --output"
            ) from None
        except OSError as error:
            if error.errno not in UNSUPPORTED:
                raise
            log.warning(
                "%s is not locked, as its file system has no locks; run one review at a time", self.path
            )

    def _repair(self, content: bytes) -> None:
        """Write a missing header, complete a missing line end, and remove an incomplete last row."""
        header = _encode(COLUMNS)
        if header.startswith(content):
            os.ftruncate(self._descriptor, 0)
            self._write(header)
            return
        text = content.removeprefix(BYTE_ORDER_MARK.encode())
        if text.splitlines()[0] != header.strip():
            raise InputError(f"{self.path} is not a file of decisions; choose another --output")
        last_row = content[_complete_length(content) :]
        fields = next(csv.reader([last_row.decode("utf-8", "surrogateescape")]), [])
        if len(fields) == len(COLUMNS):
            self._write(b"\n")
        elif last_row:
            os.ftruncate(self._descriptor, len(content) - len(last_row))
            log.warning("%s: an incomplete last row was removed: %r", self.path, last_row)


def _encode(fields: "tuple[str, ...] | list[str]") -> bytes:
    """Format a row of CSV. Line ends in a field are quoted, which `csv` only does for those of its own."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerow(fields)
    return (text.getvalue().removesuffix("\r\n") + "\n").encode("utf-8", "surrogateescape")


def _complete_length(content: bytes) -> int:
    """Return the number of bytes up to the last line end that is not in quotes."""
    length = n_bytes = n_quotes = 0
    for line in content.splitlines(keepends=True):
        n_bytes += len(line)
        n_quotes += line.count(b'"')
        if line.endswith((b"\n", b"\r")) and n_quotes % 2 == 0:
            length = n_bytes
    return length
