"""Channels in antiphase and float samples beyond full scale."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import noise

from dcase2018.data.audio import AudioReader
from dcase2018.data.audio_errors import AudioReadError, is_incomplete

RATE = 44100
X = noise(3 * RATE)


def read(path: Path, samples: np.ndarray, subtype: str = "FLOAT") -> tuple[np.ndarray, str]:
    """Write and read a file; return the samples in [-1, 1] and the warning."""
    soundfile.write(path, samples, RATE, subtype=subtype)
    with AudioReader(path, RATE) as reader:
        return np.concatenate(list(reader.blocks())) / np.float32(reader.full_scale), reader.warning


@pytest.mark.parametrize("block_samples", [1000, 1 << 20])
@pytest.mark.parametrize("gains", [(1, -1), (1, -0.98), (-0.98, 1), (1, -1, 0, 0, 0, 0), (0.5, 0.5, -1)])
def test_the_loudest_channel_replaces_channels_in_antiphase(
    tmp_path: Path, gains: tuple[float, ...], block_samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dcase2018.data.audio_decoders.BLOCK_SAMPLES", block_samples)
    loudest = int(np.argmax(np.abs(gains)))
    samples, warning = read(tmp_path / "a.wav", X[:, None] * gains)
    np.testing.assert_allclose(samples, X * gains[loudest], atol=1e-6)
    assert warning == f"the channels cancel each other; channel {loudest + 1} is used alone"
    assert not is_incomplete(warning)


@pytest.mark.parametrize("gains", [(1, 1), (1, 0), (1, -0.9), (0, 0), (0, 0, 0, 0, 0, 1)])
def test_other_channels_are_averaged(tmp_path: Path, gains: tuple[float, ...]) -> None:
    samples, warning = read(tmp_path / "a.wav", X[:, None] * gains)
    np.testing.assert_allclose(samples, X * np.mean(gains), atol=1e-6)
    assert warning == ""


def test_a_file_partly_in_antiphase_is_averaged_throughout(tmp_path: Path) -> None:
    right = np.where(np.arange(len(X)) < len(X) // 3, X, -X)
    samples, warning = read(tmp_path / "a.wav", np.stack([X, right], 1))
    np.testing.assert_allclose(samples, (X + right) / 2, atol=1e-6)
    assert warning == ""


@pytest.mark.parametrize("index", [0, RATE, -1])
@pytest.mark.parametrize("value", [100.0, -17600.0, 1e10, 1e30])
def test_an_absurd_sample_is_limited_to_full_scale(tmp_path: Path, index: int, value: float) -> None:
    expected = X.copy()
    expected[index] = np.sign(value)
    absurd = X.copy()
    absurd[index] = value
    samples, warning = read(tmp_path / "a.wav", absurd)
    np.testing.assert_array_equal(samples, expected)
    assert warning == "samples far beyond full scale, limited to it: 1"


@pytest.mark.parametrize(("bits", "peak"), [(16, 3000), (16, 32768), (24, 2**23 - 1), (32, 2**31)])
def test_integers_stored_as_floats_are_scaled(tmp_path: Path, bits: int, peak: float) -> None:
    tone = np.sin(np.arange(RATE) / 7)
    samples, warning = read(tmp_path / "a.wav", tone * peak, "DOUBLE")
    np.testing.assert_allclose(samples, tone * peak / 2 ** (bits - 1), atol=1e-6)
    assert warning == f"the float samples are divided by {2 ** (bits - 1):g}"


@pytest.mark.parametrize("peak", [1.0, 2.0, 4.0])
def test_headroom_of_float_samples_is_kept(tmp_path: Path, peak: float) -> None:
    tone = np.float32(peak) * np.sin(np.arange(RATE) / 7, dtype=np.float32)
    samples, warning = read(tmp_path / "a.wav", tone)
    np.testing.assert_array_equal(samples, tone)
    assert warning == ""


def test_generally_loud_floats_are_kept_and_reported(tmp_path: Path) -> None:
    tone = 10 * np.sin(np.arange(RATE) / 7, dtype=np.float32)
    samples, warning = read(tmp_path / "a.wav", tone)
    np.testing.assert_array_equal(samples, tone)
    assert warning == "the float samples reach 16 times full scale"


def test_floats_that_are_no_audio_raise(tmp_path: Path) -> None:
    with pytest.raises(AudioReadError, match=r"damaged: the samples reach .* times full scale"):
        read(tmp_path / "a.wav", X * np.float32(1e30))
