"""Read and write label files and class maps.

A label file is a CSV with the columns `fname` and `label`. Kaggle's and Zenodo's files also have
`manually_verified` (training) or `usage` (test: Public, Private or Ignored). A multi-label file, such as that
of FSD50K, has the column `labels` instead, with comma-separated labels; there `fname` may omit `.wav`. The
optional column `weight` is the sample weight of each clip in training, from 0 to 1.

All columns are read as text, without white space around the values, so that extra columns survive a split.
Names of clips and labels are read in a normal form, so that one name is one clip and one class.
"""

import csv
import logging
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from dcase2018.data.clip_names import normalize_fname
from dcase2018.data.csv_tables import Table, raise_if_errors, read_records, read_table
from dcase2018.data.label_rules import (
    FLAGS,
    USAGES,
    describe_encoding_error,
    normalize_label,
    parse_fraction,
    similar_labels,
    split_labels,
    validate_label,
)
from dcase2018.utils.atomic import StrPath, open_atomic
from dcase2018.utils.errors import InputError, shorten_list

log = logging.getLogger(__name__)

LABEL_COLUMN, LABELS_COLUMN = "label", "labels"  # of single-label and of multi-label files
WEIGHT_COLUMN, VERIFIED_COLUMN = "weight", "manually_verified"

OUT_OF_FOLD_COLUMNS = ("fname", LABELS_COLUMN, "verified", "fold")  # before the scores of each class


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
    if tuple(table.header[: len(OUT_OF_FOLD_COLUMNS)]) == OUT_OF_FOLD_COLUMNS:
        raise InputError(
            f"{table.path} holds out-of-fold scores and is not a label file;"
            f" evaluate them with dcase2018 evaluate --out-of-fold {table.path.parent}"
        )
    _check_clips(table, ("fname", LABEL_COLUMN), allow_duplicates)
    rows: list[dict[str, str]] = []
    line_of_label: dict[str, int] = {}
    n_ignored = n_empty_flags = 0
    for line, row in table.iter_rows():
        if USAGES.get(row.get("usage", "").casefold()) == "Ignored":
            n_ignored += 1
            continue
        n_empty_flags += row.get(VERIFIED_COLUMN) == ""
        _normalize_values(row)
        table.errors += [(line, error) for error in _validate_row(row, classes)]
        for label in _row_labels(row):
            line_of_label.setdefault(label, line)
        rows.append(row)
    for first, label in similar_labels(line_of_label):
        error = f"label {label!r} is written {first!r} in line {line_of_label[first]}; write one form"
        table.errors.append((line_of_label[label], error))
    table.raise_if_invalid()
    if not rows:
        raise InputError(f"{table.path}: no clip has a label")
    if n_ignored:
        log.info("%s: %d rows are Ignored", table.path, n_ignored)
    if n_empty_flags:
        log.warning(
            "%s: %s is empty for %d of %d clips; they count as not verified",
            table.path, VERIFIED_COLUMN, n_empty_flags, len(rows),
        )  # fmt: skip
    return pd.DataFrame(rows, columns=table.header, dtype=object)


def _normalize_values(row: dict[str, str]) -> None:
    """Bring labels, usage and flag of a row into their normal form, as far as they are valid."""
    for name in (LABEL_COLUMN, LABELS_COLUMN):
        if name in row:
            row[name] = ",".join(split_labels(row[name]))
    for name, forms in (("usage", USAGES), (VERIFIED_COLUMN, FLAGS)):
        if name in row:
            row[name] = forms.get(row[name].casefold(), row[name])


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
    _check_clips(table, columns)
    return table


def _check_clips(table: Table, columns: Sequence[str], allow_duplicates: bool = False) -> None:
    """Require `columns`, bring the names of clips into normal form, and find wrong text and duplicates."""
    _check_header(table, columns)
    fname_index = table.header.index("fname")
    first_rows: dict[str, tuple[int, str, list[str]]] = {}
    n_duplicates = 0
    table.errors += islice(_encoding_errors(table), 1)
    for line, fields in table.rows:
        original = fields[fname_index]
        fname = fields[fname_index] = _complete_fname(original, LABELS_COLUMN in table.header)
        first_line, first_original, first_fields = first_rows.setdefault(fname, (line, original, fields))
        if first_line != line and allow_duplicates and fields == first_fields:
            n_duplicates += 1
        elif first_line != line:
            is_same = original == first_original
            name, form = (fname, "") if is_same else (original, f" as {first_original!r}")
            suffix = " with other values" if allow_duplicates else ""
            table.errors.append((line, f"{name!r} is already listed in line {first_line}{form}{suffix}"))
    if n_duplicates:
        log.warning("%s: %d rows are duplicates; every copy counts", table.path, n_duplicates)


def _encoding_errors(table: Table) -> Iterator[tuple[int, str]]:
    """Yield line and error of values that are not UTF-8; names of clips may have any bytes."""
    for line, row in table.iter_rows():
        for name, value in row.items():
            if name != "fname" and (error := describe_encoding_error(value)):
                yield line, f"{name} {error}; save the file as UTF-8"


