"""Scores of a system on labelled clips: per clip, per class and overall, for each leaderboard part."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from dcase2018.data.labels import is_multi_label, labels_per_clip, multi_hot, write_table
from dcase2018.evaluation.metrics import (
    average_precision,
    class_average_precision,
    class_means,
    is_top_1_correct,
    label_precision,
    lwlrap,
    precision_recall_f1,
    top_classes,
)
from dcase2018.inference.ensemble import Ensemble
from dcase2018.inference.predictor import iter_ensemble_scores
from dcase2018.inference.shared_clips import warn_of_shared_clips
from dcase2018.runs.run import OUT_OF_FOLD_CSV
from dcase2018.utils.atomic import write_json
from dcase2018.utils.errors import InputError, shorten_list
from dcase2018.utils.progress import Progress

log = logging.getLogger(__name__)

OVERALL = "overall"  # the `label` of the row for all classes
ALL = "all"  # the `part` of the rows for all clips, whatever their usage

LOG_TABLE_EVERY = 50  # clips between two tables with -v, as in the reference

# Headings of the tables on a terminal, of classes and of parts. A score table has more columns.
CLASS_HEADINGS = {
    "n_clips": "clips", "map3": "MAP@3", "interval": "95 %", "precision": "precision", "recall": "recall",
    "f1": "F1", "map": "mAP", "lwlrap": "lwlrap",
}  # fmt: skip
PART_HEADINGS = {
    "n_clips": "clips", "map3": "MAP@3", "interval": "95 %", "accuracy": "accuracy",
    "accuracy_interval": "95 %", "f1": "macro F1", "map": "mAP", "lwlrap": "lwlrap",
}  # fmt: skip
TABLE_WIDTH = 80


@dataclass(frozen=True)
class Evaluation:
    """Labelled clips and their scores.

    Attributes
    ----------
    labels : DataFrame
        One row per clip (see `read_labels`).
    scores : ndarray of float64, (n_clips, n_classes)
        Scores in the order of `labels`.
    classes : sequence of str
        Class names, in the order of the columns of `scores`.
    is_training_clip : ndarray of bool, (n_clips,), optional
        Clips that the system was trained on. None if there are none, or if it is unknown.
    is_ranking : bool
        Whether the scores are ranks within a clip, as of a submission. mAP and lwlrap are then unknown.

    Examples
    --------
    >>> evaluation = dcase2018.evaluate(ensemble, labels)
    >>> evaluation.map3, evaluation.accuracy, evaluation.f1
    (0.7431, 0.6875, 0.6712)
    >>> evaluation.intervals["map3"]
    (0.7212, 0.7639)
    >>> evaluation.table.query("part == 'all' and label == 'Bark'")
    """

    labels: pd.DataFrame
    scores: np.ndarray
    classes: Sequence[str]
    is_training_clip: np.ndarray | None = None
    is_ranking: bool = False

    def __repr__(self) -> str:
        n_clips, n_classes = self.scores.shape
        return f"<Evaluation: {n_clips} clips, {n_classes} classes, MAP@3 {self.map3:.4f}>"

    @cached_property
    def y_true(self) -> np.ndarray:
        """Labels of each clip: bool, (n_clips, n_classes)."""
        return multi_hot(self.labels, self.classes)

    @cached_property
    def ap_at_3(self) -> np.ndarray:
        """Average precision at 3 of each clip: float64, (n_clips,)."""
        return average_precision(self.scores, self.y_true)

    @cached_property
    def is_correct(self) -> np.ndarray:
        """Whether the top class of each clip is one of its labels: bool, (n_clips,)."""
        return is_top_1_correct(self.scores, self.y_true)

    @property
    def map3(self) -> float:
        """Mean average precision at 3 over all clips."""
        return float(self.ap_at_3.mean())

    @property
    def accuracy(self) -> float:
        """Fraction of the clips whose top class is one of their labels."""
        return float(self.is_correct.mean())

    @property
    def precision(self) -> float:
        """Macro precision of the top class: the mean over the classes that have clips."""
        return float(np.nanmean(self._precision_recall_f1[0]))

    @property
    def recall(self) -> float:
        """Macro recall of the top class: the mean over the classes that have clips."""
        return float(np.nanmean(self._precision_recall_f1[1]))

    @property
    def f1(self) -> float:
        """Macro F1 of the top class: the mean over the classes that have clips."""
        return float(np.nanmean(self._precision_recall_f1[2]))

    @property
    def map(self) -> float:
        """Mean of the average precision over the classes that have clips (mAP)."""
        return float(np.nanmean(class_average_precision(self.scores, self.y_true)))

    @cached_property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """95 % confidence intervals of `map3` and `accuracy` (see `confidence_intervals`)."""
        from dcase2018.evaluation.confidence_intervals import confidence_intervals  # it imports this module

        return confidence_intervals(self)

    @property
    def lwlrap(self) -> float:
        """Label-weighted label-ranking average precision over all labels."""
        return lwlrap(self.scores, self.y_true)

    @cached_property
    def _precision_recall_f1(self) -> np.ndarray:
        return precision_recall_f1(self.scores, self.y_true)

    def subset(self, clips: slice | np.ndarray) -> "Evaluation":
        """Select clips by a slice or a boolean mask."""
        is_training_clip = None if self.is_training_clip is None else self.is_training_clip[clips]
        return replace(
            self, labels=self.labels[clips], scores=self.scores[clips], is_training_clip=is_training_clip
        )

    @property
    def by_usage(self) -> dict[str, "Evaluation"]:
        """This evaluation as `all`, and one per `usage` of the label file, such as `Private` and `Public`."""
        usage = self.labels["usage"].to_numpy(dtype=str) if "usage" in self.labels else np.zeros(0, str)
        return {ALL: self} | {name: self.subset(usage == name) for name in sorted(set(usage) - {ALL})}

    @property
    def table(self) -> pd.DataFrame:
        """Score table in long form, one row per part and label.

        Columns: `part` (`all`, then each usage), `label` (each class, then `overall`), `n_clips` and `map3`;
        then `accuracy`, `precision`, `recall`, `f1` and `map`, or for clips with several labels `map` and
        `lwlrap`. The scores of a class without clips are NaN. The row `overall` has the accuracy of all
        clips, which for a class equals recall; its precision, recall, F1 and mAP are means over the classes.
        A ranking has no `map` and `lwlrap`. If the system was trained on any of the clips, `n_training_clips`
        is their number.
        """
        tables = [evaluation._part_table(part) for part, evaluation in self.by_usage.items()]
        return pd.concat(tables, ignore_index=True)

    def _part_table(self, part: str) -> pd.DataFrame:
        columns = {
            "part": part,
            "label": [*self.classes, OVERALL],
            "n_clips": [*self.y_true.sum(axis=0), len(self.y_true)],
            "map3": [*class_means(self.ap_at_3, self.y_true), self.ap_at_3.mean()],
        }
        if not is_multi_label(self.labels):
            columns["accuracy"] = [*class_means(self.is_correct, self.y_true), self.accuracy]
            for name, values in zip(("precision", "recall", "f1"), self._precision_recall_f1, strict=True):
                columns[name] = [*values, getattr(self, name)]
        if not self.is_ranking:
            columns["map"] = [*class_average_precision(self.scores, self.y_true), self.map]
        if is_multi_label(self.labels) and not self.is_ranking:
            class_lwlrap = class_means(label_precision(self.scores, self.y_true), self.y_true)
            columns["lwlrap"] = [*class_lwlrap, self.lwlrap]
        if self.is_training_clip is not None:
            is_trained = self.is_training_clip
            columns["n_training_clips"] = [*self.y_true[is_trained].sum(axis=0), is_trained.sum()]
        return pd.DataFrame(columns)

    @property
    def clips(self) -> pd.DataFrame:
        """Table of the clips, one row per clip.

        Columns: `fname`; `usage` if the label file has it; `label` (several are separated by commas); the top
        three classes and their scores as `top_1`, `score_1`, ...; `ap_at_3`; and, if the system was trained
        on any of the clips, `is_training_clip`, 1 or 0.
        """
        columns: dict[str, object] = {"fname": self.labels["fname"].to_numpy()}
        if "usage" in self.labels:
            columns["usage"] = self.labels["usage"].to_numpy()
        columns["label"] = [",".join(names) for names in labels_per_clip(self.labels)]
        for rank, indices in enumerate(top_classes(self.scores).T, 1):
            columns[f"top_{rank}"] = [self.classes[index] for index in indices]
            columns[f"score_{rank}"] = self.scores[np.arange(len(indices)), indices]
        columns["ap_at_3"] = self.ap_at_3
        if self.is_training_clip is not None:
            columns["is_training_clip"] = self.is_training_clip.astype(int)
        return pd.DataFrame(columns)


def evaluate(ensemble: Ensemble, labels: pd.DataFrame, allow_trained: bool = False) -> Evaluation:
    """Score the clips of a label file.

    Parameters
    ----------
    ensemble : Ensemble
        The runs whose mean scores are evaluated, with their stores.
    labels : DataFrame
        Clips of the ensemble's stores, with labels among its classes (see `read_labels`).
    allow_trained : bool
        Score training clips too, and mark them in the result.

    Returns
    -------
    Evaluation

    Raises
    ------
    InputError
        If a network was trained on one of the clips, unless `allow_trained`.
    InputError, Dcase2018Error
        See `predict`.

    Examples
    --------
    >>> ensemble = dcase2018.Ensemble.open(["runs/first"], [dcase2018.Store("features/test.h5")])
    >>> labels = dcase2018.read_labels("data/test_post_competition.csv", ensemble.classes)
    >>> dcase2018.evaluate(ensemble, labels).map3
    0.7431
    """
    is_trained = check_training_clips(ensemble, labels["fname"], allow_trained)
    scores = np.zeros((len(labels), len(ensemble.classes)))
    evaluation = Evaluation(labels, scores, ensemble.classes, is_trained if is_trained.any() else None)
    warn_of_shared_clips(ensemble, labels)
    ap_sum = 0.0
    with Progress("evaluate", len(labels), "clips") as progress:
        for clip, clip_scores in enumerate(iter_ensemble_scores(ensemble, labels["fname"])):
            scores[clip] = clip_scores
            ap_sum += average_precision(clip_scores[None], evaluation.y_true[clip : clip + 1])[0]
            if log.isEnabledFor(logging.DEBUG):
                _log_clip(evaluation, clip)
            progress.update(1, **{"MAP@3": f"{ap_sum / (clip + 1):.4f}"})
    return evaluation


def check_training_clips(ensemble: Ensemble, fnames: Sequence[str], allow_trained: bool) -> np.ndarray:
    """Mark the clips that a network of the ensemble was trained on: bool, (n_clips,).

    Raises
    ------
    InputError
        If there are any, unless `allow_trained`.
    """
    is_trained = ensemble.find_training_clips(fnames)
    if is_trained.any() and not allow_trained:
        fname = list(fnames)[int(is_trained.argmax())]
        folder = ensemble.members[0].run.path.parent
        out_of_fold = f", or the out-of-fold scores with --out-of-fold {folder}"
        raise InputError(
            f"{is_trained.sum()} of {len(is_trained)} clips are training clips of"
            f" {shorten_list([str(member.run.path) for member in ensemble.members])}, such as {fname!r};"
            f" evaluate other clips{out_of_fold * (folder / OUT_OF_FOLD_CSV).is_file()},"
            " or add --allow-trained to score them"
        )
    return is_trained


def _log_clip(evaluation: Evaluation, clip: int) -> None:
    """Log the scores of a clip and, every `LOG_TABLE_EVERY` clips, the table so far."""
    row = evaluation.subset(slice(clip, clip + 1)).clips.iloc[0]
    top = ", ".join(f"{row[f'top_{k}']} {row[f'score_{k}']:.4f}" for k in range(1, 4) if f"top_{k}" in row)
    log.debug("%s: %s: %s: %.4f", row["fname"], row["label"], top, row["ap_at_3"])
    if (clip + 1) % LOG_TABLE_EVERY == 0:
        log.debug("after %d clips:\n%s", clip + 1, format_table(evaluation.subset(slice(clip + 1)).table))


def format_table(table: pd.DataFrame) -> str:
    """Format a score table for a terminal of 80 columns: the classes of all clips, and a line per part.

    Parameters
    ----------
    table : DataFrame
        `Evaluation.table`, or a `score_table`.
    """
    classes = table[table["part"] == ALL].set_index("label")
    parts = table[table["label"] == OVERALL].set_index("part")
    if "precision" in table:
        classes = classes.drop(columns="map", errors="ignore")  # the lines would be too long
    lines = [_format_rows(classes, CLASS_HEADINGS), "", _format_rows(parts, PART_HEADINGS)]
    if "n_training_clips" in table:
        n_training, n_clips = parts.loc[ALL, ["n_training_clips", "n_clips"]]
        lines += ["", f"training clips: {n_training} of {n_clips}; their scores do not hold for new clips"]
    return "\n".join(lines)


def _format_rows(rows: pd.DataFrame, headings: Mapping[str, str]) -> str:
    """Format the columns that exist; row names are shortened where the lines would be too long."""
    rows = rows.copy()
    for name, prefix in (("interval", ""), ("accuracy_interval", "accuracy_")):
        if f"{prefix}ci_low" in rows:
            low, high = (rows[f"{prefix}{bound}"] for bound in ("ci_low", "ci_high"))
            rows[name] = (low.map("{:.3f}-".format) + high.map("{:.3f}".format)).where(low.notna(), "-")
    shown = rows[[name for name in headings if name in rows]].rename(columns=headings).rename_axis(None)
    excess = len(format_scores(shown).partition("\n")[0]) - TABLE_WIDTH
    width = max(map(len, shown.index)) - max(excess, 0)
    return format_scores(shown.rename(index=lambda name: shorten_name(name, width)))


def format_scores(table: pd.DataFrame) -> str:
    """Format a table of scores with four decimals, and - for NaN."""
    return table.to_string(float_format="{:.4f}".format, na_rep="-")


def shorten_name(name: str, width: int) -> str:
    """Replace the end of a name that is longer than `width` by three dots."""
    return name if len(name) <= width else name[: width - 3] + "..."


def write_score_table(path: Path, table: pd.DataFrame) -> None:
    """Write a score table as JSON (a list of row objects) or CSV, by the suffix of `path`."""
    if path.suffix == ".json":
        write_json(path, to_records(table))
    else:
        write_table(path, table)


def to_records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Convert a table to row objects, with None for NaN."""
    return table.astype(object).where(table.notna(), None).to_dict(orient="records")
