"""Scores over time, joined to events: who sounds from when to when.

A class begins to sound where its score reaches a threshold, and goes on for as long as it stays above a
lower one, the low_threshold (a threshold with hysteresis). Parts of a class that are at most a gap apart are one
event; what is then shorter than a least length is none. All times are in seconds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dcase2018.inference.window_scores import WindowScores
from dcase2018.utils.config import setting, validate
from dcase2018.utils.errors import InputError


@dataclass(frozen=True)
class EventConfig:
    """What makes an event of scores over time."""

    threshold: float = setting(0.5, "an event reaches this score", gt=0, le=1)
    low_threshold: float = setting(0.0, "and is over below this one; 0: half the threshold", ge=0, le=1)
    min_duration: float = setting(0.0, "shorter events are dropped", ge=0, le=3600)
    merge_gap: float = setting(1.0, "parts of a class this far apart are one event", ge=0, le=3600)

    def __post_init__(self) -> None:
        validate(self)
        if self.low_threshold > self.threshold:
            raise InputError(
                f"low_threshold={self.low_threshold:g} is not allowed: it is at most the threshold, {self.threshold:g}"
            )

    @property
    def low_threshold_or_half(self) -> float:
        """The score below which an event is over."""
        return self.low_threshold or self.threshold / 2


@dataclass(frozen=True)
class Event:
    """A class that sounds from `onset` to `offset`, in seconds, and the highest score that it has there."""

    onset: float
    offset: float
    label: str
    score: float


def detect_events(line: WindowScores, classes: Sequence[str], joining: EventConfig) -> list[Event]:
    """Find the events of a recording, in order of their starts, then of their classes."""
    scores = np.where(line.is_silent[:, None], 0, line.scores)  # nothing sounds where nothing is heard
    found = [
        Event(
            float(line.boundaries[first]),
            float(line.boundaries[stop]),
            label,
            float(column[first:stop].max()),
        )
        for label, column in zip(classes, scores.T, strict=True)
        for first, stop in _parts(column, line.boundaries, joining)
    ]
    order = {label: number for number, label in enumerate(classes)}
    return sorted(found, key=lambda event: (event.onset, order[event.label]))


def _parts(scores: np.ndarray, edges: np.ndarray, joining: EventConfig) -> Iterator[tuple[int, int]]:
    """Windows of each event of a class: the first, and that after the last."""
    above = np.concatenate([[False], scores >= joining.low_threshold_or_half, [False]])
    firsts = np.flatnonzero(above[1:] & ~above[:-1])
    stops = np.flatnonzero(above[:-1] & ~above[1:])
    reaches = np.array([scores[a:b].max() >= joining.threshold for a, b in zip(firsts, stops, strict=True)])
    firsts, stops = firsts[reaches.astype(bool)], stops[reaches.astype(bool)]
    if not len(firsts):
        return
    apart = edges[firsts[1:]] - edges[stops[:-1]] > joining.merge_gap
    firsts, stops = firsts[np.append(True, apart)], stops[np.append(apart, True)]
    for first, stop in zip(firsts.tolist(), stops.tolist(), strict=True):
        if edges[stop] - edges[first] >= joining.min_duration:
            yield first, stop
