"""Labels with known errors, and scores with known calibration."""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import entr, expit

CLASSES = ["Bark", "Cough", "Flute", "Oboe"]


def make_noisy_labels(n: int = 2000, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """Draw labels, scores and true labels. A third of the labels is unverified, and 30 % of these are wrong.

    The logits have variance 1 and a margin of 3 for the true class. Three times as large, they would be
    calibrated.
    """
    rng = np.random.default_rng(seed)
    true_classes = rng.integers(4, size=n)
    is_verified = rng.random(n) < 2 / 3
    is_wrong = ~is_verified & (rng.random(n) < 0.3)
    given = np.where(is_wrong, (true_classes + rng.integers(1, 4, n)) % 4, true_classes)
    logits = rng.standard_normal((n, 4)) + 3 * np.eye(4)[true_classes]
    values = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = pd.DataFrame(
        {
            "fname": [f"{i}.wav" for i in range(n)],
            "label": np.array(CLASSES, object)[given],
            "manually_verified": np.where(is_verified, "1", "0").astype(object),
        }
    )
    scores = pd.DataFrame(values, columns=CLASSES, index=pd.Index(labels["fname"], name="fname"))
    return labels, scores, np.array(CLASSES, object)[true_classes]


def make_labels_with_no_class(
    n: int = 4000, intercept: float = -3, error_rate: float = 0.15, seed: int = 0
) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray, np.ndarray]:
    """Draw labels of 20 classes by the noise model; some unverified clips are of none of the classes.

    The scores are calibrated. Half of the clips of a class are verified. A clip is of none of the classes
    with log odds of `intercept` plus 3 times its standardized entropy.

    Returns
    -------
    tuple
        Labels; scores; true classes, int, -1 for none of the classes; and the posterior by Bayes' rule with
        the true parameters, (n_clips, 21), the last column for none of the classes.
    """
    rng = np.random.default_rng(seed)
    logits = rng.standard_normal((n, 20)) * rng.uniform(0.5, 6, (n, 1))
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    entropy = entr(scores).sum(axis=1)
    none_probs = expit(intercept + 3 * (entropy - entropy.mean()) / entropy.std())
    has_class = rng.random(n) >= none_probs
    is_verified = has_class & (rng.random(n) < 0.5)
    none_probs = none_probs / (none_probs + (1 - none_probs) / 2)  # of an unverified clip
    true_classes = (scores.cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).clip(max=19)
    is_wrong = has_class & ~is_verified & (rng.random(n) < error_rate)
    given = np.where(is_wrong, true_classes + rng.integers(1, 20, n), true_classes) % 20
    given = np.where(has_class, given, rng.integers(20, size=n))
    likelihood = np.where(np.eye(20, dtype=bool)[given], 1 - error_rate, error_rate / 19)
    posterior = np.column_stack([(1 - none_probs)[:, None] * scores * likelihood, none_probs / 20])
    posterior /= posterior.sum(axis=1, keepdims=True)
    posterior[is_verified] = np.eye(21)[given[is_verified]]
    names = np.array([f"class_{i}" for i in range(20)], object)
    fnames = pd.Index([f"{i}.wav" for i in range(n)], name="fname")
    verified = np.where(is_verified, "1", "0").astype(object)
    labels = pd.DataFrame({"fname": fnames, "label": names[given], "manually_verified": verified})
    true_classes = np.where(has_class, true_classes, -1)
    return labels, pd.DataFrame(scores, fnames, names), true_classes, posterior


def write_noisy_labels(folder: Path, labels: pd.DataFrame, scores: pd.DataFrame) -> None:
    """Write train.csv and out_of_fold.csv to a folder."""
    labels.to_csv(folder / "train.csv", index=False)
    table = scores.reset_index()
    table.insert(1, "labels", labels["label"])
    table.insert(2, "verified", labels["manually_verified"] == "1")
    table.to_csv(folder / "out_of_fold.csv", index=False)
