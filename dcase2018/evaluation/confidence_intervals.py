"""How sure a score is: 95 % intervals of MAP@3.

They answer what other clips of the same classes would have given: clips are drawn, each within its class,
and classes are not. Where clips have several labels they are drawn from all alike, which makes an interval
somewhat longer, never too short.

Two ways lead there. With many clips, a stratified bootstrap, whose draws from a class of n are n - 1, so that
their variance is right in classes of a few clips too (Rao and Wu, "Resampling inference with complex survey
data", JASA 1988). It needs no loop over clips: few values of average precision are there to be drawn.
With few, where the bootstrap's intervals are too short, and of no length at all where all clips are right,
Wilson's interval (`score_interval`). The tests measure how often each holds the truth.
"""

import numpy as np
import pandas as pd
from scipy.special import ndtri

from dcase2018.data.labels import is_multi_label
from dcase2018.evaluation.evaluate import Evaluation

TAILS = (0.025, 0.975)  # the probabilities between which an interval lies

# The bootstrap needs so many clips that are not wholly right, and as many that are not wholly wrong.
MANY = 100


def intervals(evaluation: Evaluation, seed: int = 0, resamples: int = 10_000) -> pd.DataFrame:
    """The table of an evaluation with intervals.

    Returns
    -------
    DataFrame
        `Evaluation.table`, where the columns `low` and `high` follow `MAP@3`, and `Public low` and
        `Public high` follow `Public MAP@3`, and so on. A class without clips has NaN.
    """
    table = evaluation.table
    rng = np.random.default_rng(seed)
    for name, part in evaluation.by_usage.items():
        bounds = [score_interval(part.ap_at_3[clips]) for clips in part.y_true.T]
        bounds.append(mean_interval(part.ap_at_3, strata(part), rng, resamples))
        place = table.columns.get_loc(f"{name}MAP@3") + 1
        table.insert(place, f"{name}low", [low for low, _ in bounds])
        table.insert(place + 1, f"{name}high", [high for _, high in bounds])
    return table


def strata(evaluation: Evaluation) -> np.ndarray:
    """Number of the stratum that each clip is drawn from, (clips,).

    That is its class. Classes of one clip are a stratum together, since one clip tells of no variance; and
    all clips are one where they have several labels.
    """
    if is_multi_label(evaluation.labels):
        return np.zeros(len(evaluation.labels), int)
    own = evaluation.y_true.argmax(axis=1)
    return np.where(evaluation.y_true.sum(axis=0)[own] > 1, own, -1)


def mean_interval(
    values: np.ndarray, strata: np.ndarray, rng: np.random.Generator, resamples: int
) -> tuple[float, float]:
    """Interval of the mean of values in [0, 1]: by the bootstrap, or by `score_interval` if they are few."""
    if min((values < 1).sum(), (values > 0).sum()) < MANY:
        return score_interval(values, strata)
    low, high = np.quantile(resampled_means(values, strata, rng, resamples), TAILS)
    return float(low), float(high)


def resampled_means(
    values: np.ndarray, strata: np.ndarray, rng: np.random.Generator, resamples: int
) -> np.ndarray:
    """Means of values drawn anew within their strata, (resamples,): of each n values, n - 1 are drawn.

    What is drawn is how often each of a stratum's different values comes, which is multinomial.
    """
    sums = np.zeros(resamples)
    for stratum in np.unique(strata):
        levels, counts = np.unique(values[strata == stratum], return_counts=True)
        clips = counts.sum()
        draws = max(clips - 1, 1)
        sums += rng.multinomial(draws, counts / clips, resamples) @ levels * (clips / draws)
    return sums / len(values)


def score_interval(values: np.ndarray, strata: np.ndarray | None = None) -> tuple[float, float]:
    """Wilson's interval of the mean of values in [0, 1], for as many clips as their variance is worth.

    Wilson (JASA 1927) has shares of right and wrong, whose variance m (1 - m) follows from their mean m.
    Average precision varies less, by a ratio that is estimated from the values, and n clips are worth
    n / ratio of right and wrong: the effective sample size of Franco et al. ("Comparative study of
    confidence intervals for proportions in complex sample surveys", JSSAM 2019). One clip more, which
    varies as much as any can, keeps the ratio sound where all values are alike.

    Returns
    -------
    (float, float)
        Bounds in [0, 1], the mean between them; NaN without values.
    """
    clips = len(values)
    if not clips:
        return float("nan"), float("nan")
    mean = float(values.mean())
    ratio = (_squares(values, strata) + 1 / 4) / (clips * mean * (1 - mean) + 1 / 4)
    square = float(ndtri(TAILS[1])) ** 2 * ratio / clips
    centre = (mean + square / 2) / (1 + square)
    half = np.sqrt(square * (mean * (1 - mean) + square / 4)) / (1 + square)
    return float(max(min(centre - half, mean), 0)), float(min(max(centre + half, mean), 1))


def _squares(values: np.ndarray, strata: np.ndarray | None) -> float:
    """Sum of the squared deviations from the means of the strata; of all values alike, if None."""
    _, own = np.unique(np.zeros(len(values)) if strata is None else strata, return_inverse=True)
    clips = np.bincount(own)
    deviations = values - (np.bincount(own, values) / clips)[own]
    several = clips > 1
    variances = np.bincount(own, deviations**2)[several] / (clips[several] - 1)
    return float((variances * clips[several]).sum()) * (1 - 1 / len(values))
