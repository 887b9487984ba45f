"""Confidence intervals: coverage, exact where all outcomes can be enumerated, else over 1,000 draws."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, multinomial, norm

from dcase2018.evaluation.confidence_intervals import (
    MIN_FOR_BOOTSTRAP,
    mean_interval,
    resampled_means,
    score_table,
    wilson_interval,
)
from dcase2018.evaluation.evaluate import Evaluation

VALUES = np.array([1, 1 / 2, 1 / 3, 0])  # average precision of a clip with one label
CLASSES = [f"class {index:02}" for index in range(41)]

# Margin by which the score of the label exceeds those of 40 other classes, all standard normal, and the
# expected MAP@3.
MAP3_OF_MARGIN = {1.87: 0.50, 2.81: 0.80, 3.32: 0.90, 3.74: 0.95}


def rank_probabilities(margin: float) -> np.ndarray:
    """Probability that the label is ranked first, second, third, or lower: (4,)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(100)
    p_higher = norm.sf(nodes + margin)  # probability that another class scores higher
    first_three = [weights @ binom.pmf(rank, 40, p_higher) / weights.sum() for rank in range(3)]
    return np.array([*first_three, 1 - sum(first_three)])


def outcomes(n_clips: int) -> np.ndarray:
    """All counts of the four values among the clips: (n_outcomes, 4)."""
    counts = np.indices((n_clips + 1,) * 3).reshape(3, -1).T
    counts = counts[counts.sum(axis=1) <= n_clips]
    return np.column_stack([counts, n_clips - counts.sum(axis=1)])


def coverage(probabilities: np.ndarray, n_clips: int) -> float:
    """Exact probability that the interval of a class contains its true mean."""
    counts = outcomes(n_clips)
    low, high = np.array([wilson_interval(np.repeat(VALUES, row)) for row in counts]).T
    true_mean = probabilities @ VALUES
    is_covered = (low <= true_mean) & (true_mean <= high)
    return float(multinomial.pmf(counts, n_clips, probabilities)[is_covered].sum())


@pytest.mark.parametrize(("margin", "map3"), MAP3_OF_MARGIN.items())
def test_margins_give_the_stated_map3(margin: float, map3: float) -> None:
    assert rank_probabilities(margin) @ VALUES == pytest.approx(map3, abs=0.002)
    scores = np.random.default_rng(0).standard_normal((20_000, 41))
    scores[:, 0] += margin
    ranks = (scores[:, 1:] > scores[:, :1]).sum(axis=1)
    fractions = np.bincount(np.minimum(ranks, 3), minlength=4) / 20_000
    np.testing.assert_allclose(fractions, rank_probabilities(margin), atol=0.01)


@pytest.mark.parametrize("margin", MAP3_OF_MARGIN)
@pytest.mark.parametrize("n_clips", [8, 16])
def test_coverage_in_a_small_class(n_clips: int, margin: float) -> None:
    assert 0.93 <= coverage(rank_probabilities(margin), n_clips) <= 0.97


def test_average_coverage_in_the_smallest_classes() -> None:
    for n_clips in (2, 4, 8):
        coverages = [coverage(rank_probabilities(margin), n_clips) for margin in np.linspace(0.5, 4, 8)]
        assert 0.93 <= np.mean(coverages) <= 0.97
        assert min(coverages) > 0.85  # few outcomes are possible, so that coverage is uneven


@pytest.mark.parametrize(
    "margin", [pytest.param(m, marks=() if m == 2.81 else pytest.mark.slow) for m in MAP3_OF_MARGIN]
)
@pytest.mark.parametrize(("n_classes", "size"), [(20, 2), (4, 400)])
def test_coverage_of_the_overall_interval(n_classes: int, size: int, margin: float) -> None:
    """Two clips per class (Wilson), and many (bootstrap)."""
    rng = np.random.default_rng(1)
    margins = np.linspace(margin - 0.5, margin + 0.5, n_classes)
    probabilities = np.array([rank_probabilities(class_margin) for class_margin in margins])
    true_mean = (probabilities @ VALUES).mean()
    strata = np.repeat(np.arange(n_classes), size)
    n_covered = 0
    for _ in range(1000):
        values = np.concatenate([np.repeat(VALUES, rng.multinomial(size, row)) for row in probabilities])
        low, high = mean_interval(values, strata, rng, 1000)
        n_covered += low <= true_mean <= high
    assert 930 <= n_covered <= 970


def draw_evaluation(
    seed: int, sizes: list[int], margin: float = 2.81, is_multi_label: bool = False
) -> Evaluation:
    rng = np.random.default_rng(seed)
    class_of_clip = np.repeat(np.arange(len(sizes)), sizes)
    n_clips = len(class_of_clip)
    scores = rng.standard_normal((n_clips, len(CLASSES)))
    scores[np.arange(n_clips), class_of_clip] += margin
    labels = {
        "fname": [f"{clip}.wav" for clip in range(n_clips)],
        "labels" if is_multi_label else "label": np.array(CLASSES, object)[class_of_clip],
        "usage": np.where(rng.random(n_clips) < 0.2, "Public", "Private").astype(object),
    }
    return Evaluation(pd.DataFrame(labels), scores, CLASSES)


def overall_ci(table: pd.DataFrame, part: str = "all") -> tuple[float, float]:
    (row,) = table[(table["part"] == part) & (table["label"] == "overall")].to_dict("records")
    return row["ci_low"], row["ci_high"]


