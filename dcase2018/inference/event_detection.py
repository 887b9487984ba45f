"""Sound events from window scores, by thresholds with hysteresis.

An event of a class starts where its score reaches `threshold`, and extends as far as the score stays at or
above `low_threshold`. Events of a class at most `merge_gap` apart are merged. Then events shorter than
`min_duration` are dropped, and those whose onset and offset are equal in milliseconds. All times are in
seconds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dcase2018.inference.window_scores import WindowScores
from dcase2018.utils.config import setting, validate
from dcase2018.utils.errors import InputError

TIME_DECIMALS = 3  # of the times in all outputs; a shorter event would have no length there


@dataclass(frozen=True)
class EventConfig:
    """Settings of the event detection.

    Raises
    ------
    InputError
        If a value is out of bounds.

    Examples
    --------
    >>> from dcase2018 import EventConfig
    >>> EventConfig(threshold=0.4, merge_gap=0.5)
    """

    threshold: float = setting(0.5, "an event reaches this score", gt=0, le=1)
    low_threshold: float = setting(0.0, "an event ends below this score; 0: half the threshold", ge=0, le=1)
    min_duration: float = setting(0.0, "shorter events are dropped", ge=0, le=3600)
    merge_gap: float = setting(1.0, "events of a class at most this far apart are merged", ge=0, le=3600)

    def __post_init__(self) -> None:
        validate(self)
        if self.low_threshold > self.threshold:
            raise InputError(
                f"low_threshold={self.low_threshold:g} is not allowed: it must be <= threshold"
                f" ({self.threshold:g})"
            )

    @property
    def effective_low_threshold(self) -> float:
        """The low threshold, or half the threshold if it is 0."""
        return self.low_threshold or self.threshold / 2


@dataclass(frozen=True)
class Event:
    """A sound event: class, onset and offset in seconds, and the highest score between them."""

    onset: float
    offset: float
    label: str
    score: float


def detect_events(window_scores: WindowScores, classes: Sequence[str], config: EventConfig) -> list[Event]:
    """Detect the sound events of a recording.

    Parameters
    ----------
    window_scores
        Scores of the recording's windows. Silent windows have no events.
    classes
        Class names, in the order of the scores.

    Returns
    -------
    list of Event
        Sorted by onset, then by class in the order of `classes`.

    Examples
    --------
    >>> from dcase2018 import AudioTagger, EventConfig, detect_events
    >>> tagger = AudioTagger.open(["runs/first"])
    >>> detect_events(tagger.window_scores("night.flac"), tagger.classes, EventConfig(threshold=0.4))
    [Event(onset=12.4, offset=14.0, label='Bark', score=0.93)]
    """
    boundaries = window_scores.boundaries
    columns = (np.where(window_scores.is_silent, 0, column) for column in window_scores.scores.T)
    events = [
        Event(float(boundaries[start]), float(boundaries[stop]), label, float(column[start:stop].max()))
        for label, column in zip(classes, columns, strict=True)
        for start, stop in _event_windows(column, boundaries, config)
    ]
    rank = {label: index for index, label in enumerate(classes)}
    return sorted(events, key=lambda event: (event.onset, rank[event.label]))


def _event_windows(
    scores: np.ndarray, boundaries: np.ndarray, config: EventConfig
) -> Iterator[tuple[int, int]]:
    """Yield the first window of each event of a class, and the window after its last."""
    is_above = np.concatenate([[False], scores >= config.effective_low_threshold, [False]])
    starts = np.flatnonzero(is_above[1:] & ~is_above[:-1])
    stops = np.flatnonzero(is_above[:-1] & ~is_above[1:])
    if not len(starts):
        return
    # Scores between two spans are below the low threshold, so they do not change which maxima pass.
    passes_threshold = np.maximum.reduceat(scores, starts) >= config.threshold
    if not passes_threshold.any():
        return
    starts, stops = starts[passes_threshold], stops[passes_threshold]
    is_separate = boundaries[starts[1:]] - boundaries[stops[:-1]] > config.merge_gap
    starts, stops = starts[np.append(True, is_separate)], stops[np.append(is_separate, True)]
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        onset, offset = boundaries[start], boundaries[stop]
        if offset - onset >= config.min_duration and round(offset, TIME_DECIMALS) > round(
            onset, TIME_DECIMALS
        ):
            yield start, stop
