"""Metrics: hand-made cases; random ones against a slow version or scikit-learn."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    label_ranking_average_precision_score,
    log_loss,
    precision_recall_fscore_support,
)

from dcase2018.evaluation.evaluate import Evaluation
from dcase2018.evaluation.metrics import (
    average_precision,
    class_average_precision,
    class_means,
    cross_entropy,
    is_top_1_correct,
    label_precision,
    lwlrap,
    precision_recall_f1,
    top_classes,
)


def test_average_precision_is_one_over_rank() -> None:
    scores = np.array([[0.1, 0.4, 0.3, 0.2]] * 4)
    y_true = np.eye(4, dtype=bool)[[1, 2, 3, 0]]
    np.testing.assert_allclose(average_precision(scores, y_true), [1, 1 / 2, 1 / 3, 0])


def test_ties_are_broken_by_the_lower_index() -> None:
    scores = np.array([[0.5, 0.5, 0.5, 0.5]])
    assert top_classes(scores).tolist() == [[0, 1, 2]]
    assert average_precision(np.repeat(scores, 4, 0), np.eye(4, dtype=bool)).tolist() == [1, 1 / 2, 1 / 3, 0]


def test_fewer_classes_than_ranks() -> None:
    assert average_precision(np.array([[0.2, 0.8]]), np.array([[True, False]])).tolist() == [0.5]


def test_average_precision_without_clips_is_empty() -> None:
    assert average_precision(np.zeros((0, 41)), np.zeros((0, 41), bool)).shape == (0,)


def test_several_labels_per_clip() -> None:
    scores = np.array([[0.4, 0.3, 0.2, 0.1]] * 3)
    y_true = np.array([[1, 0, 1, 0], [0, 1, 0, 1], [1, 1, 1, 1]], bool)
    precision = [[1, 0, 2 / 3, 0], [0, 1 / 2, 0, 2 / 4], [1, 1, 1, 1]]
    np.testing.assert_allclose(label_precision(scores, y_true), precision)
    # Labels in the top three: two of two, one of two, and three of four, of which three fit.
    np.testing.assert_allclose(average_precision(scores, y_true), [(1 + 2 / 3) / 2, 1 / 2 / 2, 1])
    assert lwlrap(scores, y_true) == pytest.approx((1 + 2 / 3 + 1 / 2 + 1 / 2 + 4) / 8)


@pytest.mark.parametrize("seed", range(5))
def test_accuracy_precision_recall_and_f1_equal_scikit_learn(seed: int) -> None:
    """Of nine classes, the last two have no clips and the first is never predicted."""
    rng = np.random.default_rng(seed)
    label = rng.permutation(np.arange(60) % 7)
    scores = rng.random((60, 9))
    scores[np.arange(60), label] += 0.5
    scores[:, 0] -= 10
    predicted, y_true = scores.argmax(axis=1), np.eye(9, dtype=bool)[label]
    assert is_top_1_correct(scores, y_true).mean() == accuracy_score(label, predicted)
    expected = precision_recall_fscore_support(label, predicted, labels=range(7), zero_division=0)[:3]
    actual = precision_recall_f1(scores, y_true)
    np.testing.assert_allclose(actual[:, :7], expected)
    assert actual[:, 0].tolist() == [0, 0, 0]
    assert np.isnan(actual[:, 7:]).all()
    macro = precision_recall_fscore_support(
        label, predicted, labels=range(7), zero_division=0, average="macro"
    )[:3]
    labels = pd.DataFrame({"fname": [f"{clip}.wav" for clip in range(60)], "label": label.astype(str)})
    evaluation = Evaluation(labels, scores, list("012345678"))
    assert [evaluation.precision, evaluation.recall, evaluation.f1] == pytest.approx(macro)
    mean_ap = average_precision_score(y_true[:, :7], scores[:, :7])
    row = evaluation.table.iloc[-1]
    assert row[["accuracy", "f1", "map"]].tolist() == pytest.approx(
        [accuracy_score(label, predicted), macro[2], mean_ap]
    )


def slow_average_precision(scores: list[float], y_true: set[int]) -> float:
    """Rank by repeated search for the largest score, the first of equals."""
    remaining = dict(enumerate(scores))
    n_hits, total = 0, 0.0
    for rank in range(1, min(3, len(scores)) + 1):
        best = max(remaining, key=lambda index: remaining[index])
        del remaining[best]
        if best in y_true:
            n_hits += 1
            total += n_hits / rank
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
def test_average_precision_equals_slow_version(scores: np.ndarray, random, is_multi_label: bool) -> None:  # type: ignore[no-untyped-def]
    classes = range(scores.shape[1])
    max_labels = len(classes) if is_multi_label else 1
    sets = [set(random.sample(classes, random.randint(1, max_labels))) for _ in scores]
    expected = [slow_average_precision(list(row), true) for row, true in zip(scores, sets, strict=True)]
    y_true = np.array([[index in true for index in classes] for true in sets])
    np.testing.assert_allclose(average_precision(scores, y_true), expected)


@given(st.integers(2, 40), st.integers(2, 20), st.integers(0, 1000))
def test_map_and_lwlrap_equal_scikit_learn(n_clips: int, n_classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, y_true = rng.random((n_clips, n_classes)), rng.random((n_clips, n_classes)) < 0.3
    y_true[:, 0] |= ~y_true.any(axis=1)  # every clip has a label
    present = y_true.any(axis=0)
    expected = average_precision_score(y_true[:, present], scores[:, present], average=None)
    np.testing.assert_allclose(class_average_precision(scores, y_true)[present], expected)
    assert np.isnan(class_average_precision(scores, y_true)[~present]).all()
    weighted = label_ranking_average_precision_score(y_true, scores, sample_weight=y_true.sum(axis=1))
    assert lwlrap(scores, y_true) == pytest.approx(weighted)


def test_class_means_of_absent_classes_are_nan() -> None:
    y_true = np.array([[1, 0, 0], [1, 0, 0], [0, 0, 1]], bool)
    np.testing.assert_array_equal(class_means(np.array([1.0, 0.5, 0.0]), y_true), [0.75, np.nan, 0.0])


def test_cross_entropy_is_the_log_loss_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    scores = rng.dirichlet(np.ones(5), 30)
    labels = rng.integers(0, 5, 30)
    y_true = np.eye(5, dtype=bool)[labels]
    assert cross_entropy(scores, y_true, is_single_label=True) == pytest.approx(
        log_loss(labels, scores, labels=range(5))
    )
    expected = log_loss(y_true.ravel(), scores.ravel())
    assert cross_entropy(scores, y_true, is_single_label=False) == pytest.approx(expected)
    impossible = cross_entropy(np.array([[0.0, 1.0]]), np.array([[True, False]]), is_single_label=True)
    assert impossible == pytest.approx(-np.log(1e-7))
