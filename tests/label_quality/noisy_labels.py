"""Planted errors: labels, of which some are wrong, and scores of which it is known what they tell."""

from pathlib import Path

import numpy as np
import pandas as pd

CLASSES = ["Bark", "Cough", "Flute", "Oboe"]


def corpus(n: int = 2000, seed: int = 0) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """Labels, a third of them unverified and 30 % of those wrong, and scores by a fair network.

    Logits of variance 1, the true class's 3 above the others, would be calibrated if they were three times as
    large.
    """
    rng = np.random.default_rng(seed)
    truth = rng.integers(4, size=n)
    verified = rng.random(n) < 2 / 3
    wrong = ~verified & (rng.random(n) < 0.3)
    given = np.where(wrong, (truth + rng.integers(1, 4, n)) % 4, truth)
    logits = rng.standard_normal((n, 4)) + 3 * np.eye(4)[truth]
    values = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = pd.DataFrame(
        {
            "fname": [f"{i}.wav" for i in range(n)],
            "label": np.array(CLASSES, object)[given],
            "manually_verified": np.where(verified, "1", "0").astype(object),
        }
    )
    scores = pd.DataFrame(values, columns=CLASSES, index=pd.Index(labels["fname"], name="fname"))
    return labels, scores, np.array(CLASSES, object)[truth]


def write(folder: Path, labels: pd.DataFrame, scores: pd.DataFrame) -> None:
    """Write train.csv and out_of_fold.csv into a folder."""
    labels.to_csv(folder / "train.csv", index=False)
    table = scores.reset_index()
    table.insert(1, "labels", labels["label"])
    table.insert(2, "verified", labels["manually_verified"] == "1")
    table.to_csv(folder / "out_of_fold.csv", index=False)