def _check_header(table: Table, columns: Sequence[str]) -> None:
    present = {*table.header, LABEL_COLUMN} if LABELS_COLUMN in table.header else {*table.header}
    missing = [name for name in columns if name not in present]
    if missing:
        raise InputError(
            f"{table.path}: line 1: the header must have {' and '.join(columns)};"
            f" missing: {', '.join(missing)}; found: {shorten_list([*map(repr, table.header)]) or 'nothing'}"
        )
    wrong = next(filter(None, map(describe_encoding_error, table.header)), "")
    if wrong:
        raise InputError(f"{table.path}: line 1: the column {wrong}; save the file as UTF-8")


def _complete_fname(text: str, is_multi_label: bool) -> str:
    """Return the normal form of a name; in a multi-label file, with the extension `.wav` if it has none."""
    fname = normalize_fname(text)
    return fname + ".wav" if is_multi_label and fname and not PurePosixPath(fname).suffix else fname


def _row_labels(row: dict[str, str]) -> list[str]:
    return [row[LABEL_COLUMN]] if LABEL_COLUMN in row else row[LABELS_COLUMN].split(",")


def _validate_row(row: dict[str, str], classes: Sequence[str] | None) -> Iterator[str]:
    if not row["fname"] or "\0" in row["fname"]:
        yield "fname is empty" if not row["fname"] else f"fname {row['fname']!r} contains a NUL character"
    for label in _row_labels(row):
        yield from validate_label(label, classes)
    if row.get("usage", "Public") not in USAGES.values():
        yield f"usage is {row['usage']!r}; it must be Public, Private or Ignored"
    if row.get(VERIFIED_COLUMN, "0") not in FLAGS.values():
        yield f"{VERIFIED_COLUMN} is {row[VERIFIED_COLUMN]!r}; it must be 0 or 1"
    if parse_fraction(row.get(WEIGHT_COLUMN, "1")) is None:
        yield f"weight is {row[WEIGHT_COLUMN]!r}; it must be a number from 0 to 1"


def is_multi_label(labels: pd.DataFrame) -> bool:
    """Return whether clips may have several labels."""
    return LABEL_COLUMN not in labels


def labels_per_clip(labels: pd.DataFrame) -> list[list[str]]:
    """Return the list of labels of each clip.

    Raises
    ------
    InputError
        If there is no column of labels, or a label is not text, as in a table that pandas read without
        `dtype=str`.
    """
    name = LABELS_COLUMN if is_multi_label(labels) else LABEL_COLUMN
    if name not in labels:
        raise InputError("the table has neither a column label nor labels; use dcase2018.read_labels")
    column = labels[name]
    for row, text in enumerate(column):
        if not isinstance(text, str):
            raise InputError(f"label {text!r} of row {row} is not text; use dcase2018.read_labels")
    return [split_labels(text) if is_multi_label(labels) else [normalize_label(text)] for text in column]


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
    """Encode the labels of each clip: bool, (n_clips, n_classes).

    Raises
    ------
    InputError
        If a label is not among the classes.
    """
    index = {name: i for i, name in enumerate(classes)}
    y_true = np.zeros((len(labels), len(classes)), bool)
    for row, names in enumerate(labels_per_clip(labels)):
        unknown = [name for name in names if name not in index]
        if unknown:
            raise InputError(f"label {unknown[0]!r} is not among the {len(classes)} classes")
        y_true[row, [index[name] for name in names]] = True
    return y_true


def verified_mask(labels: pd.DataFrame) -> np.ndarray:
    """Return which labels are manually verified: bool, (n_clips,). All are without that column.

    Numbers and truth values, as pandas reads them, count like their texts. An empty value is False.

    Raises
    ------
    InputError
        If a value is neither 0 nor 1.
    """
    if VERIFIED_COLUMN not in labels:
        return np.ones(len(labels), bool)
    values = labels[VERIFIED_COLUMN].astype(object)
    texts = values.where(values.notna(), "").astype(str)
    flags = [FLAGS.get(text.strip().casefold()) for text in texts]
    if None in flags:
        raise InputError(f"{VERIFIED_COLUMN} is {texts.iloc[flags.index(None)]!r}; it must be 0 or 1")
    return np.array(flags, object) == "1"


def sample_weights(labels: pd.DataFrame) -> np.ndarray | None:
    """Return the sample weight of each clip: float64 in [0, 1], (n_clips,). None without that column.

    Raises
    ------
    InputError
        If a weight is not a number from 0 to 1.
    """
    if WEIGHT_COLUMN not in labels:
        return None
    weights = [parse_fraction(str(value)) for value in labels[WEIGHT_COLUMN]]
    if None in weights:
        row = weights.index(None)
        raise InputError(
            f"the weight of clip {labels['fname'].iloc[row]!r} is {labels[WEIGHT_COLUMN].iloc[row]};"
            " it must be a number from 0 to 1"
        )
    return np.array(weights, float)


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
        label = normalize_label(fields[-1])
        wrong_bytes = describe_encoding_error(label)
        invalid = [f"class {wrong_bytes}; save the file as UTF-8"] if wrong_bytes else validate_label(label)
        errors += [f"line {line}: {error}" for error in invalid]
        classes.append(label)
    if len(set(classes)) < len(classes):
        errors.append("a class is listed twice")
    errors += [f"{first!r} and {label!r} are one class" for first, label in similar_labels(classes)]
    raise_if_errors(path, errors)
    return classes
