"""Intervals: how often they hold the truth, exactly where all outcomes can be listed, else in 1,000 draws."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, multinomial, norm

from dcase2018.evaluation.confidence_intervals import (
    MANY,
    intervals,
    mean_interval,
    resampled_means,
    score_interval,
)
from dcase2018.evaluation.evaluate import Evaluation

VALUES = np.array([1, 1 / 2, 1 / 3, 0])  # average precision of a clip with one label
CLASSES = [f"class {number:02}" for number in range(41)]

# How far the score of the true class is raised above 40 others, all of them of a standard normal
# distribution, and the MAP@3 that comes of it.
QUALITIES = {1.87: 0.50, 2.81: 0.80, 3.32: 0.90, 3.74: 0.95}


def chances(margin: float) -> np.ndarray:
    """Probability that the true class comes first, second, third, or later: (4,)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(100)
    better = norm.sf(nodes + margin)  # chance of each other class to score better
    first = [weights @ binom.pmf(rank, 40, better) / weights.sum() for rank in range(3)]
    return np.array([*first, 1 - sum(first)])


def outcomes(clips: int) -> np.ndarray:
    """All ways in which clips can be spread over the four values."""
    counts = np.indices((clips + 1,) * 3).reshape(3, -1).T
    counts = counts[counts.sum(axis=1) <= clips]
    return np.column_stack([counts, clips - counts.sum(axis=1)])


def coverage(chance: np.ndarray, clips: int) -> float:
    """Exact probability that the interval of a class holds its true mean."""
    every = outcomes(clips)
    low, high = np.array([score_interval(np.repeat(VALUES, counts)) for counts in every]).T
    y_true = chance @ VALUES
    return float(multinomial.pmf(every, clips, chance)[(low <= y_true) & (y_true <= high)].sum())


@pytest.mark.parametrize(("margin", "quality"), QUALITIES.items())
def test_the_qualities_are_as_said(margin: float, quality: float) -> None:
    assert chances(margin) @ VALUES == pytest.approx(quality, abs=0.002)
    scores = np.random.default_rng(0).standard_normal((20_000, 41))
    scores[:, 0] += margin
    ranks = (scores[:, 1:] > scores[:, :1]).sum(axis=1)
    shares = np.bincount(np.minimum(ranks, 3), minlength=4) / 20_000
    np.testing.assert_allclose(shares, chances(margin), atol=0.01)


@pytest.mark.parametrize("margin", QUALITIES)
@pytest.mark.parametrize("clips", [8, 16])
def test_the_interval_of_a_small_class_holds_its_quality(clips: int, margin: float) -> None:
    assert 0.93 <= coverage(chances(margin), clips) <= 0.97


def test_on_average_it_holds_in_the_smallest_classes_and_at_any_quality() -> None:
    for clips in (2, 4, 8):
        held = [coverage(chances(margin), clips) for margin in np.linspace(0.5, 4, 8)]
        assert 0.93 <= np.mean(held) <= 0.97
        assert min(held) > 0.85  # few outcomes are possible, and none may lie just outside


@pytest.mark.parametrize(
    "margin", [pytest.param(m, marks=() if m == 2.81 else pytest.mark.slow) for m in QUALITIES]
)
@pytest.mark.parametrize(("classes", "size"), [(20, 2), (4, 400)])
def test_the_overall_interval_holds_the_quality(classes: int, size: int, margin: float) -> None:
    """Few clips, two in each class, and many: score interval and bootstrap."""
    rng = np.random.default_rng(1)
    chance = np.array([chances(own) for own in np.linspace(margin - 0.5, margin + 0.5, classes)])
    y_true = (chance @ VALUES).mean()
    strata = np.repeat(np.arange(classes), size)
    held = 0
    for _ in range(1000):
        values = np.concatenate([np.repeat(VALUES, rng.multinomial(size, each)) for each in chance])
        low, high = mean_interval(values, strata, rng, 1000)
        held += low <= y_true <= high
    assert 930 <= held <= 970


def evaluation(seed: int, sizes: list[int], margin: float = 2.81, several: bool = False) -> Evaluation:
    rng = np.random.default_rng(seed)
    own = np.repeat(np.arange(len(sizes)), sizes)
    scores = rng.standard_normal((len(own), len(CLASSES)))
    scores[np.arange(len(own)), own] += margin
    labels = {
        "fname": [f"{clip}.wav" for clip in range(len(own))],
        "labels" if several else "label": np.array(CLASSES, object)[own],
        "usage": np.where(rng.random(len(own)) < 0.2, "Public", "Private").astype(object),
    }
    return Evaluation(pd.DataFrame(labels), scores, CLASSES)


