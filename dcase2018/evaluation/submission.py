"""What is said of clips, as files: all scores, and Kaggle's submission.

A file of scores has a column `fname` and one a class. A submission is `fname,label`, a label being the top
three classes parted by single spaces. Both may come from any program, and are scored as runs are.
"""

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dcase2018.data.labels import class_names, parse_labels, read_clip_table, read_table, write_table
from dcase2018.evaluation.evaluate import Evaluation
from dcase2018.evaluation.metrics import DEFAULT_K, top_classes
from dcase2018.utils.atomic import StrPath
from dcase2018.utils.errors import InputError


def write_submission(path: StrPath, scores: pd.DataFrame) -> None:
    """Write the top three classes of each clip.

    Parameters
    ----------
    scores
        A row a clip, indexed by `fname`, a column a class (see `predict`).

    Raises
    ------
    OSError
        If it cannot be written; a file that stood there is then untouched.
    """
    classes = scores.columns.to_numpy(object)
    labels = [" ".join(classes[ranks]) for ranks in top_classes(scores.to_numpy())]
    table = {"fname": scores.index.to_numpy(object), "label": np.array(labels, object)}
    write_table(Path(path), pd.DataFrame(table))


def write_scores(path: StrPath, scores: pd.DataFrame) -> None:
    """Write all scores: a row a clip, a column a class."""
    write_table(Path(path), scores.reset_index())


def read_scores(path: Path) -> pd.DataFrame:
    """Read a file of scores as `write_scores` writes them: float64, a row a clip, indexed by `fname`.

    Raises
    ------
    InputError
        With every error of the file and its line number.
    """
    table = read_clip_table(path, ("fname",))
    classes = [name for name in table.header if name != "fname"]
    if not classes or "label" in classes:
        raise InputError(
            f"{path} has no column a class; dcase2018 predict --scores-output writes such a file"
        )
    rows, fnames = [], []
    for line, row in table.iter_rows():
        scores = [_number(row[name]) for name in classes]
        wrong = [name for name, score in zip(classes, scores, strict=True) if not math.isfinite(score)]
        if wrong:
            table.errors.append((line, f"the score {row[wrong[0]]!r} of {wrong[0]} is no finite number"))
        rows.append(scores)
        fnames.append(row["fname"])
    table.raise_if_invalid()
    return pd.DataFrame(rows, pd.Index(fnames, name="fname", dtype=object), classes, dtype=float)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def evaluate_scores(scores: pd.DataFrame, labels: pd.DataFrame) -> Evaluation:
    """Hold scores (see `predict`) against the clips of a label file.

    Raises
    ------
    InputError
        If a clip has no scores.
    """
    missing = [fname for fname in labels["fname"] if fname not in scores.index]
    if missing:
        raise InputError(f"clip {missing[0]!r} has no scores, and so have {len(missing) - 1} others")
    return Evaluation(labels, scores.loc[labels["fname"]].to_numpy(), list(scores.columns))


def evaluate_submission(path: Path, labels_csv: Path, classes: Sequence[str] | None = None) -> Evaluation:
    """Hold a submission, of whatever program, against a label file.

    Parameters
    ----------
    classes
        The labels allowed in both; those of the label file, if None.

    Returns
    -------
    Evaluation
        Its scores tell the ranks of the classes that were named, and are -inf for the others.

    Raises
    ------
    InputError
        With every error of a file and its line number: a clip that counts is missing, one is not in the label
        file or stands there twice, and what `_label_errors` finds.
    """
    y_true = read_table(labels_csv)
    labels = parse_labels(y_true, classes)
    known = list(classes or class_names(labels))
    table = read_clip_table(path, ("fname", "label"))
    if "label" not in table.header:
        raise InputError(f"{path}: line 1: a submission has its labels in a column named label")
    lines = {row["fname"]: line for line, row in y_true.iter_rows()}
    named: dict[str, list[str]] = {}
    for line, row in table.iter_rows():
        if row["fname"] not in lines:
            table.errors.append((line, f"clip {row['fname']!r} is not in {labels_csv}"))
        table.errors += [(line, error) for error in _label_errors(row["label"], known)]
        named[row["fname"]] = _parted(row["label"])
    missing = [fname for fname in labels["fname"] if fname not in named]
    table.raise_if_invalid(
        [f"clip {fname!r}, line {lines[fname]} of {labels_csv}, is missing" for fname in missing]
    )
    scores = np.full((len(labels), len(known)), -np.inf)
    for clip, fname in enumerate(labels["fname"]):
        for rank, label in enumerate(named[fname]):
            scores[clip, known.index(label)] = -rank
    return Evaluation(labels, scores, known)


def _parted(text: str) -> list[str]:
    return [label for label in text.split(" ") if label]


def _label_errors(text: str, classes: Sequence[str]) -> Iterator[str]:
    """Say what is wrong with the labels of a clip."""
    named = _parted(text)
    if not named:
        yield "label is empty"
    if len(named) > DEFAULT_K:
        yield f"{len(named)} labels, and {DEFAULT_K} are allowed: {text!r}"
    for label in dict.fromkeys(named):
        if named.count(label) > 1:
            yield f"label {label!r} stands there twice"
        if label not in classes:
            yield _unknown(label, classes)


def _unknown(label: str, classes: Sequence[str]) -> str:
    pieces = [piece for piece in re.split(r"[\s,;|/]+", label) if piece]
    if pieces and pieces != [label] and set(pieces) <= set(classes):
        return f"{label!r}: labels are parted by single spaces"
    alike = [name for name in classes if name.casefold() == label.casefold()]
    hint = f"; {alike[0]} is" if alike else ""
    return f"label {label!r} is not among the {len(classes)} classes{hint}"
