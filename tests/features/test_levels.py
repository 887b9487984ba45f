"""Levels: the offset, the peak of each hop, and silence, with and without a constant offset."""

from pathlib import Path

import numpy as np
import pytest
from conftest import frames_of_clip, noise, write_wav
from hypothesis import example, given
from hypothesis import strategies as st

from dcase2018.data.audio import AudioReader
from dcase2018.features.config import FEATURE_CONFIGS
from dcase2018.features.extraction import extract
from dcase2018.features.frontend import FrontEnd
from dcase2018.features.levels import SilenceDetector, measure_levels
from dcase2018.features.store import Store

HOP = 441


def tone_between_silence(offset: float, rate: int = 44100) -> np.ndarray:
    """A tone of 2 s at -40 dBFS, after 5 s and before 5 s of silence."""
    samples = np.zeros(12 * rate)
    samples[5 * rate : 7 * rate] = 0.01 * np.sin(2 * np.pi * 800 * np.arange(2 * rate) / rate)
    return samples + offset


@given(
    st.lists(st.integers(0, 1500), max_size=5),
    st.sampled_from([0.0, 0.25]),
    st.sampled_from([1e-5, 1e-4, 0.1]),
    st.booleans(),
)
def test_levels_are_those_of_whole_hops_for_blocks_of_any_size(
    sizes: list[int], offset: float, level: float, is_pcm: bool
) -> None:
    samples = noise(sum(sizes), level=level) + np.float32(offset)
    full_scale = 32768.0 if is_pcm else 1.0
    if is_pcm:
        samples = np.round(samples * full_scale).astype(np.int16)
    blocks = np.split(samples, np.cumsum(sizes)[:-1]) if sizes else []
    hops = [samples[start : start + HOP].astype(float) for start in range(0, len(samples), HOP)]

    levels = measure_levels(blocks, HOP, full_scale)
    detector = SilenceDetector(HOP, full_scale)
    watched = list(detector.watch(blocks))

    means = sorted(hop.mean() for hop in hops)
    median = means[(len(means) - 1) // 2] if means else 0
    assert levels.offset == pytest.approx(median, rel=1e-6, abs=1e-12) or levels.offset == 0
    assert levels.offset or len(means) < 2 or abs(median) < 3 * level * full_scale
    expected = [np.abs(hop - levels.offset).max() for hop in hops]
    np.testing.assert_allclose(levels.peaks, expected, rtol=1e-4, atol=1e-7)
    is_silent = [hop.std() < 1e-4 * full_scale for hop in hops]
    np.testing.assert_array_equal(levels.is_silent, is_silent)
    assert detector.is_silent == all(is_silent)
    np.testing.assert_array_equal(np.concatenate([samples[:0], *watched]), samples)


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
@pytest.mark.parametrize("name", ["logmel96", "waveform16k"])
def test_a_constant_offset_changes_neither_trimming_nor_features(
    name: str, subtype: str, tmp_path: Path
) -> None:
    config = FEATURE_CONFIGS[name]
    results = []
    for offset in (0, 0.001, 0.01, 0.2):
        samples = tone_between_silence(offset, config.sample_rate)
        path = write_wav(tmp_path / f"{offset}.wav", samples, config.sample_rate, subtype)
        with AudioReader(path, config.sample_rate) as clip:
            results.append(frames_of_clip(FrontEnd(config), clip).astype(float))
    assert len(results[0]) == pytest.approx(200, abs=5)
    if name == "logmel96":  # bands without the rounding noise of 16 bits, which the offset changes
        has_tone = results[0].mean(axis=0) > 2
        assert 4 <= has_tone.sum() <= 10
        results = [frames[2:-2, has_tone] for frames in results]
    for frames in results[1:]:
        assert len(frames) == len(results[0])
        np.testing.assert_allclose(frames, results[0], atol=0.05 if name == "logmel96" else 5e-3)


@given(st.integers(0, 2**32), st.integers(2, 400), st.sampled_from([1e-4, 0.1, 0.5]))
@example(0, 1200, 0.1)
def test_an_offset_is_removed_and_noise_has_none(seed: int, n_hops: int, level: float) -> None:
    samples = noise(n_hops * HOP, seed, level)
    spread = level / np.sqrt(n_hops * HOP)  # standard error of the mean
    assert abs(measure_levels([samples], HOP, 1.0).offset) < 6 * spread
    shifted = measure_levels([samples + np.float32(0.2 + level)], HOP, 1.0).offset
    assert shifted == pytest.approx(0.2 + level, abs=6 * spread)


def test_levels_of_noise_have_no_offset() -> None:
    """The features of ordinary clips are exactly those of their samples."""
    offsets = [measure_levels([noise(44100, seed)], HOP, 1.0).offset for seed in range(100)]
    assert np.count_nonzero(offsets) <= 3


def test_an_asymmetric_sound_is_no_offset(tmp_path: Path) -> None:
    """A pulse shifts the mean of its clip, and silence around it must be trimmed nevertheless."""
    samples = np.zeros(44100)
    samples[20000:20400] = 0.5
    path = write_wav(tmp_path / "pulse.wav", samples)
    with AudioReader(path, 44100) as clip:
        assert len(frames_of_clip(FrontEnd(FEATURE_CONFIGS["logmel96"]), clip)) == 1


@pytest.mark.parametrize("offset", [0, 0.2])
@pytest.mark.parametrize("name", FEATURE_CONFIGS)
def test_the_store_marks_silent_clips(name: str, offset: float, tmp_path: Path) -> None:
    rate = FEATURE_CONFIGS[name].sample_rate
    quiet = 10 ** (-90 / 20)
    late_click = np.zeros(rate)
    late_click[-3:] = 0.01
    clips = {
        "digital silence": (np.zeros(rate), True),
        "noise at -90 dBFS": (noise(rate, level=quiet), True),
        "one bit of dither": (np.random.default_rng(0).integers(-1, 2, rate) / 32768, True),
        "no samples": (np.zeros(0), True),
        "noise at -70 dBFS": (noise(rate, level=10 * quiet), False),
        "a click at the end": (late_click, False),
        "shorter than a frame": (noise(rate // 100), False),
    }
    for fname, (samples, _) in clips.items():
        write_wav(tmp_path / "clips" / f"{fname}.wav", samples + offset, rate, "FLOAT")
    summary = extract(tmp_path / "clips", tmp_path / "s.h5", FEATURE_CONFIGS[name])
    store = Store(tmp_path / "s.h5")
    for fname, (samples, is_silent) in clips.items():
        row = store.rows[f"{fname}.wav"]
        assert store.is_silent[row] == is_silent, fname
        assert (f"{fname}.wav" in summary.silent) == (is_silent and len(samples) > 0)
        assert bool(store.lengths[row]) == bool(len(samples))
