"""What is said of a recording, as JSON."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dcase2018.inference.audio_tagger import AudioTagger
from dcase2018.inference.event_detection import Event, EventConfig, detect_events
from dcase2018.inference.window_scores import WindowScores
from dcase2018.server.waveform_preview import overview

Tell = Callable[[float], object]

COLUMNS = 1200  # of scores over time that a page is given, at most
LANES = 8  # classes that it is given over time
EVENTS = 2000  # and events

JOINING = EventConfig()  # what makes an event, as `tag` has it by default


def tagged(listener: AudioTagger, path: Path, tell: Tell) -> dict[str, Any]:
    """Say of a recording what `tag` says.

    Returns
    -------
    dict
        `seconds`; `scores`, those of the recording as one clip, by class; `timeline`: `starts` and `ends` of
        its windows in seconds, their `scores`, a list a class, to six places, which of them are `quiet`, and
        the `events` that they are joined to.

    Raises
    ------
    AudioReadError, OSError
        As `AudioTagger` has it.
    """
    scores = listener.scores(path, lambda share: tell(share / 2))
    line = listener.window_scores(path, on_progress=lambda share: tell(share / 2))
    timeline = {
        "starts": _rounded(line.starts, 3),
        "ends": _rounded(line.ends, 3),
        "scores": {label: _rounded(of, 6) for label, of in zip(listener.classes, line.scores.T, strict=True)},
        "quiet": line.is_silent.tolist(),
        "events": _events(detect_events(line, listener.classes, JOINING)),
    }
    return {"seconds": line.seconds, "scores": _by_class(listener, scores), "timeline": timeline}


def shown(listeners: Sequence[AudioTagger], path: Path, tell: Tell) -> Iterator[dict[str, Any]]:
    """Say what a page shows of a recording, bit by bit: how it looks, and what each of some runs says of it.

    Yields
    ------
    dict
        `overview` first. Then with `run`, the number of a run, its `scores`; and in the end with `run` its
        scores over time: of the classes in `lanes` as many as there are parts between `edges`, which are
        times in seconds; and its `events`, which reach the `threshold`.

    Raises
    ------
    AudioReadError, OSError
        As `AudioTagger` has it.
    """
    yield {"overview": overview(path)}

    def share(part: float) -> None:
        tell(part / (2 * len(listeners)))

    for run, listener in enumerate(listeners):
        yield {"run": run, "scores": _by_class(listener, listener.scores(path, share))}
    for run, listener in enumerate(listeners):
        yield {"run": run} | _over_time(listener, listener.window_scores(path, on_progress=share))


def _over_time(listener: AudioTagger, line: WindowScores) -> dict[str, Any]:
    events = detect_events(line, listener.classes, JOINING)
    scores = np.where(line.is_silent[:, None], 0, line.scores)
    firsts = np.unique(np.linspace(0, len(line), min(len(line), COLUMNS), endpoint=False).astype(int))
    parts = np.maximum.reduceat(scores, firsts) if len(line) else scores
    best = np.argsort(-scores.max(axis=0, initial=0), kind="stable")[:LANES]
    lanes = [{"label": listener.classes[number], "scores": _rounded(parts[:, number], 3)} for number in best]
    return {
        "edges": _rounded(line.boundaries[[*firsts, len(line)]], 3),
        "lanes": lanes,
        "events": _events(events[:EVENTS]),
        "more_events": max(0, len(events) - EVENTS),
        "threshold": JOINING.threshold,
    }


def _events(events: Sequence[Event]) -> list[dict[str, Any]]:
    return [
        {
            "start": round(event.onset, 3),
            "end": round(event.offset, 3),
            "label": event.label,
            "score": round(event.score, 6),
        }
        for event in events
    ]


def _by_class(listener: AudioTagger, scores: np.ndarray) -> dict[str, float]:
    return dict(zip(listener.classes, scores.tolist(), strict=True))


def _rounded(values: np.ndarray, places: int) -> list[float]:
    return [round(value, places) for value in values.tolist()]
