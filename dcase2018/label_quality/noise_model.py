"""Posterior probability of each clip's true class, from predicted probabilities and the given label.

The predictions come from models that were not trained on the clip, or have not memorized its label yet.
Their scores, at the temperature that fits the verified clips, serve as p(class | clip). An unverified label
is correct with probability 1 - e, and otherwise any other class with equal probability (symmetric noise:
Angluin and Laird, "Learning from noisy examples", 1988). By Bayes' rule

    P(class | clip, label) ~ p(class | clip) * (1 - e if class == label else e / (n_classes - 1))

The noise rate e is the one that maximizes the likelihood of all unverified labels.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.sparse import csr_array
from scipy.special import softmax

from dcase2018.data.labels import is_multi_label, verified_mask
from dcase2018.evaluation.calibration import apply_temperature, fit_temperature
from dcase2018.utils.errors import InputError

VERIFIED_ERROR_RATE = 1e-3  # of a verified label as evidence for a near duplicate

FIT_FOLDS_HINT = "run dcase2018 fit --folds on this label file"


@dataclass(frozen=True)
class LabelPosterior:
    """Posterior probabilities of the true classes of clips, in the order of their label file.

    Attributes
    ----------
    classes : ndarray of str, (n_classes,)
    given_labels : ndarray of int, (n_clips,)
        Class index of each given label.
    is_verified : ndarray of bool, (n_clips,)
        Whether the label was verified by a person.
    scores : ndarray of float64, (n_clips, n_classes)
        Scores of the models.
    pred_probs : ndarray of float64, (n_clips, n_classes)
        Calibrated scores; each row sums to 1.
    posterior : ndarray of float64, (n_clips, n_classes)
        Probability of each class, given scores and label. For a verified clip it is 1 at the label.
    noise_rate : float
        Estimated fraction of unverified labels that are wrong.
    """

    classes: np.ndarray
    given_labels: np.ndarray
    is_verified: np.ndarray
    scores: np.ndarray
    pred_probs: np.ndarray
    posterior: np.ndarray
    noise_rate: float

    @property
    def predicted_labels(self) -> np.ndarray:
        """Class index with the highest posterior: int, (n_clips,)."""
        return self.posterior.argmax(axis=1)

    def posterior_of(self, labels: np.ndarray) -> np.ndarray:
        """Posterior of one class index per clip: float64, (n_clips,)."""
        return self.posterior[np.arange(len(labels)), labels]

    def scores_of(self, labels: np.ndarray) -> np.ndarray:
        """Score of one class index per clip: float64, (n_clips,)."""
        return self.scores[np.arange(len(labels)), labels]


def infer_true_labels(
    labels: pd.DataFrame, scores: pd.DataFrame, near_duplicates: csr_array | None = None
) -> LabelPosterior:
    """Estimate the true class of each clip from its label and out-of-fold scores.

    Parameters
    ----------
    labels : DataFrame
        One row per clip (see `read_labels`), with one label each and the column `manually_verified`.
    scores : DataFrame
        Scores in [0, 1], indexed by fname, one column per class (see `read_out_of_fold`).
    near_duplicates : csr_array, (n_clips, n_clips), optional
        1 for each pair of near duplicates, 0 elsewhere and on the diagonal. The labels of near duplicates
        count as evidence for each other.

    Raises
    ------
    InputError
        If clips have several labels, the column `manually_verified` is missing, or a clip or label has no
        scores.
    """
    _check_inputs(labels, scores)
    given_labels = scores.columns.get_indexer(labels["label"])
    is_verified = verified_mask(labels)
    one_hot = np.eye(scores.shape[1], dtype=bool)[given_labels]
    values = scores.loc[labels["fname"]].to_numpy(float)
    estimates = estimate_posterior(values, one_hot, is_verified, near_duplicates)
    return LabelPosterior(scores.columns.to_numpy(str), given_labels, is_verified, values, *estimates)


def estimate_posterior(
    scores: np.ndarray,
    one_hot: np.ndarray,
    is_verified: np.ndarray,
    near_duplicates: csr_array | None = None,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Combine scores and labels by Bayes' rule.

    Parameters
    ----------
    scores : ndarray, (n_clips, n_classes)
        Scores in [0, 1].
    one_hot : ndarray of bool, (n_clips, n_classes)
        The given labels.
    is_verified : ndarray of bool, (n_clips,)
    near_duplicates : csr_array, optional
        See `infer_true_labels`.

    Returns
    -------
    tuple
        `pred_probs`, `posterior` and `noise_rate` of `LabelPosterior`.
    """
    temperature = fit_temperature(scores[is_verified], one_hot[is_verified], is_single_label=True)
    pred_probs = apply_temperature(scores, temperature, is_single_label=True)
    n_other_classes = max(1, scores.shape[1] - 1)
    noise_rate = _noise_rate(pred_probs[one_hot][~is_verified], n_other_classes)
    error_rate = np.where(is_verified, VERIFIED_ERROR_RATE, noise_rate)[:, None]
    # Log likelihood of each given label, for each possible true class.
    log_likelihood = np.log(np.where(one_hot, 1 - error_rate, error_rate / n_other_classes))
    if near_duplicates is not None:
        log_likelihood = log_likelihood + near_duplicates @ log_likelihood
    posterior = softmax(np.log(pred_probs) + log_likelihood, axis=1)
    posterior[is_verified] = one_hot[is_verified]
    return pred_probs, posterior, noise_rate


def _noise_rate(label_probs: np.ndarray, n_other_classes: int) -> float:
    """Estimate the fraction of wrong labels, by maximum a posteriori.

    Parameters
    ----------
    label_probs : ndarray, (n_unverified,)
        Predicted probability of each given label.
    n_other_classes : int
    """

    def neg_log_posterior(rate: float) -> float:
        log_prior = np.log(rate * (1 - rate))  # as if one more label were correct and one more wrong
        likelihood = (1 - rate) * label_probs + rate / n_other_classes * (1 - label_probs)
        return float(-log_prior - np.log(likelihood).sum())

    return float(minimize_scalar(neg_log_posterior, bounds=(0, 1), options={"xatol": 1e-6}).x)


def _check_inputs(labels: pd.DataFrame, scores: pd.DataFrame) -> None:
    if is_multi_label(labels):
        raise InputError("clips with several labels are not supported; use a column label, one per clip")
    if "manually_verified" not in labels:
        raise InputError(
            "the label file does not mark verified clips;"
            " add a column manually_verified of 0 and 1 (0 everywhere if none is)"
        )
    missing = [fname for fname in labels["fname"] if fname not in scores.index]
    if missing:
        raise InputError(f"clip {missing[0]!r} has no scores; {FIT_FOLDS_HINT}")
    unknown = sorted(set(labels["label"]) - set(scores.columns))
    if unknown:
        raise InputError(f"label {unknown[0]!r} has no scores; {FIT_FOLDS_HINT}")
