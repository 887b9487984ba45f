"""Scores of a system on labelled clips: per clip, per class and overall, for each leaderboard part."""

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
from dcase2018.inference.shared_clips import warn_of_shared_clips
from dcase2018.utils.atomic import write_json
from dcase2018.utils.progress import Progress

log = logging.getLogger(__name__)

OVERALL = "overall"  # the `label` of the row for all classes
ALL = "all"  # the `part` of the rows for all clips, whatever their usage

LOG_TABLE_EVERY = 50  # clips between two tables with -v, as in the reference

HEADINGS = {"n_clips": "clips", "map3": "MAP@3", "interval": "95 %", "map": "mAP", "lwlrap": "lwlrap"}


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

    Examples
    --------
    >>> evaluation = dcase2018.evaluate(ensemble, labels)
    >>> evaluation.map3
    0.7431
    >>> evaluation.table.query("part == 'all' and label == 'Bark'")
    """

    labels: pd.DataFrame
    scores: np.ndarray
    classes: Sequence[str]

    @cached_property
    def y_true(self) -> np.ndarray:
        """Labels of each clip: bool, (n_clips, n_classes)."""
        return multi_hot(self.labels, self.classes)

    @cached_property
    def ap_at_3(self) -> np.ndarray:
        """Average precision at 3 of each clip: float64, (n_clips,)."""
        return average_precision(self.scores, self.y_true)

    @property
    def map3(self) -> float:
        """Mean average precision at 3 over all clips."""
        return float(self.ap_at_3.mean())

    def subset(self, clips: slice | np.ndarray) -> "Evaluation":
        """Select clips by a slice or a boolean mask."""
        return Evaluation(self.labels[clips], self.scores[clips], self.classes)

    @property
    def by_usage(self) -> dict[str, "Evaluation"]:
        """This evaluation as `all`, and one per `usage` of the label file, such as `Private` and `Public`."""
        usage = self.labels["usage"].to_numpy(dtype=str) if "usage" in self.labels else np.zeros(0, str)
        return {ALL: self} | {name: self.subset(usage == name) for name in sorted(set(usage) - {ALL})}

    @property
    def table(self) -> pd.DataFrame:
        """Score table in long form, one row per part and label.

        Columns: `part` (`all`, then each usage), `label` (each class, then `overall`), `n_clips` and `map3`;
        for clips with several labels also `map` and `lwlrap`. The scores of a class without clips are NaN.
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
        if is_multi_label(self.labels):
            class_ap = class_average_precision(self.scores, self.y_true)
            class_lwlrap = class_means(label_precision(self.scores, self.y_true), self.y_true)
            columns["map"] = [*class_ap, np.nanmean(class_ap)]
            columns["lwlrap"] = [*class_lwlrap, lwlrap(self.scores, self.y_true)]
        return pd.DataFrame(columns)

    @property
    def clips(self) -> pd.DataFrame:
        """Table of the clips, one row per clip.

        Columns: `fname`; `usage` if the label file has it; `label` (several are separated by commas); the top
        three classes and their scores as `top_1`, `score_1`, ...; and `ap_at_3`.
        """
        columns: dict[str, object] = {"fname": self.labels["fname"].to_numpy()}
        if "usage" in self.labels:
            columns["usage"] = self.labels["usage"].to_numpy()
        columns["label"] = [",".join(names) for names in labels_per_clip(self.labels)]
        for rank, indices in enumerate(top_classes(self.scores).T, 1):
            columns[f"top_{rank}"] = [self.classes[index] for index in indices]
            columns[f"score_{rank}"] = self.scores[np.arange(len(indices)), indices]
        columns["ap_at_3"] = self.ap_at_3
        return pd.DataFrame(columns)


def evaluate(ensemble: Ensemble, labels: pd.DataFrame) -> Evaluation:
    """Score the clips of a label file.

    Parameters
    ----------
    ensemble : Ensemble
        The runs whose mean scores are evaluated, with their stores.
    labels : DataFrame
        Clips of the ensemble's stores, with labels among its classes (see `read_labels`).

    Returns
    -------
    Evaluation

    Raises
    ------
    InputError, Dcase2018Error
        See `predict`.

    Examples
    --------
    >>> ensemble = dcase2018.Ensemble.open(["runs/first"], [dcase2018.Store("features/test.h5")])
    >>> labels = dcase2018.read_labels("data/test_post_competition.csv", ensemble.classes)
    >>> dcase2018.evaluate(ensemble, labels).map3
    0.7431
    """
    evaluation = Evaluation(labels, np.zeros((len(labels), len(ensemble.classes))), ensemble.classes)
    warn_of_shared_clips(ensemble, labels)
    ap_sum = 0.0
    with Progress("evaluate", len(labels), "clips") as progress:
        for clip, scores in enumerate(iter_ensemble_scores(ensemble, labels["fname"])):
            evaluation.scores[clip] = scores
            ap_sum += average_precision(scores[None], evaluation.y_true[clip : clip + 1])[0]
            if log.isEnabledFor(logging.DEBUG):
                _log_clip(evaluation, clip)
            progress.update(1, **{"MAP@3": f"{ap_sum / (clip + 1):.4f}"})
    return evaluation


def _log_clip(evaluation: Evaluation, clip: int) -> None:
    """Log the scores of a clip and, every `LOG_TABLE_EVERY` clips, the table so far."""
    row = evaluation.subset(slice(clip, clip + 1)).clips.iloc[0]
    top = ", ".join(f"{row[f'top_{k}']} {row[f'score_{k}']:.4f}" for k in range(1, 4) if f"top_{k}" in row)
    log.debug("%s: %s: %s: %.4f", row["fname"], row["label"], top, row["ap_at_3"])
    if (clip + 1) % LOG_TABLE_EVERY == 0:
        log.debug("after %d clips:\n%s", clip + 1, format_table(evaluation.subset(slice(clip + 1)).table))


def format_table(table: pd.DataFrame) -> str:
    """Format a score table for the terminal, with the parts side by side.

    The confidence interval is shown for all clips only, so that the lines fit into 80 columns.

    Parameters
    ----------
    table : DataFrame
        `Evaluation.table`, or a `score_table`.
    """
    columns: dict[tuple[str, str], pd.Series] = {}
    for part, rows in table.groupby("part", sort=False):
        rows = rows.set_index("label")
        if part == ALL and "ci_low" in rows:
            bounds = rows["ci_low"].map("{:.3f}-".format) + rows["ci_high"].map("{:.3f}".format)
            rows["interval"] = bounds.where(rows["ci_low"].notna(), "-")
        columns |= {(str(part), HEADINGS[name]): rows[name] for name in HEADINGS if name in rows}
    wide = pd.DataFrame(columns).reindex(table["label"].unique())
    if wide.columns.get_level_values(0).nunique() == 1:
        wide.columns = wide.columns.get_level_values(1)
    return wide.rename_axis(None).to_string(float_format="{:.4f}".format, na_rep="-")


def write_score_table(path: Path, table: pd.DataFrame) -> None:
    """Write a score table as JSON (a list of row objects) or CSV, by the suffix of `path`."""
    if path.suffix == ".json":
        write_json(path, table.astype(object).where(table.notna(), None).to_dict(orient="records"))
    else:
        write_table(path, table)
