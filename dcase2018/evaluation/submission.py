"""Score files and Kaggle submissions: reading, writing, evaluation.

A score file has a column `fname` and one column per class. A submission has the columns `fname,label`, where
`label` lists up to three classes separated by single spaces. Files of other programs are accepted too.
"""

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dcase2018.data.csv_tables import read_table
from dcase2018.data.labels import class_names, parse_labels, read_clip_table, write_table
from dcase2018.evaluation.evaluate import Evaluation
from dcase2018.evaluation.metrics import DEFAULT_K, top_classes
from dcase2018.utils.atomic import StrPath
from dcase2018.utils.errors import InputError


def write_submission(path: StrPath, scores: pd.DataFrame) -> None:
    """Write a Kaggle submission: the top three classes of each clip.

    Parameters
    ----------
    path : str or PathLike
        The CSV to write, atomically.
    scores : DataFrame
        One row per clip, indexed by `fname`, one column per class (see `predict`).

    Raises
    ------
    InputError
        If a score is not a finite number.
    OSError
        If the file cannot be written. An existing file is then unchanged.

    Examples
    --------
    >>> dcase2018.write_submission("submission.csv", dcase2018.predict(ensemble))
    """
    _check_finite(scores)
    classes = scores.columns.to_numpy(object)
    labels = [" ".join(classes[ranks]) for ranks in top_classes(scores.to_numpy())]
    table = {"fname": scores.index.to_numpy(object), "label": np.array(labels, object)}
    write_table(Path(path), pd.DataFrame(table))


def write_scores(path: StrPath, scores: pd.DataFrame) -> None:
    """Write a score file (see `read_scores`); raises what `write_submission` raises."""
    _check_finite(scores)
    write_table(Path(path), scores.reset_index())


def _check_finite(scores: pd.DataFrame) -> None:
    invalid = ~np.isfinite(scores.to_numpy(float))
    if invalid.any():
        clip, column = np.argwhere(invalid)[0]
        raise InputError(
            f"score {scores.iat[clip, column]} of clip {scores.index[clip]!r} for {scores.columns[column]!r}"
            " is not a finite number"
        )


def read_scores(path: Path) -> pd.DataFrame:
    """Read a score file.

    Returns
    -------
    DataFrame
        float64, one row per clip, indexed by `fname`, one column per class.

    Raises
    ------
    InputError
        With every error of the file and its line number.
    """
    table = read_clip_table(path, ("fname",))
    classes = [name for name in table.header if name != "fname"]
    if not classes or "label" in classes:
        raise InputError(
            f"{path} is not a score file: it needs one column per class;"
            " dcase2018 predict --scores-output writes such a file"
        )
    rows, fnames = [], []
    for line, row in table.iter_rows():
        scores = [_parse_float(row[name]) for name in classes]
        invalid = [name for name, score in zip(classes, scores, strict=True) if not math.isfinite(score)]
        if invalid:
            table.errors.append((line, f"score {row[invalid[0]]!r} of {invalid[0]} is not a finite number"))
        rows.append(scores)
        fnames.append(row["fname"])
    table.raise_if_invalid()
    return pd.DataFrame(rows, pd.Index(fnames, name="fname", dtype=object), classes, dtype=float)


def _parse_float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def evaluate_scores(scores: pd.DataFrame, labels: pd.DataFrame, path: Path) -> Evaluation:
    """Evaluate scores (see `predict`) on the clips of a label file.

    Parameters
    ----------
    scores, path
        The scores, and the file that they come from.
    labels
        Labels of the clips (see `read_labels`).

    Raises
    ------
    InputError
        If a clip has no scores.
    """
    missing = [fname for fname in labels["fname"] if fname not in scores.index]
    if missing:
        raise InputError(
            f"{path} has no scores of {len(missing)} of {len(labels)} clips, such as {missing[0]!r};"
            " predict all clips, or skip these with --missing skip"
        )
    return Evaluation(labels, scores.loc[labels["fname"]].to_numpy(), list(scores.columns))


def score(submission: StrPath, labels_csv: StrPath, classes: Sequence[str] | None = None) -> Evaluation:
    """Evaluate a submission on the clips of a label file.

    Parameters
    ----------
    submission : str or PathLike
        A CSV with the columns `fname` and `label`, of any program.
    labels_csv : str or PathLike
        The label file.
    classes : sequence of str, optional
        Classes allowed in both files; by default those of the label file.

    Returns
    -------
    Evaluation
        Scores are minus the rank of a submitted class, and -inf for the other classes.

    Raises
    ------
    InputError
        With every error of a file and its line number: a clip is missing, unknown or listed twice, or its
        labels are invalid.

    Examples
    --------
    >>> dcase2018.score("submission.csv", "data/test_post_competition.csv").map3
    0.7431
    """
    path, labels_csv = Path(submission), Path(labels_csv)
    label_table = read_table(labels_csv)
    labels = parse_labels(label_table, classes)
    classes = list(classes or class_names(labels))
    table = read_clip_table(path, ("fname", "label"))
    if "label" not in table.header:
        raise InputError(f"{path}: line 1: the column label is missing; a submission has fname and label")
    line_of = {row["fname"]: line for line, row in label_table.iter_rows()}
    submitted: dict[str, list[str]] = {}
    for line, row in table.iter_rows():
        if row["fname"] not in line_of:
            table.errors.append((line, f"clip {row['fname']!r} is not in {labels_csv}"))
        table.errors += [(line, error) for error in _label_errors(row["label"], classes)]
        submitted[row["fname"]] = _split_labels(row["label"])
    missing = [fname for fname in labels["fname"] if fname not in submitted]
    table.raise_if_invalid(
        [f"clip {fname!r}, line {line_of[fname]} of {labels_csv}, is missing" for fname in missing]
    )
    scores = np.full((len(labels), len(classes)), -np.inf)
    for clip, fname in enumerate(labels["fname"]):
        for rank, label in enumerate(submitted[fname]):
            scores[clip, classes.index(label)] = -rank
    return Evaluation(labels, scores, classes, is_ranking=True)


def _split_labels(text: str) -> list[str]:
    return [label for label in text.split(" ") if label]


def _label_errors(text: str, classes: Sequence[str]) -> Iterator[str]:
    labels = _split_labels(text)
    if not labels:
        yield "label is empty"
    if len(labels) > DEFAULT_K:
        yield f"{len(labels)} labels; at most {DEFAULT_K} are allowed: {text!r}"
    for label in dict.fromkeys(labels):
        if labels.count(label) > 1:
            yield f"label {label!r} is listed twice"
        if label not in classes:
            yield _unknown_label_message(label, classes)


def _unknown_label_message(label: str, classes: Sequence[str]) -> str:
    tokens = [token for token in re.split(r"[\s,;|/]+", label) if token]
    if tokens and tokens != [label] and set(tokens) <= set(classes):
        return f"{label!r}: labels must be separated by single spaces"
    similar = [name for name in classes if name.casefold() == label.casefold()]
    hint = f"; did you mean {similar[0]!r}?" if similar else ""
    return f"label {label!r} is not among the {len(classes)} classes{hint}"
