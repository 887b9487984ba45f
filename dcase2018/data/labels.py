"""Read and write label files and class maps.

A label file is a CSV with the columns `fname` and `label`. Kaggle's and Zenodo's files also have
`manually_verified` (training) or `usage` (test: Public, Private or Ignored). A multi-label file, such as that
of FSD50K, has the column `labels` instead, with comma-separated labels; there `fname` may omit `.wav`. The
optional column `weight` is the sample weight of each clip in training, from 0 to 1.

All columns are read as text, so that the label `None` stays a string and extra columns survive a split.
"""

import csv
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from dcase2018.utils.atomic import StrPath, open_atomic, open_text
from dcase2018.utils.errors import InputError

log = logging.getLogger(__name__)

LABEL_COLUMN, LABELS_COLUMN = "label", "labels"  # of single-label and of multi-label files
WEIGHT_COLUMN = "weight"

# Words that score tables use as columns or rows beside the classes.
RESERVED = frozenset({"fname", LABEL_COLUMN, LABELS_COLUMN, "verified", "overall"})

MAX_ERRORS = 20  # errors listed in one message

# First bytes of files that are given instead of a CSV.
OTHER_FORMATS = {
    b"\x89HDF": "an HDF5 file, such as a store",
    b"PK\x03\x04": "a workbook or a ZIP archive",
    b"RIFF": "a WAV file",
    b"fLaC": "a FLAC file",
}

BYTE_ORDER_MARK = "\ufeff"


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
    duplicates = [name for name in header if header.count(name) > 1]
    if duplicates:
        raise InputError(f"{path}: line 1: the column {duplicates[0]!r} is duplicated")
    table = Table(path, header, [])
    for line, fields in records:
        if len(fields) == len(header):
            table.rows.append((line, fields))
        else:
            table.errors.append((line, f"{len(fields)} fields, expected {len(header)}"))
    return table


def read_records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the line number and the fields of each record of a CSV that is not blank.

    Raises
    ------
    InputError, OSError
        See `read_table`.
    """
    if not path.is_file():
        raise InputError(f"{path} is not a regular file; give a CSV")
    with path.open("rb") as file:
        head = file.read(4)
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise InputError(f"{path} is UTF-16; save it as UTF-8")
    if head in OTHER_FORMATS:
        raise InputError(f"{path} is {OTHER_FORMATS[head]}; give a CSV")
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


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a CSV with a header and `\\n` line ends, atomically."""
    with open_atomic(path) as file:
        table.to_csv(file, index=False, lineterminator="\n")


def read_labels(
    path: StrPath, classes: Sequence[str] | None = None, allow_duplicates: bool = False
) -> pd.DataFrame:
    """Read a label file, without the rows whose usage is `Ignored`.

    Parameters
    ----------
    path
        A CSV with the columns `fname` and `label` or `labels`.
    classes
        The allowed labels. None allows any.
    allow_duplicates
        Keep identical rows of a clip. Otherwise, a clip may be listed only once.

    Returns
    -------
    DataFrame
        The columns of the file, as strings, in file order.

    Raises
    ------
    InputError
        If the file is invalid. The message lists all errors with line numbers.
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> labels = read_labels("train.csv")
    >>> labels.loc[0, ["fname", "label"]].tolist()
    ['00044347.wav', 'Hi-hat']
    """
    return parse_labels(read_table(Path(path)), classes, allow_duplicates)


def parse_labels(
    table: Table, classes: Sequence[str] | None = None, allow_duplicates: bool = False
) -> pd.DataFrame:
    """Convert a table to labels; see `read_labels`."""
    _normalize_fnames(table, ("fname", LABEL_COLUMN), allow_duplicates)
    rows: list[dict[str, str]] = []
    for line, row in table.iter_rows():
        if row.get("usage") != "Ignored":
            row |= {name: _strip_labels(row[name]) for name in (LABEL_COLUMN, LABELS_COLUMN) if name in row}
            table.errors += [(line, error) for error in _validate_row(row, classes)]
            rows.append(row)
    table.raise_if_invalid()
    if not rows:
        raise InputError(f"{table.path}: no clip has a label")
    return pd.DataFrame(rows, columns=table.header, dtype=object)


def read_fnames(path: Path) -> list[str]:
    """Read the `fname` column of a CSV, such as `sample_submission.csv`, in file order."""
    table = read_clip_table(path, ("fname",))
    table.raise_if_invalid()
    return [row["fname"] for _, row in table.iter_rows()]


def read_clip_table(path: Path, columns: Sequence[str]) -> Table:
    """Read a table with one row per clip.

    Parameters
    ----------
    path
        A CSV with the column `fname`.
    columns
        Required columns. `labels` may replace `label`.

    Returns
    -------
    Table
        With complete file names. Duplicate clips are in `errors`.

    Raises
    ------
    InputError, OSError
        See `read_table`.
    """
    table = read_table(path)
    _normalize_fnames(table, columns)
    return table


