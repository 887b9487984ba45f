"""Label files, class maps and splits: the CSV side of the data.

A label file has a header naming at least `fname` and `label`; Kaggle's and Zenodo's also bear
`manually_verified` (train) or `usage` (test: Public, Private or Ignored). One that names `labels` instead,
as FSD50K's do, has one or more of them a clip, parted by commas, and may leave `.wav` out of the names.
It is read as text, so that the label `None` stays a word and extra columns survive a split.
"""

import csv
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from dcase2018.foundation import AnyPath, InputError, open_text, published_text

MOST_ERRORS_SHOWN = 20

ONE, SEVERAL = "label", "labels"  # the column of a file with one label a clip, or with several


def read_labels(path: AnyPath, classes: Sequence[str] | None = None) -> pd.DataFrame:
    """Read a label file, less the rows whose usage is `Ignored`.

    Parameters
    ----------
    classes
        The labels allowed; any, if None.

    Returns
    -------
    DataFrame
        The file's columns, as text, one row a clip, in the file's order.

    Raises
    ------
    InputError
        With every error of the file and its line number.
    """
    path = Path(path)
    errors: list[str] = []
    rows: list[list[str]] = []
    header, lines = _clips(path, ("fname", ONE), errors)
    for line, fields in lines:
        row = dict(zip(header, fields, strict=True))
        if row.get("usage") != "Ignored":
            errors += [f"line {line}: {error}" for error in _row_errors(row, classes)]
            rows.append(fields)
    if not rows and not errors:
        errors.append("no clip is labelled")
    _raise_errors(path, errors)
    return pd.DataFrame(rows, columns=header, dtype=object)


def read_names(path: Path) -> list[str]:
    """Read the `fname` column of any CSV, such as `sample_submission.csv`, in its order."""
    errors: list[str] = []
    header, lines = _clips(path, ("fname",), errors)
    names = [fields[header.index("fname")] for _, fields in lines]
    _raise_errors(path, errors)
    return names


def _clips(
    path: Path, columns: Sequence[str], errors: list[str]
) -> tuple[list[str], Iterator[tuple[int, list[str]]]]:
    """Read the header, which must name `columns`, and walk the rows, a clip each."""
    lines = _records(path)
    header = next(lines, (1, []))[1]
    named = {*header, ONE} if SEVERAL in header else {*header}
    missing = [name for name in columns if name not in named]
    if missing:
        raise InputError(
            f"{path}: line 1: the header must name {' and '.join(columns)};"
            f" it has no {' and no '.join(missing)}"
        )
    return header, _well_formed(lines, header, errors)


def _well_formed(
    lines: Iterator[tuple[int, list[str]]], header: Sequence[str], errors: list[str]
) -> Iterator[tuple[int, list[str]]]:
    """Complete names, leave out rows that do not fit the header, and tell `errors` of those and doubles."""
    column = header.index("fname")
    seen: dict[str, int] = {}
    for line, fields in lines:
        if len(fields) != len(header):
            errors.append(f"line {line}: {len(fields)} fields, not {len(header)}")
            continue
        if SEVERAL in header and fields[column] and not Path(fields[column]).suffix:
            fields[column] += ".wav"
        first = seen.setdefault(fields[column], line)
        if first != line:
            errors.append(f"line {line}: {fields[column]!r} stands already in line {first}")
        yield line, fields


def _records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Walk the CSV's records that are not blank, with their line numbers."""
    with open_text(path) as file:
        reader = csv.reader(file, strict=True)
        try:
            for fields in reader:
                if reader.line_num == 1 and fields:
                    fields[0] = fields[0].removeprefix("\ufeff")  # a byte order mark
                if any(fields):
                    yield reader.line_num, fields
        except csv.Error as error:
            raise InputError(f"{path}: line {reader.line_num}: {error}") from None


def _row_errors(row: dict[str, str], classes: Sequence[str] | None) -> Iterator[str]:
    if not row["fname"]:
        yield "fname is empty"
    for label in [row[ONE]] if ONE in row else _parted(row[SEVERAL]):
        if not label:
            yield "label is empty"
        elif label == "None":
            yield "label 'None' is no class"
        elif classes is not None and label not in classes:
            yield f"label {label!r} is not among the {len(classes)} classes"
    if row.get("manually_verified", "0") not in ("0", "1"):
        yield f"manually_verified is {row['manually_verified']!r}, not 0 or 1"


