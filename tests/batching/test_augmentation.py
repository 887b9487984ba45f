"""Each augmentation applied to known examples."""

import librosa
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from dcase2018.batching.augmentation import (
    Augmentation,
    filter_augment,
    gain,
    mixup,
    spec_mask,
    speed_change,
    time_shift,
)
from dcase2018.features.config import FEATURE_CONFIGS, FeatureConfig
from dcase2018.features.logmel import LogMel
from dcase2018.models.hparams import HParams

FEATURES = FeatureConfig(mel_bands=8)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def ramps(n: int = 200, frames: int = 40, width: int = 8) -> np.ndarray:
    """Examples in which the value of frame f and band b is 100 f + b."""
    return np.tile((100 * np.arange(frames)[:, None] + np.arange(width)).astype(np.float32), (n, 1, 1))


def test_time_shift_rolls_each_example_by_its_own_shift(rng: np.random.Generator) -> None:
    x = ramps()
    shifted = time_shift(x.copy(), rng, 0.25)
    shifts = set()
    for example, original in zip(shifted, x, strict=True):
        shift = int(np.flatnonzero(example[:, 0] == 0)[0])
        np.testing.assert_array_equal(example, np.roll(original, shift, axis=0))
        shifts.add((shift + 20) % 40 - 20)
    assert (min(shifts), max(shifts)) == (-10, 10)
    assert len(shifts) == 21


def test_gain_scales_the_mel_energies(rng: np.random.Generator) -> None:
    mel = np.exp(np.random.default_rng(1).normal(-2, 2, (300, 5, 8)))
    x = np.log(mel + FEATURES.mel_log_offset).astype(np.float32)
    louder = np.exp(gain(x.copy(), rng, 6, FEATURES).astype(np.float64)) - FEATURES.mel_log_offset
    factors = np.median(louder / mel, axis=(1, 2))
    np.testing.assert_allclose(louder, mel * factors[:, None, None], rtol=2e-3, atol=1e-5)
    decibels = 20 * np.log10(factors)
    assert decibels.min() == pytest.approx(-6, abs=0.2)
    assert decibels.max() == pytest.approx(6, abs=0.2)
    silence = np.full((3, 5, 8), FEATURES.silence_value, np.float32)
    np.testing.assert_allclose(gain(silence.copy(), rng, 20, FEATURES), silence, rtol=1e-5)


def test_gain_scales_samples(rng: np.random.Generator) -> None:
    x = np.random.default_rng(1).normal(0, 0.1, (50, 5, 160)).astype(np.float32)
    ratio = gain(x.copy(), rng, 6, FEATURE_CONFIGS["waveform16k"]) / x
    assert np.ptp(ratio, axis=(1, 2)).max() < 1e-5
    assert 0.5 < ratio.min() < 0.6 < 1.8 < ratio.max() < 2


def test_speed_change_scales_frequencies_and_times_by_one_factor(rng: np.random.Generator) -> None:
    config = FEATURE_CONFIGS["logmel96"]
    seconds = np.arange(config.sample_rate * 2) / config.sample_rate
    tone = np.float32(np.sin(2 * np.pi * 1500 * seconds) * (seconds % 0.4 < 0.2))
    windows = sliding_window_view(tone, config.win_length)[:: config.hop_length]
    frames = LogMel(config)(windows, full_scale=1)[:160]
    changed = speed_change(np.tile(frames, (200, 1, 1)), rng, 0.3, config, 120)
    assert changed.shape == (200, 120, 96)
    assert changed.dtype == np.float32
    centers = librosa.mel_frequencies(98, fmin=config.mel_min_hz, fmax=config.mel_max_hz, htk=True)[1:-1]
    speeds = centers[changed.max(axis=1).argmax(axis=1)] / 1500
    band_width = np.diff(centers)[50] / 1500
    assert speeds.min() == pytest.approx(1 / 1.3, abs=band_width)
    assert speeds.max() == pytest.approx(1.3, abs=band_width)
    for speed, example in zip(speeds, changed, strict=True):
        is_on = example.max(axis=1) > example.max() / 2
        periods = np.diff(np.flatnonzero(is_on[1:] & ~is_on[:-1]))
        assert len(periods) >= 1
        np.testing.assert_allclose(periods, 40 / speed, rtol=band_width, atol=1)


