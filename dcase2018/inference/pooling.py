"""Averages of scores: over the windows of a clip, and over the runs of an ensemble."""

import dataclasses
import logging
from collections.abc import Sequence

import numpy as np

from dcase2018.runs.run import Run

log = logging.getLogger(__name__)

SCORE_EPS = 1e-7  # smaller scores count as this one in a geometric mean


@dataclasses.dataclass(frozen=True)
class Pooling:
    """An arithmetic or geometric mean of scores.

    The geometric mean is the exponential of the mean of the log scores. Of softmax scores it is scaled to a
    sum of 1.

    Attributes
    ----------
    is_geometric
        Geometric mean rather than arithmetic mean.
    is_softmax
        Whether the scores of a clip sum to 1.
    """

    is_geometric: bool = False
    is_softmax: bool = False

    @classmethod
    def of_windows(cls, run: Run) -> "Pooling":
        """Return the mean over the windows of a clip, the run's `clip_pooling`."""
        return cls(run.hparams.clip_pooling == "geometric_mean", run.hparams.classifier == "softmax")

    @classmethod
    def of_runs(cls, runs: Sequence[Run]) -> "Pooling":
        """Return the mean over runs: that of their windows if all runs have the same, else the arithmetic."""
        poolings = {cls.of_windows(run) for run in runs}
        return poolings.pop() if len(poolings) == 1 and len(runs) > 1 else cls()

    def terms(self, scores: np.ndarray) -> np.ndarray:
        """Return the values that are averaged, in the shape of `scores`."""
        return np.log(np.maximum(scores, SCORE_EPS)) if self.is_geometric else scores

    def finish(self, mean: np.ndarray) -> np.ndarray:
        """Convert a mean of terms, (..., classes), to scores of the same shape."""
        if not self.is_geometric:
            return mean
        scores = np.exp(mean)
        return scores / scores.sum(axis=-1, keepdims=True) if self.is_softmax else scores

    def __call__(self, scores: Sequence[np.ndarray]) -> np.ndarray:
        """Average arrays of scores, (..., classes) each."""
        return self.finish(np.mean(self.terms(np.asarray(scores)), axis=0))


def log_pooling(runs: Sequence[Run]) -> None:
    """Log how the scores of several runs are averaged."""
    if description := describe_pooling(runs):
        log.info("%s", description)


def describe_pooling(runs: Sequence[Run]) -> str:
    """Describe how the scores of several runs are averaged; "" for one run."""
    if len(runs) < 2:
        return ""
    mean = "geometric" if Pooling.of_runs(runs).is_geometric else "arithmetic"
    same = len({run.hparams.clip_pooling for run in runs}) == 1
    windows = "as over the windows of a clip" if same else "and over windows the clip_pooling of each run"
    return f"scores: {mean} mean over {len(runs)} runs, {windows}"
