"""Calibration: hand-made bins, an independent slow version, and scores calibrated by construction."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ToyPipeline, run_fails, run_ok
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import expit, logit, softmax

from dcase2018.data.labels import read_labels, verified_mask
from dcase2018.evaluation.calibration import (
    TEMPERATURE_BOUNDS,
    apply_temperature,
    calibration_error,
    confidence_bias,
    fit_temperature,
    reliability_table,
)
from dcase2018.evaluation.metrics import ranking


def test_reliability_table_of_hand_made_bins() -> None:
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.35, 0.65], [1.0, 0.0], [0.0, 0.0]])
    y_true = np.eye(2, dtype=bool)[[0, 0, 0, 1, 0, 1]]
    table = reliability_table(scores, y_true, bins=5)
    np.testing.assert_allclose(table["low"], [0, 0.2, 0.4, 0.6, 0.8])
    np.testing.assert_allclose(table["high"], [0.2, 0.4, 0.6, 0.8, 1])
    assert table["n_clips"].tolist() == [1, 0, 0, 3, 2]
    np.testing.assert_allclose(table["confidence"], [0, np.nan, np.nan, (0.8 + 0.7 + 0.65) / 3, 0.95])
    np.testing.assert_allclose(table["accuracy"], [0, np.nan, np.nan, 2 / 3, 1])
    expected = (abs(2.15 - 2) + abs(1.9 - 2)) / 6
    assert calibration_error(scores, y_true, bins=5) == pytest.approx(expected)


def test_any_of_several_labels_is_correct() -> None:
    scores = np.array([[0.9, 0.5, 0.1]] * 2)
    table = reliability_table(scores, np.array([[1, 1, 0], [0, 1, 1]], bool))
    assert table["n_clips"].tolist() == [0] * 8 + [2, 0]
    assert table["accuracy"][8] == 0.5


@given(st.integers(1, 60), st.integers(1, 6), st.integers(1, 20), st.integers(0, 1000))
def test_calibration_error_equals_slow_version(n_clips: int, n_classes: int, bins: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 11, (n_clips, n_classes)) / 10
    y_true = rng.random((n_clips, n_classes)) < 0.4
    total = 0.0
    table = reliability_table(scores, y_true, bins)
    for low, high in zip(table["low"], table["high"], strict=True):
        in_bin = [
            clip
            for clip in range(n_clips)
            if low < max(scores[clip]) <= high or (low == 0 and max(scores[clip]) == 0)
        ]
        n_correct = sum(y_true[clip][list(scores[clip]).index(max(scores[clip]))] for clip in in_bin)
        total += abs(n_correct - sum(max(scores[clip]) for clip in in_bin))
    assert calibration_error(scores, y_true, bins) == pytest.approx(total / n_clips)
    assert table["n_clips"].sum() == n_clips


def test_calibrated_scores_have_almost_no_error() -> None:
    rng = np.random.default_rng(0)
    scores = rng.dirichlet(np.ones(5) / 2, 20_000)
    y_true = np.eye(5, dtype=bool)[[rng.choice(5, p=row) for row in scores]]
    assert calibration_error(scores, y_true) < 0.02
    sharper = scores**3 / (scores**3).sum(axis=1, keepdims=True)
    assert calibration_error(sharper, y_true) > 0.1


def test_calibration_error_without_clips_is_nan() -> None:
    assert np.isnan(calibration_error(np.zeros((0, 3)), np.zeros((0, 3), bool)))


def draw_calibrated(
    rng: np.random.Generator, n_clips: int, is_single_label: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Draw scores, and labels with these probabilities."""
    if not is_single_label:
        scores = rng.beta(0.3, 1, (n_clips, 8))
        return scores, rng.random((n_clips, 8)) < scores
    scores = softmax(2 * rng.standard_normal((n_clips, 8)), axis=1)
    classes = (rng.random((n_clips, 1)) > scores.cumsum(axis=1)).sum(axis=1).clip(max=7)
    return scores, np.eye(8, dtype=bool)[classes]


@pytest.mark.parametrize("is_single_label", [True, False])
@pytest.mark.parametrize("gain", [0.5, 1, 3])
def test_temperature_corrects_over_and_underconfidence_on_other_clips(
    is_single_label: bool, gain: float
) -> None:
    rng = np.random.default_rng(0)
    (fit_scores, fit_y), (test_scores, test_y) = (
        draw_calibrated(rng, n_clips, is_single_label) for n_clips in (500, 5000)
    )
    fit_scores, test_scores = (
        softmax(gain * np.log(scores), axis=1) if is_single_label else expit(gain * logit(scores))
        for scores in (fit_scores, test_scores)
    )
    temperature = fit_temperature(fit_scores, fit_y, is_single_label)
    assert temperature == pytest.approx(gain, rel=0.12)
    calibrated = apply_temperature(test_scores, temperature, is_single_label)
    np.testing.assert_array_equal(ranking(calibrated), ranking(test_scores))
    before, after = calibration_error(test_scores, test_y), calibration_error(calibrated, test_y)
    assert after < (before / 3 if gain != 1 else 0.03)


