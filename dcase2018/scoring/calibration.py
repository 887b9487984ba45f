"""Whether scores are what they say: of the clips whose best score is 0.8, are four fifths right?

Conventions as in `metrics`. The confidence of a clip is the score of its best class, and it is right if it
bears that class: what Guo et al. compare in "On Calibration of Modern Neural Networks" (ICML 2017).
"""

import numpy as np
import pandas as pd

from dcase2018.scoring.metrics import top_classes


def reliability(scores: np.ndarray, truth: np.ndarray, bins: int = 10) -> pd.DataFrame:
    """Compare confidence with accuracy, in bins of equal width.

    Parameters
    ----------
    scores
        (clips, classes), in [0, 1].
    truth
        Which classes each clip bears: bool, (clips, classes).

    Returns
    -------
    DataFrame
        A row a bin, those without clips too: its bounds `low` and `high` (`low` < confidence <= `high`),
        `clips`, and the means `confidence` and `accuracy`, NaN without clips.
    """
    best = top_classes(scores, 1)
    confidence = np.take_along_axis(scores, best, axis=1)[:, 0]
    right = np.take_along_axis(truth, best, axis=1)[:, 0]
    edges = np.linspace(0, 1, bins + 1)
    place = np.clip(np.searchsorted(edges, confidence) - 1, 0, bins - 1)  # a confidence of 0 is in the first
    clips = np.bincount(place, minlength=bins)
    means = [
        np.divide(np.bincount(place, of, bins), clips, out=np.full(bins, np.nan), where=clips > 0)
        for of in (confidence, right)
    ]
    columns = {"low": edges[:-1], "high": edges[1:], "clips": clips}
    return pd.DataFrame(columns | {"confidence": means[0], "accuracy": means[1]})


def calibration_error(scores: np.ndarray, truth: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error (ECE), in [0, 1]: the distance of accuracy from confidence in a bin of
    `reliability`, averaged over the clips. NaN without clips."""
    table = reliability(scores, truth, bins)
    distance = (table["accuracy"] - table["confidence"]).abs().fillna(0)
    return float((distance * table["clips"]).sum() / table["clips"].sum()) if len(scores) else float("nan")
