"""Posterior probabilities of each clip's true class, and of none, from predicted probabilities and the label.

The predictions come from models that were not trained on the clip, or have not memorized its label yet.
Their scores, at the temperature that fits the verified clips, serve as p(class | clip). An unverified clip
is of none of the classes with probability n(clip). Its label is then any class with equal probability.
Otherwise its label is correct with probability 1 - e, and any other class with equal probability (symmetric
noise: Angluin and Laird, "Learning from noisy examples", 1988). By Bayes' rule

    P(class | clip, label) ~ (1 - n) * p(class | clip) * (1 - e if class == label else e / (n_classes - 1))
    P(none | clip, label) ~ n / n_classes

Clips of none of the classes are the most frequent label errors of FSDnoisy18k (Fonseca et al., "Learning
sound event classifiers from web audio with noisy labels", 2019). Scores of such clips have a high entropy
(cf. Hendrycks and Gimpel, "A baseline for detecting misclassified and out-of-distribution examples in neural
networks", 2017), so n is a logistic function of the entropy. It is estimated together with e: they maximize
the posterior of the unverified labels, given the scores. The evidence is how often labels disagree with
confident and with uncertain predictions. That unverified clips have uncertain predictions more often than
verified ones is no evidence, because they may be harder, and training clips may be memorized.

The result is the average of this model and of the model with n = 0, weighted by their Bayesian information
criteria (Raftery, "Bayesian model selection in social research", 1995). It is close to the latter on labels
that are all of one of the classes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import minimize, minimize_scalar
from scipy.sparse import csr_array
from scipy.special import entr, expit, log_expit, logit, softmax

from dcase2018.data.labels import is_multi_label, verified_mask
from dcase2018.evaluation.calibration import apply_temperature, fit_temperature
from dcase2018.utils.errors import InputError

VERIFIED_ERROR_RATE = 1e-3  # of a verified label as evidence for a near duplicate

# Prior of the slope of the log odds of n, per standard deviation of the entropy: median, and standard
# deviation of its logarithm. Slopes from true labels were 2 to 3.
ENTROPY_SLOPE, LOG_SLOPE_DEVIATION = 3.0, 0.25

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
    none_probs : ndarray of float64, (n_clips,)
        Probability of none of the classes, given scores and label: 1 minus the sum of the posterior's row.
    """

    classes: np.ndarray
    given_labels: np.ndarray
    is_verified: np.ndarray
    scores: np.ndarray
    pred_probs: np.ndarray
    posterior: np.ndarray
    none_probs: np.ndarray

    @property
    def noise_rate(self) -> float:
        """Estimated fraction of unverified labels that are wrong; 0 without unverified labels."""
        return self._mean_of_unverified(1 - self.posterior_of(self.given_labels))

    @property
    def none_rate(self) -> float:
        """Estimated fraction of unverified clips of none of the classes; 0 without unverified clips."""
        return self._mean_of_unverified(self.none_probs)

    def _mean_of_unverified(self, values: np.ndarray) -> float:
        return float(values[~self.is_verified].sum() / max(1, (~self.is_verified).sum()))

    @property
    def predicted_labels(self) -> np.ndarray:
        """Class index with the highest posterior: int, (n_clips,)."""
        return self.posterior.argmax(axis=1)

    @property
    def has_no_class(self) -> np.ndarray:
        """Whether none of the classes is more probable than each class: bool, (n_clips,)."""
        return self.none_probs > self.posterior.max(axis=1)

    @property
    def has_other_class(self) -> np.ndarray:
        """Whether another class than the given label is the most probable outcome: bool, (n_clips,)."""
        return (self.predicted_labels != self.given_labels) & ~self.has_no_class

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
    return estimate_posterior(
        scores.columns.to_numpy(str),
        scores.loc[labels["fname"]].to_numpy(float),
        scores.columns.get_indexer(labels["label"]),
        verified_mask(labels),
        near_duplicates,
    )


