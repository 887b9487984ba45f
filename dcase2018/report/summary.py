"""All numbers of a report: as one object, which is `report.json`, and as tables, which are its CSVs."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from dcase2018.data.labels import labels_per_clip
from dcase2018.evaluation.calibration import calibration_error, reliability_table
from dcase2018.evaluation.evaluate import OVERALL, Evaluation
from dcase2018.inference.ensemble import Ensemble
from dcase2018.report.error_analysis import cells, class_table, clip_table, confusion, hardest_labels
from dcase2018.report.published_results import published_scores
from dcase2018.runs.provenance import collect_provenance
from dcase2018.runs.run import Run

FORMAT = 1

Table = dict[str, Any]  # a row of a table, by column


@dataclass(frozen=True)
class Side:
    """A tagger and its answers. A report has one side, or several of the same clips beside each other.

    Attributes
    ----------
    key
        What stands before the names of its files and anchors; "" where there is one side.
    """

    name: str
    key: str
    ensemble: Ensemble
    evaluation: Evaluation

    @cached_property
    def classes(self) -> pd.DataFrame:
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
        """A row a class, a column an answer (see `findings.confusion`)."""
        names = list(self.evaluation.classes)
        return pd.DataFrame(confusion(self.evaluation), index=pd.Index(names, name="label"), columns=names)

    @cached_property
    def histories(self) -> Mapping[str, pd.DataFrame]:
        """The history of each run that has one, by the run's path."""
        runs = [member.run for member in self.ensemble.members]
        histories = {str(run.path): pd.DataFrame(run.history()) for run in runs}
        return {path: history for path, history in histories.items() if len(history)}

    @cached_property
    def hardest_labels(self) -> np.ndarray:
        """See `findings.hardest_labels`."""
        return hardest_labels(self.evaluation)

    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables that are written as CSV, by the names of their files."""
        tables = {
            "classes": self.classes.reset_index(),
            "confusion": self.confusion.reset_index(),
            "clips": self.clips,
            "reliability": self.reliability,
        }
        if self.histories:
            parts = [history.assign(run=path) for path, history in self.histories.items()]
            history = pd.concat(parts)
            tables["history"] = history[["run", *history.columns.drop("run")]]
        return {f"{self.key}{name}.csv": table for name, table in tables.items()}

    def account(self, shown: Sequence[Table]) -> dict[str, Any]:
        """Everything that the page tells of this side; `shown` has what there is to see and hear of clips."""
        evaluation = self.evaluation
        answers = self.clips["number"].to_numpy()
        return {
            "name": self.name,
            "key": self.key,
            "overall": rows(self.classes.loc[[OVERALL]])[0],
            "classes": rows(self.classes.drop(index=OVERALL).reset_index()),
            "confusion": self.confusion.to_numpy().tolist(),
            "cells": [[row, column, int(answers[clip])] for row, column, clip in cells(evaluation)],
            "clips": rows(self.clips),
            "labels": labels_per_clip(evaluation.labels),
            "class_of_clip": self.hardest_labels.tolist(),
            "shown": list(shown),
            "calibration_error": calibration_error(evaluation.scores, evaluation.y_true),
            "reliability": rows(self.reliability),
            "runs": [self._run(member.run) for member in self.ensemble.members],
        }

    def _run(self, run: Run) -> dict[str, Any]:
        """What a run says of itself, and its history."""
        history = self.histories.get(str(run.path))
        values = dataclasses.asdict(run) | {"path": str(run.path)}
        del values["classes"], values["class_counts"]
        return values | {"history": [] if history is None else rows(history)}


def account(
    sides: Sequence[Side], shown: Sequence[Sequence[Table]], seconds: float, audible: bool
) -> dict[str, Any]:
    """The object that `report.json` holds.

    Parameters
    ----------
    shown
        For each side, what there is to see and hear of clips.
    seconds
        Length of what is shown of a clip at most.
    audible
        Whether there are excerpts to play.
    """
    first = sides[0].evaluation
    return {
        "dcase2018_report": FORMAT,
        "made": collect_provenance(),
        "classes": list(first.classes),
        "parts": list(first.by_usage),
        "published_baseline": published_scores(first.labels),
        "seconds_shown": seconds,
        "audible": audible,
        "files": list(tables(sides)),
        "changes": rows(changes(*sides)) if len(sides) == 2 else [],
        "sides": [side.account(clips) for side, clips in zip(sides, shown, strict=True)],
    }


def tables(sides: Sequence[Side]) -> dict[str, pd.DataFrame]:
    """The tables of a report, by the names of their files."""
    named = {name: table for side in sides for name, table in side.tables().items()}
    return named | ({"changes.csv": changes(*sides)} if len(sides) == 2 else {})


def changes(first: Side, second: Side) -> pd.DataFrame:
    """Clips that a second tagger ranks better or worse, in order of what was gained.

    Columns `number`, `fname`, `truth`; of each side the answer and its average precision; and `gain`, of the
    second over the first.
    """
    table = first.clips[["number", "fname", "truth"]].copy()
    for key, side in (("a", first), ("b", second)):
        table[f"{key}_answer"] = side.clips["top_1"]
        table[f"{key}_average_precision"] = side.clips["average_precision"]
    table["gain"] = table["b_average_precision"] - table["a_average_precision"]
    return table[table["gain"] != 0].sort_values("gain", ascending=False, kind="stable")


def rows(table: pd.DataFrame) -> list[Table]:
    """Rows of a table, with None for NaN."""
    return table.astype(object).where(table.notna(), None).to_dict(orient="records")
