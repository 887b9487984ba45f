"""Scores of ranked predictions, in NumPy.

Conventions: `scores` has shape (clips, classes); `truth` holds class indices, (clips,). Ties are
broken by the lower class index, which in a class map is the alphabetically earlier class, so that
a score and a submission made from the same numbers always agree.
"""

import numpy as np

TOP = 3


def top_classes(scores: np.ndarray, k: int = TOP) -> np.ndarray:
    """Rank the `k` best classes of each clip, best first: int, (clips, min(k, classes))."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]


def average_precision(scores: np.ndarray, truth: np.ndarray, k: int = TOP) -> np.ndarray:
    """Average precision at `k` of each clip, (clips,), in [0, 1].

    With one true class a clip, this is 1 / rank where the class is among the top `k`, else 0
    (the measure of DCASE 2018 Task 2, with k = 3).
    """
    hits = top_classes(scores, k) == np.asarray(truth)[:, None]
    return (hits / np.arange(1, hits.shape[1] + 1)).sum(axis=1)


def class_means(values: np.ndarray, truth: np.ndarray, n_classes: int) -> np.ndarray:
    """Mean of `values` over the clips of each class, (n_classes,); NaN for a class without clips."""
    counts = np.bincount(truth, minlength=n_classes)
    sums = np.bincount(truth, weights=values, minlength=n_classes)
    return np.divide(sums, counts, out=np.full(n_classes, np.nan), where=counts > 0)
