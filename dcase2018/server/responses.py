"""The results of a recording as JSON."""

import base64
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dcase2018.data.audio import AudioReader
from dcase2018.data.audio_errors import AudioReadError
from dcase2018.inference.audio_tagger import AudioTagger, ProgressCallback
from dcase2018.inference.batch_tagging import freq_range
from dcase2018.inference.event_detection import TIME_DECIMALS, Event, EventConfig, detect_events
from dcase2018.inference.window_scores import ClipScores, WindowScores
from dcase2018.server.waveform_preview import make_preview

MAX_COLUMNS = 12000  # of scores over time on the page
MAX_VALUES = 500_000  # of scores over time of all classes on the page
MAX_EVENTS = 5000  # at each threshold on the page
THRESHOLDS = tuple(percent / 100 for percent in range(10, 91, 5))  # of the events on the page
MAX_PLAYED_SECONDS = 600  # of a clip on the page of review
PLAYED_RATE = 44100  # Hz

EVENT_CONFIG = EventConfig()  # the defaults of `tag --detect-events`


def describe_scores(tagger: AudioTagger) -> str:
    """Return what the scores of a tagger mean, in a sentence for the page."""
    if any(run.hparams.classifier != "softmax" for run in tagger.runs):
        range_of_scores = "Each class has its own score from 0 to 1, so several classes or none can be high"
    else:
        hidden = " and of the background" if len(tagger.classes) < len(tagger.runs[0].classes) else ""
        range_of_scores = (
            f"The scores of all {len(tagger.classes)} classes{hidden} sum to 1, so one of them is at the top"
            " even if none of them occurs"
        )
    return f"{range_of_scores}; a score of 0.8 does not mean that the class is right in 80 % of the cases."


def tag_response(tagger: AudioTagger, path: Path, on_progress: ProgressCallback) -> dict[str, Any]:
    """Tag a recording, as `tag` does.

    Returns
    -------
    dict
        `seconds`, the duration; `warning`, what is wrong with the file, or ""; `scores` of the whole
        recording by class, and whether it `is_silent`; `window_scores` with `starts` and `ends` in seconds,
        the `scores` of each class, `is_silent`, and the detected `events`.

    Raises
    ------
    AudioReadError, OSError
        If the recording cannot be read.
    """

    def report(fraction: float) -> None:
        on_progress(fraction / 2)

    warnings: list[str] = []
    clip = tagger.clip_scores(path, report, warnings.append)
    windows = tagger.window_scores(path, None, report, warnings.append)
    window_scores = {
        "starts": _round(windows.starts, 3),
        "ends": _round(windows.ends, 3),
        "scores": {
            label: _round(column, 6) for label, column in zip(tagger.classes, windows.scores.T, strict=True)
        },
        "is_silent": windows.is_silent.tolist(),
        "events": _events(detect_events(windows, tagger.classes, EVENT_CONFIG)),
    }
    file = {"seconds": windows.seconds, "warning": warnings[0] if warnings else ""}
    return file | _clip_response(tagger, clip) | {"window_scores": window_scores}


def stream_response(
    taggers: Sequence[AudioTagger], path: Path, on_progress: ProgressCallback
) -> Iterator[dict[str, Any]]:
    """Tag a recording by several taggers, and yield each result for the page when it is available.

    Yields
    ------
    dict
        First the `preview` (see `make_preview`). Then for each tagger, by its index `run`, the `scores` of
        the whole recording, and whether it `is_silent`. At last for each `run` the scores over time:
        `boundaries` in seconds; `class_scores`, for each class a score for each interval between two
        boundaries; `detections`, one for each of `THRESHOLDS`, with its `events` and the number `n_more` of
        omitted ones; and the `freq_range` of the tagger in Hz.

    Raises
    ------
    AudioReadError, OSError
        If the recording cannot be read.
    """
    yield {"preview": make_preview(path)}

    def report(fraction: float) -> None:
        on_progress(fraction / (2 * len(taggers)))

    for run, tagger in enumerate(taggers):
        yield {"run": run} | _clip_response(tagger, tagger.clip_scores(path, report, _ignore_warning))
    for run, tagger in enumerate(taggers):
        windows = tagger.window_scores(path, None, report, _ignore_warning)
        low, high = freq_range([run.feature_config for run in tagger.runs], windows.file_sample_rate)
        scores_over_time = _scores_over_time(tagger.classes, windows, report)
        yield {"run": run} | scores_over_time | {"freq_range": [low, high]}


