"""What is believed of labels, against what Bayes' rule gives where all that it needs is known."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from noisy_labels import CLASSES, corpus
from scipy.special import softmax

from dcase2018.label_quality.noise_model import infer_true_labels
from dcase2018.utils.errors import InputError


def test_beliefs_are_those_of_one_who_knows_the_noise() -> None:
    labels, scores, _ = corpus(6000)
    beliefs = infer_true_labels(labels, scores)
    assert beliefs.error == pytest.approx(0.3, abs=0.02)
    own = (labels["label"].to_numpy()[:, None] == np.array(CLASSES)).astype(float)
    known = softmax(3 * np.log(scores.to_numpy()), axis=1) * np.where(own, 0.7, 0.1)
    known /= known.sum(axis=1, keepdims=True)
    unverified = ~beliefs.verified
    assert np.abs(beliefs.posterior - known)[unverified].mean() < 0.01
    assert np.abs(beliefs.posterior - known)[unverified].max() < 0.1
    np.testing.assert_array_equal(beliefs.posterior[beliefs.verified], own[beliefs.verified])


def test_what_is_believed_comes_true() -> None:
    labels, scores, truth = corpus(6000, seed=1)
    beliefs = infer_true_labels(labels, scores)
    likely, right = beliefs.posterior_of(beliefs.given_labels), (labels["label"] == truth).to_numpy()
    for low, high in ((0, 0.05), (0.05, 0.5), (0.5, 0.95), (0.95, 1)):
        some = ~beliefs.verified & (low <= likely) & (likely <= high)
        assert likely[some].mean() == pytest.approx(right[some].mean(), abs=0.08)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.9])
def test_the_share_of_wrong_labels_is_found(share: float) -> None:
    rng = np.random.default_rng(0)
    labels, scores, truth = corpus(3000)
    number = pd.Index(CLASSES).get_indexer(truth)
    wrong = rng.random(3000) < share
    given = np.where(wrong, (number + rng.integers(1, 4, 3000)) % 4, number)
    given[:1000] = number[:1000]
    checked = np.where(np.arange(3000) < 1000, "1", "0")
    labels = labels.assign(label=np.array(CLASSES, object)[given], manually_verified=checked)
    assert infer_true_labels(labels, scores).error == pytest.approx(share, abs=0.03)


@given(
    st.integers(1, 30).flatmap(
        lambda n: st.tuples(
            st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=n, max_size=n),
            st.lists(st.sampled_from("abc"), min_size=n, max_size=n),
            st.lists(st.sampled_from("01"), min_size=n, max_size=n),
        )
    )
)
@settings(deadline=None, max_examples=60)
def test_beliefs_are_probabilities_whatever_the_scores_and_the_order(drawn: tuple) -> None:
    values, given, checked = drawn
    fnames = [f"{i}.wav" for i in range(len(given))]
    labels = pd.DataFrame({"fname": fnames, "label": given, "manually_verified": checked}, dtype=object)
    scores = pd.DataFrame(values, index=fnames, columns=list("abc"))
    beliefs = infer_true_labels(labels, scores)
    assert ((beliefs.posterior >= 0) & (beliefs.posterior <= 1)).all()
    np.testing.assert_allclose(beliefs.posterior.sum(axis=1), 1)
    assert 0 < beliefs.error < 1
    order = np.random.default_rng(len(given)).permutation(len(given))
    again = infer_true_labels(labels.iloc[order], scores.iloc[::-1])
    np.testing.assert_allclose(again.posterior, beliefs.posterior[order], atol=1e-4)


def test_labels_that_do_not_tell_what_is_verified() -> None:
    labels, scores, _ = corpus(20)
    with pytest.raises(InputError, match="add a column manually_verified of 0 and 1"):
        infer_true_labels(labels.drop(columns="manually_verified"), scores)
    unverified = infer_true_labels(labels.assign(manually_verified="0"), scores)
    np.testing.assert_allclose(unverified.pred_probs, scores)
