"""Label files and class maps: what the clips are.

A label file has a header naming at least `fname` and `label`; Kaggle's and Zenodo's also bear
`manually_verified` (train) or `usage` (test: Public, Private or Ignored). One that names `labels` instead,
as FSD50K's do, has one or more of them a clip, parted by commas, and may leave `.wav` out of the names.
A column `weight` tells what each clip counts for in training, from 0 to 1.
It is read as text, so that the label `None` stays a word and extra columns survive a split.
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
        What is wrong with the file so far, by line, for `raise_if_invalid` to raise.
    """

    path: Path
    header: list[str]
    rows: list[tuple[int, list[str]]]
    errors: list[tuple[int, str]] = field(default_factory=list)

    def iter_rows(self) -> Iterator[tuple[int, dict[str, str]]]:
        """Walk the rows: line number, and fields by the names of their columns."""
        for line, fields in self.rows:
            yield line, dict(zip(self.header, fields, strict=True))

    def raise_if_invalid(self, missing: Sequence[str] = ()) -> None:
        """Raise `InputError` with all errors, in order of their lines, and what is missing, if any is."""
        ordered = sorted(self.errors, key=lambda error: error[0])
        raise_if_errors(self.path, [*(f"line {line}: {error}" for line, error in ordered), *missing])


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


def raise_if_errors(path: Path, errors: Sequence[str]) -> None:
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
    with open_atomic(path) as file:
        table.to_csv(file, index=False, lineterminator="\n")


log = logging.getLogger(__name__)

LABEL_COLUMN, LABELS_COLUMN = "label", "labels"  # the column of a file with one label a clip, or with several
WEIGHT_COLUMN = "weight"  # the column of what clips count for

# Words that tables of scores have beside the classes.
RESERVED = frozenset({"fname", LABEL_COLUMN, LABELS_COLUMN, "verified", "overall"})


def read_labels(
    path: StrPath, classes: Sequence[str] | None = None, allow_duplicates: bool = False
) -> pd.DataFrame:
    """Read a label file, less the rows whose usage is `Ignored`.

    Parameters
    ----------
    classes
        The labels allowed; any, if None.
    repeated
        Keep a row as often as it stands there; if not, a clip must not stand there twice.

    Returns
    -------
    DataFrame
        The file's columns, as text, a row for each of the file's, in its order.

    Raises
    ------
    InputError
        With every error of the file and its line number.
    """
    return parse_labels(read_table(Path(path)), classes, allow_duplicates)


def parse_labels(
    table: Table, classes: Sequence[str] | None = None, allow_duplicates: bool = False
) -> pd.DataFrame:
    """Take a table for a label file, as `read_labels` does."""
    _complete(table, ("fname", LABEL_COLUMN), allow_duplicates)
    rows: list[dict[str, str]] = []
    for line, row in table.iter_rows():
        if row.get("usage") != "Ignored":
            row |= {name: _stripped(row[name]) for name in (LABEL_COLUMN, LABELS_COLUMN) if name in row}
            table.errors += [(line, error) for error in _row_errors(row, classes)]
            rows.append(row)
    table.raise_if_invalid()
    if not rows:
        raise InputError(f"{table.path}: no clip is labelled")
    return pd.DataFrame(rows, columns=table.header, dtype=object)


def read_fnames(path: Path) -> list[str]:
    """Read the `fname` column of any CSV, such as `sample_submission.csv`, in its order."""
    table = read_clip_table(path, ("fname",))
    table.raise_if_invalid()
    return [row["fname"] for _, row in table.iter_rows()]


def read_clip_table(path: Path, columns: Sequence[str]) -> Table:
    """Read a table of clips; complete their names, and find those that stand there twice.

    Parameters
    ----------
    columns
        What the header must name; `labels` is as good as `label`.

    Raises
    ------
    InputError, OSError
        See `read_table`. What is wrong with single lines is among the table's errors.
    """
    table = read_table(path)
    _complete(table, columns)
    return table


def _complete(table: Table, columns: Sequence[str], allow_duplicates: bool = False) -> None:
    """See that a table of clips has `columns`; complete names, and find those that stand there twice."""
    named = {*table.header, LABEL_COLUMN} if LABELS_COLUMN in table.header else {*table.header}
    missing = [name for name in columns if name not in named]
    if missing:
        raise InputError(
            f"{table.path}: line 1: the header must name {' and '.join(columns)};"
            f" it has no {' and no '.join(missing)}"
        )
    column = table.header.index("fname")
    seen: dict[str, tuple[int, list[str]]] = {}
    again = 0
    for line, fields in table.rows:
        if LABELS_COLUMN in table.header and fields[column] and not Path(fields[column]).suffix:
            fields[column] += ".wav"
        first, same = seen.setdefault(fields[column], (line, fields))
        if first != line and allow_duplicates and fields == same:
            again += 1
        elif first != line:
            otherwise = " with other values" if allow_duplicates else ""
            table.errors.append((line, f"{fields[column]!r} stands already in line {first}{otherwise}"))
    if again:
        log.warning("%s: %d rows stand there again, and count as often", table.path, again)


