"""Whether scores are what they say: hand-made bins, a slow twin, and scores drawn to be true."""

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
    TEMPERATURES,
    apply_temperature,
    calibration_error,
    fit_temperature,
    reliability_table,
)
from dcase2018.evaluation.metrics import ranking


def test_confidence_and_accuracy_of_each_bin() -> None:
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3], [0.35, 0.65], [1.0, 0.0], [0.0, 0.0]])
    y_true = np.eye(2, dtype=bool)[[0, 0, 0, 1, 0, 1]]
    table = reliability_table(scores, y_true, bins=5)
    np.testing.assert_allclose(table["low"], [0, 0.2, 0.4, 0.6, 0.8])
    np.testing.assert_allclose(table["high"], [0.2, 0.4, 0.6, 0.8, 1])
    assert table["clips"].tolist() == [1, 0, 0, 3, 2]
    np.testing.assert_allclose(table["confidence"], [0, np.nan, np.nan, (0.8 + 0.7 + 0.65) / 3, 0.95])
    np.testing.assert_allclose(table["accuracy"], [0, np.nan, np.nan, 2 / 3, 1])
    expected = (abs(2.15 - 2) + abs(1.9 - 2)) / 6
    assert calibration_error(scores, y_true, bins=5) == pytest.approx(expected)


def test_a_clip_of_several_labels_is_right_with_any() -> None:
    scores = np.array([[0.9, 0.5, 0.1]] * 2)
    table = reliability_table(scores, np.array([[1, 1, 0], [0, 1, 1]], bool))
    assert table["clips"].tolist() == [0] * 8 + [2, 0]
    assert table["accuracy"][8] == 0.5


