"""The numbers of a report: as one object, report.json, and as tables, the CSV files."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from dcase2018.data.labels import labels_per_clip
from dcase2018.evaluation.calibration import (
    calibration_error,
    confidence_bias,
    load_calibration,
    reliability_table,
)
from dcase2018.evaluation.evaluate import Evaluation, to_records
from dcase2018.evaluation.out_of_fold import OutOfFold
from dcase2018.inference.ensemble import Ensemble
from dcase2018.reporting.error_analysis import (
    class_table,
    clip_table,
    confusion_cells,
    confusion_matrix,
    lowest_scored_labels,
)
from dcase2018.reporting.system_facts import report_date, system_facts
from dcase2018.runs.provenance import collect_provenance
from dcase2018.runs.run import Run
from dcase2018.utils.errors import InputError

FORMAT = 4

MAX_MATRIX_CLASSES = 64  # a larger confusion matrix is not readable
CONFUSION_FIGURES = ("confusion", "confusion_percent")  # with the counts, with the percentages of the rows

# SHA-256 of fname, label and usage of the 1,600 evaluated test clips of FSDKaggle2018, sorted: of Zenodo's
# test_post_competition_scoring_clips.csv, or of test_post_competition.csv without the usage Ignored.
TEST_SET_DIGEST = "6543e94b572428f59b7c7f899cba402ef13dd9f7f3cb1d8a80398324544ddb57"

CORPUS = "FSDKaggle2018"  # name of the corpus of these clips

# MAP@3 of the official baseline on Kaggle's leaderboard.
PUBLISHED_BASELINE = {"Public": 0.7049, "Private": 0.6943}

CHANGED_CLIP_COLUMNS = ("fname", "label", "a_prediction", "b_prediction", "a", "b", "difference")

Row = dict[str, Any]  # a row of a table, by column


@dataclass(frozen=True)
class SystemResult:
    """A system and its evaluation. A report has one, or two on the same clips side by side.

    Attributes
    ----------
    name : str
        Name on the page.
    prefix : str
        Prefix of the system's file names and HTML ids; "" if there is one system.
    ensemble : Ensemble
    evaluation : Evaluation
    out_of_fold : OutOfFold, optional
        Source of the evaluation, if the scores are out-of-fold scores.
    """

    name: str
    prefix: str
    ensemble: Ensemble
    evaluation: Evaluation
    out_of_fold: OutOfFold | None = None

    @cached_property
    def scores(self) -> pd.DataFrame:
        """See `class_table`."""
        return class_table(self.evaluation)

    @cached_property
    def clips(self) -> pd.DataFrame:
        """See `clip_table`."""
        return clip_table(self.evaluation)

    @cached_property
    def reliability(self) -> pd.DataFrame:
        """See `reliability_table`."""
        return reliability_table(self.evaluation.scores, self.evaluation.y_true)

    @cached_property
    def confusion(self) -> pd.DataFrame:
        """The confusion matrix, one row per label, one column per prediction."""
        names = list(self.evaluation.classes)
        counts = confusion_matrix(self.evaluation)
        return pd.DataFrame(counts, index=pd.Index(names, name="label"), columns=names)

    @property
    def figure_files(self) -> list[str]:
        """Names of the figures of the confusion matrix; none for one that is too large."""
        if len(self.evaluation.classes) > MAX_MATRIX_CLASSES:
            return []
        return [f"{self.prefix}{stem}.{suffix}" for stem in CONFUSION_FIGURES for suffix in ("svg", "png")]

    @cached_property
    def folds(self) -> pd.DataFrame:
        """Out-of-fold scores by fold, with the column `fold` (see `OutOfFold.fold_table`); empty without."""
        table = self.out_of_fold.fold_table() if self.out_of_fold else pd.DataFrame()
        return table.rename_axis("fold").reset_index()

    @cached_property
    def member_of_clip(self) -> list[int] | None:
        """Index of the member that scores each clip, if the scores are out-of-fold scores."""
        if not self.out_of_fold:
            return None
        members = {member.run.path.name: index for index, member in enumerate(self.ensemble.members)}
        return [members[f"fold-{fold}"] for fold in self.out_of_fold.fold]

    @cached_property
    def histories(self) -> Mapping[str, pd.DataFrame]:
        """The training history of each run that has one, by the path of the run."""
        runs = [member.run for member in self.ensemble.members]
        histories = {str(run.path): pd.DataFrame(run.history()) for run in runs}
        return {path: history for path, history in histories.items() if len(history)}

    @cached_property
    def finetune_starts(self) -> set[int]:
        """First epochs of the fine-tuning phases of the runs; empty without such a phase."""
        starts = {member.run.finetune_start for member in self.ensemble.members}
        return {start for start in starts if start is not None}

    @cached_property
    def lowest_scored_labels(self) -> np.ndarray:
        """See `error_analysis.lowest_scored_labels`."""
        return lowest_scored_labels(self.evaluation)

    def tables(self) -> dict[str, pd.DataFrame]:
        """Tables to write as CSV, by file name."""
        tables = {
            "classes": self.scores,
            "confusion": self.confusion.reset_index(),
            "clips": self.clips,
            "reliability": self.reliability,
        }
        if self.out_of_fold:
            tables["folds"] = self.folds
        if self.histories:
            history = pd.concat([history.assign(run=path) for path, history in self.histories.items()])
            tables["history"] = history[["run", *history.columns.drop("run")]]
        return {f"{self.prefix}{name}.csv": table for name, table in tables.items()}

    def to_dict(self, media: Sequence[Row]) -> dict[str, Any]:
        """Convert to the object in report.json.

        Parameters
        ----------
        media : sequence of dict
            The result of `make_clip_media`.
        """
        evaluation = self.evaluation
        return {
            "name": self.name,
            "prefix": self.prefix,
            **system_facts(member.run for member in self.ensemble.members),
            "scores": to_records(self.scores),
            "folds": to_records(self.folds) if self.out_of_fold else [],
            "confusion": self.confusion.to_numpy().tolist(),
            "confusion_cells": [
                [row, column, clip + 1] for row, column, clip in confusion_cells(evaluation)
            ],  # the last one is a clip_number
            "clips": to_records(self.clips),
            "labels": labels_per_clip(evaluation.labels),
            "lowest_scored_labels": self.lowest_scored_labels.tolist(),
            "media": list(media),
            "calibration_error": calibration_error(evaluation.scores, evaluation.y_true),
            "confidence_bias": confidence_bias(evaluation.scores, evaluation.y_true),
            "temperature": self._temperature(),
            "reliability": to_records(self.reliability),
            "runs": [self._run_to_dict(member.run) for member in self.ensemble.members],
        }

    def _temperature(self) -> float | None:
        """Temperature of the run; None without, or for several runs (see `load_calibration`)."""
        try:
            return load_calibration(self.ensemble).temperature
        except InputError:
            return None

    def _run_to_dict(self, run: Run) -> dict[str, Any]:
        history = self.histories.get(str(run.path))
        values = dataclasses.asdict(run) | {"path": str(run.path)}
        del values["classes"], values["class_counts"], values["background_classes"]
        values["finetune_start"] = run.finetune_start
        return values | {"history": [] if history is None else to_records(history)}


def report_data(
    systems: Sequence[SystemResult],
    media: Sequence[Sequence[Row]],
    max_seconds: float,
    has_audio: bool,
    *,
    corpus: str = "",
    comparison: Mapping[str, Any] | None = None,
    max_audio_seconds: float = 0,
) -> dict[str, Any]:
    """Collect all numbers of a report, the content of report.json.

    Parameters
    ----------
    systems : sequence of SystemResult
        One system, or two.
    media : sequence of sequence of dict
        The result of `make_clip_media` for each system.
    max_seconds : float
        Longest part of a clip that is shown.
    has_audio : bool
        Whether there are audio excerpts.
    corpus : str
        Where the clips are from; `CORPUS` replaces it if the labels are those of its test set.
    comparison : dict, optional
        The result of `significance.compare` for two systems.
    max_audio_seconds : float
        Total length of the excerpts of a system at most.
    """
    evaluation = systems[0].evaluation
    return {
        "dcase2018_report": FORMAT,
        "provenance": collect_provenance(),
        "date": report_date(),
        "corpus": CORPUS if published_scores(evaluation.labels) else corpus,
        "n_clips": len(evaluation.labels),
        "classes": list(evaluation.classes),
        "parts": list(evaluation.by_usage),
        "published_baseline": published_scores(evaluation.labels),
        "max_seconds": max_seconds,
        "has_audio": has_audio,
        "max_audio_seconds": max_audio_seconds,
        "n_audio": sum(entry["excerpt"] is not None for entry in media[0]),
        "files": [
            *tables(systems, comparison),
            *(name for system in systems for name in system.figure_files),
        ],
        "comparison": comparison,
        "systems": [system.to_dict(shown) for system, shown in zip(systems, media, strict=True)],
    }


def tables(
    systems: Sequence[SystemResult], comparison: Mapping[str, Any] | None = None
) -> dict[str, pd.DataFrame]:
    """Collect the tables of a report, by file name."""
    named = {name: table for system in systems for name, table in system.tables().items()}
    if comparison:
        classes = [{"label": name} | row for name, row in comparison["classes"].items()]
        named["compared_classes.csv"] = pd.DataFrame(classes)
        named["changed_clips.csv"] = pd.DataFrame(comparison["changed_clips"], columns=CHANGED_CLIP_COLUMNS)
    return named


def labels_digest(labels: pd.DataFrame) -> str:
    """Compute the SHA-256 of the file names, labels and usage of a label file, in any order."""
    columns = [column for column in ("fname", "label", "usage") if column in labels]
    lines = sorted(",".join(row) for row in labels[columns].itertuples(index=False))
    return hashlib.sha256("\n".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def published_scores(labels: pd.DataFrame) -> dict[str, float]:
    """Return the published MAP@3 of the baseline by usage, if the labels are those of its test set."""
    return PUBLISHED_BASELINE if labels_digest(labels) == TEST_SET_DIGEST else {}
