"""Out-of-fold scores of cross-validation: each clip is scored by the model that was not trained on it."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd

from dcase2018.data.clip_names import normalize_fname
from dcase2018.data.csv_tables import Table, read_table
from dcase2018.data.label_rules import parse_fraction
from dcase2018.data.labels import LABEL_COLUMN, LABELS_COLUMN, OUT_OF_FOLD_COLUMNS, is_multi_label
from dcase2018.evaluation.evaluate import PART_HEADINGS, Evaluation, format_scores
from dcase2018.runs.run import OUT_OF_FOLD_CSV
from dcase2018.utils.atomic import StrPath
from dcase2018.utils.config import parse_whole_number
from dcase2018.utils.errors import InputError

VERIFIED, UNVERIFIED = "verified", "unverified"  # parts of the score table

SINGLE_LABEL_METRICS = ("accuracy", "f1", "map3")
MULTI_LABEL_METRICS = ("map", "lwlrap", "map3")


def read_out_of_fold(path: StrPath) -> pd.DataFrame:
    """Read the scores of `out_of_fold.csv`, or of the training clips for label refinement.

    Returns
    -------
    DataFrame
        float64, one row per clip, indexed by fname, one column per class.

    Raises
    ------
    InputError
        With every error of the file and its line number.
    """
    return _parse_scores(read_table(Path(path)))


def _parse_scores(table: Table) -> pd.DataFrame:
    n_columns = 3 + (table.header[3:4] == ["fold"])
    if table.header[:n_columns] != list(OUT_OF_FOLD_COLUMNS[:n_columns]) or len(table.header) == n_columns:
        raise InputError(f"{table.path} is not an out_of_fold.csv; dcase2018 fit --folds writes one")
    scores: dict[str, list[float]] = {}
    for line, fields in table.rows:
        fname, texts = normalize_fname(fields[0]), fields[n_columns:]
        values = [parse_fraction(text) for text in texts]
        if None in values:
            table.errors.append((line, f"score {texts[values.index(None)]!r} is not a number from 0 to 1"))
        elif fname in scores:
            table.errors.append((line, f"clip {fname!r} is listed twice"))
        else:
            scores[fname] = cast(list[float], values)
    table.raise_if_invalid()
    if not scores:
        raise InputError(f"{table.path} lists no clip; run the same dcase2018 fit command again")
    return pd.DataFrame.from_dict(scores, orient="index", columns=table.header[n_columns:])


@dataclass(frozen=True)
class OutOfFold:
    """Out-of-fold scores with the labels that the models were trained with.

    Attributes
    ----------
    labels : DataFrame
        `fname` and `label` or `labels`. If some labels are verified and some are not, `usage` is `verified`
        or `unverified`, so that both are parts of the score table.
    scores : DataFrame
        float64, one row per clip, in the order of `labels`, one column per class.
    verified : ndarray of bool, (n_clips,)
    fold : ndarray of int, (n_clips,)
        Number of the fold of each clip, from 1, as in the names of the run folders.

    Examples
    --------
    >>> out_of_fold = dcase2018.OutOfFold.load("runs/folds")
    >>> out_of_fold.evaluation.accuracy
    0.8125
    >>> out_of_fold.fold_table()["accuracy"].std()
    0.0211
    """

    labels: pd.DataFrame
    scores: pd.DataFrame
    verified: np.ndarray
    fold: np.ndarray

    def __repr__(self) -> str:
        n_clips, n_classes = self.scores.shape
        return f"<OutOfFold: {n_clips} clips, {n_classes} classes, {self.fold.max()} folds>"

    @classmethod
    def load(cls, folder: StrPath) -> "OutOfFold":
        """Read the out-of-fold scores in a folder of folds.

        Raises
        ------
        InputError
            If the folder has none, or the file is damaged. The message lists all errors with line numbers.
        """
        path = Path(folder) / OUT_OF_FOLD_CSV
        if not path.is_file():
            raise InputError(
                f"{folder} has no {OUT_OF_FOLD_CSV};"
                " dcase2018 fit --folds or --fold-column writes it after the last fold"
            )
        table = read_table(path)
        scores = _parse_scores(table)
        if table.header[3] != "fold":
            raise InputError(f"{path} has no column fold; run the same dcase2018 fit command again")
        _check_rows(table)
        names = ["fname", LABELS_COLUMN, "verified", "fold"]
        clips = pd.DataFrame([row[: len(names)] for _, row in table.rows], columns=names, dtype=object)
        return cls._of(clips, scores)

    @classmethod
    def from_table(cls, table: pd.DataFrame) -> "OutOfFold":
        """Convert a table with the columns of out_of_fold.csv."""
        n_columns = len(OUT_OF_FOLD_COLUMNS)
        return cls._of(table.iloc[:, :n_columns].astype(str).astype(object), table.iloc[:, n_columns:])

    @classmethod
    def _of(cls, clips: pd.DataFrame, scores: pd.DataFrame) -> "OutOfFold":
        verified = (clips["verified"] == "True").to_numpy(bool)
        labels = clips[["fname", LABELS_COLUMN]].reset_index(drop=True)
        if not labels[LABELS_COLUMN].str.contains(",").any():
            labels = labels.rename(columns={LABELS_COLUMN: LABEL_COLUMN})
        if verified.any() and not verified.all():
            labels["usage"] = np.where(verified, VERIFIED, UNVERIFIED).astype(object)
        return cls(labels, scores, verified, clips["fold"].to_numpy(int))

    @cached_property
    def evaluation(self) -> Evaluation:
        """All clips with their labels and scores."""
        return Evaluation(self.labels, self.scores.to_numpy(), list(self.scores.columns))

    @cached_property
    def scored(self) -> np.ndarray:
        """Clips that `fold_table` counts, bool, (n_clips,): the verified ones, or all if none is verified."""
        return self.verified if self.verified.any() else ~self.verified

    def fold_table(self) -> pd.DataFrame:
        """Compute the scores of each fold.

        Returns
        -------
        DataFrame
            One row per fold that has such clips (see `scored`), indexed by the number of the fold: `n_clips`,
            then `accuracy`, `f1` and `map3`, or with several labels per clip `map`, `lwlrap` and `map3`.
        """
        metrics = MULTI_LABEL_METRICS if is_multi_label(self.labels) else SINGLE_LABEL_METRICS
        folds = {}
        for fold in np.unique(self.fold[self.scored]):
            clips = self.evaluation.subset(self.scored & (self.fold == fold))
            folds[int(fold)] = [len(clips.scores), *(getattr(clips, name) for name in metrics)]
        return pd.DataFrame.from_dict(folds, orient="index", columns=["n_clips", *metrics])


def _check_rows(table: Table) -> None:
    """Raise an `InputError` unless the labels of all rows are classes, and the other columns are valid."""
    classes = set(table.header[len(OUT_OF_FOLD_COLUMNS) :])
    for line, (_, labels, verified, fold, *_) in table.rows:
        unknown = [label for label in labels.split(",") if label not in classes]
        if unknown:
            table.errors.append((line, f"label {unknown[0]!r} is not a column"))
        if verified not in ("True", "False"):
            table.errors.append((line, f"verified is {verified!r}; it must be True or False"))
        if not parse_whole_number(fold):
            table.errors.append((line, f"fold is {fold!r:.100}; it must be a number from 1"))
    table.raise_if_invalid()


def format_folds(out_of_fold: OutOfFold) -> str:
    """Format the scores of each fold; the last line has their mean and spread as papers print them.

    The standard deviation is that of a sample: n - 1 in the denominator.
    """
    table = out_of_fold.fold_table()
    kind = VERIFIED if out_of_fold.verified.any() else UNVERIFIED
    title = f"out-of-fold scores of {out_of_fold.scored.sum()} clips with {kind} labels"
    shown = table.astype(object).rename(columns=PART_HEADINGS, index="fold {}".format)
    if len(table) < 2:
        return f"{title}:\n{format_scores(shown)}"
    mean, deviation = table.mean(), table.std(ddof=1)
    first = table.columns[1]
    summary = ", ".join(
        f"{PART_HEADINGS[name]} {mean[name]:.3f} ± {deviation[name]:.3f}" for name in (first, "map3")
    )
    shown.loc["mean ± SD"] = ["", *(f"{mean[n]:.3f} ± {deviation[n]:.3f}" for n in table.columns[1:])]
    return f"{title}:\n{format_scores(shown)}\n{summary} over {len(table)} folds (mean ± SD)"
