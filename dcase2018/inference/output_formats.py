"""Tagging results as tables that other programs read.

`csv` and `jsonl` have all scores: one row per clip, or one row per window of a recording. `events`,
`audacity` and `raven` have one row per event. Times are in seconds. In a file of several recordings, the
times of Audacity and Raven rows continue from one recording to the next, because both programs lay them end
to end. Raven rows also have the time within the recording.

Sources: the Audacity manual, "Importing and Exporting Labels"; the Raven Pro manual, "Selection tables".
"""

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dcase2018.data.files import AudioFile
from dcase2018.inference.event_detection import Event
from dcase2018.inference.window_scores import ClipScores, WindowScores
from dcase2018.utils.atomic import StrPath
from dcase2018.utils.errors import InputError

EVENT_COLUMNS = ("fname", "onset", "offset", "label", "score")
RAVEN_COLUMNS = (
    "Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)",
    "Annotation", "Score", "Begin Path", "File Offset (s)",
)  # fmt: skip


@dataclass(frozen=True)
class TaggingResult:
    """The scores of a clip, or the window scores of a recording and the events detected in them.

    Attributes
    ----------
    scores
        Clip scores or window scores.
    freq_range
        Lowest and highest frequency that the networks use, at most half the sample rate of the file, in Hz.
    warning
        What is wrong with the file although it is used, or "".
    time_offset, event_offset
        Seconds and events of the recordings before this one in the same file.
    """

    file: AudioFile
    classes: Sequence[str]
    scores: ClipScores | WindowScores
    events: Sequence[Event] = ()
    freq_range: tuple[float, float] = (0.0, 0.0)
    warning: str = ""
    time_offset: float = 0.0
    event_offset: int = 0


@dataclass(frozen=True)
class OutputFormat:
    """A file format.

    Attributes
    ----------
    suffix
        Suffix of the file of one recording.
    header
        Returns the header lines for classes and whether the rows are windows.
    rows
        Yields the lines of a result.
    """

    suffix: str
    header: Callable[[Sequence[str], bool], Sequence[str]]
    rows: Callable[[TaggingResult], Iterator[str]]


def csv_header(classes: Sequence[str], has_windows: bool) -> list[str]:
    times = ["start", "end"] if has_windows else []
    return [",".join(map(csv_quote, ["fname", *times, *classes]))]


def csv_rows(result: TaggingResult) -> Iterator[str]:
    """Yield a clip's scores as `predict --scores-output` writes them, or window scores with six decimals."""
    fname = csv_quote(result.file.fname)
    if isinstance(result.scores, ClipScores):
        yield ",".join([fname, *map(repr, result.scores.scores.tolist())])
        return
    for start, end, scores in _windows(result.scores):
        yield ",".join([fname, f"{start:.3f}", f"{end:.3f}", *(f"{score:.6f}" for score in scores)])


def jsonl_rows(result: TaggingResult) -> Iterator[str]:
    fname = result.file.fname
    if isinstance(result.scores, ClipScores):
        scores = dict(zip(result.classes, result.scores.scores.tolist(), strict=True))
        yield json.dumps({"fname": fname, "is_silent": result.scores.is_silent, "scores": scores})
        return
    windows = zip(_windows(result.scores), result.scores.is_silent.tolist(), strict=True)
    for (start, end, values), is_silent in windows:
        scores = {name: round(score, 6) for name, score in zip(result.classes, values, strict=True)}
        times = {"start": round(start, 3), "end": round(end, 3)}
        yield json.dumps({"fname": fname, **times, "is_silent": is_silent, "scores": scores})


def event_rows(result: TaggingResult) -> Iterator[str]:
    fname = csv_quote(result.file.fname)
    for event in result.events:
        label = csv_quote(event.label)
        yield f"{fname},{event.onset:.3f},{event.offset:.3f},{label},{event.score:.6f}"


