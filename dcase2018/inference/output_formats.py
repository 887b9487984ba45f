"""What was heard, as tables that other programs read.

`csv` and `jsonl` have all scores: a row a clip, or a row a window of a recording over time. `audacity` and
`raven` have a row an event. Times are in seconds. In a table of several recordings Audacity's and Raven's
run on from one to the next, as both lay them end to end; Raven's also tells the time within each.

Sources: the Audacity manual, "Importing and Exporting Labels"; the Raven Pro manual, "Selection tables".
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dcase2018.data.files import AudioFile
from dcase2018.inference.event_detection import Event
from dcase2018.inference.window_scores import WindowScores

RAVEN = (
    "Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)",
    "Annotation", "Score", "Begin Path", "File Offset (s)",
)  # fmt: skip


@dataclass(frozen=True)
class TaggingResult:
    """What was heard in a recording: the scores of a clip, or those over time and the events in them.

    Attributes
    ----------
    hertz
        The lowest and the highest frequency that the networks hear.
    seconds_before, events_before
        What the recordings add up to that stand before it in a table.
    """

    source: AudioFile
    classes: Sequence[str]
    result: np.ndarray | WindowScores
    events: Sequence[Event] = ()
    hertz: tuple[float, float] = (0.0, 0.0)
    seconds_before: float = 0.0
    events_before: int = 0


@dataclass(frozen=True)
class Format:
    """A kind of table: the suffix of a recording's own file, and its lines.

    `header` is given the classes and whether they are told over time.
    """

    suffix: str
    header: Callable[[Sequence[str], bool], Sequence[str]]
    lines: Callable[[TaggingResult], Iterator[str]]


def csv_header(classes: Sequence[str], over_time: bool) -> list[str]:
    times = ["start", "end"] if over_time else []
    return [",".join(map(quoted, ["fname", *times, *classes]))]


def csv_lines(heard: TaggingResult) -> Iterator[str]:
    """A clip's scores as `predict --scores-output` writes them; those of windows to six places."""
    fname = quoted(heard.source.fname)
    if isinstance(heard.result, np.ndarray):
        yield ",".join([fname, *map(repr, heard.result.tolist())])
        return
    for start, end, scores in _windows(heard.result):
        yield ",".join([fname, f"{start:.3f}", f"{end:.3f}", *(f"{score:.6f}" for score in scores)])


def json_lines(heard: TaggingResult) -> Iterator[str]:
    fname = heard.source.fname
    if isinstance(heard.result, np.ndarray):
        scores = dict(zip(heard.classes, heard.result.tolist(), strict=True))
        yield json.dumps({"fname": fname, "scores": scores})
        return
    for start, end, values in _windows(heard.result):
        scores = {name: round(score, 6) for name, score in zip(heard.classes, values, strict=True)}
        yield json.dumps({"fname": fname, "start": round(start, 3), "end": round(end, 3), "scores": scores})


def audacity_lines(heard: TaggingResult) -> Iterator[str]:
    for event in heard.events:
        start, end = (heard.seconds_before + time for time in (event.onset, event.offset))
        yield f"{start:.6f}\t{end:.6f}\t{_plain(event.label)}"


def raven_lines(heard: TaggingResult) -> Iterator[str]:
    low, high = heard.hertz
    for number, event in enumerate(heard.events, heard.events_before + 1):
        start, end = (heard.seconds_before + time for time in (event.onset, event.offset))
        times = f"{start:.6f}\t{end:.6f}\t{low:.1f}\t{high:.1f}"
        where = f"{_plain(str(heard.source.path))}\t{event.onset:.6f}"
        yield f"{number}\tSpectrogram 1\t1\t{times}\t{_plain(event.label)}\t{event.score:.4f}\t{where}"


def nothing(classes: Sequence[str], over_time: bool) -> list[str]:
    return []


def raven_header(classes: Sequence[str], over_time: bool) -> list[str]:
    return ["\t".join(RAVEN)]


FORMATS = {
    "csv": Format(".csv", csv_header, csv_lines),
    "jsonl": Format(".jsonl", nothing, json_lines),
    "audacity": Format(".txt", nothing, audacity_lines),
    "raven": Format(".selections.txt", raven_header, raven_lines),
}


def _windows(line: WindowScores) -> Iterator[tuple[float, float, list[float]]]:
    for start, end, scores in zip(line.starts.tolist(), line.ends.tolist(), line.scores, strict=True):
        yield start, end, scores.tolist()


def quoted(field: str) -> str:
    """A field of a CSV, in quotation marks if it needs them."""
    line = io.StringIO()
    csv.writer(line).writerow([field])
    return line.getvalue().removesuffix("\r\n")


def _plain(field: str) -> str:
    """A field of a table parted by tabs, which knows no quotation marks."""
    return " ".join(field.split())
