"""Corrected labels for unverified clips, and what each label is worth."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from dcase2018.data.labels import WEIGHT
from dcase2018.label_quality.noise_model import believe


@dataclass(frozen=True)
class Proposal:
    """New labels, and what was changed.

    Attributes
    ----------
    labels
        The label file with the corrections in it, and in a column `weight` how likely each label is right.
    changes
        A row a changed clip: `fname`, `label`, `proposed`, the networks' scores of both, `label_score` and
        `proposed_score`, and the `confidence`: how likely the proposed label is right.
    """

    labels: pd.DataFrame
    changes: pd.DataFrame


def relabel(labels: pd.DataFrame, scores: pd.DataFrame, confidence: float) -> Proposal:
    """Give each unverified clip the class that is most likely the true one, if that is at least `confidence`.

    A verified clip keeps its label and has the weight 1.

    Parameters
    ----------
    labels, scores
        See `dcase2018.label_quality.noise_model.believe`.

    Raises
    ------
    InputError
        See `dcase2018.label_quality.noise_model.believe`.
    """
    beliefs = believe(labels, scores)
    best = beliefs.best
    wrong = (best != beliefs.given) & (beliefs.truth_of(best) >= confidence)
    new = np.where(wrong, best, beliefs.given)
    changes = pd.DataFrame(
        {
            "fname": labels["fname"],
            "label": labels["label"],
            "proposed": beliefs.classes[new],
            "label_score": beliefs.scores_of(beliefs.given),
            "proposed_score": beliefs.scores_of(new),
            "confidence": beliefs.truth_of(new),
        }
    )
    weight = [f"{right:.4f}" for right in beliefs.truth_of(new)]
    return Proposal(labels.assign(label=beliefs.classes[new], **{WEIGHT: weight}), changes[wrong])
