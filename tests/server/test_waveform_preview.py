"""Previews and pooled scores for the page: peaks and spectrograms of known signals."""

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import noise, write_wav
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dcase2018.data.audio_errors import AudioReadError
from dcase2018.inference.audio_tagger import no_progress
from dcase2018.inference.event_detection import EventConfig, detect_events
from dcase2018.inference.window_scores import WindowScores
from dcase2018.server.responses import THRESHOLDS, _scores_over_time
from dcase2018.server.waveform_preview import _max_pool, make_preview


def spectrogram(preview: dict[str, Any]) -> np.ndarray:
    """Return the brightness of the image, (height, width), with low frequencies first."""
    data = base64.b64decode(preview["spectrogram"].removeprefix("data:image/webp;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)).convert("L"), float)[::-1]


@given(st.integers(1, 60), st.lists(st.integers(1, 50), min_size=1, max_size=8))
def test_max_pooling_does_not_depend_on_block_sizes(n_columns: int, sizes: list[int]) -> None:
    rows = np.random.default_rng(len(sizes)).normal(size=(sum(sizes), 3)).astype(np.float32)
    n_columns = min(n_columns, len(rows))
    pooled = _max_pool(np.split(rows, np.cumsum(sizes)[:-1]), len(rows), n_columns, 3)
    for column in range(n_columns):
        in_column = rows[[row for row in range(len(rows)) if row * n_columns // len(rows) == column]]
        np.testing.assert_array_equal(pooled[column], in_column.max(axis=0))


def test_tone_is_bright_at_its_frequency_and_time(tmp_path: Path) -> None:
    silence = np.zeros(44100)
    for hz in (1000, 4000):
        tone = 0.5 * np.sin(2 * np.pi * hz * np.arange(44100) / 44100)
        preview = make_preview(write_wav(tmp_path / "tone.wav", np.concatenate([silence, tone, silence])))
        image = spectrogram(preview)
        row = dict(map(tuple, preview["freq_ticks"]))[hz] * len(image)
        assert image[:, image.shape[1] // 2].argmax() == pytest.approx(row, abs=2)
        assert image[:, : image.shape[1] // 4].max() < 20
        peaks = np.array(preview["peaks"])
        assert preview["seconds"] == 3
        np.testing.assert_allclose(peaks[: len(peaks) // 4], 0)
        assert peaks[len(peaks) // 2] == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("n_samples", [0, 1, 440, 441, 1102, 5000])
def test_preview_of_short_recordings(n_samples: int, tmp_path: Path) -> None:
    preview = make_preview(write_wav(tmp_path / "short.wav", noise(n_samples)))
    assert len(preview["peaks"]) == max(1, -(-n_samples // 441))
    assert spectrogram(preview).shape == (96, len(preview["peaks"]))
    assert (max(preview["peaks"]) > 0) == bool(n_samples)


def test_preview_of_an_invalid_file_raises(tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_bytes(b"no audio")
    with pytest.raises(AudioReadError, match="not audio"):
        make_preview(tmp_path / "bad.wav")


@pytest.mark.parametrize("n_windows", [0, 1, 7, 50, 51, 333])
def test_scores_over_time_are_max_pooled(n_windows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dcase2018.server.responses.MAX_VALUES", 50 * 12)
    scores = np.random.default_rng(0).dirichlet(np.full(12, 0.1), n_windows).astype(np.float32)
    starts, is_silent = np.arange(n_windows) * 0.5, np.zeros(n_windows, bool)
    windows = WindowScores(starts, scores, is_silent, 0.5, n_windows * 0.5, 44100)
    response = _scores_over_time([f"c{i}" for i in range(12)], windows, no_progress)
    boundaries = response["boundaries"]
    assert len(boundaries) == min(n_windows, 50) + 1
    assert boundaries[-1] == n_windows * 0.5
    assert list(response["class_scores"]) == [f"c{i}" for i in range(12)]
    for column, pooled in zip(scores.T, response["class_scores"].values(), strict=True):
        assert len(pooled) == min(n_windows, 50)
        for start, end, score in zip(boundaries, boundaries[1:], pooled, strict=False):
            in_column = (windows.starts >= start - 1e-6) & (windows.starts < end - 1e-6)
            assert score == pytest.approx(column[in_column].max(), abs=1e-3)


def test_events_are_detected_at_each_threshold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dcase2018.server.responses.MAX_EVENTS", 20)
    scores = np.random.default_rng(0).dirichlet(np.full(4, 0.2), 100).astype(np.float32)
    windows = WindowScores(np.arange(100) * 0.5, scores, np.arange(100) < 10, 0.5, 50, 44100)
    classes = [f"c{i}" for i in range(4)]
    detections = _scores_over_time(classes, windows, no_progress)["detections"]
    assert [detection["threshold"] for detection in detections] == list(THRESHOLDS)
    assert any(detection["n_more"] for detection in detections)
    for detection in detections:
        events = detect_events(windows, classes, EventConfig(threshold=detection["threshold"]))
        assert len(events) == len(detection["events"]) + detection["n_more"]
        for event, sent in zip(events, detection["events"], strict=False):
            assert (event.label, event.onset, event.offset) == (sent["label"], sent["onset"], sent["offset"])
            assert sent["score"] == pytest.approx(event.score, abs=1e-6)
