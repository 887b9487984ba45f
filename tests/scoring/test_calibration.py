"""Whether scores are what they say: hand-made bins, a slow twin, and scores drawn to be true."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcase2018.scoring.calibration import calibration_error, reliability


def test_confidence_and_accuracy_of_each_bin() -> None:
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.35, 0.65], [1.0, 0.0], [0.0, 0.0]])
    truth = np.eye(2, dtype=bool)[[0, 0, 0, 1, 0, 1]]
    table = reliability(scores, truth, bins=5)
    np.testing.assert_allclose(table["low"], [0, 0.2, 0.4, 0.6, 0.8])
    np.testing.assert_allclose(table["high"], [0.2, 0.4, 0.6, 0.8, 1])
    assert table["clips"].tolist() == [1, 0, 0, 3, 2]
    np.testing.assert_allclose(table["confidence"], [0, np.nan, np.nan, (0.8 + 0.7 + 0.65) / 3, 0.95])
    np.testing.assert_allclose(table["accuracy"], [0, np.nan, np.nan, 2 / 3, 1])
    expected = (abs(2.15 - 2) + abs(1.9 - 2)) / 6
    assert calibration_error(scores, truth, bins=5) == pytest.approx(expected)


def test_a_clip_of_several_labels_is_right_with_any() -> None:
    scores = np.array([[0.9, 0.5, 0.1]] * 2)
    table = reliability(scores, np.array([[1, 1, 0], [0, 1, 1]], bool))
    assert table["clips"].tolist() == [0] * 8 + [2, 0]
    assert table["accuracy"][8] == 0.5


@given(st.integers(1, 60), st.integers(1, 6), st.integers(1, 20), st.integers(0, 1000))
def test_equal_to_a_slow_twin(clips: int, classes: int, bins: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 11, (clips, classes)) / 10
    truth = rng.random((clips, classes)) < 0.4
    total = 0.0
    table = reliability(scores, truth, bins)
    for low, high in zip(table["low"], table["high"], strict=True):
        inside = [
            clip
            for clip in range(clips)
            if low < max(scores[clip]) <= high or (low == 0 and max(scores[clip]) == 0)
        ]
        right = sum(truth[clip][list(scores[clip]).index(max(scores[clip]))] for clip in inside)
        total += abs(right - sum(max(scores[clip]) for clip in inside))
    assert calibration_error(scores, truth, bins) == pytest.approx(total / clips)
    assert table["clips"].sum() == clips


def test_scores_that_are_true_have_next_to_no_error() -> None:
    rng = np.random.default_rng(0)
    scores = rng.dirichlet(np.ones(5) / 2, 20_000)
    truth = np.eye(5, dtype=bool)[[rng.choice(5, p=row) for row in scores]]
    assert calibration_error(scores, truth) < 0.02
    sharper = scores**3 / (scores**3).sum(axis=1, keepdims=True)
    assert calibration_error(sharper, truth) > 0.1


def test_no_clips() -> None:
    assert np.isnan(calibration_error(np.zeros((0, 3)), np.zeros((0, 3), bool)))
