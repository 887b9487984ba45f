"""Event detection: examples of the rule, a slow reference implementation, and properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcase2018.inference.event_detection import Event, EventConfig, detect_events
from dcase2018.inference.window_scores import WindowScores
from dcase2018.utils.errors import InputError

CLASSES = ["Bark", "Meow"]


def make_window_scores(scores: object, hop: float = 1.0, is_silent: object = None) -> WindowScores:
    """Return scores of windows as long as a hop, so that window i lasts from i to i + 1 hops."""
    scores = np.asarray(scores, np.float32).reshape(-1, 2)
    starts = np.arange(len(scores)) * hop
    silent = np.zeros(len(scores), bool) if is_silent is None else np.asarray(is_silent, bool)
    return WindowScores(starts, scores, silent, hop, len(scores) * hop, 44100)


def bark_scores(*scores: float) -> WindowScores:
    return make_window_scores([[score, 0] for score in scores])


def spans(events: list[Event]) -> list[tuple[float, float]]:
    return [(event.onset, event.offset) for event in events]


def test_events_start_at_the_threshold_and_end_below_the_low_threshold() -> None:
    config = EventConfig(threshold=0.6, low_threshold=0.3, merge_gap=0)
    assert detect_events(bark_scores(0.1, 0.4, 0.6, 0.3, 0.29, 0.5, 0.1), CLASSES, config) == [
        Event(1, 4, "Bark", pytest.approx(0.6))
    ]
    assert EventConfig(threshold=0.6).effective_low_threshold == 0.3


def test_merge_gap_and_min_duration_are_in_seconds() -> None:
    scores = bark_scores(0.9, 0, 0, 0.9, 0, 0, 0, 0.9, 0.9)
    assert spans(detect_events(scores, CLASSES, EventConfig(merge_gap=1.9))) == [(0, 1), (3, 4), (7, 9)]
    assert spans(detect_events(scores, CLASSES, EventConfig(merge_gap=2))) == [(0, 4), (7, 9)]
    assert spans(detect_events(scores, CLASSES, EventConfig(merge_gap=2, min_duration=3))) == [(0, 4)]
    short_hop = make_window_scores(scores.scores, hop=0.25)
    assert spans(detect_events(short_hop, CLASSES, EventConfig(merge_gap=0.5))) == [(0, 1), (1.75, 2.25)]


def test_classes_may_overlap_and_silent_windows_have_no_events() -> None:
    scores = make_window_scores([[0.9, 0.6], [0.9, 0.9], [0.9, 0]], is_silent=[False, False, True])
    assert detect_events(scores, CLASSES, EventConfig()) == [
        Event(0, 2, "Bark", pytest.approx(0.9)),
        Event(0, 2, "Meow", pytest.approx(0.9)),
    ]


def test_an_empty_recording_has_no_events() -> None:
    assert detect_events(make_window_scores(np.zeros((0, 2))), CLASSES, EventConfig()) == []


def test_invalid_settings_raise() -> None:
    message = r"low_threshold=0\.7 is not allowed: it must be <= threshold \(0\.5\)"
    with pytest.raises(InputError, match=message):
        EventConfig(low_threshold=0.7)
    with pytest.raises(InputError, match="merge_gap=-1 is not allowed"):
        EventConfig(merge_gap=-1)


def test_index_at_returns_the_window_with_the_nearest_center() -> None:
    starts = np.array([0, 0.8, 1.6, 2.1])
    window_scores = WindowScores(starts, np.zeros((4, 2)), np.zeros(4, bool), 1.6, 3.7, 44100)
    np.testing.assert_allclose(window_scores.boundaries, [0, 1.2, 2.0, 2.65, 3.7])
    times = np.random.default_rng(0).uniform(0, 3.7, 200)
    nearest = np.abs(starts + 0.8 - times[:, None]).argmin(axis=1)
    np.testing.assert_array_equal(window_scores.index_at(times), nearest)


event_configs = st.builds(
    EventConfig,
    threshold=st.sampled_from([0.4, 0.5, 0.9]),
    low_threshold=st.sampled_from([0.0, 0.1, 0.4]),
    min_duration=st.sampled_from([0, 0.5, 1, 2.5]),
    merge_gap=st.sampled_from([0, 0.5, 1, 2.5]),
)
recordings = st.builds(
    lambda rows, hop: make_window_scores([row[:2] for row in rows], hop, [row[2] for row in rows]),
    st.lists(st.tuples(*[st.sampled_from([0, 0.1, 0.3, 0.45, 0.6, 1])] * 2, st.booleans()), max_size=25),
    st.sampled_from([0.25, 0.5, 1.0]),
)


def reference_events(window_scores: WindowScores, config: EventConfig) -> list[tuple[str, float, float]]:
    """Detect events window by window: each grows from a window that reaches the threshold."""
    events = []
    for column, label in enumerate(CLASSES):
        pairs = zip(window_scores.scores[:, column], window_scores.is_silent, strict=True)
        scores = [0 if silent else score for score, silent in pairs]
        active = set()
        for i, score in enumerate(scores):
            if score >= config.threshold:
                for step in (-1, 1):
                    j = i
                    while 0 <= j < len(scores) and scores[j] >= config.effective_low_threshold:
                        active.add(j)
                        j += step
        merged: list[list[float]] = []
        for i in sorted(active):
            onset, offset = window_scores.boundaries[i], window_scores.boundaries[i + 1]
            if merged and onset - merged[-1][1] <= config.merge_gap:
                merged[-1][1] = offset
            else:
                merged.append([onset, offset])
        events += [(label, a, b) for a, b in merged if b - a >= config.min_duration]
    return sorted(events, key=lambda event: (event[1], event[0]))


@given(recordings, event_configs)
def test_events_are_those_of_the_reference(window_scores: WindowScores, config: EventConfig) -> None:
    events = detect_events(window_scores, CLASSES, config)
    expected = reference_events(window_scores, config)
    assert [(event.label, event.onset, event.offset) for event in events] == expected
    for event in events:
        assert config.threshold <= np.float32(event.score) + 1e-7
        assert event.offset - event.onset >= config.min_duration


@given(recordings, event_configs, st.floats(1, 2))
def test_a_higher_threshold_adds_no_event(
    window_scores: WindowScores, config: EventConfig, factor: float
) -> None:
    low = config.effective_low_threshold
    strict = EventConfig(min(1.0, config.threshold * factor), low, 0, config.merge_gap)
    loose = EventConfig(config.threshold, low, 0, config.merge_gap)
    loose_events = detect_events(window_scores, CLASSES, loose)
    for event in detect_events(window_scores, CLASSES, strict):
        assert any(
            other.label == event.label and other.onset <= event.onset and event.offset <= other.offset
            for other in loose_events
        )


@given(st.floats(1e-6, 0.01), st.floats(0, 100))
def test_no_event_has_the_length_0_in_milliseconds(seconds: float, start: float) -> None:
    """A recording of one sample has one window, which may last less than the outputs can express."""
    scores = np.array([[0.9, 0]], np.float32)
    window_scores = WindowScores(np.array([start]), scores, np.zeros(1, bool), 1.6, seconds, 44100)
    for event in detect_events(window_scores, CLASSES, EventConfig()):
        assert f"{event.onset:.3f}" != f"{event.offset:.3f}"
    assert bool(detect_events(window_scores, CLASSES, EventConfig())) == (round(seconds, 3) > 0)