def estimate_posterior(
    classes: np.ndarray,
    scores: np.ndarray,
    given_labels: np.ndarray,
    is_verified: np.ndarray,
    near_duplicates: csr_array | None = None,
) -> LabelPosterior:
    """Combine scores and labels by Bayes' rule.

    Parameters
    ----------
    classes, scores, given_labels, is_verified
        See `LabelPosterior`.
    near_duplicates
        See `infer_true_labels`.
    """
    one_hot = np.eye(len(classes), dtype=bool)[given_labels]
    temperature = fit_temperature(scores[is_verified], one_hot[is_verified], is_single_label=True)
    pred_probs = apply_temperature(scores, temperature, is_single_label=True)
    posterior = np.zeros((len(scores), len(classes) + 1))  # the last column is none of the classes
    for weight, error_rate, none_logits in _fit_models(scores, pred_probs, one_hot, is_verified):
        log_likelihood = _log_likelihood(one_hot, is_verified, error_rate)
        if near_duplicates is not None:
            log_likelihood += near_duplicates @ log_likelihood
        log_prior = np.column_stack(
            [np.log(pred_probs) + log_expit(-none_logits)[:, None], log_expit(none_logits)]
        )
        posterior += weight * softmax(log_prior + log_likelihood, axis=1)
    posterior[is_verified] = np.eye(len(classes) + 1)[given_labels[is_verified]]
    return LabelPosterior(
        classes, given_labels, is_verified, scores, pred_probs, posterior[:, :-1], posterior[:, -1]
    )


def _log_likelihood(one_hot: np.ndarray, is_verified: np.ndarray, error_rate: float) -> np.ndarray:
    """Log likelihood of each given label, for each true class and for none: (n_clips, n_classes + 1)."""
    n_classes = one_hot.shape[1]
    error_rates = np.where(is_verified, VERIFIED_ERROR_RATE, error_rate)[:, None]
    likelihood = np.where(one_hot, 1 - error_rates, error_rates / max(1, n_classes - 1))
    return np.log(np.column_stack([likelihood, np.where(is_verified, VERIFIED_ERROR_RATE, 1) / n_classes]))


def _fit_models(
    scores: np.ndarray, pred_probs: np.ndarray, one_hot: np.ndarray, is_verified: np.ndarray
) -> Iterator[tuple[float, float, np.ndarray]]:
    """Fit the models without and with clips of none of the classes, by maximum a posteriori.

    Without verified clips the scores are not calibrated, and the second model is left out.

    Yields
    ------
    tuple
        Weight of the model, error rate e, and log odds of n for each clip.
    """
    entropy = entr(apply_temperature(scores, 1, is_single_label=True)).sum(axis=1)
    z = (entropy - entropy.mean()) / max(entropy.std(), np.finfo(float).tiny)
    label_probs, n_classes = pred_probs[one_hot][~is_verified], one_hot.shape[1]
    prior_log_slope = np.log(ENTROPY_SLOPE)

    def neg_log_posterior(error_rate: float, intercept: float, log_slope: float) -> float:
        none_logits = intercept + np.exp(log_slope) * z[~is_verified]
        log_likelihood = _marginal_log_likelihood(label_probs, none_logits, error_rate, n_classes)
        # The prior of e is as if one more label were correct and one more wrong.
        log_prior = np.log(error_rate * (1 - error_rate))
        log_prior -= ((log_slope - prior_log_slope) / LOG_SLOPE_DEVIATION) ** 2 / 2
        return float(-log_prior - log_likelihood.sum())

    simple = minimize_scalar(
        lambda rate: neg_log_posterior(rate, -np.inf, prior_log_slope), bounds=(0, 1), options={"xatol": 1e-6}
    )
    weight = 0.0
    if is_verified.any() and not is_verified.all():
        full = minimize(
            lambda params: neg_log_posterior(expit(params[0]), *params[1:]),
            [logit(simple.x), -3.0, prior_log_slope],
            method="Nelder-Mead",
            options={"xatol": 1e-6, "fatol": 1e-8, "maxiter": 2000},
        )
        # Half the difference of the criteria: the full model has two parameters more.
        weight = float(expit(simple.fun - full.fun - np.log(len(scores))))
        yield weight, float(expit(full.x[0])), full.x[1] + np.exp(full.x[2]) * z
    yield 1 - weight, float(simple.x), np.full(len(scores), -np.inf)


def _marginal_log_likelihood(
    label_probs: np.ndarray, none_logits: np.ndarray, error_rate: float, n_classes: int
) -> np.ndarray:
    """Log likelihood of each given label, summed over all outcomes: (n_clips,).

    Parameters
    ----------
    label_probs : ndarray, (n_clips,)
        Predicted probability of each given label.
    none_logits : ndarray, (n_clips,)
        Log odds of n.
    """
    of_class = (1 - error_rate) * label_probs + error_rate / max(1, n_classes - 1) * (1 - label_probs)
    return np.logaddexp(
        log_expit(-none_logits) + np.log(of_class), log_expit(none_logits) - np.log(n_classes)
    )


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
