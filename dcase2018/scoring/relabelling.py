"""Corrected labels for unverified clips, proposed from scores of networks that have not learned them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from dcase2018.corpus import SEVERAL, is_multi_label, verified
from dcase2018.foundation import InputError


@dataclass(frozen=True)
class Proposal:
    """New labels, and what was changed.

    Attributes
    ----------
    labels
        The label file with the corrections in it.
    changes
        A row a changed clip: `fname`, `label`, `proposed`, and the scores of both.
    """

    labels: pd.DataFrame
    changes: pd.DataFrame


def read_scores(path: Path) -> pd.DataFrame:
    """Read the scores of `out_of_fold`: a row a clip, indexed by fname, a column a class.

    Raises
    ------
    InputError
        If it is no such table.
    """
    table = pd.read_csv(path, dtype={"fname": str, SEVERAL: str}, keep_default_na=False)
    if list(table.columns[:3]) != ["fname", SEVERAL, "verified"]:
        raise InputError(f"{path} is no out_of_fold.csv; dcase2018 fit --folds writes one")
    return table.drop(columns=[SEVERAL, "verified"]).set_index("fname")


def relabel(labels: pd.DataFrame, scores: pd.DataFrame, confidence: float) -> Proposal:
    """Give each unverified clip the class with the best score, if that is at least `confidence`.

    Parameters
    ----------
    labels
        See `read_labels`; it must tell which clips are verified.
    scores
        A row a clip, indexed by fname, a column a class, in [0, 1].

    Raises
    ------
    InputError
        If the labels do not tell what is verified, a clip has several, or a clip or label has no score.
    """
    if is_multi_label(labels):
        raise InputError("relabel corrects files with one label a clip (a column `label`)")
    if "manually_verified" not in labels:
        raise InputError("the label file does not tell which clips are verified (manually_verified)")
    missing = [fname for fname in labels["fname"] if fname not in scores.index]
    if missing:
        raise InputError(f"clip {missing[0]!r} has no scores; run dcase2018 fit --folds on this label file")
    unknown = sorted(set(labels["label"]) - set(scores.columns))
    if unknown:
        raise InputError(f"label {unknown[0]!r} has no scores; run dcase2018 fit --folds on this label file")
    values = scores.loc[labels["fname"]].to_numpy(float)
    classes = scores.columns.to_numpy(str)
    best = values.argmax(axis=1)
    own = scores.columns.get_indexer(labels["label"])
    clips = np.arange(len(labels))
    wrong = ~verified(labels) & (best != own) & (values[clips, best] >= confidence)
    changes = pd.DataFrame(
        {
            "fname": labels["fname"][wrong],
            "label": labels["label"][wrong],
            "proposed": classes[best[wrong]],
            "label_score": values[clips, own][wrong],
            "proposed_score": values[clips, best][wrong],
        }
    )
    corrected = labels.copy()
    corrected.loc[wrong, "label"] = classes[best[wrong]]
    return Proposal(corrected, changes)
