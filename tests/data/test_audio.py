"""Audio reading: bit-exact 16-bit PCM, other formats, and errors of invalid files."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import noise, write_wav

from dcase2018.data.audio import AudioReader
from dcase2018.data.audio_errors import AudioReadError

SR = 44100


def read(path: Path) -> np.ndarray:
    """Read all samples of a file, in [-1, 1]."""
    with AudioReader(path, SR) as reader:
        return np.concatenate([np.zeros(0, np.float32), *reader.blocks()]) / np.float32(reader.full_scale)


def is_resampled_or_downmixed(path: Path) -> bool:
    with AudioReader(path, SR) as reader:
        return reader.is_resampled_or_downmixed


def test_16_bit_mono_pcm_is_bit_exact(tmp_path: Path) -> None:
    pcm = np.random.default_rng(0).integers(-32768, 32768, 5000).astype(np.int16)
    path = write_wav(tmp_path / "a.wav", pcm)
    np.testing.assert_array_equal(read(path), pcm.astype(np.float32) / np.float32(32768))
    assert not is_resampled_or_downmixed(path)


def test_channels_are_averaged(tmp_path: Path) -> None:
    stereo = np.stack([noise(1000, 1), noise(1000, 2)], axis=1)
    path = write_wav(tmp_path / "a.wav", stereo, subtype="FLOAT")
    np.testing.assert_allclose(read(path), stereo.mean(axis=1), atol=1e-7)
    assert is_resampled_or_downmixed(path)


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 48000, 96000])
def test_other_sample_rates_are_resampled(tmp_path: Path, rate: int) -> None:
    def tone(rate: int) -> np.ndarray:
        return np.float32(0.5) * np.sin(2 * np.pi * 1000 * np.arange(rate) / rate, dtype=np.float32)

    path = write_wav(tmp_path / "a.wav", tone(rate), rate)
    assert is_resampled_or_downmixed(path)
    samples = read(path)
    assert len(samples) == SR
    middle = slice(2000, -2000)  # the filter rings at both ends
    np.testing.assert_allclose(samples[middle], tone(SR)[middle], atol=2e-3)


@pytest.mark.parametrize(
    ("name", "subtype", "atol"),
    [
        ("a.wav", "PCM_U8", 1 / 100),
        ("a.wav", "PCM_24", 1e-6),
        ("a.wav", "PCM_32", 1e-7),
        ("a.wav", "FLOAT", 0),
        ("a.wav", "DOUBLE", 1e-7),
        ("a.flac", "PCM_16", 1 / 32768),
        ("a.ogg", "VORBIS", 0.05),
        ("a.mp3", "MPEG_LAYER_III", None),
    ],
)
def test_other_sample_formats_are_decoded(
    tmp_path: Path, name: str, subtype: str, atol: float | None
) -> None:
    samples = np.float32(0.3) * np.sin(2 * np.pi * 440 * np.arange(SR) / SR, dtype=np.float32)
    decoded = read(write_wav(tmp_path / name, samples, subtype=subtype))
    if atol is None:  # an MP3 is padded
        assert len(decoded) >= len(samples)
    else:
        np.testing.assert_allclose(decoded, samples, rtol=0, atol=atol)


def test_file_without_samples_is_read(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", np.zeros(0, np.float32))
    assert path.stat().st_size == 44
    assert len(read(path)) == 0


def test_streamed_wav_of_unknown_size_is_complete(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", noise(1000))
    content = bytearray(path.read_bytes())
    content[4:8] = content[40:44] = b"\xff" * 4
    path.write_bytes(content)
    assert len(read(path)) == 1000


@pytest.mark.parametrize("n_bytes", [45, 100, 1043, 2043])
def test_truncated_wav_raises(tmp_path: Path, n_bytes: int) -> None:
    path = write_wav(tmp_path / "a.wav", noise(1000))
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(AudioReadError, match=f"truncated: {n_bytes - 44} of 2000 bytes of samples"):
        read(path)


FORMATS = {
    "riff.wav": {"format": "WAV"},
    "rifx.wav": {"format": "WAV", "endian": "BIG"},
    "rf64.wav": {"format": "RF64"},
    "w64.wav": {"format": "W64"},
    "a.aiff": {"format": "AIFF"},
    "a.ogg": {"format": "OGG", "subtype": "VORBIS"},
    "a.flac": {"format": "FLAC"},
    "constant.mp3": {"format": "MP3", "bitrate_mode": "CONSTANT", "compression_level": 0.5},
    "variable.mp3": {"format": "MP3", "bitrate_mode": "VARIABLE", "compression_level": 0.5},
}


@pytest.mark.parametrize("name", FORMATS)
def test_truncation_raises_in_every_format(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    samples = noise(2 * SR)
    soundfile.write(path, samples, SR, **FORMATS[name])
    complete = path.read_bytes()
    assert len(read(path)) >= len(samples)
    for fraction in np.linspace(0.1, 0.99, 12):
        path.write_bytes(complete[: int(fraction * len(complete))])
        with pytest.raises(AudioReadError, match=r"truncated"):
            read(path)


def write_mp3_without_header(path: Path, samples: np.ndarray, mode: str) -> bytes:
    """Write an MP3 without its first frame, which has the frame count."""
    soundfile.write(path, samples, SR, format="MP3", bitrate_mode=mode, compression_level=0.5)
    content = path.read_bytes()
    path.write_bytes(content[content.index(content[:2], 4) :])
    return path.read_bytes()


def test_mp3_without_frame_count(tmp_path: Path) -> None:
    path = tmp_path / "a.mp3"
    samples = np.concatenate([noise(SR), np.zeros(2 * SR, np.float32), noise(SR)])
    content = write_mp3_without_header(path, samples, "CONSTANT")
    n_samples = len(read(path))
    assert n_samples >= len(samples)
    path.write_bytes(b"ID3\x04\0\0\0\0\x01\x00" + bytes(128) + content + b"TAG" + bytes(125))
    assert abs(len(read(path)) - n_samples) < 2000
    path.write_bytes(content[:-10])
    with pytest.raises(AudioReadError, match="truncated: the last frame is incomplete"):
        read(path)
    write_mp3_without_header(path, samples, "VARIABLE")
    with pytest.raises(AudioReadError, match="unknown length: a variable bit rate MP3 without a header"):
        read(path)


def test_not_a_regular_file_raises_without_blocking(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "nowhere.wav").symlink_to("nothing")
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    for name in ("pipe", "folder", "nowhere", "loop"):
        with pytest.raises(AudioReadError, match="unreadable: not a regular file"):
            read(tmp_path / f"{name}.wav")


def test_chunk_before_the_samples_is_skipped(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", noise(1000))
    content = path.read_bytes()
    chunk = b"LIST" + (7).to_bytes(4, "little") + b"an info\0"
    path.write_bytes(content[:36] + chunk + content[36:])
    assert len(read(path)) == 1000
    path.write_bytes(path.read_bytes()[:-2])
    with pytest.raises(AudioReadError, match="truncated"):
        read(path)


@pytest.mark.parametrize("content", [b"", b"RIFF", b"\x00" * 100, b"fname,label\n", b"RIFF\0\0\0\0WAVEfmt "])
def test_invalid_content_raises(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(AudioReadError, match="not audio"):
        read(tmp_path / "a.wav")


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_samples_that_are_not_finite_raise(tmp_path: Path, value: float) -> None:
    samples = noise(1000)
    samples[500] = value
    soundfile.write(tmp_path / "a.wav", samples, SR, subtype="FLOAT")
    with pytest.raises(AudioReadError, match="not finite"):
        read(tmp_path / "a.wav")


@pytest.mark.parametrize("rate", [44100, 48000])
@pytest.mark.parametrize("channels", [1, 2])
def test_samples_do_not_depend_on_block_size(
    tmp_path: Path, rate: int, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_wav(tmp_path / "a.wav", noise(30000 * channels).reshape(-1, channels), rate)
    expected = read(path)
    monkeypatch.setattr("dcase2018.data.audio_decoders.BLOCK_SAMPLES", 1000)
    np.testing.assert_allclose(read(path), expected, rtol=0, atol=1e-6)
