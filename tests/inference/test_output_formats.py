"""Audacity's labels and Raven's selection tables, read by a library that knows both; names that are odd."""

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
from dcase2018.inference.output_formats import FORMATS, TaggingResult, quoted
from dcase2018.inference.window_scores import WindowScores

CLASSES = ["Bark", 'a "b", c', "white noise"]
EVENTS = [Event(0.5, 1.25, "Bark", 0.91), Event(1.0, 12.3456, "white noise", 0.5), Event(3, 4, 'a "b", c', 1)]


def heard(fname: str = "x.wav") -> TaggingResult:
    scores = np.array([[0.1, 0.2, 0.7], [0.25, 0.5, 0.25]], np.float32)
    line = WindowScores(np.array([0.0, 0.8]), scores, np.zeros(2, bool), 1.6, 2.2)
    source = AudioFile(fname, Path("/recordings", fname), 100, 1)
    return TaggingResult(source, CLASSES, line, EVENTS, (40.0, 16000.0))


def written(name: str, *recordings: TaggingResult, over_time: bool = True) -> str:
    lines = [*FORMATS[name].header(CLASSES, over_time)]
    for one in recordings:
        lines += FORMATS[name].lines(one)
    return "".join(f"{line}\n" for line in lines)


def test_crowsetta_reads_what_audacity_reads(tmp_path: Path) -> None:
    path = tmp_path / "x.wav.txt"
    path.write_text(written("audacity", heard()))
    segments = AudSeq.from_file(path).to_seq().segments
    assert [(s.onset_s, s.offset_s, s.label) for s in segments] == [
        (
            pytest.approx(event.onset, abs=1e-3),
            pytest.approx(event.offset, abs=1e-3),
            event.label,
        )  # it rounds
        for event in EVENTS
    ]


def test_crowsetta_reads_what_raven_reads(tmp_path: Path) -> None:
    path = tmp_path / "x.wav.selections.txt"
    path.write_text(written("raven", heard()))
    boxes = Raven.from_file(path, annot_col="Annotation").to_bbox()
    assert [(box.onset, box.offset, box.label) for box in boxes] == [
        (pytest.approx(event.onset), pytest.approx(event.offset), event.label) for event in EVENTS
    ]
    assert {(box.low_freq, box.high_freq) for box in boxes} == {(40, 16000)}


def test_audacity_labels_are_lines_of_start_end_and_text() -> None:
    """As the manual describes them: parted by tabs, no header, no quotation marks."""
    assert written("audacity", replace(heard(), seconds_before=10)).splitlines() == [
        "10.500000\t11.250000\tBark",
        "11.000000\t22.345600\twhite noise",
        '13.000000\t14.000000\ta "b", c',
    ]


def test_a_selection_table_has_the_columns_that_raven_needs() -> None:
    header, first, *_ = written("raven", heard()).splitlines()
    row = dict(zip(header.split("\t"), first.split("\t"), strict=True))
    needed = {"Selection": "1", "View": "Spectrogram 1", "Channel": "1"}
    assert needed.items() <= row.items()
    assert [float(row[name]) for name in ("Begin Time (s)", "End Time (s)", "File Offset (s)")] == [
        0.5,
        1.25,
        0.5,
    ]
    assert row["Begin Path"] == "/recordings/x.wav"


@pytest.mark.parametrize(
    "fname", ['a, "b".wav', "two\nlines.wav", "tab\there.wav", "caf\udce9.wav", "é/ü.wav"]
)
def test_odd_names_go_through(fname: str) -> None:
    over_time = list(csv.reader(io.StringIO(written("csv", heard(fname)), newline="")))
    assert over_time[0] == ["fname", "start", "end", *CLASSES]
    assert over_time[1] == [fname, "0.000", "1.600", "0.100000", "0.200000", "0.700000"]
    assert over_time[2][:3] == [fname, "0.800", "2.200"]
    clip = replace(heard(fname), result=np.array([0.1, 1 / 3, 2e-8]))
    rows = list(csv.reader(io.StringIO(written("csv", clip, over_time=False), newline="")))
    assert rows == [["fname", *CLASSES], [fname, "0.1", repr(1 / 3), "2e-08"]]
    first = json.loads(written("jsonl", heard(fname)).splitlines()[0])
    assert first == {
        "fname": fname,
        "start": 0,
        "end": 1.6,
        "scores": dict(zip(CLASSES, [0.1, 0.2, 0.7], strict=True)),
    }
    assert len(written("raven", heard(fname)).splitlines()) == 1 + len(EVENTS)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_a_quoted_field_is_read_back(text: str) -> None:
    assert list(csv.reader(io.StringIO(quoted(text), newline=""))) == [[text]]
