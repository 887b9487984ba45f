"""CSV files: read as text, with every error and its line number; written whole or not at all."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from dcase2018.foundation import InputError, open_text, published_text

MOST_ERRORS_SHOWN = 20

BYTE_ORDER_MARK = "\ufeff"


@dataclass
class Table:
    """A CSV with a header.

    Attributes
    ----------
    rows
        Line number and fields of each record that is not blank and has as many fields as the header.
    errors
        What is wrong with the file so far, by line, for `check` to raise.
    """

    path: Path
    header: list[str]
    rows: list[tuple[int, list[str]]]
    errors: list[tuple[int, str]] = field(default_factory=list)

    def dicts(self) -> Iterator[tuple[int, dict[str, str]]]:
        """Walk the rows: line number, and fields by the names of their columns."""
        for line, fields in self.rows:
            yield line, dict(zip(self.header, fields, strict=True))

    def check(self, missing: Sequence[str] = ()) -> None:
        """Raise `InputError` with all errors, in order of their lines, and what is missing, if any is."""
        ordered = sorted(self.errors, key=lambda error: error[0])
        raise_errors(self.path, [*(f"line {line}: {error}" for line, error in ordered), *missing])


def read_table(path: Path) -> Table:
    """Read a CSV with a header; rows that do not fit it are among the table's errors.

    Raises
    ------
    InputError
        If it is no file, no CSV parted by commas, no UTF-8, or a column's name stands there twice.
    OSError
        If it cannot be read.
    """
    records = read_records(path)
    header = next(records, (1, []))[1]
    for mark, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(header) == 1 and mark in header[0]:
            raise InputError(f"{path}: line 1: parted by {name}; a CSV is parted by commas")
    doubled = [name for name in header if header.count(name) > 1]
    if doubled:
        raise InputError(f"{path}: line 1: the column {doubled[0]!r} stands there twice")
    table = Table(path, header, [])
    for line, fields in records:
        if len(fields) == len(header):
            table.rows.append((line, fields))
        else:
            table.errors.append((line, f"{len(fields)} fields, not {len(header)}"))
    return table


def read_records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Walk a CSV's records that are not blank, with their line numbers.

    Raises
    ------
    InputError, OSError
        See `read_table`.
    """
    if not path.is_file():
        raise InputError(f"{path} is no file that can be read as a CSV")
    with path.open("rb") as file:
        if file.read(2) in (b"\xff\xfe", b"\xfe\xff"):
            raise InputError(f"{path} is UTF-16; save it as UTF-8")
    with open_text(path) as text:
        reader = csv.reader(text, strict=True)
        try:
            for fields in reader:
                if reader.line_num == 1 and fields:
                    fields[0] = fields[0].removeprefix(BYTE_ORDER_MARK)
                if any(fields):
                    yield reader.line_num, fields
        except csv.Error as error:
            raise InputError(f"{path}: line {reader.line_num}: {error}") from None


def raise_errors(path: Path, errors: Sequence[str]) -> None:
    """Raise `InputError` with all errors of a file or folder, if there are any."""
    if not errors:
        return
    shown = list(errors[:MOST_ERRORS_SHOWN])
    if len(errors) > len(shown):
        shown.append(f"and {len(errors) - len(shown)} more")
    number = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
    raise InputError(f"{path}: {number}: " + "\n  ".join(shown))


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a CSV with a header and `\\n` at line ends, whole or not at all."""
    with published_text(path) as file:
        table.to_csv(file, index=False, lineterminator="\n")