def _normalize_fnames(table: Table, columns: Sequence[str], allow_duplicates: bool = False) -> None:
    """Require `columns`, append missing `.wav` extensions in a multi-label file, and find duplicate clips."""
    present = {*table.header, LABEL_COLUMN} if LABELS_COLUMN in table.header else {*table.header}
    missing = [name for name in columns if name not in present]
    if missing:
        raise InputError(
            f"{table.path}: line 1: the header must have {' and '.join(columns)};"
            f" missing: {', '.join(missing)}"
        )
    fname_index = table.header.index("fname")
    first_rows: dict[str, tuple[int, list[str]]] = {}
    n_duplicates = 0
    for line, fields in table.rows:
        if LABELS_COLUMN in table.header and fields[fname_index] and not Path(fields[fname_index]).suffix:
            fields[fname_index] += ".wav"
        first_line, first_fields = first_rows.setdefault(fields[fname_index], (line, fields))
        if first_line != line and allow_duplicates and fields == first_fields:
            n_duplicates += 1
        elif first_line != line:
            suffix = " with other values" if allow_duplicates else ""
            error = f"{fields[fname_index]!r} is already listed in line {first_line}{suffix}"
            table.errors.append((line, error))
    if n_duplicates:
        log.warning("%s: %d rows are duplicates; every copy counts", table.path, n_duplicates)


def _strip_labels(labels: str) -> str:
    return ",".join(_split_labels(labels))


def _split_labels(labels: str) -> list[str]:
    return [label.strip() for label in labels.split(",")]


def _validate_row(row: dict[str, str], classes: Sequence[str] | None) -> Iterator[str]:
    if not row["fname"] or "\0" in row["fname"]:
        yield "fname is empty" if not row["fname"] else f"fname {row['fname']!r} contains a NUL character"
    for label in [row[LABEL_COLUMN]] if LABEL_COLUMN in row else _split_labels(row[LABELS_COLUMN]):
        yield from validate_label(label, classes)
    if row.get("manually_verified", "") not in ("", "0", "1"):
        yield f"manually_verified is {row['manually_verified']!r}; it must be 0 or 1"
    if parse_fraction(row.get(WEIGHT_COLUMN, "1")) is None:
        yield f"weight is {row[WEIGHT_COLUMN]!r}; it must be a number from 0 to 1"


def parse_fraction(text: str) -> float | None:
    """Parse a number from 0 to 1; None for any other text."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None


def validate_label(label: str, classes: Sequence[str] | None = None) -> Iterator[str]:
    """Yield the error of a label that is not allowed."""
    if not label:
        yield "label is empty"
    elif label == "None":
        yield "label 'None' is not a class"
    elif classes is not None and label not in classes:
        yield f"label {label!r} is not among the {len(classes)} classes"
    elif label in RESERVED:
        yield f"label {label!r} is reserved for score tables; rename the class"
    elif re.search(r"\s", label):
        yield f"label {label!r} contains white space; use {sanitize_class_name(label)}"
    elif "," in label:
        yield f"label {label!r} contains a comma; use {sanitize_class_name(label)}"


def sanitize_class_name(text: str) -> str:
    """Replace white space and commas by underscores: submissions and tables use them as separators."""
    return re.sub(r"[\s,]+", "_", text.strip())


def sanitize_class_names(text: str) -> str:
    """Sanitize comma-separated class names; see `sanitize_class_name`."""
    return ",".join(map(sanitize_class_name, _split_labels(text)))


def is_multi_label(labels: pd.DataFrame) -> bool:
    """Return whether clips may have several labels."""
    return LABEL_COLUMN not in labels


def labels_per_clip(labels: pd.DataFrame) -> list[list[str]]:
    """Return the list of labels of each clip."""
    if is_multi_label(labels):
        return [_split_labels(text) for text in labels[LABELS_COLUMN]]
    return [[label] for label in labels[LABEL_COLUMN]]


def class_names(labels: pd.DataFrame) -> list[str]:
    """Return the classes of a label file, sorted.

    Parameters
    ----------
    labels
        The result of `read_labels`.

    Examples
    --------
    >>> class_names(read_labels("train.csv"))[:3]
    ['Acoustic_guitar', 'Applause', 'Bark']
    """
    return sorted(set(chain.from_iterable(labels_per_clip(labels))))


def multi_hot(labels: pd.DataFrame, classes: Sequence[str]) -> np.ndarray:
    """Encode the labels of each clip: bool, (n_clips, n_classes)."""
    index = {name: i for i, name in enumerate(classes)}
    y_true = np.zeros((len(labels), len(classes)), bool)
    for row, names in enumerate(labels_per_clip(labels)):
        y_true[row, [index[name] for name in names]] = True
    return y_true


def verified_mask(labels: pd.DataFrame) -> np.ndarray:
    """Return which labels are manually verified: bool, (n_clips,). All are without that column."""
    if "manually_verified" not in labels:
        return np.ones(len(labels), bool)
    return (labels["manually_verified"] == "1").to_numpy(bool)


def sample_weights(labels: pd.DataFrame) -> np.ndarray | None:
    """Return the sample weight of each clip: float64 in [0, 1], (n_clips,). None without that column."""
    return labels[WEIGHT_COLUMN].to_numpy(float) if WEIGHT_COLUMN in labels else None


def write_class_map(path: Path, classes: Sequence[str]) -> None:
    """Write the class map of the reference: rows `class_index,class_name` without a header."""
    with open_atomic(path) as file:
        csv.writer(file, lineterminator="\n").writerows(enumerate(classes))


def read_class_map(path: Path) -> list[str]:
    """Read a class map.

    Raises
    ------
    InputError
        If the indices do not count from 0, or a class is invalid or duplicated.
    """
    classes: list[str] = []
    errors: list[str] = []
    for line, fields in read_records(path):
        if len(fields) != 2 or fields[0] != str(len(classes)):
            errors.append(f"line {line}: {','.join(fields)!r} must be '{len(classes)},NAME'")
        errors += [f"line {line}: {error}" for error in validate_label(fields[-1])]
        classes.append(fields[-1])
    if len(set(classes)) < len(classes):
        errors.append("a class is listed twice")
    raise_if_errors(path, errors)
    return classes