@pytest.mark.slow
@pytest.mark.parametrize("margin", [2.81, 3.74])
def test_the_table_holds_the_qualities(margin: float) -> None:
    """1,000 times the scores of a test set, the first class of which has 8 clips."""
    sizes = [8, *range(10, 50)]
    y_true = chances(margin) @ VALUES
    held = np.zeros(2)
    for seed in range(1000):
        drawn = evaluation(seed, sizes, margin)
        drawn = Evaluation(drawn.labels.drop(columns="usage"), drawn.scores, CLASSES)
        rows = intervals(drawn, resamples=1000).loc[[CLASSES[0], "overall"]]
        held += ((rows["low"] <= y_true) & (y_true <= rows["high"])).to_numpy()
    assert (held >= 930).all()
    assert (held <= 970).all()


def test_the_table_has_them_beside_each_score() -> None:
    drawn = evaluation(0, [8, *range(10, 48), 1, 0])
    table = intervals(drawn)
    pd.testing.assert_frame_equal(table[list(drawn.table)], drawn.table)
    assert list(table)[:6] == ["clips", "MAP@3", "low", "high", "Private clips", "Private MAP@3"]
    for name in ("", "Private ", "Public "):
        score, low, high = (table[name + column] for column in ("MAP@3", "low", "high"))
        heard = table[f"{name}clips"] > 0
        assert ((low >= 0) & (low <= score) & (score <= high) & (high <= 1) & (low < high))[heard].all()
        assert (low.isna() & high.isna())[~heard].all()
    assert intervals(drawn).equals(table)
    shorter = table["high"] - table["low"] < table["Public high"] - table["Public low"]
    assert shorter["overall"]


def test_several_labels_a_clip() -> None:
    one, several = (intervals(evaluation(0, [40] * 41, 2.0, several)) for several in (False, True))
    assert several.loc["class 03", "low"] == one.loc["class 03", "low"]
    lengths = [table.loc["overall", "high"] - table.loc["overall", "low"] for table in (one, several)]
    assert lengths[1] == pytest.approx(lengths[0], rel=0.1)


@given(st.integers(1, 200), st.data())
def test_right_or_wrong_gives_the_interval_of_wilson(clips: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, clips))
    expected = binomtest(right, clips).proportion_ci(method="wilson")
    values = np.repeat([1.0, 0.0], [right, clips - right])
    np.testing.assert_allclose(score_interval(values), [expected.low, expected.high], atol=1e-12)


def test_of_no_length_only_without_clips() -> None:
    assert np.isnan(score_interval(np.zeros(0))).all()
    low, high = score_interval(np.ones(8))
    assert 0.6 < low < 0.7  # the bootstrap's would be 1
    assert high == 1
    low, high = score_interval(np.zeros(8))
    assert low == 0
    assert 0.3 < high < 0.4
    low, high = mean_interval(np.ones(2000), np.zeros(2000, int), np.random.default_rng(0), 100)
    assert 0.997 < low < high == 1


def test_draws_have_the_variance_of_a_mean_of_strata() -> None:
    """In classes of two clips, the plain bootstrap would have half of it."""
    rng = np.random.default_rng(0)
    sizes = [2, 2, 3, 5, 40, 1]
    strata = np.repeat(np.arange(len(sizes)), sizes)
    values = rng.choice(VALUES, len(strata))
    expected = sum(
        size * values[strata == number].var(ddof=1) for number, size in enumerate(sizes) if size > 1
    )
    means = resampled_means(values, strata, rng, 200_000)
    assert means.var() == pytest.approx(expected / len(values) ** 2, rel=0.02)
    assert means.mean() == pytest.approx(values.mean(), abs=1e-3)


def test_the_bootstrap_and_the_score_interval_agree_where_one_hands_over() -> None:
    rng = np.random.default_rng(2)
    for margin in QUALITIES:
        strata = np.repeat(np.arange(41), 40)
        values = rng.choice(VALUES, len(strata), p=chances(margin))
        values[: MANY + 20] = 0
        bootstrap = mean_interval(values, strata, rng, 10_000)
        np.testing.assert_allclose(bootstrap, score_interval(values, strata), atol=0.002)
