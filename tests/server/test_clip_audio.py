"""The audio of clips for the page of review."""

import base64
import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import write_wav

from dcase2018.data.audio import AudioReadError
from dcase2018.server import responses
from dcase2018.server.responses import audio_response


def decode(response: dict[str, str]) -> np.ndarray:
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(response["flac"])), dtype="int16")
    assert rate == 44100
    return samples


def test_16_bit_mono_audio_is_unchanged(recordings: Path) -> None:
    for name in ("long.wav", "short.wav", "tone.flac", "silence.wav"):
        expected, _ = soundfile.read(recordings / name, dtype="int16")
        np.testing.assert_array_equal(decode(audio_response(recordings / name)), expected)


def test_other_formats_are_converted(tmp_path: Path) -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(48000) / 48000)
    path = write_wav(tmp_path / "loud.wav", np.stack([2 * tone, 2 * tone], axis=1), 48000, "FLOAT")
    samples = decode(audio_response(path))
    assert samples.shape == (44100,)
    assert (samples.min(), samples.max()) == (-32768, 32767)  # clipped, not wrapped
    path = write_wav(tmp_path / "soft.wav", 0.5 * tone, 48000, "PCM_24")
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(44100) / 44100)
    np.testing.assert_allclose(
        decode(audio_response(path))[1000:-1000] / 32768, expected[1000:-1000], atol=1e-3
    )


def test_long_audio_is_cut(recordings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(responses, "MAX_PLAYED_SECONDS", 2)
    expected, _ = soundfile.read(recordings / "long.wav", dtype="int16", frames=2 * 44100)
    np.testing.assert_array_equal(decode(audio_response(recordings / "long.wav")), expected)


def test_clip_without_samples(recordings: Path) -> None:
    with pytest.raises(AudioReadError, match=r"^no samples$"):
        audio_response(recordings / "empty.wav")
