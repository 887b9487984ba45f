"""A preview of a recording for the page: peaks of the waveform and an image of the log mel spectrogram.

The page gets these instead of the samples, since an hour has 159 million of them.
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
from dcase2018.features.librosa_import import librosa

MAX_COLUMNS = 12000  # WebP images have at most 16383
FEATURE_CONFIG = FeatureConfig(mel_bands=96, mel_min_hz=40, mel_max_hz=16000, mel_log_offset=1e-5)
DYNAMIC_RANGE = np.log(10 ** (70 / 20))  # 70 dB below the maximum is black
TICKS_HZ = (250, 1000, 2000, 4000, 8000)


def make_preview(path: Path) -> dict[str, Any]:
    """Compute the preview of a recording.

    Returns
    -------
    dict
        `seconds`, the duration; `warning`, what is wrong with the file, or ""; `peaks`, the peak magnitude of
        each of up to `MAX_COLUMNS` columns of equal duration; `spectrogram`, the log mels as a data URL of an
        image with low frequencies at the bottom; `freq_ticks`, pairs of a frequency in Hz and its height in
        the image, from 0 to 1.

    Raises
    ------
    AudioReadError
        If the recording cannot be decoded, or has samples that are not finite.
    OSError
        If the file cannot be read.
    """
    front_end = FrontEnd(FEATURE_CONFIG)
    with AudioReader(path, FEATURE_CONFIG.sample_rate) as reader:
        offset, envelope, _ = front_end.measure_levels(reader)
        n_columns = max(1, min(MAX_COLUMNS, len(envelope)))
        peaks = _max_pool([envelope[:, None]], len(envelope), n_columns)[:, 0]
        frames = front_end.iter_raw_frames(reader, offset)
        mels = _max_pool(frames, len(envelope), n_columns, FEATURE_CONFIG.mel_bands)
        seconds, warning = reader.seconds, reader.warning
    return {
        "seconds": seconds,
        "warning": warning,
        "peaks": [round(peak, 4) for peak in np.maximum(peaks, 0).tolist()],
        "spectrogram": _data_url(mels),
        "freq_ticks": list(_freq_ticks()),
    }


def _max_pool(blocks: Iterable[np.ndarray], n_rows: int, n_columns: int, n_features: int = 1) -> np.ndarray:
    """Pool `n_rows` rows, which come in blocks, to columns of equal size: (n_columns, n_features)."""
    pooled = np.full((n_columns, n_features), -np.inf, np.float32)
    n_done = 0
    for block in blocks:
        columns = np.arange(n_done, n_done + len(block)) * n_columns // n_rows
        starts = np.flatnonzero(np.diff(columns, prepend=-1))
        maxima = np.maximum.reduceat(block, starts)
        pooled[columns[starts]] = np.maximum(pooled[columns[starts]], maxima)
        n_done += len(block)
    return pooled


def _data_url(mels: np.ndarray) -> str:
    """Plot log mels, (n_columns, n_bands). Columns without a frame, at the end, are black."""
    from matplotlib.image import imsave

    silence = FEATURE_CONFIG.silence_value
    maximum = max(mels.max(initial=silence), silence + DYNAMIC_RANGE)
    image = io.BytesIO()
    imsave(
        image, np.maximum(mels, silence).T, vmin=maximum - DYNAMIC_RANGE, vmax=maximum, cmap="magma",
        origin="lower", format="webp", pil_kwargs={"quality": 85},
    )  # fmt: skip
    return f"data:image/webp;base64,{base64.b64encode(image.getvalue()).decode()}"


def _freq_ticks() -> Iterator[tuple[int, float]]:
    limits = [FEATURE_CONFIG.mel_min_hz, FEATURE_CONFIG.mel_max_hz]
    low, high, *ticks = librosa.hz_to_mel([*limits, *TICKS_HZ], htk=True).tolist()
    for hz, mel in zip(TICKS_HZ, ticks, strict=True):
        yield hz, round((mel - low) / (high - low), 4)
