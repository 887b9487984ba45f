"""Audio reading: bit-exact 16-bit PCM, other formats, and errors of invalid files."""

import os
import struct
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from conftest import noise, write_wav

from dcase2018.data.audio import AudioReader
from dcase2018.data.audio_errors import AudioReadError, is_incomplete

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


def warning_of(path: Path) -> str:
    with AudioReader(path, SR) as reader:
        assert sum(map(len, reader.blocks())) == pytest.approx(SR * reader.seconds, abs=1)
        return reader.warning


def test_a_truncated_wav_is_read_to_its_end(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", noise(10 * SR))
    samples = read(path)
    path.write_bytes(path.read_bytes()[: 44 + 2 * 185220])
    np.testing.assert_array_equal(read(path), samples[:185220])
    assert warning_of(path) == "incomplete: header promises 10.0 s, 4.2 s are there"
    path.write_bytes(path.read_bytes()[:45])
    with pytest.raises(AudioReadError, match="damaged: the file ends before its audio"):
        read(path)


FORMATS = {
    "riff.wav": {"format": "WAV"},
    "rifx.wav": {"format": "WAV", "endian": "BIG"},
    "rf64.wav": {"format": "RF64"},
    "w64.wav": {"format": "W64"},
    "a.aiff": {"format": "AIFF"},
    "a.ogg": {"format": "OGG", "subtype": "VORBIS"},
    "a.opus": {"format": "OGG", "subtype": "OPUS"},
    "a.flac": {"format": "FLAC"},
    "a.caf": {"format": "CAF"},
    "a.au": {"format": "AU"},
    "constant.mp3": {"format": "MP3", "bitrate_mode": "CONSTANT", "compression_level": 0.5},
    "variable.mp3": {"format": "MP3", "bitrate_mode": "VARIABLE", "compression_level": 0.5},
}


@pytest.mark.parametrize("name", FORMATS)
def test_truncated_files_are_read_to_their_ends_and_reported(tmp_path: Path, name: str) -> None:
    rate = 48000 if name == "a.opus" else SR
    path = tmp_path / name
    soundfile.write(path, noise(4 * rate), rate, **FORMATS[name])
    complete, content = read(path), path.read_bytes()
    assert len(complete) == pytest.approx(4 * SR, abs=2400)
    assert warning_of(path) == ""
    for fraction in (0.3, 0.6, 0.9):
        path.write_bytes(content[: int(fraction * len(content))])
        assert is_incomplete(warning_of(path)), fraction
        samples = read(path)
        page_seconds = 1.1 if "OGG" in FORMATS[name].values() else 0.25
        assert len(samples) == pytest.approx(fraction * 4 * SR, abs=page_seconds * SR)
        np.testing.assert_allclose(samples[:5000], complete[:5000], atol=0.01)


def write_mp3_without_header(path: Path, samples: np.ndarray, mode: str) -> bytes:
    """Write an MP3 without its first frame, which has the frame count."""
    soundfile.write(path, samples, SR, format="MP3", bitrate_mode=mode, compression_level=0.5)
    content = path.read_bytes()
    path.write_bytes(content[content.index(content[:2], 4) :])
    return path.read_bytes()


ID3 = b"ID3\x03\0\0\0\0\x01\x00" + bytes(128)
APE = b"APETAGEX" + struct.pack("<IIIIQ", 2000, 32, 0, 0xA0000000, 0)


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_duration_of_an_mp3_without_length_is_that_of_its_frames(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.mp3"
    samples = np.concatenate([noise(SR), np.zeros(2 * SR, np.float32), noise(SR)])
    content = write_mp3_without_header(path, samples, mode)
    n_samples = len(read(path))
    assert n_samples == pytest.approx(len(samples), abs=4000)
    variants = {
        "tag": ID3 + content,
        "two tags": ID3 + ID3 + content,
        "footer": b"ID3\x04\0\x10" + ID3[6:] + b"3DI\x04\0\x10" + ID3[6:10] + content,
        "line feed": ID3 + b"\n" + content,
        "zeros": ID3 + bytes(100) + content,
        "APE tag": APE + content,
        "tag at the end": content + b"TAG" + bytes(125),
        "zeros at the end": content + bytes(4096),
    }
    for name, variant in variants.items():
        path.write_bytes(variant)
        assert len(read(path)) == pytest.approx(n_samples, abs=2400), name
        assert warning_of(path) == "", name
    path.write_bytes(content + content)
    assert len(read(path)) == pytest.approx(2 * n_samples, abs=2400)


def test_all_links_of_a_chained_ogg_are_read(tmp_path: Path) -> None:
    samples = np.sin(np.arange(SR) / 5)
    soundfile.write(tmp_path / "a.ogg", samples, SR, subtype="VORBIS")
    soundfile.write(tmp_path / "b.ogg", np.stack([samples] * 2, 1)[: SR // 2], SR // 2, subtype="VORBIS")
    soundfile.write(tmp_path / "c.ogg", np.sin(np.arange(48000) / 5), 48000, subtype="OPUS")
    chained = b"".join((tmp_path / f"{name}.ogg").read_bytes() for name in "abc")
    (tmp_path / "chained.ogg").write_bytes(chained)
    assert len(read(tmp_path / "chained.ogg")) == pytest.approx(3 * SR, abs=1500)
    assert warning_of(tmp_path / "chained.ogg") == ""


def test_joined_mp3s_of_other_rates_are_resampled(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.mp3", noise(SR), SR)
    soundfile.write(tmp_path / "b.mp3", noise(24000), 24000)
    joined = (tmp_path / "a.mp3").read_bytes() + (tmp_path / "b.mp3").read_bytes()
    (tmp_path / "joined.mp3").write_bytes(joined)
    assert len(read(tmp_path / "joined.mp3")) == pytest.approx(2 * SR, abs=6000)


def write_flac_with_total(path: Path, samples: np.ndarray, total: int) -> None:
    soundfile.write(path, samples, SR, subtype="PCM_16")
    content = bytearray(path.read_bytes())
    content[21:26] = (content[21] >> 4 << 36 | total).to_bytes(5, "big")
    path.write_bytes(content)


def test_a_flac_with_a_wrong_total_is_read_to_its_end(tmp_path: Path) -> None:
    samples = read(write_wav(tmp_path / "a.wav", noise(3 * SR)))
    for total, warning in ((0, ""), (6 * SR, "incomplete: header promises 6.0 s, 3.0 s are there")):
        write_flac_with_total(tmp_path / "a.flac", samples, total)
        np.testing.assert_array_equal(read(tmp_path / "a.flac"), samples)
        assert warning_of(tmp_path / "a.flac") == warning


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [
        ("a.m4a", "aac", 44100), ("b.m4a", "alac", 44100), ("a.webm", "libopus", 48000),
        ("a.mka", "aac", 44100), ("a.aac", "aac", 44100), ("a.mp2", "mp2", 44100),
        ("a.ac3", "ac3", 44100), ("a.wv", "wavpack", 44100),
    ],
)  # fmt: skip
def test_formats_of_phones_and_browsers_are_decoded(tmp_path: Path, name: str, codec: str, rate: int) -> None:
    path = tmp_path / name
    write_with_ffmpeg(path, np.float32(0.3) * np.sin(2 * np.pi * 440 * np.arange(rate) / rate), codec, rate)
    samples = read(path)
    assert len(samples) == pytest.approx(SR, abs=2400)
    assert np.abs(np.fft.rfft(samples, SR)).argmax() == pytest.approx(440, abs=1)
    assert warning_of(path) == ""


def write_with_ffmpeg(path: Path, samples: np.ndarray, codec: str, rate: int) -> None:
    muxer = {".aac": "adts", ".m4a": "mp4", ".mka": "matroska"}.get(path.suffix)
    with av.open(str(path), "w", format=muxer) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate = rate
        container.mux([*stream.encode(frame), *stream.encode(None)])


def test_a_cut_off_mp4_is_refused_with_the_reason(tmp_path: Path) -> None:
    write_with_ffmpeg(tmp_path / "a.m4a", noise(SR), "aac", SR)
    (tmp_path / "a.m4a").write_bytes((tmp_path / "a.m4a").read_bytes()[:5000])
    with pytest.raises(AudioReadError, match="damaged: the MP4 file has no index"):
        read(tmp_path / "a.m4a")


@pytest.mark.parametrize("content", ["#EXTM3U\n#EXTINF:1,\n{}\n", "ffconcat version 1.0\nfile {}\n"])
def test_a_playlist_opens_no_other_file(tmp_path: Path, content: str) -> None:
    target = write_wav(tmp_path / "a.wav", noise(1000))
    (tmp_path / "b.wav").write_text(content.format(target))
    with pytest.raises(AudioReadError, match="not audio"):
        read(tmp_path / "b.wav")


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
    path.write_bytes(path.read_bytes()[:-200])
    assert len(read(path)) == 900
    assert warning_of(path) == "incomplete: header promises 0.0227 s, 0.0204 s are there"


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


def test_channels_of_planar_frames_are_averaged(tmp_path: Path) -> None:
    tone = np.float32(0.3) * np.sin(2 * np.pi * 440 * np.arange(48000) / 48000, dtype=np.float32)
    signal = np.repeat(tone[:, None], 8, axis=1).reshape(1, -1)
    with av.open(str(tmp_path / "a.webm"), "w") as container:
        stream = container.add_stream("libopus", rate=48000, layout="7.1")
        frame = av.AudioFrame.from_ndarray(signal, format="flt", layout="7.1")
        frame.sample_rate = 48000
        container.mux([*stream.encode(frame), *stream.encode(None)])
    samples = read(tmp_path / "a.webm")
    assert len(samples) == pytest.approx(SR, abs=2400)
    assert np.abs(np.fft.rfft(samples, SR)).argmax() == pytest.approx(440, abs=1)
    assert samples.std() == pytest.approx(tone.std(), rel=0.05)