def _ignore_warning(warning: str) -> None:
    """Ignore a warning that is in the preview."""


def clip_response(tagger: AudioTagger, path: Path, on_progress: ProgressCallback) -> dict[str, Any]:
    """Describe a clip for the page of `review`.

    Returns
    -------
    dict
        The preview (see `make_preview`), the `scores` by class, whether the clip `is_silent`, and the
        `played_seconds` of `audio_response`.

    Raises
    ------
    AudioReadError, OSError
        If the clip cannot be read.
    """
    preview = make_preview(path)
    clip = tagger.clip_scores(path, on_progress, _ignore_warning)
    played_seconds = min(preview["seconds"], MAX_PLAYED_SECONDS)
    return preview | _clip_response(tagger, clip) | {"played_seconds": played_seconds}


def audio_response(path: Path) -> dict[str, str]:
    """Convert a clip to FLAC, 16-bit mono at 44.1 kHz, which every browser can play.

    Returns
    -------
    dict
        `flac`, the first ten minutes of the clip in base64.

    Raises
    ------
    AudioReadError, OSError
        If the clip cannot be read or has no samples.
    """
    import soundfile

    encoded, n_left = io.BytesIO(), MAX_PLAYED_SECONDS * PLAYED_RATE
    with (
        AudioReader(path, PLAYED_RATE) as reader,
        soundfile.SoundFile(encoded, "w", PLAYED_RATE, 1, "PCM_16", format="FLAC") as flac,
    ):
        for block in reader.blocks():
            flac.write(block[:n_left])
            n_left -= len(block[:n_left])
            if not n_left:
                break
    if n_left == MAX_PLAYED_SECONDS * PLAYED_RATE:
        raise AudioReadError("no samples")
    return {"flac": base64.b64encode(encoded.getbuffer()).decode()}


def _scores_over_time(
    classes: Sequence[str], windows: WindowScores, on_progress: ProgressCallback
) -> dict[str, Any]:
    """Return the scores, max-pooled to at most `MAX_COLUMNS` columns, and the events at each threshold."""
    detections = []
    for threshold in THRESHOLDS:
        detections.append(_detection(windows, classes, threshold))
        on_progress(0.0)  # stops the work, too
    scores = np.where(windows.is_silent[:, None], 0, windows.scores)
    n_columns = min(len(windows), MAX_COLUMNS, max(1, MAX_VALUES // len(classes)))
    column_starts = np.unique(np.linspace(0, len(windows), n_columns, endpoint=False).astype(int))
    pooled = np.maximum.reduceat(scores, column_starts) if len(windows) else scores
    return {
        "boundaries": _round(windows.boundaries[[*column_starts, len(windows)]], 3),
        "class_scores": {label: _round(column, 3) for label, column in zip(classes, pooled.T, strict=True)},
        "detections": detections,
    }


def _detection(windows: WindowScores, classes: Sequence[str], threshold: float) -> dict[str, Any]:
    """Detect events as `tag --detect-events` does. The page writes them to files with six decimals."""
    events = detect_events(windows, classes, EventConfig(threshold=threshold))
    return {
        "threshold": threshold,
        "events": _events(events[:MAX_EVENTS], 6),
        "n_more": max(0, len(events) - MAX_EVENTS),
    }


def _events(events: Sequence[Event], decimals: int = TIME_DECIMALS) -> list[dict[str, Any]]:
    return [
        {
            "onset": round(event.onset, decimals),
            "offset": round(event.offset, decimals),
            "label": event.label,
            "score": round(event.score, 6),
        }
        for event in events
    ]


def _clip_response(tagger: AudioTagger, clip: ClipScores) -> dict[str, Any]:
    scores = dict(zip(tagger.classes, clip.scores.tolist(), strict=True))
    return {"scores": scores, "is_silent": clip.is_silent}


def _round(values: np.ndarray, decimals: int) -> list[float]:
    return [round(value, decimals) for value in values.tolist()]
