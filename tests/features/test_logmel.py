"""Log mel frames: equal to TensorFlow's signal operations, and signal identities."""

import math
import pickle

import numpy as np
import pytest
import tensorflow as tf
from conftest import BASELINE, frames_of_samples, noise

from dcase2018.features.config import FeatureConfig
from dcase2018.features.frontend import FrontEnd
from dcase2018.features.logmel import hann_window, mel_filterbank

SR = 44100
LENGTHS = [1102, 1103, 1542, 1543, SR, 30 * SR]


def log_mel(samples: np.ndarray, feature_config: FeatureConfig) -> np.ndarray:
    return frames_of_samples(FrontEnd(feature_config), samples)


def reference_log_mel(samples: np.ndarray) -> np.ndarray:
    """Compute the reference's log mel with TensorFlow's operations."""
    stft = tf.signal.stft(samples, 1102, 441, 2048, tf.signal.hann_window)
    weights = tf.signal.linear_to_mel_weight_matrix(64, 1025, SR, 125.0, 7500.0)
    return tf.math.log(tf.abs(stft) @ weights + 0.001).numpy()


def tone(hz: float, n_samples: int, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hz * np.arange(n_samples) / SR)).astype(np.float32)


def clicks(n_samples: int, every: int) -> np.ndarray:
    samples = np.zeros(n_samples, np.float32)
    samples[::every] = 1
    return samples


def signals() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    lengths = [*LENGTHS, *(int(n) for n in rng.integers(1102, 5 * SR, 14))]
    waves = {}
    for i, n in enumerate(lengths):
        waves[f"noise-{i}-{n}"] = noise(n, seed=i, level=10 ** rng.uniform(-4, -0.5))
        waves[f"tone-{i}-{n}"] = tone(rng.uniform(50, 15000), n, level=rng.uniform(0.01, 1))
        waves[f"clicks-{i}-{n}"] = clicks(n, int(rng.integers(50, 5000)))
    return waves | {f"silence-{n}": np.zeros(n, np.float32) for n in LENGTHS}


SIGNALS = signals()


def test_there_are_at_least_60_signals() -> None:
    assert len(SIGNALS) >= 60


@pytest.mark.parametrize("name", SIGNALS)
def test_log_mel_equals_the_reference(name: str) -> None:
    samples = SIGNALS[name]
    expected = reference_log_mel(samples)
    result = log_mel(samples, BASELINE)
    assert result.shape == expected.shape == (1 + (len(samples) - 1102) // 441, 64)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("length", [1, 2, 33, 400, 1102, 1411, 2205])
def test_the_window_is_bit_exact_to_the_reference(length: int) -> None:
    np.testing.assert_array_equal(hann_window(length), tf.signal.hann_window(length).numpy())


def test_a_clip_does_not_affect_the_next() -> None:
    front_end = FrontEnd(BASELINE)
    first = frames_of_samples(front_end, noise(3000, seed=1))
    frames_of_samples(front_end, noise(SR, seed=2))
    np.testing.assert_array_equal(frames_of_samples(front_end, noise(3000, seed=1)), first)


def test_silence_is_the_logarithm_of_the_offset() -> None:
    np.testing.assert_allclose(log_mel(np.zeros(5000, np.float32), BASELINE), math.log(0.001), rtol=1e-6)


@pytest.mark.parametrize("band", [8, 20, 40, 63])
def test_a_tone_peaks_in_its_band(band: int) -> None:
    edges = np.linspace(*(1127 * np.log1p(np.array([125, 7500]) / 700)), 66)
    centre = 700 * np.expm1(edges[band + 1] / 1127)
    assert (log_mel(tone(centre, SR), BASELINE).argmax(axis=1) == band).all()


def test_a_tone_above_the_range_is_rejected() -> None:
    in_range = log_mel(tone(5000, SR), BASELINE).max()
    assert log_mel(tone(12000, SR), BASELINE).max() < in_range - 5


def test_twice_the_amplitude_adds_ln_2() -> None:
    samples = noise(SR, level=0.25)
    feature_config = FeatureConfig(mel_log_offset=1e-9)
    difference = log_mel(2 * samples, feature_config) - log_mel(samples, feature_config)
    np.testing.assert_allclose(difference, math.log(2), atol=1e-4)


def test_a_delay_of_one_hop_shifts_the_frames_by_one() -> None:
    samples = noise(SR)
    np.testing.assert_allclose(log_mel(samples[441:], BASELINE), log_mel(samples, BASELINE)[1:], atol=1e-5)


@pytest.mark.parametrize("n_samples", [1, 100, 1101])
def test_a_clip_shorter_than_a_window_is_padded_with_silence(n_samples: int) -> None:
    samples = noise(n_samples)
    padded = np.pad(samples, (0, 1102 - n_samples))
    np.testing.assert_array_equal(log_mel(samples, BASELINE), log_mel(padded, BASELINE))


def test_no_samples_give_no_frames() -> None:
    assert log_mel(np.zeros(0, np.float32), BASELINE).shape == (0, 64)


def test_neighbouring_triangles_sum_to_one_between_the_outer_peaks() -> None:
    weights = mel_filterbank(BASELINE)
    bins = np.flatnonzero((weights[:, 0] == 0) & (weights[:, -1] == 0) & weights.any(axis=1))
    assert len(bins) > 300
    np.testing.assert_allclose(weights[bins].sum(axis=1), 1, atol=1e-6)
    assert not weights[0].any()


def test_a_front_end_can_be_pickled() -> None:
    front_end = FrontEnd(FeatureConfig(mel_bands=32))
    samples = noise(SR)
    copy = pickle.loads(pickle.dumps(front_end))
    np.testing.assert_array_equal(frames_of_samples(copy, samples), frames_of_samples(front_end, samples))