def test_speed_change_of_zero_repeats_the_example(rng: np.random.Generator) -> None:
    np.testing.assert_allclose(speed_change(ramps(), rng, 0, FEATURES, ramps().shape[1]), ramps(), atol=1e-3)


def test_filter_augment_adds_a_piecewise_linear_gain_curve(rng: np.random.Generator) -> None:
    feature_config = FeatureConfig(mel_bands=61)
    x = np.random.default_rng(1).normal(3, 1, (400, 5, 61)).astype(np.float32)
    added = (filter_augment(x.copy(), rng, 12, feature_config).astype(np.float64) - x) * 20 / np.log(10)
    np.testing.assert_allclose(added, np.broadcast_to(added[:, :1], added.shape), atol=1e-4)
    curves = added[:, 0]  # decibels, (examples, bands)
    assert -12 < curves.min() < -11.9 < 11.9 < curves.max() < 12
    bends = np.abs(np.diff(curves, n=2)).max(axis=0)
    assert np.flatnonzero(bends > 1e-3).tolist() == [19, 39]  # at bands 20 and 40
    silence = np.full((3, 5, 61), feature_config.silence_value, np.float32)
    changed = filter_augment(silence.copy(), rng, 12, feature_config)
    assert (changed >= silence).all()


@pytest.mark.parametrize("axis", [1, 2])
def test_spec_mask_replaces_one_block_by_the_mean(rng: np.random.Generator, axis: int) -> None:
    x = ramps() + np.float32(0.5)
    size = x.shape[axis]
    masked = spec_mask(x.copy(), rng, axis, 0.25)
    lengths, ever_covered = set(), np.zeros(size, bool)
    for example, original in zip(masked, x, strict=True):
        changed = (example != original).any(axis=2 - axis)
        covered = example[changed] if axis == 1 else example[:, changed]
        np.testing.assert_allclose(covered, original.mean(), rtol=1e-6)
        indices = np.flatnonzero(changed)
        assert len(indices) == 0 or np.ptp(indices) == len(indices) - 1
        lengths.add(len(indices))
        ever_covered |= changed
    assert lengths == set(range(round(0.25 * size) + 1))
    assert ever_covered.all()


def test_mixup_uses_one_coefficient_for_examples_targets_and_weights(rng: np.random.Generator) -> None:
    n = 500
    x = np.repeat(np.arange(n, dtype=np.float32)[:, None, None], 4, axis=1)
    targets, weights = np.eye(n, dtype=np.float32), np.arange(n, dtype=np.float32)
    mixed, mixed_targets, mixed_weights = mixup(x, targets, weights.copy(), rng, 0.3)
    assert mixed.dtype == mixed_targets.dtype == mixed_weights.dtype == np.float32
    np.testing.assert_allclose(mixed_targets.sum(axis=1), 1, rtol=1e-5)
    assert (
        mixed_targets.argmax(axis=1) == np.arange(n)
    ).all()  # the example itself has the larger coefficient
    expected = mixed_targets @ weights
    np.testing.assert_allclose(mixed[:, :, 0], np.repeat(expected[:, None], 4, axis=1), rtol=1e-4)
    np.testing.assert_allclose(mixed_weights, expected, rtol=1e-4)
    coefficients = mixed_targets.max(axis=1)
    assert coefficients.min() < 0.55
    assert np.median(coefficients) > 0.85  # Beta(0.3, 0.3) is concentrated near 0 and 1


def test_default_hparams_change_nothing(rng: np.random.Generator) -> None:
    batch = ramps(), np.eye(200, dtype=np.float32), np.ones(200, np.float32)
    for output, original in zip(
        Augmentation(HParams(), FEATURES)(*batch, rng, allow_mixup=True), batch, strict=True
    ):
        assert output is original


def test_mixup_can_be_disabled(rng: np.random.Generator) -> None:
    batch = ramps(), np.eye(200, dtype=np.float32), np.ones(200, np.float32)
    x, targets, _ = Augmentation(HParams(mixup_alpha=1, freq_mask=0.5), FEATURES)(
        *batch, rng, allow_mixup=False
    )
    assert targets is batch[1]
    assert (x != ramps()).any()
