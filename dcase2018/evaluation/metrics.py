"""Metrics of ranked predictions, in NumPy.

Conventions: `scores` has shape (n_clips, n_classes), `y_true` is its multi-hot counterpart, bool,
(n_clips, n_classes). Ties are broken by the lower class index, which in a class map is the alphabetically
earlier class, so that a score and a submission made from the same numbers always agree. A score of -inf marks
a class that was not submitted; it is never correct.
"""

import numpy as np

DEFAULT_K = 3

MIN_PROBABILITY = 1e-7  # in the logarithms of the cross-entropy, as in Keras


def ranking(scores: np.ndarray) -> np.ndarray:
    """Rank the classes of each clip, best first: int, (n_clips, n_classes)."""
    return np.argsort(-scores, axis=1, kind="stable")


def top_classes(scores: np.ndarray, k: int = DEFAULT_K) -> np.ndarray:
    """Rank the `k` best classes of each clip, best first: int, (n_clips, min(k, n_classes))."""
    return ranking(scores)[:, :k]


def average_precision(scores: np.ndarray, y_true: np.ndarray, k: int = DEFAULT_K) -> np.ndarray:
    """Compute the average precision at `k` of each clip: float64, (n_clips,), in [0, 1].

    With one label per clip, this is 1 / rank where the label is among the top `k`, else 0. Its mean is the
    metric of DCASE 2018 Task 2, with k = 3.
    """
    precision = _precision_at_hits(top_classes(scores, k), y_true & (scores > -np.inf))
    return precision.sum(axis=1) / np.clip(y_true.sum(axis=1), 1, k)


def _precision_at_hits(ranked: np.ndarray, y_true: np.ndarray) -> np.ndarray:
    """Precision at each rank that holds a label, 0 at the others: the shape of `ranked`."""
    hits = np.take_along_axis(y_true, ranked, axis=1)
    return hits * np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)


def label_precision(scores: np.ndarray, y_true: np.ndarray) -> np.ndarray:
    """Compute the precision at the rank of each label, 0 for other classes: float64, (n_clips, n_classes)."""
    order = ranking(scores)
    precision = np.zeros(y_true.shape)
    np.put_along_axis(precision, order, _precision_at_hits(order, y_true), axis=1)
    return precision


def lwlrap(scores: np.ndarray, y_true: np.ndarray) -> float:
    """Compute label-weighted label-ranking average precision, the metric of DCASE 2019 Task 2.

    It is the mean of `label_precision` over all labels.
    """
    return float(label_precision(scores, y_true).sum() / y_true.sum())


def class_average_precision(scores: np.ndarray, y_true: np.ndarray) -> np.ndarray:
    """Compute the average precision of each class's ranking of the clips: float64, (n_classes,).

    It is NaN for a class without clips. The mean over the classes is mAP, the metric of AudioSet and FSD50K.
    """
    return class_means(label_precision(scores.T, y_true.T).T, y_true)


def is_top_1_correct(scores: np.ndarray, y_true: np.ndarray) -> np.ndarray:
    """Check whether the top class of each clip is one of its labels: bool, (n_clips,).

    The mean is accuracy.
    """
    return np.take_along_axis(y_true, top_classes(scores, 1), axis=1)[:, 0]


def precision_recall_f1(scores: np.ndarray, y_true: np.ndarray) -> np.ndarray:
    """Compute precision, recall and F1 of the top class, for each class: float64, (3, n_classes).

    Precision is 0 for a class that is never predicted. All three are NaN for a class without clips.
    """
    is_predicted = np.zeros(y_true.shape, bool)
    np.put_along_axis(is_predicted, top_classes(scores, 1), True, axis=1)
    n_correct, n_predicted = (is_predicted & y_true).sum(axis=0), is_predicted.sum(axis=0)
    n_clips = y_true.sum(axis=0)
    precision = n_correct / np.maximum(n_predicted, 1)
    recall = n_correct / np.maximum(n_clips, 1)
    f1 = 2 * n_correct / np.maximum(n_predicted + n_clips, 1)
    return np.where(n_clips > 0, [precision, recall, f1], np.nan)


def class_means(values: np.ndarray, y_true: np.ndarray) -> np.ndarray:
    """Average over the clips of each class: float64, (n_classes,), NaN for a class without clips.

    Parameters
    ----------
    values : ndarray, (n_clips,) or (n_clips, n_classes)
        One value per clip, or one per clip and class.
    y_true : ndarray of bool, (n_clips, n_classes)
    """
    values = values if values.ndim == 2 else values[:, None]
    counts = y_true.sum(axis=0)
    sums = np.where(y_true, values, 0).sum(axis=0)
    return np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)


def cross_entropy(scores: np.ndarray, y_true: np.ndarray, is_single_label: bool) -> float:
    """Mean cross-entropy of clips: of the label, or of the binary decisions if there can be several labels.

    Parameters
    ----------
    scores : ndarray, (n_clips, n_classes)
        Probabilities. They are clipped to at least `MIN_PROBABILITY` from 0 and 1.
    y_true : ndarray of bool, (n_clips, n_classes)
    is_single_label : bool
        Whether the scores of a clip sum to 1 (softmax).
    """
    clipped = np.clip(np.asarray(scores, np.float64), MIN_PROBABILITY, 1 - MIN_PROBABILITY)
    if is_single_label:
        return float(-np.log(clipped[y_true]).mean())
    return float(-np.log(np.where(y_true, clipped, 1 - clipped)).mean())
