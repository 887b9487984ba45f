"""Scores: hand-made cases, and slow twins or scikit-learn on random ones."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np
from sklearn.metrics import average_precision_score, label_ranking_average_precision_score

from dcase2018.evaluation.metrics import (
    average_precision,
    class_average_precision,
    class_means,
    label_precision,
    lwlrap,
    top_classes,
)


def test_the_rank_of_the_true_class_decides() -> None:
    scores = np.array([[0.1, 0.4, 0.3, 0.2]] * 4)
    y_true = np.eye(4, dtype=bool)[[1, 2, 3, 0]]
    np.testing.assert_allclose(average_precision(scores, y_true), [1, 1 / 2, 1 / 3, 0])


def test_ties_go_to_the_lower_index() -> None:
    scores = np.array([[0.5, 0.5, 0.5, 0.5]])
    assert top_classes(scores).tolist() == [[0, 1, 2]]
    assert average_precision(np.repeat(scores, 4, 0), np.eye(4, dtype=bool)).tolist() == [1, 1 / 2, 1 / 3, 0]


def test_fewer_classes_than_ranks() -> None:
    assert average_precision(np.array([[0.2, 0.8]]), np.array([[True, False]])).tolist() == [0.5]


def test_no_clips() -> None:
    assert average_precision(np.zeros((0, 41)), np.zeros((0, 41), bool)).shape == (0,)


def test_several_true_classes() -> None:
    scores = np.array([[0.4, 0.3, 0.2, 0.1]] * 3)
    y_true = np.array([[1, 0, 1, 0], [0, 1, 0, 1], [1, 1, 1, 1]], bool)
    precision = [[1, 0, 2 / 3, 0], [0, 1 / 2, 0, 2 / 4], [1, 1, 1, 1]]
    np.testing.assert_allclose(label_precision(scores, y_true), precision)
    # Of the best three: two of two are found, one of two, three of the three that there is room for.
    np.testing.assert_allclose(average_precision(scores, y_true), [(1 + 2 / 3) / 2, 1 / 2 / 2, 1])
    assert lwlrap(scores, y_true) == pytest.approx((1 + 2 / 3 + 1 / 2 + 1 / 2 + 4) / 8)


def slow_average_precision(scores: list[float], y_true: set[int]) -> float:
    """Rank by repeated search for the largest score, the first of equals."""
    left = dict(enumerate(scores))
    found, total = 0, 0.0
    for rank in range(1, min(3, len(scores)) + 1):
        best = max(left, key=lambda index: left[index])
        del left[best]
        if best in y_true:
            found += 1
            total += found / rank
    return total / min(3, len(y_true))


@given(
    st_np.arrays(
        np.float64,
        st.tuples(st.integers(1, 20), st.integers(1, 41)),
        elements=st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]),  # few values: many ties
    ),
    st.randoms(use_true_random=False),
    st.booleans(),
)
def test_equal_to_a_slow_twin(scores: np.ndarray, random, several: bool) -> None:  # type: ignore[no-untyped-def]
    classes = range(scores.shape[1])
    most = len(classes) if several else 1
    sets = [set(random.sample(classes, random.randint(1, most))) for _ in scores]
    expected = [slow_average_precision(list(row), true) for row, true in zip(scores, sets, strict=True)]
    y_true = np.array([[index in true for index in classes] for true in sets])
    np.testing.assert_allclose(average_precision(scores, y_true), expected)


@given(st.integers(2, 40), st.integers(2, 20), st.integers(0, 1000))
def test_equal_to_scikit_learn(clips: int, classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, y_true = rng.random((clips, classes)), rng.random((clips, classes)) < 0.3
    y_true[:, 0] |= ~y_true.any(axis=1)  # every clip has a label
    heard = y_true.any(axis=0)
    expected = average_precision_score(y_true[:, heard], scores[:, heard], average=None)
    np.testing.assert_allclose(class_average_precision(scores, y_true)[heard], expected)
    assert np.isnan(class_average_precision(scores, y_true)[~heard]).all()
    weighted = label_ranking_average_precision_score(y_true, scores, sample_weight=y_true.sum(axis=1))
    assert lwlrap(scores, y_true) == pytest.approx(weighted)


def test_class_means_leave_absent_classes_open() -> None:
    y_true = np.array([[1, 0, 0], [1, 0, 0], [0, 0, 1]], bool)
    np.testing.assert_array_equal(class_means(np.array([1.0, 0.5, 0.0]), y_true), [0.75, np.nan, 0.0])
