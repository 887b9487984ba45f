"""95 % confidence intervals of MAP@3 and accuracy over the choice of clips.

Clips are resampled within their class; the classes are fixed. Clips with several labels form one stratum,
which makes an interval slightly wider, never too narrow.

Two methods are used:

- With many imperfect clips, a stratified bootstrap that draws n - 1 clips from a class of n, so that the
  variance is unbiased in small classes too (Rao and Wu, "Resampling inference with complex survey data",
  JASA 1988). Average precision has few distinct values, so that multinomial counts replace a loop over clips.
- With few, a Wilson interval with the effective sample size (`wilson_interval`). The bootstrap interval would
  be too narrow, and of zero length if all clips are correct.

The tests measure the coverage of both.
"""

import numpy as np
import pandas as pd
from scipy.special import ndtri

from dcase2018.data.labels import is_multi_label
from dcase2018.evaluation.evaluate import Evaluation

QUANTILES = (0.025, 0.975)

# The bootstrap needs this many clips with an average precision below 1, and as many with one above 0.
MIN_FOR_BOOTSTRAP = 100


def confidence_intervals(
    evaluation: Evaluation, seed: int = 0, resamples: int = 10_000
) -> dict[str, tuple[float, float]]:
    """Compute the 95 % confidence intervals of MAP@3 and accuracy over all clips.

    Parameters
    ----------
    evaluation : Evaluation
    seed : int
        Seed of the bootstrap. The same seed gives the same intervals.
    resamples : int
        Number of bootstrap resamples.

    Returns
    -------
    dict
        The lower and upper bound of `map3` and `accuracy`. Clips with several labels have no accuracy.

    Examples
    --------
    >>> dcase2018.confidence_intervals(dcase2018.evaluate(ensemble, labels))["map3"]
    (0.7212, 0.7639)
    """
    clip_values = {"map3": evaluation.ap_at_3}
    if not is_multi_label(evaluation.labels):
        clip_values["accuracy"] = evaluation.is_correct.astype(float)
    return {
        name: mean_interval(values, strata(evaluation), np.random.default_rng(seed), resamples)
        for name, values in clip_values.items()
    }


def score_table(evaluation: Evaluation, seed: int = 0, resamples: int = 10_000) -> pd.DataFrame:
    """Compute the score table of an evaluation, with 95 % confidence intervals of MAP@3 and accuracy.

    Parameters
    ----------
    evaluation : Evaluation
    seed : int
        Seed of the bootstrap. The same seed gives the same table.
    resamples : int
        Number of bootstrap resamples.

    Returns
    -------
    DataFrame
        `Evaluation.table` with the columns `ci_low` and `ci_high` after `map3`, and `accuracy_ci_low` and
        `accuracy_ci_high` after `accuracy`. They are NaN for a class without clips.

    Examples
    --------
    >>> table = dcase2018.score_table(dcase2018.evaluate(ensemble, labels))
    >>> table.query("part == 'all' and label == 'overall'")[["accuracy", "accuracy_ci_low"]]
    """
    table = evaluation.table
    for column, prefix in (("map3", ""), ("accuracy", "accuracy_")):
        if column in table:
            bounds = _column_intervals(evaluation, column, np.random.default_rng(seed), resamples)
            position = table.columns.get_loc(column) + 1
            table.insert(position, f"{prefix}ci_low", [low for low, _ in bounds])
            table.insert(position + 1, f"{prefix}ci_high", [high for _, high in bounds])
    return table


def _column_intervals(
    evaluation: Evaluation, column: str, rng: np.random.Generator, resamples: int
) -> list[tuple[float, float]]:
    """Compute the interval of each row of a score table: of its classes, and over all classes."""
    bounds: list[tuple[float, float]] = []
    for part in evaluation.by_usage.values():
        values = part.ap_at_3 if column == "map3" else part.is_correct.astype(float)
        bounds += [wilson_interval(values[has_label]) for has_label in part.y_true.T]
        bounds.append(mean_interval(values, strata(part), rng, resamples))
    return bounds


