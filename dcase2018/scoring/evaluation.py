"""Scores against labels, by class and overall, for each part of the leaderboard."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dcase2018.corpus import class_truth, is_multi_label, write_table
from dcase2018.foundation import Progress, published_text
from dcase2018.runs import Ensemble
from dcase2018.scoring.metrics import (
    average_precision,
    class_average_precision,
    class_means,
    label_precision,
    lwlrap,
)
from dcase2018.scoring.prediction import iter_scores

OVERALL = "overall"


def evaluate(ensemble: Ensemble, labels: pd.DataFrame) -> pd.DataFrame:
    """Score the clips of a label file.

    Parameters
    ----------
    labels
        Clips of the ensemble's stores, their labels among its classes (see `read_labels`).

    Returns
    -------
    DataFrame
        One row a class and a last one `overall`; columns `clips` and `MAP@3`, where clips have several
        labels also `mAP` and `lwlrap`, and the same for each `usage` that the labels name (Private,
        Public). A class without clips has NaN.

    Raises
    ------
    InputError, Dcase2018Error
        See `predict`.
    """
    classes = ensemble.classes
    truth = class_truth(labels, classes)
    scores, precision = np.zeros(truth.shape), np.zeros(len(labels))
    with Progress("evaluate", len(labels), "clips") as progress:
        for clip, score in enumerate(iter_scores(ensemble, labels["fname"])):
            scores[clip] = score
            precision[clip] = average_precision(score[None], truth[clip : clip + 1])[0]
            progress.update(1, **{"MAP@3": f"{precision[: clip + 1].mean():.4f}"})
    several = is_multi_label(labels)
    table = _table(scores, truth, classes, several)
    usage = labels["usage"].to_numpy(dtype=str) if "usage" in labels else np.zeros(0, str)
    for name in sorted(set(usage)):
        chosen = usage == name
        part = _table(scores[chosen], truth[chosen], classes, several)
        table = table.join(part.add_prefix(f"{name} "))
    return table


def _table(scores: np.ndarray, truth: np.ndarray, classes: Sequence[str], several: bool) -> pd.DataFrame:
    precision = average_precision(scores, truth)
    columns = {
        "clips": [*truth.sum(axis=0), len(truth)],
        "MAP@3": [*class_means(precision, truth), precision.mean()],
    }
    if several:
        by_class = class_average_precision(scores, truth)
        columns["mAP"] = [*by_class, np.nanmean(by_class)]
        columns["lwlrap"] = [*class_means(label_precision(scores, truth), truth), lwlrap(scores, truth)]
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
