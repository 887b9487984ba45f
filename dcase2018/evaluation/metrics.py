"""Scores of ranked predictions, in NumPy.

Conventions: `scores` has shape (clips, classes); `truth` tells which classes each clip bears, bool,
(clips, classes). Ties are broken by the lower class index, which in a class map is the alphabetically
earlier class, so that a score and a submission made from the same numbers always agree. A class whose score
is -inf was not named at all, and is never right.
"""

import numpy as np

DEFAULT_K = 3


def ranking(scores: np.ndarray) -> np.ndarray:
    """Classes of each clip, best first: int, (clips, classes)."""
    return np.argsort(-scores, axis=1, kind="stable")


def top_classes(scores: np.ndarray, k: int = DEFAULT_K) -> np.ndarray:
    """Rank the `k` best classes of each clip, best first: int, (clips, min(k, classes))."""
    return ranking(scores)[:, :k]


def average_precision(scores: np.ndarray, y_true: np.ndarray, k: int = DEFAULT_K) -> np.ndarray:
    """Average precision at `k` of each clip, (clips,), in [0, 1].

    With one true class a clip, this is 1 / rank where the class is among the top `k`, else 0
    (the measure of DCASE 2018 Task 2, with k = 3).
    """
    precision = _precision_at_hits(top_classes(scores, k), y_true & (scores > -np.inf))
    return precision.sum(axis=1) / np.clip(y_true.sum(axis=1), 1, k)


def _precision_at_hits(ranked: np.ndarray, y_true: np.ndarray) -> np.ndarray:
    """Precision down to each rank that is a true class, 0 at others, the shape of `ranked`."""
    hits = np.take_along_axis(y_true, ranked, axis=1)
    return hits * np.cumsum(hits, axis=1) / np.arange(1, hits.shape[1] + 1)


def label_precision(scores: np.ndarray, y_true: np.ndarray) -> np.ndarray:
    """Precision of each clip's ranking down to each of its true classes, 0 at others: (clips, classes)."""
    order = ranking(scores)
    precision = np.zeros(y_true.shape)
    np.put_along_axis(precision, order, _precision_at_hits(order, y_true), axis=1)
    return precision


def lwlrap(scores: np.ndarray, y_true: np.ndarray) -> float:
    """Label-weighted label-ranking average precision: the mean of `label_precision` over all true labels.

    The measure of DCASE 2019 Task 2.
    """
    return float(label_precision(scores, y_true).sum() / y_true.sum())


def class_average_precision(scores: np.ndarray, y_true: np.ndarray) -> np.ndarray:
    """Average precision of each class's ranking of the clips, (classes,); NaN for a class without clips.

    Their mean is mAP, the measure of AudioSet and FSD50K.
    """
    return class_means(label_precision(scores.T, y_true.T).T, y_true)


def class_means(values: np.ndarray, y_true: np.ndarray) -> np.ndarray:
    """Mean of `values`, (clips,) or (clips, classes), over the clips of each class, (classes,), or NaN."""
    values = values if values.ndim == 2 else values[:, None]
    counts = y_true.sum(axis=0)
    sums = np.where(y_true, values, 0).sum(axis=0)
    return np.divide(sums, counts, out=np.full(len(counts), np.nan), where=counts > 0)
