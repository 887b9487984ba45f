"""Events out of scores: the rule in words, a slow twin of it, and what holds for all scores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dcase2018.inference.event_detection import Event, EventConfig, detect_events
from dcase2018.inference.window_scores import WindowScores
from dcase2018.utils.errors import InputError

CLASSES = ["Bark", "Meow"]


def line_of(scores: object, hop: float = 1.0, quiet: object = None) -> WindowScores:
    """A recording whose window number i speaks from i to i + 1 hops."""
    scores = np.asarray(scores, np.float32).reshape(-1, 2)
    starts = np.arange(len(scores)) * hop
    silent = np.zeros(len(scores), bool) if quiet is None else np.asarray(quiet, bool)
    return WindowScores(starts, scores, silent, hop, len(scores) * hop)


def bark(*scores: float) -> WindowScores:
    return line_of([[score, 0] for score in scores])


def spans(events: list[Event]) -> list[tuple[float, float]]:
    return [(event.onset, event.offset) for event in events]


def test_an_event_begins_at_the_threshold_and_ends_below_the_release() -> None:
    joining = EventConfig(threshold=0.6, low_threshold=0.3, merge_gap=0)
    assert detect_events(bark(0.1, 0.4, 0.6, 0.3, 0.29, 0.5, 0.1), CLASSES, joining) == [
        Event(1, 4, "Bark", pytest.approx(0.6))
    ]
    assert EventConfig(threshold=0.6).low_threshold_or_half == 0.3


def test_gaps_and_lengths_are_in_seconds() -> None:
    scores = bark(0.9, 0, 0, 0.9, 0, 0, 0, 0.9, 0.9)
    assert spans(detect_events(scores, CLASSES, EventConfig(merge_gap=1.9))) == [(0, 1), (3, 4), (7, 9)]
    assert spans(detect_events(scores, CLASSES, EventConfig(merge_gap=2))) == [(0, 4), (7, 9)]
    assert spans(detect_events(scores, CLASSES, EventConfig(merge_gap=2, min_duration=3))) == [(0, 4)]
    slow = line_of(scores.scores, hop=0.25)
    assert spans(detect_events(slow, CLASSES, EventConfig(merge_gap=0.5))) == [(0, 1), (1.75, 2.25)]


def test_classes_sound_at_once_and_quiet_windows_are_silent() -> None:
    both = line_of([[0.9, 0.6], [0.9, 0.9], [0.9, 0]], quiet=[False, False, True])
    assert detect_events(both, CLASSES, EventConfig()) == [
        Event(0, 2, "Bark", pytest.approx(0.9)),
        Event(0, 2, "Meow", pytest.approx(0.9)),
    ]


def test_nothing_is_no_event() -> None:
    assert detect_events(line_of(np.zeros((0, 2))), CLASSES, EventConfig()) == []


def test_settings_that_cannot_be() -> None:
    with pytest.raises(
        InputError, match=r"low_threshold=0\.7 is not allowed: it is at most the threshold, 0\.5"
    ):
        EventConfig(low_threshold=0.7)
    with pytest.raises(InputError, match="merge_gap=-1 is not allowed"):
        EventConfig(merge_gap=-1)


def test_each_moment_is_told_of_by_the_window_whose_middle_is_nearest() -> None:
    line = WindowScores(np.array([0, 0.8, 1.6, 2.1]), np.zeros((4, 2)), np.zeros(4, bool), 1.6, 3.7)
    np.testing.assert_allclose(line.boundaries, [0, 1.2, 2.0, 2.65, 3.7])
    times = np.random.default_rng(0).uniform(0, 3.7, 200)
    nearest = np.abs(line.starts + 0.8 - times[:, None]).argmin(axis=1)
    np.testing.assert_array_equal(line.index_at(times), nearest)


joinings = st.builds(
    EventConfig,
    threshold=st.sampled_from([0.4, 0.5, 0.9]),
    low_threshold=st.sampled_from([0.0, 0.1, 0.4]),
    min_duration=st.sampled_from([0, 0.5, 1, 2.5]),
    merge_gap=st.sampled_from([0, 0.5, 1, 2.5]),
)
lines = st.builds(
    lambda rows, hop: line_of([row[:2] for row in rows], hop, [row[2] for row in rows]),
    st.lists(st.tuples(*[st.sampled_from([0, 0.1, 0.3, 0.45, 0.6, 1])] * 2, st.booleans()), max_size=25),
    st.sampled_from([0.25, 0.5, 1.0]),
)


def twin(line: WindowScores, joining: EventConfig) -> list[tuple[str, float, float]]:
    """The rule, moment by moment: parts grow from each window that reaches the threshold."""
    found = []
    for number, label in enumerate(CLASSES):
        scores = [0 if quiet else s for s, quiet in zip(line.scores[:, number], line.is_silent, strict=True)]
        sounding = set()
        for i, score in enumerate(scores):
            if score >= joining.threshold:
                for step in (-1, 1):
                    j = i
                    while 0 <= j < len(scores) and scores[j] >= joining.low_threshold_or_half:
                        sounding.add(j)
                        j += step
        events: list[list[float]] = []
        for i in sorted(sounding):
            start, end = line.boundaries[i], line.boundaries[i + 1]
            if events and start - events[-1][1] <= joining.merge_gap:
                events[-1][1] = end
            else:
                events.append([start, end])
        found += [(label, a, b) for a, b in events if b - a >= joining.min_duration]
    return sorted(found, key=lambda event: (event[1], event[0]))


@given(lines, joinings)
@settings(deadline=None)
def test_events_are_those_of_the_rule_moment_by_moment(line: WindowScores, joining: EventConfig) -> None:
    events = detect_events(line, CLASSES, joining)
    assert [(event.label, event.onset, event.offset) for event in events] == twin(line, joining)
    for event in events:
        assert joining.threshold <= np.float32(event.score) + 1e-7
        assert event.offset - event.onset >= joining.min_duration


@given(lines, joinings, st.floats(1, 2))
@settings(deadline=None)
def test_a_higher_threshold_hears_no_more(line: WindowScores, joining: EventConfig, times: float) -> None:
    higher = EventConfig(
        min(1.0, joining.threshold * times), joining.low_threshold_or_half, 0, joining.merge_gap
    )
    lower = EventConfig(joining.threshold, joining.low_threshold_or_half, 0, joining.merge_gap)
    inside = detect_events(line, CLASSES, lower)
    for event in detect_events(line, CLASSES, higher):
        assert any(
            other.label == event.label and other.onset <= event.onset and event.offset <= other.offset
            for other in inside
        )