def _stripped(label: str) -> str:
    return ",".join(_parted(label))


def _parted(several: str) -> list[str]:
    return [label.strip() for label in several.split(",")]


def _row_errors(row: dict[str, str], classes: Sequence[str] | None) -> Iterator[str]:
    if not row["fname"] or "\0" in row["fname"]:
        yield "fname is empty" if not row["fname"] else f"fname {row['fname']!r} holds a NUL"
    for label in [row[LABEL_COLUMN]] if LABEL_COLUMN in row else _parted(row[LABELS_COLUMN]):
        yield from validate_label(label, classes)
    if row.get("manually_verified", "") not in ("", "0", "1"):
        yield f"manually_verified is {row['manually_verified']!r}, not 0 or 1"
    if parse_fraction(row.get(WEIGHT_COLUMN, "1")) is None:
        yield f"weight is {row[WEIGHT_COLUMN]!r}, no number from 0 to 1"


def parse_fraction(text: str) -> float | None:
    """The number from 0 to 1 that a text is, if it is one."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None


def validate_label(label: str, classes: Sequence[str] | None = None) -> Iterator[str]:
    """Say what is wrong with a label."""
    if not label:
        yield "label is empty"
    elif label == "None":
        yield "label 'None' is no class"
    elif classes is not None and label not in classes:
        yield f"label {label!r} is not among the {len(classes)} classes"
    elif label in RESERVED:
        yield f"label {label!r} is a word of the tables of scores; give the class another name"
    elif re.search(r"\s", label):
        yield f"label {label!r} holds a space, which parts labels in submissions; use {sanitize_class_name(label)}"
    elif "," in label:
        yield f"label {label!r} holds a comma, which parts labels in tables; use {sanitize_class_name(label)}"


def sanitize_class_name(text: str) -> str:
    """Make a class's name of any text: white space and commas, which part labels, become an underscore."""
    return re.sub(r"[\s,]+", "_", text.strip())


def sanitize_class_names(text: str) -> str:
    """Make classes' names, parted by commas, of texts parted by commas."""
    return ",".join(map(sanitize_class_name, _parted(text)))


def is_multi_label(labels: pd.DataFrame) -> bool:
    """Whether clips may have several labels."""
    return LABEL_COLUMN not in labels


def labels_per_clip(labels: pd.DataFrame) -> list[list[str]]:
    """Labels of each clip."""
    if is_multi_label(labels):
        return [_parted(several) for several in labels[LABELS_COLUMN]]
    return [[label] for label in labels[LABEL_COLUMN]]


def class_names(labels: pd.DataFrame) -> list[str]:
    """Name the classes of a label file (see `read_labels`), in ascending order."""
    return sorted(set(chain.from_iterable(labels_per_clip(labels))))


def multi_hot(labels: pd.DataFrame, classes: Sequence[str]) -> np.ndarray:
    """Which of `classes` each clip bears: bool, (clips, classes)."""
    index = {name: number for number, name in enumerate(classes)}
    y_true = np.zeros((len(labels), len(classes)), bool)
    for row, names in enumerate(labels_per_clip(labels)):
        y_true[row, [index[name] for name in names]] = True
    return y_true


def verified_mask(labels: pd.DataFrame) -> np.ndarray:
    """Whether a person has checked each clip's label: bool, (clips,); all, if the file does not tell."""
    if "manually_verified" not in labels:
        return np.ones(len(labels), bool)
    return (labels["manually_verified"] == "1").to_numpy(bool)


def sample_weights(labels: pd.DataFrame) -> np.ndarray | None:
    """What each clip counts for in training, in [0, 1], (clips,); None, if the file does not tell."""
    return labels[WEIGHT_COLUMN].to_numpy(float) if WEIGHT_COLUMN in labels else None


def write_class_map(path: Path, classes: Sequence[str]) -> None:
    """Write the reference's class map: rows `class_index,class_name`, no header."""
    with open_atomic(path) as file:
        csv.writer(file, lineterminator="\n").writerows(enumerate(classes))


def read_class_map(path: Path) -> list[str]:
    """Read a class map; the indices must count from 0."""
    classes: list[str] = []
    errors: list[str] = []
    for line, fields in read_records(path):
        if len(fields) != 2 or fields[0] != str(len(classes)):
            errors.append(f"line {line}: {','.join(fields)!r} is not '{len(classes)},NAME'")
        errors += [f"line {line}: {error}" for error in validate_label(fields[-1])]
        classes.append(fields[-1])
    if len(set(classes)) < len(classes):
        errors.append("a class stands there twice")
    raise_if_errors(path, errors)
    return classes
