"""What a page is shown of a recording: outlines and pictures of signals that are known."""

import base64
import io
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from conftest import noise, write_wav
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dcase2018.data.audio import AudioReadError
from dcase2018.inference.window_scores import WindowScores
from dcase2018.server.responses import COLUMNS, _over_time
from dcase2018.server.waveform_preview import _pooled, overview


def picture(looked_at: dict[str, Any]) -> np.ndarray:
    """Brightness of each point, (height, width), low frequencies first."""
    data = base64.b64decode(looked_at["picture"].removeprefix("data:image/webp;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)).convert("L"), float)[::-1]


@given(st.integers(1, 60), st.lists(st.integers(1, 50), min_size=1, max_size=8))
def test_pooling_takes_the_largest_of_each_part_however_the_rows_come(columns: int, sizes: list[int]) -> None:
    rows = np.random.default_rng(len(sizes)).normal(size=(sum(sizes), 3)).astype(np.float32)
    columns = min(columns, len(rows))
    found = _pooled(np.split(rows, np.cumsum(sizes)[:-1]), len(rows), columns, 3)
    for column in range(columns):
        part = rows[[number for number in range(len(rows)) if number * columns // len(rows) == column]]
        np.testing.assert_array_equal(found[column], part.max(axis=0))


def test_a_tone_is_bright_at_its_tick_and_where_it_sounds(tmp_path: Path) -> None:
    silence = np.zeros(44100)
    for hertz in (1000, 4000):
        tone = 0.5 * np.sin(2 * np.pi * hertz * np.arange(44100) / 44100)
        looked_at = overview(write_wav(tmp_path / "tone.wav", np.concatenate([silence, tone, silence])))
        image = picture(looked_at)
        high = dict(map(tuple, looked_at["ticks"]))[hertz] * len(image)
        assert image[:, image.shape[1] // 2].argmax() == pytest.approx(high, abs=2)
        assert image[:, : image.shape[1] // 4].max() < 20
        peaks = np.array(looked_at["peaks"])
        assert looked_at["seconds"] == 3
        np.testing.assert_allclose(peaks[: len(peaks) // 4], 0)
        assert peaks[len(peaks) // 2] == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("n_samples", [0, 1, 440, 441, 1102, 5000])
def test_short_recordings_have_a_picture(n_samples: int, tmp_path: Path) -> None:
    looked_at = overview(write_wav(tmp_path / "short.wav", noise(n_samples)))
    assert len(looked_at["peaks"]) == max(1, -(-n_samples // 441))
    assert picture(looked_at).shape == (96, len(looked_at["peaks"]))
    assert (max(looked_at["peaks"]) > 0) == bool(n_samples)


def test_what_cannot_be_heard_cannot_be_looked_at(tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    with pytest.raises(AudioReadError, match="not audio"):
        overview(tmp_path / "bad.wav")


@pytest.mark.parametrize("windows", [0, 1, 7, COLUMNS, COLUMNS + 1, 5000])
def test_scores_over_time_are_thinned_out_to_their_peaks(windows: int) -> None:
    scores = np.random.default_rng(0).dirichlet(np.full(12, 0.1), windows).astype(np.float32)
    line = WindowScores(np.arange(windows) * 0.5, scores, np.zeros(windows, bool), 0.5, windows * 0.5)
    told = _over_time(SimpleNamespace(classes=[f"c{number}" for number in range(12)]), line)  # type: ignore
    assert len(told["edges"]) == min(windows, COLUMNS) + 1
    assert told["edges"][-1] == windows * 0.5
    best = scores.max(axis=0, initial=0)
    for lane in told["lanes"]:
        column = scores[:, int(lane["label"][1:])]
        assert len(lane["scores"]) == min(windows, COLUMNS)
        for start, end, score in zip(told["edges"], told["edges"][1:], lane["scores"], strict=False):
            inside = (line.starts >= start - 1e-6) & (line.starts < end - 1e-6)
            assert score == pytest.approx(column[inside].max(), abs=1e-3)
    assert min((best[int(lane["label"][1:])] for lane in told["lanes"]), default=1) >= np.sort(best)[-8]
    assert told["more_events"] == max(0, len(told["events"]) + told["more_events"] - 2000)
