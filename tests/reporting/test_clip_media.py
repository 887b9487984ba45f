"""Spectrogram images and audio excerpts of known signals."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
from conftest import BASELINE, frames_of_clip, noise, write_wav
from PIL import Image

from dcase2018.data.audio import AudioReader
from dcase2018.features.config import FEATURE_CONFIGS, FeatureConfig
from dcase2018.features.frontend import FrontEnd
from dcase2018.reporting.clip_media import (
    FIGURE_DPI,
    FIGURE_INCHES,
    MAX_SECONDS,
    ScoreStrip,
    plot_clip,
    write_excerpt,
)


def tone(hz: float, seconds: float, rate: int = 44100) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def plot(tmp_path: Path, samples: np.ndarray, feature_config: FeatureConfig, strip: ScoreStrip) -> np.ndarray:
    """Plot a signal: uint8, (height, width, 4)."""
    path = write_wav(tmp_path / "a.wav", samples)
    with AudioReader(path, feature_config.sample_rate) as clip:
        plot_clip(tmp_path / "a.webp", frames_of_clip(FrontEnd(feature_config), clip), feature_config, strip)
    return np.asarray(Image.open(tmp_path / "a.webp").convert("RGBA"))


def find_panels(image: np.ndarray) -> tuple[slice, slice, slice]:
    """Rows of the spectrogram, rows of the score strip, and the columns of both."""
    height, width = image.shape[:2]
    opaque = image[:, width // 2, 3] == 255
    top = int(np.argmax(opaque))
    bottom = top + int(np.argmin(opaque[top:]))
    columns = np.flatnonzero(image[top + 2, :, 3] == 255)
    return slice(top, bottom), slice(bottom + 1, height), slice(columns[0], columns[-1])


STRIP = ScoreStrip(["1", "2"], np.array([0.125, 0.25, 0.375]), np.array([[0.0, 1, 0], [1, 0, 1]]))


@pytest.mark.parametrize("hz", [500, 2000, 5000])
def test_a_tone_is_brightest_at_its_frequency(tmp_path: Path, hz: float) -> None:
    image = plot(tmp_path, tone(hz, 0.5), BASELINE, STRIP)
    assert image.shape[:2] == (round(FIGURE_INCHES[1] * FIGURE_DPI), round(FIGURE_INCHES[0] * FIGURE_DPI))
    spectrogram, _, columns = find_panels(image)
    brightness = image[spectrogram, columns, :3].sum(axis=(1, 2), dtype=float)
    height = 1 - np.argmax(brightness) / len(brightness)
    # The axis of librosa's display is linear up to 1 kHz, two octaves long, and logarithmic above.
    low, high, expected = (2 * f / 1000 if f < 1000 else 2 + np.log2(f / 1000) for f in (125, 7500, hz))
    assert height == pytest.approx((expected - low) / (high - low), abs=0.03)


def test_time_axes_of_spectrogram_and_scores(tmp_path: Path) -> None:
    samples = np.concatenate([np.zeros(33075, np.float32), tone(1000, 0.25)])
    strip = ScoreStrip(["1"], np.array([0.25, 0.5, 0.75]), np.array([[0.0, 0, 1]]))
    spectrogram, lower, columns = find_panels(image := plot(tmp_path, samples, BASELINE, strip))
    bright = image[spectrogram, columns, :3].max(axis=(0, 2)) > 200
    assert np.flatnonzero(bright)[0] / len(bright) == pytest.approx(0.75, abs=0.03)
    row = lower.start + np.argmax(image[lower, columns.stop - 3, 3] > 200) + 2
    is_marked = image[row, columns, 3] > 200
    assert np.argmax(is_marked) / len(is_marked) == pytest.approx(
        0.625, abs=0.02
    )  # between the second and third centre
    assert is_marked[-len(is_marked) // 3 : -2].all()


@pytest.mark.parametrize("samples", [noise(300), noise(1102), np.zeros(44100, np.float32)])
@pytest.mark.parametrize(
    "feature_config", [BASELINE, FEATURE_CONFIGS["logmel96"], FEATURE_CONFIGS["waveform16k"]]
)
def test_short_and_silent_clips_are_plotted(
    tmp_path: Path, samples: np.ndarray, feature_config: FeatureConfig
) -> None:
    image = plot(tmp_path, samples, feature_config, ScoreStrip(["1 ✓"], np.array([0.125]), np.array([[0.5]])))
    assert (image[:, :, 3] == 255).mean() > 0.3


def test_excerpt_is_preprocessed_as_the_features(tmp_path: Path) -> None:
    silence = np.zeros(22050, np.float32)
    stereo = np.stack([np.concatenate([silence, tone(440, 1), silence])] * 2, axis=1)
    soundfile.write(tmp_path / "a.wav", stereo, 44100)
    assert write_excerpt(tmp_path / "a.ogg", tmp_path / "a.wav", FEATURE_CONFIGS["logmel96"]) == ("", "")
    samples, rate = soundfile.read(tmp_path / "a.ogg")
    assert rate == 44100
    assert samples.shape == (44100,)  # mono, and without the silence
    np.testing.assert_allclose(samples, tone(440, 1) / 0.3, atol=0.1)  # normalized to a peak of 1
    assert soundfile.info(tmp_path / "a.ogg").subtype == "VORBIS"


@pytest.mark.parametrize("feature_config", [BASELINE, FEATURE_CONFIGS["yamnet"]])
def test_excerpt_has_a_bounded_length_and_size(tmp_path: Path, feature_config: FeatureConfig) -> None:
    write_wav(tmp_path / "a.wav", noise(44100 * 40))
    assert write_excerpt(tmp_path / "a.ogg", tmp_path / "a.wav", feature_config) == ("", "")
    info = soundfile.info(tmp_path / "a.ogg")
    assert info.duration == MAX_SECONDS
    assert info.samplerate == feature_config.sample_rate
    assert (tmp_path / "a.ogg").stat().st_size < 250_000  # white noise is the worst case


def test_unreadable_clip_has_a_reason_and_no_excerpt(tmp_path: Path) -> None:
    write_wav(tmp_path / "empty.wav", noise(0))
    (tmp_path / "text.wav").write_text("no sound")
    assert write_excerpt(tmp_path / "a.ogg", tmp_path / "empty.wav", BASELINE)[0] == "no samples"
    assert write_excerpt(tmp_path / "a.ogg", tmp_path / "text.wav", BASELINE)[0].startswith("not audio: ")
    assert not (tmp_path / "a.ogg").exists()
