"""Scores over time, joined to events: who sounds from when to when.

A class begins to sound where its score reaches a threshold, and goes on for as long as it stays above a
lower one, the release (a threshold with hysteresis). Parts of a class that are at most a gap apart are one
event; what is then shorter than a least length is none. All times are in seconds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dcase2018.inference.window_scores import Timeline
from dcase2018.utils.config import check, knob
from dcase2018.utils.errors import InputError


@dataclass(frozen=True)
class Joining:
    """What makes an event of scores over time."""

    threshold: float = knob(0.5, "an event reaches this score", above=0, most=1)
    release: float = knob(0.0, "and is over below this one; 0: half the threshold", least=0, most=1)
    least_seconds: float = knob(0.0, "shorter events are dropped", least=0, most=3600)
    gap_seconds: float = knob(1.0, "parts of a class this far apart are one event", least=0, most=3600)

    def __post_init__(self) -> None:
        check(self)
        if self.release > self.threshold:
            raise InputError(
                f"release={self.release:g} is not allowed: it is at most the threshold, {self.threshold:g}"
            )

    @property
    def lower(self) -> float:
        """The score below which an event is over."""
        return self.release or self.threshold / 2


@dataclass(frozen=True)
class Event:
    """A class that sounds from `start` to `end`, in seconds, and the highest score that it has there."""

    start: float
    end: float
    label: str
    score: float


def find_events(line: Timeline, classes: Sequence[str], joining: Joining) -> list[Event]:
    """Find the events of a recording, in order of their starts, then of their classes."""
    scores = np.where(line.quiet[:, None], 0, line.scores)  # nothing sounds where nothing is heard
    found = [
        Event(float(line.edges[first]), float(line.edges[stop]), label, float(column[first:stop].max()))
        for label, column in zip(classes, scores.T, strict=True)
        for first, stop in _parts(column, line.edges, joining)
    ]
    order = {label: number for number, label in enumerate(classes)}
    return sorted(found, key=lambda event: (event.start, order[event.label]))


def _parts(scores: np.ndarray, edges: np.ndarray, joining: Joining) -> Iterator[tuple[int, int]]:
    """Windows of each event of a class: the first, and that after the last."""
    above = np.concatenate([[False], scores >= joining.lower, [False]])
    firsts = np.flatnonzero(above[1:] & ~above[:-1])
    stops = np.flatnonzero(above[:-1] & ~above[1:])
    reaches = np.array([scores[a:b].max() >= joining.threshold for a, b in zip(firsts, stops, strict=True)])
    firsts, stops = firsts[reaches.astype(bool)], stops[reaches.astype(bool)]
    if not len(firsts):
        return
    apart = edges[firsts[1:]] - edges[stops[:-1]] > joining.gap_seconds
    firsts, stops = firsts[np.append(True, apart)], stops[np.append(apart, True)]
    for first, stop in zip(firsts.tolist(), stops.tolist(), strict=True):
        if edges[stop] - edges[first] >= joining.least_seconds:
            yield first, stop