def audacity_rows(result: TaggingResult) -> Iterator[str]:
    for event in result.events:
        onset, offset = (result.time_offset + time for time in (event.onset, event.offset))
        yield f"{onset:.6f}\t{offset:.6f}\t{_tsv_field(event.label)}"


def raven_rows(result: TaggingResult) -> Iterator[str]:
    low, high = result.freq_range
    for number, event in enumerate(result.events, result.event_offset + 1):
        onset, offset = (result.time_offset + time for time in (event.onset, event.offset))
        bounds = f"{onset:.6f}\t{offset:.6f}\t{low:.1f}\t{high:.1f}"
        source = f"{_tsv_field(str(result.file.path))}\t{event.onset:.6f}"
        yield f"{number}\tSpectrogram 1\t1\t{bounds}\t{_tsv_field(event.label)}\t{event.score:.4f}\t{source}"


def no_header(classes: Sequence[str], has_windows: bool) -> list[str]:
    return []


def event_header(classes: Sequence[str], has_windows: bool) -> list[str]:
    return [",".join(EVENT_COLUMNS)]


def raven_header(classes: Sequence[str], has_windows: bool) -> list[str]:
    return ["\t".join(RAVEN_COLUMNS)]


OUTPUT_FORMATS = {
    "csv": OutputFormat(".csv", csv_header, csv_rows),
    "jsonl": OutputFormat(".jsonl", no_header, jsonl_rows),
    "events": OutputFormat(".events.csv", event_header, event_rows),
    "audacity": OutputFormat(".txt", no_header, audacity_rows),
    "raven": OutputFormat(".selections.txt", raven_header, raven_rows),
}
CLIP_FORMATS = ("csv", "jsonl")


@dataclass(frozen=True)
class OutputSpec:
    """Where to write results: one file for all recordings, or a folder with one file per recording.

    Attributes
    ----------
    format
        A key of `OUTPUT_FORMATS`.
    """

    path: Path
    format: str
    is_folder: bool

    @classmethod
    def create(cls, path: StrPath, format: str | None = None, has_events: bool = False) -> "OutputSpec":
        """Choose the format of a path by its suffix, unless it is given.

        Parameters
        ----------
        path
            A file, or without one of the suffixes of `OUTPUT_FORMATS` a folder.
        has_events
            Whether events are detected. Otherwise the results are scores of clips.

        Raises
        ------
        InputError
            If the format is unknown, or not possible with this path or without events.
        """
        path = Path(path)
        suffixes = {output_format.suffix: name for name, output_format in OUTPUT_FORMATS.items()}
        longest_first = sorted(suffixes, key=len, reverse=True)
        suffix = next((suffix for suffix in longest_first if path.name.endswith(suffix)), None)
        format = format or suffixes.get(suffix or "", "csv")
        if format not in OUTPUT_FORMATS:
            raise InputError(f"format {format!r} is unknown; allowed are {', '.join(OUTPUT_FORMATS)}")
        if not has_events and format not in CLIP_FORMATS:
            raise InputError(f"--format {format} is for events only; add --detect-events")
        if not has_events and not suffix:
            raise InputError(
                f"--output {path} must end in .csv or .jsonl; one file per recording needs --detect-events"
            )
        if not suffix and path.exists() and not path.is_dir():
            names = ", ".join(suffixes)
            raise InputError(f"--output {path} is a file; name a folder, or a file that ends in {names}")
        return cls(path, format, is_folder=not suffix)


def _windows(window_scores: WindowScores) -> Iterator[tuple[float, float, list[float]]]:
    starts, ends = window_scores.starts.tolist(), window_scores.ends.tolist()
    for start, end, scores in zip(starts, ends, window_scores.scores, strict=True):
        yield start, end, scores.tolist()


def csv_quote(field: str) -> str:
    """Return a CSV field, quoted if necessary."""
    line = io.StringIO()
    csv.writer(line).writerow([field])
    return line.getvalue().removesuffix("\r\n")


def _tsv_field(field: str) -> str:
    """Return a field of a tab-separated file, which has no quoting."""
    return " ".join(field.split())