@given(
    st.lists(st.integers(0, 1000), min_size=2, max_size=41, unique=True),
    st.floats(*TEMPERATURE_BOUNDS),
    st.booleans(),
)
def test_any_temperature_keeps_the_ranking(
    numbers: list[int], temperature: float, is_single_label: bool
) -> None:
    scores = np.array([numbers]) / (sum(numbers) if is_single_label else 1000)
    calibrated = apply_temperature(scores, temperature, is_single_label)
    np.testing.assert_array_equal(ranking(calibrated), ranking(scores))
    assert ((calibrated >= 0) & (calibrated <= 1)).all()
    if is_single_label:
        assert calibrated.sum() == pytest.approx(1)


def test_temperature_of_one_changes_nothing() -> None:
    scores = np.random.default_rng(0).dirichlet(np.ones(5), 10)
    for is_single_label in (True, False):
        np.testing.assert_allclose(apply_temperature(scores, 1, is_single_label), scores)


@pytest.mark.parametrize("n_clips", [1, 10, 100])
def test_all_correct_or_all_wrong_clips_give_no_extreme_temperature(n_clips: int) -> None:
    scores = np.tile([0.7, 0.2, 0.1], (n_clips, 1))
    all_correct, all_wrong = (np.tile(np.eye(3, dtype=bool)[label], (n_clips, 1)) for label in (0, 2))
    low, high = fit_temperature(scores, all_correct, True), fit_temperature(scores, all_wrong, True)
    assert TEMPERATURE_BOUNDS[0] * 1.2 < low < 1 < high < TEMPERATURE_BOUNDS[1]


@pytest.fixture(scope="module")
def predicted(toy_pipeline: ToyPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("predicted")
    for name, flags in (("raw", ()), ("calibrated", ("--calibrate",))):
        outputs = ("-o", folder / f"{name}-s.csv", "--scores-output", folder / f"{name}.csv")
        run_ok("predict", toy_pipeline.test, toy_pipeline.run, *outputs, *flags)
    return folder


def test_predict_applies_the_temperature_that_fit_stored(toy_pipeline: ToyPipeline, predicted: Path) -> None:
    stored = json.loads((toy_pipeline.run / "calibration.json").read_text())
    assert stored["clips"] == verified_mask(read_labels(toy_pipeline.validation)).sum()
    raw, calibrated = (
        pd.read_csv(predicted / f"{name}.csv", index_col="fname") for name in ("raw", "calibrated")
    )
    expected = apply_temperature(raw.to_numpy(), stored["temperature"], is_single_label=True)
    np.testing.assert_allclose(calibrated, expected, rtol=1e-12)
    assert (predicted / "raw-s.csv").read_bytes() == (predicted / "calibrated-s.csv").read_bytes()
    np.testing.assert_array_equal(ranking(calibrated.to_numpy())[:, :3], ranking(raw.to_numpy())[:, :3])


@pytest.mark.slow
def test_predict_rejects_what_cannot_be_calibrated(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(toy_pipeline.run, run)
    command = ("predict", toy_pipeline.test, "-o", tmp_path / "s.csv", "--calibrate", run)
    scores = ("--scores-output", tmp_path / "scores.csv")
    assert "--calibrate requires --scores-output" in run_fails(2, *command)
    assert "omit --hop-seconds and --pooling" in run_fails(2, *command, *scores, "--hop-seconds", 1)
    assert "--calibrate supports a single run" in run_fails(2, *command, toy_pipeline.run, *scores)
    assert "omit --checkpoint" in run_fails(2, *command, *scores, "--checkpoint", "best")
    path = run / "calibration.json"
    path.write_text(path.read_text().replace('"temperature": ', '"temperature": -'))
    message = run_fails(2, *command, *scores)
    assert f"{path} is damaged or of an unknown version: temperature must be > 0, not -" in message
    path.unlink()
    message = run_fails(2, *command, *scores)
    assert f"{path} does not exist; train with dcase2018 fit --validation" in message
    assert not (tmp_path / "s.csv").exists()


@pytest.mark.parametrize(
    ("confidence", "verdict"), [(0.9, "overconfident"), (0.52, "unbiased"), (0.3, "underconfident")]
)
def test_confidence_bias_of_scores_that_are_half_correct(confidence: float, verdict: str) -> None:
    rest = (1 - confidence) / 9
    scores = np.full((200, 10), rest)
    scores[:, 0] = confidence
    y_true = np.eye(10, dtype=bool)[np.arange(200) % 2]
    bias = confidence_bias(scores, y_true)
    assert bias["verdict"] == verdict
    assert (bias["confidence"], bias["accuracy"]) == pytest.approx((confidence, 0.5))
    half_width = 1.959964 * 0.5 * np.sqrt(200 / 199) / np.sqrt(200)  # half of the clips are correct
    assert bias["interval"] == pytest.approx([confidence - 0.5 - half_width, confidence - 0.5 + half_width])
    assert confidence_bias(scores[:1], y_true[:1])["verdict"] == "unknown"
