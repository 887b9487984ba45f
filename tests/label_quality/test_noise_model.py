"""The label posterior, against Bayes' rule with the true noise rate and calibration."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from noisy_labels import CLASSES, make_labels_with_no_class, make_noisy_labels
from scipy.sparse import csr_array
from scipy.special import softmax

from dcase2018.label_quality.noise_model import infer_true_labels
from dcase2018.utils.errors import InputError


def test_posterior_equals_bayes_rule_with_the_true_noise_rate() -> None:
    labels, scores, _ = make_noisy_labels(6000)
    result = infer_true_labels(labels, scores)
    assert result.noise_rate == pytest.approx(0.3, abs=0.02)
    one_hot = (labels["label"].to_numpy()[:, None] == np.array(CLASSES)).astype(float)
    expected = softmax(3 * np.log(scores.to_numpy()), axis=1) * np.where(one_hot, 0.7, 0.1)
    expected /= expected.sum(axis=1, keepdims=True)
    unverified = ~result.is_verified
    assert np.abs(result.posterior - expected)[unverified].mean() < 0.01
    assert np.abs(result.posterior - expected)[unverified].max() < 0.1
    np.testing.assert_array_equal(result.posterior[result.is_verified], one_hot[result.is_verified])


def test_posterior_is_calibrated() -> None:
    labels, scores, true_labels = make_noisy_labels(6000, seed=1)
    result = infer_true_labels(labels, scores)
    probability = result.posterior_of(result.given_labels)
    is_correct = (labels["label"] == true_labels).to_numpy()
    for low, high in ((0, 0.05), (0.05, 0.5), (0.5, 0.95), (0.95, 1)):
        in_bin = ~result.is_verified & (low <= probability) & (probability <= high)
        assert probability[in_bin].mean() == pytest.approx(is_correct[in_bin].mean(), abs=0.08)


@pytest.mark.parametrize("noise_rate", [0.0, 0.1, 0.9])
def test_noise_rate_is_estimated(noise_rate: float) -> None:
    rng = np.random.default_rng(0)
    labels, scores, true_labels = make_noisy_labels(3000)
    true_classes = pd.Index(CLASSES).get_indexer(true_labels)
    is_wrong = rng.random(3000) < noise_rate
    given_classes = np.where(is_wrong, (true_classes + rng.integers(1, 4, 3000)) % 4, true_classes)
    given_classes[:1000] = true_classes[:1000]
    verified = np.where(np.arange(3000) < 1000, "1", "0")
    labels = labels.assign(label=np.array(CLASSES, object)[given_classes], manually_verified=verified)
    assert infer_true_labels(labels, scores).noise_rate == pytest.approx(noise_rate, abs=0.03)


@given(
    st.integers(1, 30).flatmap(
        lambda n: st.tuples(
            st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=n, max_size=n),
            st.lists(st.sampled_from("abc"), min_size=n, max_size=n),
            st.lists(st.sampled_from("01"), min_size=n, max_size=n),
        )
    )
)
@settings(max_examples=60)
def test_posterior_is_a_distribution_and_independent_of_order(drawn: tuple) -> None:
    values, given_labels, verified = drawn
    n = len(given_labels)
    fnames = [f"{i}.wav" for i in range(n)]
    columns = {"fname": fnames, "label": given_labels, "manually_verified": verified}
    labels = pd.DataFrame(columns, dtype=object)
    scores = pd.DataFrame(values, index=fnames, columns=list("abc"))
    result = infer_true_labels(labels, scores)
    assert ((result.posterior >= 0) & (result.posterior <= 1)).all()
    assert ((result.none_probs >= 0) & (result.none_probs <= 1)).all()
    np.testing.assert_allclose(result.posterior.sum(axis=1) + result.none_probs, 1)
    one_hot = np.array(given_labels)[:, None] == np.array(list("abc"))
    np.testing.assert_array_equal(result.posterior[result.is_verified], one_hot[result.is_verified])
    assert 0 <= result.none_rate <= result.noise_rate + 1e-12 <= 1 + 1e-9
    order = np.random.default_rng(n).permutation(n)
    permuted = infer_true_labels(labels.iloc[order], scores.iloc[::-1])
    np.testing.assert_allclose(permuted.posterior, result.posterior[order], atol=1e-4)
    np.testing.assert_allclose(permuted.none_probs, result.none_probs[order], atol=1e-4)


@pytest.mark.parametrize("intercept", [-5, -3, -1])
def test_none_of_the_classes_equals_bayes_rule_with_the_true_parameters(intercept: float) -> None:
    labels, scores, true_classes, expected = make_labels_with_no_class(intercept=intercept)
    result = infer_true_labels(labels, scores)
    unverified = ~result.is_verified
    is_none, is_wrong = true_classes[unverified] < 0, (true_classes != result.given_labels)[unverified]
    assert result.none_rate == pytest.approx(is_none.mean(), abs=0.02)
    assert result.noise_rate == pytest.approx(is_wrong.mean(), abs=0.02)
    estimated = np.column_stack([result.posterior, result.none_probs])
    assert np.abs(estimated - expected)[unverified].mean() < 0.002
    assert np.abs(result.none_probs - expected[:, -1])[unverified].mean() < 0.02
    probability = result.none_probs[unverified]
    for low, high in ((0, 0.2), (0.2, 0.8), (0.8, 1)):
        in_bin = (low <= probability) & (probability <= high)
        assert probability[in_bin].mean() == pytest.approx(is_none[in_bin].mean(), abs=0.1)
    np.testing.assert_array_equal(result.has_no_class, result.none_probs > result.posterior.max(axis=1))


@pytest.mark.parametrize("seed", range(5))
def test_labels_of_classes_alone_leave_almost_no_clip_without_class(seed: int) -> None:
    for labels, scores, *_ in (
        make_labels_with_no_class(1000, intercept=-np.inf, seed=seed),
        make_noisy_labels(1000, seed),
    ):
        result = infer_true_labels(labels, scores)
        assert result.none_rate < 0.002
        assert not result.has_no_class.any()


def test_harder_unverified_clips_are_not_of_none_of_the_classes() -> None:
    labels, scores, *_ = make_labels_with_no_class(intercept=-np.inf)
    is_hard = (scores.max(axis=1) < 0.6).to_numpy()
    is_left_out = is_hard & (labels["manually_verified"] == "1").to_numpy()
    result = infer_true_labels(labels[~is_left_out], scores)
    assert is_left_out.sum() > 500
    assert result.none_rate < 0.002


def test_verified_clips_are_required_for_none_of_the_classes() -> None:
    labels, scores, *_ = make_labels_with_no_class()
    result = infer_true_labels(labels.assign(manually_verified="0"), scores)
    assert result.none_rate == 0
    np.testing.assert_allclose(result.posterior.sum(axis=1), 1)
    np.testing.assert_array_equal(result.none_probs, 0)
    verified = infer_true_labels(labels.assign(manually_verified="1"), scores)
    assert (verified.none_rate, verified.noise_rate) == (0, 0)


def test_verified_near_duplicates_have_a_class() -> None:
    labels, scores, *_ = make_labels_with_no_class()
    alone = infer_true_labels(labels, scores)
    clip = alone.none_probs.argmax()
    duplicate = alone.is_verified.argmax()
    pair = csr_array(([1.0, 1.0], ([clip, duplicate], [duplicate, clip])), shape=(len(labels), len(labels)))
    combined = infer_true_labels(labels, scores, pair)
    assert alone.none_probs[clip] > 0.95
    assert combined.none_probs[clip] < 0.5
    assert combined.predicted_labels[clip] == alone.given_labels[duplicate]


def test_labels_must_mark_what_is_verified() -> None:
    labels, scores, _ = make_noisy_labels(20)
    with pytest.raises(InputError, match="add a column manually_verified of 0 and 1"):
        infer_true_labels(labels.drop(columns="manually_verified"), scores)
    unverified = infer_true_labels(labels.assign(manually_verified="0"), scores)
    np.testing.assert_allclose(unverified.pred_probs, scores)