@given(st.integers(1, 60), st.integers(1, 6), st.integers(1, 20), st.integers(0, 1000))
def test_equal_to_a_slow_twin(clips: int, classes: int, bins: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.integers(0, 11, (clips, classes)) / 10
    y_true = rng.random((clips, classes)) < 0.4
    total = 0.0
    table = reliability_table(scores, y_true, bins)
    for low, high in zip(table["low"], table["high"], strict=True):
        inside = [
            clip
            for clip in range(clips)
            if low < max(scores[clip]) <= high or (low == 0 and max(scores[clip]) == 0)
        ]
        right = sum(y_true[clip][list(scores[clip]).index(max(scores[clip]))] for clip in inside)
        total += abs(right - sum(max(scores[clip]) for clip in inside))
    assert calibration_error(scores, y_true, bins) == pytest.approx(total / clips)
    assert table["clips"].sum() == clips


def test_scores_that_are_true_have_next_to_no_error() -> None:
    rng = np.random.default_rng(0)
    scores = rng.dirichlet(np.ones(5) / 2, 20_000)
    y_true = np.eye(5, dtype=bool)[[rng.choice(5, p=row) for row in scores]]
    assert calibration_error(scores, y_true) < 0.02
    sharper = scores**3 / (scores**3).sum(axis=1, keepdims=True)
    assert calibration_error(sharper, y_true) > 0.1


def test_no_clips() -> None:
    assert np.isnan(calibration_error(np.zeros((0, 3)), np.zeros((0, 3), bool)))


def draw(rng: np.random.Generator, clips: int, exclusive: bool) -> tuple[np.ndarray, np.ndarray]:
    """Scores that are true, and truth drawn by them."""
    if not exclusive:
        scores = rng.beta(0.3, 1, (clips, 8))
        return scores, rng.random((clips, 8)) < scores
    scores = softmax(2 * rng.standard_normal((clips, 8)), axis=1)
    classes = (rng.random((clips, 1)) > scores.cumsum(axis=1)).sum(axis=1).clip(max=7)
    return scores, np.eye(8, dtype=bool)[classes]


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("gain", [0.5, 1, 3])
def test_scores_that_are_too_sure_or_not_enough_are_mended_on_other_clips(
    exclusive: bool, gain: float
) -> None:
    rng = np.random.default_rng(0)
    (first, seen), (second, unseen) = (draw(rng, clips, exclusive) for clips in (500, 5000))
    first, second = (
        softmax(gain * np.log(scores), axis=1) if exclusive else expit(gain * logit(scores))
        for scores in (first, second)
    )
    temperature = fit_temperature(first, seen, exclusive)
    assert temperature == pytest.approx(gain, rel=0.12)
    mended = apply_temperature(second, temperature, exclusive)
    np.testing.assert_array_equal(ranking(mended), ranking(second))
    before, after = calibration_error(second, unseen), calibration_error(mended, unseen)
    assert after < (before / 3 if gain != 1 else 0.03)


@given(
    st.lists(st.integers(0, 1000), min_size=2, max_size=41, unique=True),
    st.floats(*TEMPERATURES),
    st.booleans(),
)
def test_the_order_stays_at_any_temperature(numbers: list[int], temperature: float, exclusive: bool) -> None:
    scores = np.array([numbers]) / (sum(numbers) if exclusive else 1000)
    cooled = apply_temperature(scores, temperature, exclusive)
    np.testing.assert_array_equal(ranking(cooled), ranking(scores))
    assert ((cooled >= 0) & (cooled <= 1)).all()
    if exclusive:
        assert cooled.sum() == pytest.approx(1)


def test_a_temperature_of_one_changes_nothing() -> None:
    scores = np.random.default_rng(0).dirichlet(np.ones(5), 10)
    for exclusive in (True, False):
        np.testing.assert_allclose(apply_temperature(scores, 1, exclusive), scores)


@pytest.mark.parametrize("clips", [1, 10, 100])
def test_clips_that_are_all_right_or_all_wrong_give_no_temperature_at_the_bounds(clips: int) -> None:
    scores = np.tile([0.7, 0.2, 0.1], (clips, 1))
    right, wrong = (np.tile(np.eye(3, dtype=bool)[place], (clips, 1)) for place in (0, 2))
    low, high = fit_temperature(scores, right, True), fit_temperature(scores, wrong, True)
    assert TEMPERATURES[0] * 2 < low < 1 < high < TEMPERATURES[1]


@pytest.fixture(scope="module")
def predicted(toy_pipeline: ToyPipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("predicted")
    for name, flags in (("raw", ()), ("calibrated", ("--calibrate",))):
        out = (folder / f"{name}-s.csv", toy_pipeline.run, "--scores-output", folder / f"{name}.csv", *flags)
        run_ok("predict", toy_pipeline.test, *out)
    return folder


def test_fit_keeps_a_temperature_that_predict_uses(toy_pipeline: ToyPipeline, predicted: Path) -> None:
    kept = json.loads((toy_pipeline.run / "calibration.json").read_text())
    assert kept["clips"] == verified_mask(read_labels(toy_pipeline.validation)).sum()
    raw, told = (pd.read_csv(predicted / f"{name}.csv", index_col="fname") for name in ("raw", "calibrated"))
    cooled = apply_temperature(raw.to_numpy(), kept["temperature"], exclusive=True)
    np.testing.assert_allclose(told, cooled, rtol=1e-12)
    assert (predicted / "raw-s.csv").read_bytes() == (predicted / "calibrated-s.csv").read_bytes()
    np.testing.assert_array_equal(ranking(told.to_numpy())[:, :3], ranking(raw.to_numpy())[:, :3])


def test_what_cannot_be_calibrated(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(toy_pipeline.run, run)
    out = ("predict", toy_pipeline.test, tmp_path / "s.csv")
    scores = ("--scores-output", tmp_path / "scores.csv", "--calibrate")
    assert "--calibrate needs --scores-output" in run_fails(2, *out, run, "--calibrate")
    assert "no --hop-seconds, no --pooling" in run_fails(2, *out, run, *scores, "--hop-seconds", 1)
    assert "a calibration is of one run" in run_fails(2, *out, run, toy_pipeline.run, *scores)
    assert "leave --checkpoint away" in run_fails(2, *out, run, *scores, "--checkpoint", "best")
    file = run / "calibration.json"
    file.write_text(file.read_text().replace('"temperature": ', '"temperature": -'))
    assert f"{file} is damaged or foreign: temperature must be > 0, not -" in run_fails(2, *out, run, *scores)
    file.unlink()
    assert f"{file} does not exist; dcase2018 fit --validation writes it" in run_fails(2, *out, run, *scores)
    assert not (tmp_path / "s.csv").exists()