@pytest.mark.slow
@pytest.mark.parametrize("margin", [2.81, 3.74])
def test_coverage_of_the_score_table(margin: float) -> None:
    """1,000 draws of a test set whose first class has 8 clips."""
    sizes = [8, *range(10, 50)]
    true_mean = rank_probabilities(margin) @ VALUES
    n_covered = np.zeros(2)
    for seed in range(1000):
        drawn = draw_evaluation(seed, sizes, margin)
        drawn = Evaluation(drawn.labels.drop(columns="usage"), drawn.scores, CLASSES)
        rows = score_table(drawn, resamples=1000).set_index("label").loc[[CLASSES[0], "overall"]]
        n_covered += ((rows["ci_low"] <= true_mean) & (true_mean <= rows["ci_high"])).to_numpy()
    assert (n_covered >= 930).all()
    assert (n_covered <= 970).all()


def test_score_table_has_an_interval_for_each_score() -> None:
    drawn = draw_evaluation(0, [8, *range(10, 48), 1, 0])
    table = score_table(drawn)
    pd.testing.assert_frame_equal(table[list(drawn.table)], drawn.table)
    assert list(table) == [
        "part", "label", "n_clips", "map3", "ci_low", "ci_high", "accuracy", "accuracy_ci_low",
        "accuracy_ci_high", "precision", "recall", "f1", "map",
    ]  # fmt: skip
    assert table["part"].unique().tolist() == ["all", "Private", "Public"]
    assert table["label"].tolist() == [*CLASSES, "overall"] * 3
    has_clips = table["n_clips"] > 0
    for metric, prefix in (("map3", ""), ("accuracy", "accuracy_")):
        score, low, high = (table[column] for column in (metric, f"{prefix}ci_low", f"{prefix}ci_high"))
        assert ((low >= 0) & (low <= score) & (score <= high) & (high <= 1) & (low < high))[has_clips].all()
        assert (low.isna() & high.isna())[~has_clips].all()
    assert score_table(drawn).equals(table)
    assert np.ptp(overall_ci(table)) < np.ptp(overall_ci(table, "Public"))


def test_interval_of_each_part_is_that_of_its_clips_alone() -> None:
    drawn = draw_evaluation(0, [40] * 41)
    table = score_table(drawn)
    for usage in ("Public", "Private"):
        part = drawn.by_usage[usage]
        alone = Evaluation(part.labels.drop(columns="usage"), part.scores, CLASSES)
        expected, actual = score_table(alone).iloc[:-1], table[table["part"] == usage].iloc[:-1]
        numbers = ["n_clips", "map3", "ci_low", "ci_high", "accuracy_ci_low", "accuracy_ci_high"]
        np.testing.assert_array_equal(actual[numbers], expected[numbers])


def test_several_labels_per_clip() -> None:
    single, multi = (score_table(draw_evaluation(0, [40] * 41, 2.0, is_multi)) for is_multi in (False, True))
    assert multi.loc[3, "ci_low"] == single.loc[3, "ci_low"]
    assert np.ptp(overall_ci(multi)) == pytest.approx(np.ptp(overall_ci(single)), rel=0.1)
    assert list(multi)[6:] == ["map", "lwlrap"]


def test_accuracy_of_a_class_has_the_wilson_interval() -> None:
    """With the variance of a proportion, the interval is Wilson's for any number of correct clips."""
    drawn = draw_evaluation(0, [40] * 41, 2.0)
    rows = score_table(drawn).query("part == 'all'").iloc[:-1]
    for _, row in rows.iterrows():
        n_correct = round(row["accuracy"] * row["n_clips"])
        expected = binomtest(n_correct, row["n_clips"]).proportion_ci(method="wilson")
        assert (row["accuracy_ci_low"], row["accuracy_ci_high"]) == pytest.approx(tuple(expected))


@given(st.integers(1, 200), st.data())
def test_binary_values_give_the_wilson_interval(n_clips: int, data: st.DataObject) -> None:
    n_correct = data.draw(st.integers(0, n_clips))
    expected = binomtest(n_correct, n_clips).proportion_ci(method="wilson")
    values = np.repeat([1.0, 0.0], [n_correct, n_clips - n_correct])
    np.testing.assert_allclose(wilson_interval(values), [expected.low, expected.high], atol=1e-12)


def test_interval_has_zero_length_only_without_clips() -> None:
    assert np.isnan(wilson_interval(np.zeros(0))).all()
    low, high = wilson_interval(np.ones(8))
    assert 0.6 < low < 0.7  # the bootstrap's would be 1
    assert high == 1
    low, high = wilson_interval(np.zeros(8))
    assert low == 0
    assert 0.3 < high < 0.4
    low, high = mean_interval(np.ones(2000), np.zeros(2000, int), np.random.default_rng(0), 100)
    assert 0.997 < low < high == 1


def test_resampled_means_have_the_variance_of_a_stratified_mean() -> None:
    """In classes of two clips, the plain bootstrap would give half of it."""
    rng = np.random.default_rng(0)
    sizes = [2, 2, 3, 5, 40, 1]
    strata = np.repeat(np.arange(len(sizes)), sizes)
    values = rng.choice(VALUES, len(strata))
    expected = sum(
        size * values[strata == stratum].var(ddof=1) for stratum, size in enumerate(sizes) if size > 1
    )
    means = resampled_means(values, strata, rng, 200_000)
    assert means.var() == pytest.approx(expected / len(values) ** 2, rel=0.02)
    assert means.mean() == pytest.approx(values.mean(), abs=1e-3)


def test_bootstrap_and_wilson_agree_at_the_threshold() -> None:
    rng = np.random.default_rng(2)
    for margin in MAP3_OF_MARGIN:
        strata = np.repeat(np.arange(41), 40)
        values = rng.choice(VALUES, len(strata), p=rank_probabilities(margin))
        values[: MIN_FOR_BOOTSTRAP + 20] = 0
        bootstrap = mean_interval(values, strata, rng, 10_000)
        np.testing.assert_allclose(bootstrap, wilson_interval(values, strata), atol=0.002)
