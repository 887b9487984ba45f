"""Scores against labels: clip by clip, by class and overall, for each part of the leaderboard."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from dcase2018.data.labels import is_multi_label, labels_per_clip, multi_hot, write_table
from dcase2018.evaluation.metrics import (
    average_precision,
    class_average_precision,
    class_means,
    label_precision,
    lwlrap,
    top_classes,
)
from dcase2018.inference.ensemble import Ensemble
from dcase2018.inference.predictor import iter_ensemble_scores
from dcase2018.utils.atomic import write_json
from dcase2018.utils.progress import Progress

log = logging.getLogger(__name__)

OVERALL = "overall"

TABLE_CLIPS = 50  # with -v, clips from one table to the next, as in the reference


@dataclass(frozen=True)
class Evaluation:
    """Labelled clips and their scores.

    Attributes
    ----------
    labels
        A row a clip (see `read_labels`).
    scores
        float64, (clips, classes), in the order of `labels`.
    """

    labels: pd.DataFrame
    scores: np.ndarray
    classes: Sequence[str]

    @cached_property
    def y_true(self) -> np.ndarray:
        """Which classes each clip bears: bool, (clips, classes)."""
        return multi_hot(self.labels, self.classes)

    @cached_property
    def ap_at_3(self) -> np.ndarray:
        """Average precision at 3 of each clip, (clips,)."""
        return average_precision(self.scores, self.y_true)

    def subset(self, clips: slice | np.ndarray) -> "Evaluation":
        """The evaluation of some of the clips."""
        return Evaluation(self.labels[clips], self.scores[clips], self.classes)

    @property
    def by_usage(self) -> dict[str, "Evaluation"]:
        """That of all clips, named "", and that of each `usage` that the labels name, such as "Public "."""
        usage = self.labels["usage"].to_numpy(dtype=str) if "usage" in self.labels else np.zeros(0, str)
        return {"": self} | {f"{name} ": self.subset(usage == name) for name in sorted(set(usage))}

    @property
    def table(self) -> pd.DataFrame:
        """MAP@3 and what else is asked for, by class.

        One row a class and a last one `overall`; columns `clips` and `MAP@3`, where clips have several labels
        also `mAP` and `lwlrap`, and the same for each `usage` that the labels name (Private, Public). A class
        without clips has NaN.
        """
        tables = [part._columns().add_prefix(name) for name, part in self.by_usage.items()]
        return pd.concat(tables, axis=1)

    def _columns(self) -> pd.DataFrame:
        """The table of all clips, whatever their usage."""
        columns = {
            "clips": [*self.y_true.sum(axis=0), len(self.y_true)],
            "MAP@3": [*class_means(self.ap_at_3, self.y_true), self.ap_at_3.mean()],
        }
        if is_multi_label(self.labels):
            by_class = class_average_precision(self.scores, self.y_true)
            by_label = class_means(label_precision(self.scores, self.y_true), self.y_true)
            columns["mAP"] = [*by_class, np.nanmean(by_class)]
            columns["lwlrap"] = [*by_label, lwlrap(self.scores, self.y_true)]
        return pd.DataFrame(columns, index=pd.Index([*self.classes, OVERALL], name="label"))

    @property
    def clips(self) -> pd.DataFrame:
        """A row a clip: `fname`, `usage` if the labels name it, `truth` (several are parted by commas), the
        top three as `top_1`, `score_1` and so on, and `average_precision`."""
        columns: dict[str, object] = {"fname": self.labels["fname"].to_numpy()}
        if "usage" in self.labels:
            columns["usage"] = self.labels["usage"].to_numpy()
        columns["truth"] = [",".join(names) for names in labels_per_clip(self.labels)]
        for rank, best in enumerate(top_classes(self.scores).T, 1):
            columns[f"top_{rank}"] = [self.classes[index] for index in best]
            columns[f"score_{rank}"] = self.scores[np.arange(len(best)), best]
        columns["average_precision"] = self.ap_at_3
        return pd.DataFrame(columns)


def evaluate(ensemble: Ensemble, labels: pd.DataFrame) -> Evaluation:
    """Score the clips of a label file.

    Parameters
    ----------
    labels
        Clips of the ensemble's stores, their labels among its classes (see `read_labels`).

    Returns
    -------
    Evaluation
        Its `table` has a row a class, its `clips` a row a clip.

    Raises
    ------
    InputError, Dcase2018Error
        See `predict`.
    """
    evaluation = Evaluation(labels, np.zeros((len(labels), len(ensemble.classes))), ensemble.classes)
    precision = 0.0
    with Progress("evaluate", len(labels), "clips") as progress:
        for clip, scores in enumerate(iter_ensemble_scores(ensemble, labels["fname"])):
            evaluation.scores[clip] = scores
            precision += average_precision(scores[None], evaluation.y_true[clip : clip + 1])[0]
            if log.isEnabledFor(logging.DEBUG):
                _tell(evaluation, clip)
            progress.update(1, **{"MAP@3": f"{precision / (clip + 1):.4f}"})
    return evaluation


def _tell(evaluation: Evaluation, clip: int) -> None:
    """Log a clip, and now and then the table so far."""
    row = evaluation.subset(slice(clip, clip + 1)).clips.iloc[0]
    top = ", ".join(f"{row[f'top_{k}']} {row[f'score_{k}']:.4f}" for k in range(1, 4) if f"top_{k}" in row)
    log.debug("%s: %s: %s: %.4f", row["fname"], row["truth"], top, row["average_precision"])
    if (clip + 1) % TABLE_CLIPS == 0:
        log.debug("after %d clips:\n%s", clip + 1, format_table(evaluation.subset(slice(clip + 1)).table))


def format_table(table: pd.DataFrame) -> str:
    """Lay the table out for reading: a part of the leaderboard under its name, an interval in one column."""
    shown = {}
    for name in table:
        part, _, column = name.rpartition(" ")
        values = table[name]
        if column == "high":
            continue
        if column == "low":
            high = table[name.removesuffix("low") + "high"]
            column, values = "95 %", values.map("{:.3f}-".format) + high.map("{:.3f}".format)
            values = values.where(high.notna(), "-")
        shown[part, column] = values
    parted = any(part for part, _ in shown)
    columns = pd.MultiIndex.from_tuples(shown) if parted else [column for _, column in shown]
    laid_out = pd.DataFrame(dict(enumerate(shown.values()))).set_axis(columns, axis=1)
    return laid_out.rename_axis(None).to_string(float_format="{:.4f}".format, na_rep="-")


def write_evaluation(path: Path, table: pd.DataFrame) -> None:
    """Write the table as JSON, one object a row, or as CSV, by the suffix of `path`."""
    if path.suffix == ".json":
        rows = table.astype(object).where(table.notna(), None).to_dict(orient="index")
        write_json(path, rows)
    else:
        write_table(path, table.reset_index())
