"""Corrected labels for unverified clips, and what each label is worth."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from dcase2018.data.labels import WEIGHT_COLUMN
from dcase2018.label_quality.noise_model import infer_true_labels


@dataclass(frozen=True)
class CorrectedLabels:
    """New labels, and what was changed.

    Attributes
    ----------
    labels
        The label file with the corrections in it, and in a column `weight` how likely each label is right.
    changes
        A row a changed clip: `fname`, `label`, `predicted_label`, the networks' scores of both, `given_label_score` and
        `predicted_label_score`, and the `confidence`: how likely the proposed label is right.
    """

    labels: pd.DataFrame
    changes: pd.DataFrame


def correct_labels(labels: pd.DataFrame, scores: pd.DataFrame, confidence: float) -> CorrectedLabels:
    """Give each unverified clip the class that is most likely the true one, if that is at least `confidence`.

    A verified clip keeps its label and has the weight 1.

    Parameters
    ----------
    labels, scores
        See `dcase2018.label_quality.noise_model.infer_true_labels`.

    Raises
    ------
    InputError
        See `dcase2018.label_quality.noise_model.infer_true_labels`.
    """
    beliefs = infer_true_labels(labels, scores)
    best = beliefs.predicted_labels
    wrong = (best != beliefs.given_labels) & (beliefs.posterior_of(best) >= confidence)
    new = np.where(wrong, best, beliefs.given_labels)
    changes = pd.DataFrame(
        {
            "fname": labels["fname"],
            "label": labels["label"],
            "predicted_label": beliefs.classes[new],
            "given_label_score": beliefs.scores_of(beliefs.given_labels),
            "predicted_label_score": beliefs.scores_of(new),
            "confidence": beliefs.posterior_of(new),
        }
    )
    weight = [f"{right:.4f}" for right in beliefs.posterior_of(new)]
    return CorrectedLabels(
        labels.assign(label=beliefs.classes[new], **{WEIGHT_COLUMN: weight}), changes[wrong]
    )
