"""MAP@3: hand-made cases, and a slow twin on random scores."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_np

from dcase2018.metrics import average_precision, class_means, top_classes


def test_the_rank_of_the_true_class_decides() -> None:
    scores = np.array([[0.1, 0.4, 0.3, 0.2]] * 4)
    np.testing.assert_allclose(average_precision(scores, [1, 2, 3, 0]), [1, 1 / 2, 1 / 3, 0])


def test_ties_go_to_the_lower_index() -> None:
    scores = np.array([[0.5, 0.5, 0.5, 0.5]])
    assert top_classes(scores).tolist() == [[0, 1, 2]]
    assert average_precision(np.repeat(scores, 4, 0), range(4)).tolist() == [1, 1 / 2, 1 / 3, 0]


def test_fewer_classes_than_ranks() -> None:
    assert average_precision(np.array([[0.2, 0.8]]), [0]).tolist() == [0.5]


def test_no_clips() -> None:
    assert average_precision(np.zeros((0, 41)), np.zeros(0, int)).shape == (0,)


def slow_average_precision(scores: list[float], truth: int) -> float:
    """Rank by repeated search for the largest score, the first of equals."""
    left = dict(enumerate(scores))
    for rank in range(1, 4):
        if not left:
            break
        best = max(left, key=lambda index: left[index])
        if best == truth:
            return 1 / rank
        del left[best]
    return 0.0


@given(
    st_np.arrays(
        np.float64,
        st.tuples(st.integers(1, 20), st.integers(1, 41)),
        elements=st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]),  # few values: many ties
    ),
    st.randoms(use_true_random=False),
)
def test_equal_to_a_slow_twin(scores: np.ndarray, random) -> None:  # type: ignore[no-untyped-def]
    truth = [random.randrange(scores.shape[1]) for _ in scores]
    expected = [slow_average_precision(list(row), true) for row, true in zip(scores, truth, strict=True)]
    np.testing.assert_allclose(average_precision(scores, truth), expected)


def test_class_means_leave_absent_classes_open() -> None:
    means = class_means(np.array([1.0, 0.5, 0.0]), np.array([0, 0, 2]), 3)
    np.testing.assert_array_equal(means, [0.75, np.nan, 0.0])
