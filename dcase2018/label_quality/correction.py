"""Corrected labels of unverified clips, with a weight for each label."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from dcase2018.data.labels import WEIGHT_COLUMN
from dcase2018.label_quality.noise_model import infer_true_labels


@dataclass(frozen=True)
class CorrectedLabels:
    """Corrected labels and the list of changes.

    Attributes
    ----------
    labels : DataFrame
        The label file with corrected labels, and in the column `weight` the probability of each label.
    changes : DataFrame
        One row per changed clip: `fname`, the given `label`, `new_label`, the `source` "predictions", the
        scores of both labels as `given_label_score` and `new_label_score`, and `confidence`, the probability
        of the new label.
    """

    labels: pd.DataFrame
    changes: pd.DataFrame

    def __repr__(self) -> str:
        return f"<CorrectedLabels: {len(self.changes)} of {len(self.labels)} labels changed>"


def correct_labels(labels: pd.DataFrame, scores: pd.DataFrame, confidence: float = 0.7) -> CorrectedLabels:
    """Replace the label of each unverified clip whose most probable class is another one.

    A verified clip keeps its label and has the weight 1. A clip that is probably of none of the classes keeps
    its label and has a small weight.

    Parameters
    ----------
    labels, scores : DataFrame
        See `find_label_issues`.
    confidence : float
        Least probability of the predicted label, in [0, 1].

    Raises
    ------
    InputError
        If clips have several labels, the column `manually_verified` is missing, or a clip or label has no
        scores.

    Examples
    --------
    >>> scores = dcase2018.read_out_of_fold("runs/folds/out_of_fold.csv")
    >>> corrected = dcase2018.correct_labels(dcase2018.read_labels("train.csv"), scores)
    >>> corrected.labels.to_csv("corrected.csv", index=False)
    """
    posterior = infer_true_labels(labels, scores)
    predicted = posterior.predicted_labels
    is_changed = posterior.has_other_class & (posterior.posterior_of(predicted) >= confidence)
    corrected = np.where(is_changed, predicted, posterior.given_labels)
    changes = pd.DataFrame(
        {
            "fname": labels["fname"],
            "label": labels["label"],
            "new_label": posterior.classes[corrected],
            "source": "predictions",
            "given_label_score": posterior.scores_of(posterior.given_labels),
            "new_label_score": posterior.scores_of(corrected),
            "confidence": posterior.posterior_of(corrected),
        }
    )
    weights = [f"{probability:.4f}" for probability in posterior.posterior_of(corrected)]
    new_labels = labels.assign(label=posterior.classes[corrected], **{WEIGHT_COLUMN: weights})
    return CorrectedLabels(new_labels, changes[is_changed])