def strata(evaluation: Evaluation) -> np.ndarray:
    """Assign each clip to a stratum: int, (n_clips,).

    The stratum is the clip's class. Classes with one clip share the stratum -1, because one clip has no
    variance. Clips with several labels are all in stratum 0.
    """
    if is_multi_label(evaluation.labels):
        return np.zeros(len(evaluation.labels), int)
    class_of_clip = evaluation.y_true.argmax(axis=1)
    return np.where(evaluation.y_true.sum(axis=0)[class_of_clip] > 1, class_of_clip, -1)


def mean_interval(
    values: np.ndarray, strata: np.ndarray, rng: np.random.Generator, resamples: int
) -> tuple[float, float]:
    """Compute the interval of a mean of values in [0, 1], by bootstrap or, for few values, by Wilson."""
    if min((values < 1).sum(), (values > 0).sum()) < MIN_FOR_BOOTSTRAP:
        return wilson_interval(values, strata)
    low, high = np.quantile(resampled_means(values, strata, rng, resamples), QUANTILES)
    return float(low), float(high)


def resampled_means(
    values: np.ndarray, strata: np.ndarray, rng: np.random.Generator, resamples: int
) -> np.ndarray:
    """Draw bootstrap means, n - 1 values from each stratum of n: float64, (resamples,).

    The counts of a stratum's distinct values are multinomial, so that no values are drawn one by one.
    """
    sums = np.zeros(resamples)
    for stratum in np.unique(strata):
        levels, counts = np.unique(values[strata == stratum], return_counts=True)
        n_clips = counts.sum()
        draws = max(n_clips - 1, 1)
        sums += rng.multinomial(draws, counts / n_clips, resamples) @ levels * (n_clips / draws)
    return sums / len(values)


def wilson_interval(values: np.ndarray, strata: np.ndarray | None = None) -> tuple[float, float]:
    """Compute Wilson's interval of a mean of values in [0, 1], with the effective sample size.

    Wilson's interval (JASA 1927) is for proportions, whose variance m (1 - m) follows from the mean m. The
    variance of average precision is smaller by a ratio that is estimated from the values. So n clips count as
    n / ratio binary outcomes: the effective sample size of Franco et al. ("Comparative study of confidence
    intervals for proportions in complex sample surveys", JSSAM 2019). One added clip of maximal variance
    keeps the ratio positive if all values are equal.

    Parameters
    ----------
    values : ndarray, (n_clips,)
        Average precision of each clip, or 1 for a correct and 0 for a wrong prediction.
    strata : ndarray of int, (n_clips,), optional
        Stratum of each clip; one stratum by default.

    Returns
    -------
    (float, float)
        Bounds in [0, 1] that enclose the mean; NaN without values.
    """
    n_clips = len(values)
    if not n_clips:
        return float("nan"), float("nan")
    mean = float(values.mean())
    ratio = (_within_strata_ss(values, strata) + 1 / 4) / (n_clips * mean * (1 - mean) + 1 / 4)
    scaled = float(ndtri(QUANTILES[1])) ** 2 * ratio / n_clips  # z^2 / effective sample size
    centre = (mean + scaled / 2) / (1 + scaled)
    half_width = np.sqrt(scaled * (mean * (1 - mean) + scaled / 4)) / (1 + scaled)
    return float(max(min(centre - half_width, mean), 0)), float(min(max(centre + half_width, mean), 1))


def _within_strata_ss(values: np.ndarray, strata: np.ndarray | None) -> float:
    """Sum of squared deviations from the stratum means, with the bias of small strata corrected."""
    _, stratum = np.unique(np.zeros(len(values)) if strata is None else strata, return_inverse=True)
    counts = np.bincount(stratum)
    deviations = values - (np.bincount(stratum, values) / counts)[stratum]
    has_variance = counts > 1
    variances = np.bincount(stratum, deviations**2)[has_variance] / (counts[has_variance] - 1)
    return float((variances * counts[has_variance]).sum()) * (1 - 1 / len(values))
