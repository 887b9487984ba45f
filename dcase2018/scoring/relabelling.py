"""Corrected labels for unverified clips, proposed from scores of networks that have not learned them."""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pandas as pd

from dcase2018.corpus import SEVERAL, is_multi_label, read_table, verified
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
        If it is no such table, with every error of the file and its line number.
    """
    table = read_table(path)
    if table.header[:3] != ["fname", SEVERAL, "verified"] or len(table.header) < 4:
        raise InputError(f"{path} is no out_of_fold.csv; dcase2018 fit --folds writes one")
    scores: dict[str, list[float]] = {}
    for line, (fname, _, _, *texts) in table.rows:
        values = [_score(text) for text in texts]
        if None in values:
            wrong = texts[values.index(None)]
            table.errors.append((line, f"{wrong!r} is no score from 0 to 1"))
        elif fname in scores:
            table.errors.append((line, f"{fname!r} stands there twice"))
        else:
            scores[fname] = cast(list[float], values)
    table.check()
    return pd.DataFrame.from_dict(scores, orient="index", columns=table.header[3:])


def _score(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None


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