def _raise_errors(path: Path, errors: list[str]) -> None:
    if not errors:
        return
    shown = errors[:MOST_ERRORS_SHOWN]
    if len(errors) > len(shown):
        shown.append(f"and {len(errors) - len(shown)} more")
    number = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
    raise InputError(f"{path}: {number}: " + "\n  ".join(shown))


def is_multi_label(labels: pd.DataFrame) -> bool:
    """Whether clips may have several labels."""
    return ONE not in labels


def label_lists(labels: pd.DataFrame) -> list[list[str]]:
    """Labels of each clip."""
    if is_multi_label(labels):
        return [_parted(several) for several in labels[SEVERAL]]
    return [[label] for label in labels[ONE]]


def _parted(several: str) -> list[str]:
    return [label.strip() for label in several.split(",")]


def class_names(labels: pd.DataFrame) -> list[str]:
    """Name the classes of a label file, in ascending order."""
    return sorted(set(chain.from_iterable(label_lists(labels))))


def class_truth(labels: pd.DataFrame, classes: Sequence[str]) -> np.ndarray:
    """Which of `classes` each clip bears: bool, (clips, classes)."""
    index = {name: number for number, name in enumerate(classes)}
    truth = np.zeros((len(labels), len(classes)), bool)
    for row, names in enumerate(label_lists(labels)):
        truth[row, [index[name] for name in names]] = True
    return truth


def verified(labels: pd.DataFrame) -> np.ndarray:
    """Whether a person has checked each clip's label: bool, (clips,); all, if the file does not tell."""
    if "manually_verified" not in labels:
        return np.ones(len(labels), bool)
    return (labels["manually_verified"] == "1").to_numpy(bool)


def write_class_map(path: Path, classes: Sequence[str]) -> None:
    """Write the reference's class map: rows `class_index,class_name`, no header."""
    with published_text(path) as file:
        csv.writer(file, lineterminator="\n").writerows(enumerate(classes))


def read_class_map(path: Path) -> list[str]:
    """Read a class map; the indices must count from 0."""
    classes: list[str] = []
    errors: list[str] = []
    for line, fields in _records(path):
        if len(fields) != 2 or fields[0] != str(len(classes)):
            errors.append(f"line {line}: {','.join(fields)!r} is not '{len(classes)},NAME'")
        classes.append(fields[-1])
    if len(set(classes)) < len(classes):
        errors.append("a class stands there twice")
    _raise_errors(path, errors)
    return classes


def hold_out(labels: pd.DataFrame, fraction: float, seed: int) -> np.ndarray:
    """Draw the rows of a validation set: bool, (rows,).

    Every stratum (label, or all labels, and `manually_verified` together) gives its share, to within one row.
    """
    order = _stratified_order(labels, seed)
    shares = np.floor(np.arange(len(order) + 1) * fraction + 0.5)
    chosen = np.zeros(len(order), bool)
    chosen[order] = np.diff(shares) > 0
    return chosen


def folds(labels: pd.DataFrame, n_folds: int, seed: int) -> np.ndarray:
    """Deal the rows into folds 0 to `n_folds - 1`, stratified as in `hold_out`: int, (rows,)."""
    order = _stratified_order(labels, seed)
    fold = np.empty(len(order), int)
    fold[order] = np.arange(len(order)) % n_folds
    return fold


def _stratified_order(labels: pd.DataFrame, seed: int) -> np.ndarray:
    """Row numbers, shuffled, then sorted by stratum: every k-th of them is a stratified draw."""
    keys = [name for name in (ONE, SEVERAL, "manually_verified") if name in labels]
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    strata = labels[keys].iloc[shuffled].agg("\t".join, axis=1)
    return shuffled[np.argsort(strata.to_numpy(dtype=str), kind="stable")]


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a CSV with a header and `\\n` at line ends, whole or not at all."""
    with published_text(path) as file:
        table.to_csv(file, index=False, lineterminator="\n")
