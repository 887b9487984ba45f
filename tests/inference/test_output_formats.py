"""Output formats: Audacity labels and Raven selection tables, read by crowsetta; unusual file names."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from crowsetta.formats.bbox.raven import Raven
from crowsetta.formats.seq.audseq import AudSeq
from hypothesis import given
from hypothesis import strategies as st

from dcase2018.data.files import AudioFile
from dcase2018.inference.event_detection import Event
from dcase2018.inference.output_formats import OUTPUT_FORMATS, TaggingResult, csv_quote
from dcase2018.inference.window_scores import ClipScores, WindowScores

CLASSES = ["Bark", 'a "b", c', "white noise"]
EVENTS = [Event(0.5, 1.25, "Bark", 0.91), Event(1.0, 12.3456, "white noise", 0.5), Event(3, 4, 'a "b", c', 1)]


def make_result(fname: str = "x.wav") -> TaggingResult:
    scores = np.array([[0.1, 0.2, 0.7], [0.25, 0.5, 0.25]], np.float32)
    window_scores = WindowScores(np.array([0.0, 0.8]), scores, np.array([False, True]), 1.6, 2.2, 44100)
    file = AudioFile(fname, Path("/recordings", fname), 100, 1)
    return TaggingResult(file, CLASSES, window_scores, EVENTS, (40.0, 16000.0))


def format_results(name: str, *results: TaggingResult, has_windows: bool = True) -> str:
    lines = [*OUTPUT_FORMATS[name].header(CLASSES, has_windows)]
    for result in results:
        lines += OUTPUT_FORMATS[name].rows(result)
    return "".join(f"{line}\n" for line in lines)


def test_crowsetta_reads_audacity_labels(tmp_path: Path) -> None:
    path = tmp_path / "x.wav.txt"
    path.write_text(format_results("audacity", make_result()))
    segments = AudSeq.from_file(path).to_seq().segments
    assert [(s.onset_s, s.offset_s, s.label) for s in segments] == [
        (pytest.approx(event.onset, abs=1e-3), pytest.approx(event.offset, abs=1e-3), event.label)
        for event in EVENTS  # crowsetta rounds times
    ]


def test_crowsetta_reads_raven_selection_tables(tmp_path: Path) -> None:
    path = tmp_path / "x.wav.selections.txt"
    path.write_text(format_results("raven", make_result()))
    boxes = Raven.from_file(path, annot_col="Annotation").to_bbox()
    assert [(box.onset, box.offset, box.label) for box in boxes] == [
        (pytest.approx(event.onset), pytest.approx(event.offset), event.label) for event in EVENTS
    ]
    assert {(box.low_freq, box.high_freq) for box in boxes} == {(40, 16000)}


def test_audacity_labels_are_onset_offset_and_text() -> None:
    """The manual's format: separated by tabs, no header, no quotes."""
    assert format_results("audacity", replace(make_result(), time_offset=10)).splitlines() == [
        "10.500000\t11.250000\tBark",
        "11.000000\t22.345600\twhite noise",
        '13.000000\t14.000000\ta "b", c',
    ]


def test_selection_tables_have_the_columns_required_by_raven() -> None:
    header, first, *_ = format_results("raven", make_result()).splitlines()
    row = dict(zip(header.split("\t"), first.split("\t"), strict=True))
    required = {"Selection": "1", "View": "Spectrogram 1", "Channel": "1"}
    assert required.items() <= row.items()
    times = [float(row[name]) for name in ("Begin Time (s)", "End Time (s)", "File Offset (s)")]
    assert times == [0.5, 1.25, 0.5]
    assert row["Begin Path"] == "/recordings/x.wav"


@pytest.mark.parametrize(
    "fname", ['a, "b".wav', "two\nlines.wav", "tab\there.wav", "caf\udce9.wav", "é/ü.wav"]
)
def test_unusual_fnames_are_preserved(fname: str) -> None:
    result = make_result(fname)
    rows = list(csv.reader(io.StringIO(format_results("csv", result), newline="")))
    assert rows[0] == ["fname", "start", "end", *CLASSES]
    assert rows[1] == [fname, "0.000", "1.600", "0.100000", "0.200000", "0.700000"]
    assert rows[2][:3] == [fname, "0.800", "2.200"]
    clip = replace(result, scores=ClipScores(np.array([0.1, 1 / 3, 2e-8]), False))
    rows = list(csv.reader(io.StringIO(format_results("csv", clip, has_windows=False), newline="")))
    assert rows == [["fname", *CLASSES], [fname, "0.1", repr(1 / 3), "2e-08"]]
    assert json.loads(format_results("jsonl", result).splitlines()[0]) == {
        "fname": fname,
        "start": 0,
        "end": 1.6,
        "is_silent": False,
        "scores": dict(zip(CLASSES, [0.1, 0.2, 0.7], strict=True)),
    }
    assert len(format_results("raven", result).splitlines()) == 1 + len(EVENTS)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_csv_quote_round_trips(text: str) -> None:
    assert list(csv.reader(io.StringIO(csv_quote(text), newline=""))) == [[text]]
