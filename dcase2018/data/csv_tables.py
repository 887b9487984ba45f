"""Read CSV files with a header, and collect their errors with line numbers.

White space around fields, empty columns and byte order marks are removed.
"""

import csv
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dcase2018.utils.atomic import open_text
from dcase2018.utils.errors import InputError
from dcase2018.utils.input_files import iter_lines

log = logging.getLogger(__name__)

MAX_ERRORS = 20  # errors listed in one message

# First bytes of files that are given instead of a CSV.
OTHER_FORMATS = {
    b"\x89HDF": "an HDF5 file, such as a store",
    b"PK\x03\x04": "a workbook or a ZIP archive",
    b"RIFF": "a WAV file",
    b"fLaC": "a FLAC file",
}

BYTE_ORDER_MARK = "\ufeff"
UTF16_OR_32_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\x00\x00\xfe\xff")


@dataclass
class Table:
    """A CSV with a header.

    Attributes
    ----------
    path
        The file.
    header
        Names of the columns.
    rows
        Line number and fields of each record that has as many fields as the header. Blank lines are omitted.
    errors
        Line number and message of each error so far; see `raise_if_invalid`.
    """

    path: Path
    header: list[str]
    rows: list[tuple[int, list[str]]]
    errors: list[tuple[int, str]] = field(default_factory=list)

    def iter_rows(self) -> Iterator[tuple[int, dict[str, str]]]:
        """Yield the line number of each row and its fields by column."""
        for line, fields in self.rows:
            yield line, dict(zip(self.header, fields, strict=True))

    def raise_if_invalid(self, extra_errors: Sequence[str] = ()) -> None:
        """Raise an `InputError` that lists all errors by line, then `extra_errors`, if there are any."""
        ordered = sorted(self.errors, key=lambda error: error[0])
        raise_if_errors(self.path, [*(f"line {line}: {error}" for line, error in ordered), *extra_errors])


def read_table(path: Path) -> Table:
    """Read a CSV with a header.

    Returns
    -------
    Table
        Rows with the wrong number of fields are in `errors`.

    Raises
    ------
    InputError
        If the path is not a regular file, the file is not a comma-separated UTF-8 CSV, or a column is
        duplicated.
    OSError
        If the file cannot be read.
    """
    records = read_records(path)
    header = next(records, (1, []))[1]
    for separator, name in ((";", "semicolons"), ("\t", "tabs")):
        if len(header) == 1 and separator in header[0]:
            raise InputError(f"{path}: line 1: fields are separated by {name}; separate them by commas")
    duplicates = [name for name, count in Counter(header).items() if name and count > 1]
    if duplicates:
        raise InputError(f"{path}: line 1: the column {duplicates[0]!r} is duplicated")
    table = Table(path, header, [])
    for line, fields in records:
        if len(fields) > len(header) and not any(fields[len(header) :]):
            fields = fields[: len(header)]
        if len(fields) == len(header):
            table.rows.append((line, fields))
        else:
            table.errors.append((line, f"{len(fields)} fields, expected {len(header)}"))
    _drop_unnamed_columns(table)
    return table


def _drop_unnamed_columns(table: Table) -> None:
    """Drop columns without a name, if they are empty or number the rows, as an index of pandas does."""
    for index in reversed([index for index, name in enumerate(table.header) if not name]):
        filled = [(line, fields[index]) for line, fields in table.rows if fields[index]]
        if filled and index == 0 and all(value.isdecimal() for _, value in filled):
            log.warning("%s: ignored the first column: it has no name and numbers the rows", table.path)
        else:
            remedy = "name the column in line 1, or remove it"
            table.errors += [
                (line, f"{value!r} is in a column without a name; {remedy}") for line, value in filled
            ]
        del table.header[index]
        for _, fields in table.rows:
            del fields[index]


def read_records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and the fields of each record of a CSV that is not blank.

    White space around fields and byte order marks are removed.

    Raises
    ------
    InputError, OSError
        See `read_table`.
    """
    if not path.is_file():
        raise InputError(f"{path} is not a regular file; give a CSV")
    with path.open("rb") as file:
        start = file.read(64)
    if _is_utf16_or_32(start):
        raise InputError(f"{path} is UTF-16; save it as UTF-8")
    if start[:4] in OTHER_FORMATS:
        raise InputError(f"{path} is {OTHER_FORMATS[start[:4]]}; give a CSV")
    with open_text(path) as text:
        reader = csv.reader(_without_mark(iter_lines(text)), strict=True, skipinitialspace=True)
        try:
            for fields in reader:
                fields = [value.strip() for value in fields]
                if any(fields):
                    yield reader.line_num, fields
        except csv.Error as error:
            raise InputError(f"{path}: line {reader.line_num}: {error}") from None


def _is_utf16_or_32(start: bytes) -> bool:
    """Return whether a file has the byte order mark of another encoding, or every other byte is 0."""
    is_every_other_0 = len(start) > 3 and any(start[::2]) != any(start[1::2])
    return start.startswith(UTF16_OR_32_MARKS) or is_every_other_0


def _without_mark(lines: Iterator[str]) -> Iterator[str]:
    yield next(lines, "").lstrip(BYTE_ORDER_MARK)
    yield from lines


def raise_if_errors(path: Path, errors: Sequence[str]) -> None:
    """Raise an `InputError` that lists the errors of a file or folder, if there are any."""
    if not errors:
        return
    shown = list(errors[:MAX_ERRORS])
    if len(errors) > len(shown):
        shown.append(f"and {len(errors) - len(shown)} more")
    if len(shown) == 1:
        raise InputError(f"{path}: 1 error: {shown[0]}")
    raise InputError("\n  ".join([f"{path}: {len(errors)} errors:", *shown]))
