"""Scores against labels: MAP@3 by class and overall, for each part of the leaderboard."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dcase2018.dataset import class_indices, write_table
from dcase2018.metrics import average_precision, class_means
from dcase2018.prediction import Tagger, iter_scores
from dcase2018.progress import Progress
from dcase2018.publish import published_text

OVERALL = "overall"


def evaluate(labels: pd.DataFrame, taggers: Sequence[Tagger]) -> pd.DataFrame:
    """Score the clips of a label file.

    Parameters
    ----------
    labels
        Labelled clips of the taggers' stores, their labels among the classes of the taggers.

    Returns
    -------
    DataFrame
        One row a class and a last one `overall`; columns `clips` and `MAP@3`, and the same for each
        `usage` that the labels name (Private, Public). A class without clips has NaN.
    """
    classes = list(taggers[0].run.classes)
    truth = class_indices(labels, classes)
    precision = np.zeros(len(labels))
    with Progress("evaluate", len(labels), "clips") as progress:
        for clip, scores in enumerate(iter_scores(taggers, labels["fname"])):
            precision[clip] = average_precision(scores[None], truth[clip : clip + 1])[0]
            progress.update(1, **{"MAP@3": f"{precision[: clip + 1].mean():.4f}"})
    table = _table(precision, truth, classes, "")
    usage = labels["usage"].to_numpy(dtype=str) if "usage" in labels else np.zeros(0, str)
    for name in sorted(set(usage)):
        chosen = usage == name
        table = table.join(_table(precision[chosen], truth[chosen], classes, f"{name} "))
    return table


def _table(precision: np.ndarray, truth: np.ndarray, classes: Sequence[str], prefix: str) -> pd.DataFrame:
    clips = np.bincount(truth, minlength=len(classes))
    means = class_means(precision, truth, len(classes))
    columns = {
        f"{prefix}clips": [*clips, len(truth)],
        f"{prefix}MAP@3": [*means, precision.mean()],
    }
    return pd.DataFrame(columns, index=pd.Index([*classes, OVERALL], name="label"))


def render(table: pd.DataFrame) -> str:
    """Lay the table out for reading."""
    return table.rename_axis(None).to_string(float_format="{:.4f}".format, na_rep="-")


def write_evaluation(path: Path, table: pd.DataFrame) -> None:
    """Write the table as JSON, one object a row, or as CSV, by the suffix of `path`."""
    if path.suffix == ".json":
        rows = table.astype(object).where(table.notna(), None).to_dict(orient="index")
        with published_text(path) as file:
            file.write(json.dumps(rows, indent=2) + "\n")
    else:
        write_table(path, table.reset_index())
