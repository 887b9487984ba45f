"""Labels with known errors, and scores with known calibration."""

from pathlib import Path

import numpy as np
import pandas as pd

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


def write_noisy_labels(folder: Path, labels: pd.DataFrame, scores: pd.DataFrame) -> None:
    """Write train.csv and out_of_fold.csv to a folder."""
    labels.to_csv(folder / "train.csv", index=False)
    table = scores.reset_index()
    table.insert(1, "labels", labels["label"])
    table.insert(2, "verified", labels["manually_verified"] == "1")
    table.to_csv(folder / "out_of_fold.csv", index=False)
