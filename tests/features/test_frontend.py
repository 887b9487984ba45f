"""The front end: blocks, trimming, normalization, storage dtypes and raw samples."""

from pathlib import Path

import numpy as np
import pytest
from conftest import BASELINE, frames_of_clip, noise, write_wav
from hypothesis import given
from hypothesis import strategies as st

from dcase2018.data.audio import AudioReader
from dcase2018.features.config import FEATURE_CONFIGS, FeatureConfig
from dcase2018.features.extraction import extract
from dcase2018.features.frontend import FrontEnd, frame_stream
from dcase2018.features.store import Store

RAW = FeatureConfig(feature="waveform")
HOP = RAW.hop_length


def frames(path: Path, feature_config: FeatureConfig) -> np.ndarray:
    with AudioReader(path, feature_config.sample_rate) as clip:
        return frames_of_clip(FrontEnd(feature_config), clip)


def with_silence(n_before: int, n_after: int, level: float = 0.1) -> np.ndarray:
    return np.pad(noise(10 * HOP, level=level), (n_before, n_after))


@given(st.lists(st.integers(0, 40), max_size=12), st.integers(1, 30), st.integers(1, 30))
def test_windows_do_not_depend_on_the_blocks(sizes: list[int], length: int, hop: int) -> None:
    hop = min(hop, length)
    samples = np.arange(1, sum(sizes) + 1)
    blocks = np.split(samples, np.cumsum(sizes)[:-1]) if sizes else []
    windows = [row.tolist() for batch in frame_stream(blocks, length, hop) for row in batch]
    expected = [
        samples[start : start + length].tolist() for start in range(0, len(samples) - length + 1, hop)
    ]
    if 0 < len(samples) < length:
        expected = [[*samples, *([0] * (length - len(samples)))]]
    assert windows == expected


@pytest.mark.parametrize("name", FEATURE_CONFIGS)
def test_blocks_do_not_change_the_frames(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_wav(tmp_path / "a.wav", with_silence(5000, 3000))
    expected = frames(path, FEATURE_CONFIGS[name])
    monkeypatch.setattr("dcase2018.data.audio_decoders.BLOCK_SAMPLES", 1000)
    # Smaller blocks change the batches of the resampler and of the matrix product.
    np.testing.assert_allclose(
        frames(path, FEATURE_CONFIGS[name]), expected, atol=2e-3 if name == "waveform16k" else 1e-5
    )


def test_waveform_frames_are_the_samples(tmp_path: Path) -> None:
    samples = noise(5 * HOP + 100)
    waveform = frames(write_wav(tmp_path / "a.wav", samples, subtype="FLOAT"), RAW)
    np.testing.assert_array_equal(waveform, samples[: 5 * HOP].reshape(5, HOP))
    short = frames(write_wav(tmp_path / "b.wav", samples[:100], subtype="FLOAT"), RAW)
    np.testing.assert_array_equal(short, np.pad(samples[:100], (0, HOP - 100))[None])


@pytest.mark.parametrize(("before", "after"), [(0, 0), (3, 0), (0, 7), (20, 20)])
def test_silent_ends_are_trimmed(tmp_path: Path, before: int, after: int) -> None:
    path = write_wav(tmp_path / "a.wav", with_silence(before * HOP, after * HOP))
    plain, trimmed = frames(path, RAW), frames(path, FeatureConfig(feature="waveform", trim_db=40))
    assert len(plain) == before + 10 + after
    np.testing.assert_array_equal(trimmed, plain[before : before + 10])


def test_silence_between_sounds_is_not_trimmed(tmp_path: Path) -> None:
    samples = np.concatenate([noise(HOP), np.zeros(5 * HOP, np.float32), noise(HOP)])
    path = write_wav(tmp_path / "a.wav", samples)
    assert len(frames(path, FeatureConfig(feature="waveform", trim_db=40))) == 7


@pytest.mark.parametrize("name", ["logmel96", "waveform16k"])
@pytest.mark.parametrize("n_samples", [10, 300, 44100])
def test_a_silent_clip_is_not_trimmed_and_stays_silent(tmp_path: Path, name: str, n_samples: int) -> None:
    feature_config = FEATURE_CONFIGS[name]
    path = write_wav(tmp_path / "a.wav", np.zeros(n_samples, np.float32))
    silence = frames(path, feature_config)
    assert len(silence) == max(
        1, feature_config.n_frames(round(n_samples * feature_config.sample_rate / 44100))
    )
    np.testing.assert_allclose(silence, feature_config.silence_value, rtol=1e-3)


def test_a_single_click_is_not_trimmed(tmp_path: Path) -> None:
    samples = np.zeros(44100, np.float32)
    samples[20000] = 0.5
    click = frames(write_wav(tmp_path / "a.wav", samples), FeatureConfig(feature="waveform", trim_db=1))
    assert click.shape == (1, HOP)
    assert click.max() == 0.5


@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_peak_normalization_scales_to_a_peak_of_one(tmp_path: Path, subtype: str) -> None:
    samples = noise(4410, level=0.01)
    path = write_wav(tmp_path / "a.wav", samples, subtype=subtype)
    scaled = frames(path, FeatureConfig(feature="waveform", normalize="peak"))
    assert np.abs(scaled).max() == 1
    np.testing.assert_allclose(scaled.ravel(), samples[:4410] / np.abs(samples).max(), atol=2e-3)


def test_peak_normalization_removes_the_level(tmp_path: Path) -> None:
    feature_config = FeatureConfig(normalize="peak")
    samples = noise(44100, level=0.2)
    quiet = frames(write_wav(tmp_path / "q.wav", samples / 50, subtype="FLOAT"), feature_config)
    loud = frames(write_wav(tmp_path / "l.wav", samples, subtype="FLOAT"), feature_config)
    np.testing.assert_allclose(quiet, loud, atol=1e-4)


def test_float16_frames_are_rounded_float32_frames(clips: Path, tmp_path: Path) -> None:
    extract(clips, tmp_path / "half.h5", FeatureConfig(storage_dtype="float16"))
    extract(clips, tmp_path / "full.h5", BASELINE)
    half, full = Store(tmp_path / "half.h5"), Store(tmp_path / "full.h5")
    assert half.frames.dtype == np.float16
    np.testing.assert_array_equal(half.frames, full.frames.astype(np.float16))


@pytest.mark.parametrize("name", FEATURE_CONFIGS)
def test_every_feature_config_writes_a_valid_store(name: str, clips: Path, tmp_path: Path) -> None:
    extract(clips, tmp_path / "s.h5", FEATURE_CONFIGS[name])
    store = Store(tmp_path / "s.h5")
    assert store.feature_config == FEATURE_CONFIGS[name]
    assert store.frames.shape[1] == FEATURE_CONFIGS[name].n_features
    assert all(store.checksum_ok(row) for row in range(len(store)))
    assert np.isfinite(store.frames).all()
