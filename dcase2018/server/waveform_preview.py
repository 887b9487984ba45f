"""A recording to look at: the outline of its samples and its log mels, as wide as a screen.

A browser is given these in place of the samples, of which an hour has 159 million.
"""

import base64
import io
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from dcase2018.data.audio import AudioReader
from dcase2018.features.config import FeatureConfig
from dcase2018.features.frontend import FrontEnd

COLUMNS = 1200  # at most
RECIPE = FeatureConfig(mel_bands=96, mel_min_hz=40, mel_max_hz=16000, mel_log_offset=1e-5)
DEPTH = np.log(10 ** (70 / 20))  # what is 70 dB below the loudest is black
TICKS = (250, 1000, 2000, 4000, 8000)  # Hz


def overview(path: Path) -> dict[str, Any]:
    """Look at a recording.

    Returns
    -------
    dict
        `seconds`, its length; `peaks`, the largest magnitude in each of up to 1200 equal parts of it;
        `picture`, its log mels as a data URL, low bands below; `ticks`, frequencies in Hz and how high they
        stand in the picture, from 0 to 1.

    Raises
    ------
    AudioReadError
        If it cannot be decoded to its end, or its samples are not finite.
    OSError
        If it cannot be read.
    """
    front_end = FrontEnd(RECIPE)
    with AudioReader(path, RECIPE.sample_rate) as clip:
        levels = front_end.peak_envelope(clip)
        columns = max(1, min(COLUMNS, len(levels)))
        peaks = _pooled([levels[:, None]], len(levels), columns)[:, 0]
        mels = _pooled(front_end.iter_raw_frames(clip), len(levels), columns, RECIPE.mel_bands)
        seconds = clip.seconds
    return {
        "seconds": seconds,
        "peaks": [round(peak, 4) for peak in np.maximum(peaks, 0).tolist()],
        "picture": _data_url(mels),
        "ticks": list(_ticks()),
    }


def _pooled(pieces: Iterable[np.ndarray], n_rows: int, columns: int, width: int = 1) -> np.ndarray:
    """The largest of each of `columns` equal parts of `n_rows` rows that come in pieces: (columns, width)."""
    largest = np.full((columns, width), -np.inf, np.float32)
    done = 0
    for piece in pieces:
        parts = np.arange(done, done + len(piece)) * columns // n_rows
        firsts = np.flatnonzero(np.diff(parts, prepend=-1))
        found = np.maximum.reduceat(piece, firsts)
        largest[parts[firsts]] = np.maximum(largest[parts[firsts]], found)
        done += len(piece)
    return largest


def _data_url(mels: np.ndarray) -> str:
    """Draw log mels, (columns, bands); columns at the end that have no frame of their own stay dark."""
    from matplotlib.image import imsave

    loudest = max(mels.max(initial=RECIPE.silence_value), RECIPE.silence_value + DEPTH)
    picture = io.BytesIO()
    imsave(
        picture, np.maximum(mels, RECIPE.silence_value).T, vmin=loudest - DEPTH, vmax=loudest, cmap="magma",
        origin="lower", format="webp", pil_kwargs={"quality": 85},
    )  # fmt: skip
    return f"data:image/webp;base64,{base64.b64encode(picture.getvalue()).decode()}"


def _ticks() -> Iterator[tuple[int, float]]:
    from librosa import hz_to_mel

    low, high, *ticks = hz_to_mel([RECIPE.mel_min_hz, RECIPE.mel_max_hz, *TICKS], htk=True).tolist()
    for hertz, mel in zip(TICKS, ticks, strict=True):
        yield hertz, round((mel - low) / (high - low), 4)
