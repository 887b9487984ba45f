"""Recordings to tables: several at a time, each heard once, going on after a kill.

What is heard in a recording depends on it alone, so that the tables are the same whatever was heard before.
Recordings are read by threads that share the networks, which use all cores in turn.
"""

import hashlib
import json
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import IO, Any

import joblib
import numpy as np
from threadpoolctl import threadpool_limits

from dcase2018.data.audio import AudioReadError, describe_error
from dcase2018.data.files import AudioFile
from dcase2018.features.config import FeatureConfig
from dcase2018.inference.audio_tagger import AudioTagger, FailedFile
from dcase2018.inference.event_detection import Event, EventConfig, detect_events
from dcase2018.inference.output_formats import FORMATS, TaggingResult
from dcase2018.inference.window_scores import LevelConfig, WindowScores
from dcase2018.utils.atomic import atomic_path, open_atomic, work_directory
from dcase2018.utils.errors import InputError
from dcase2018.utils.progress import Progress
from dcase2018.utils.signals import sigterm_as_exception

Result = np.ndarray | WindowScores  # scores of a clip, or over time


class Kept:
    """Results in a folder; `settings` are what decides them beside the files."""

    def __init__(self, folder: Path, settings: str) -> None:
        self.folder, self.settings = folder, settings

    def path(self, source: AudioFile) -> Path:
        """The file of a recording's result."""
        key = json.dumps([self.settings, str(source.path), source.size, source.mtime_ns])
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"

    def has(self, source: AudioFile) -> bool:
        """Whether the result of a recording is there and whole."""
        try:
            self.load(source)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return False
        return True

    def load(self, source: AudioFile) -> Result:
        """Read the result of a recording that is there."""
        with np.load(self.path(source), allow_pickle=False) as file:
            return _unpacked(dict(file))

    def save(self, source: AudioFile, result: Result) -> None:
        """Keep a result, whole or not at all."""
        with atomic_path(self.path(source), fsync=False) as partial, partial.open("wb") as file:
            np.savez(file, **_packed(result))

    def clear(self, sources: Sequence[AudioFile]) -> None:
        """Remove all but the results of some recordings."""
        expected = {self.path(source) for source in sources}
        for path in self.folder.iterdir():
            if path not in expected:
                path.unlink()


def _packed(result: Result) -> dict[str, Any]:
    if isinstance(result, np.ndarray):
        return {"clip": result}
    return {field.name: np.asarray(getattr(result, field.name)) for field in fields(WindowScores)}


def _unpacked(values: dict[str, Any]) -> Result:
    if "clip" in values:
        return np.asarray(values["clip"])
    plain: dict[str, Any] = {name: value if value.ndim else float(value) for name, value in values.items()}
    return WindowScores(**plain)


@contextmanager
def kept_beside(output: Path, sources: Sequence[AudioFile], settings: str) -> Iterator[Kept]:
    """Hold the folder of what is kept for an output; it goes when the output is written.

    Raises
    ------
    OSError
        If the folder cannot be written to.
    Dcase2018Error
        If another process is making this output.
    """
    with work_directory(output, "heard") as folder:
        kept = Kept(folder, settings)
        kept.clear(sources)
        yield kept


def settings_of(listener: AudioTagger, over_time: LevelConfig | None) -> str:
    """Digest of all that decides what is said of a recording beside the recording."""
    digest = hashlib.sha256()
    for run in listener.runs:
        digest.update(run.model_file(listener.checkpoint).read_bytes())
        values = [asdict(run.hparams), asdict(run.feature_config), list(run.classes), list(run.class_counts)]
        digest.update(json.dumps(values).encode())
    digest.update(json.dumps(over_time and asdict(over_time)).encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class DetectionConfig:
    """How recordings are followed over time, and what is an event there."""

    over_time: LevelConfig
    joining: EventConfig


@dataclass(frozen=True)
class OutputSpec:
    """Where to write what was heard: a file for all recordings, or a folder with a file for each."""

    path: Path
    format: str  # of FORMATS
    is_folder: bool


def tag(
    listener: AudioTagger,
    sources: Sequence[AudioFile],
    following: DetectionConfig | None = None,
    table: OutputSpec | None = None,
    jobs: int = -1,
) -> Iterator[TaggingResult | FailedFile]:
    """Listen to recordings and write what was heard, telling the progress.

    Parameters
    ----------
    following
        How to follow them over time; if None, each is one clip.
    table
        Where to write it, if anywhere. What was heard is kept beside it until it is written.
    jobs
        Recordings read at a time; -1 for as many as there are cores.

    Yields
    ------
    Heard or FailedFile
        Each recording in turn. The table is whole when all have come.

    Raises
    ------
    InputError
        If none of the recordings can be used.
    Dcase2018Error
        If a network gives scores that are not finite, another process is making this table, or SIGTERM came.
    OSError
        If something cannot be written. What was heard is kept.
    """
    over_time = following.over_time if following else None
    with sigterm_as_exception(), ExitStack() as stack:
        kept = None
        if table:
            kept = stack.enter_context(kept_beside(table.path, sources, settings_of(listener, over_time)))
        write = stack.enter_context(_written(table, listener.classes, bool(following)))
        hertz = _hertz([run.feature_config for run in listener.runs])
        set_aside: list[FailedFile] = []
        for source, result in _results(listener, sources, over_time, kept, jobs):
            if isinstance(result, FailedFile):
                set_aside.append(result)
                yield result
                continue
            events: Sequence[Event] = ()
            if following and isinstance(result, WindowScores):
                events = detect_events(result, listener.classes, following.joining)
            heard = TaggingResult(source, listener.classes, result, events, hertz)
            write(heard)
            yield heard
        if len(set_aside) == len(sources):
            raise InputError(f"no recording can be used, such as {set_aside[0]}")


def _results(
    listener: AudioTagger,
    sources: Sequence[AudioFile],
    over_time: LevelConfig | None,
    kept: Kept | None,
    jobs: int,
) -> Iterator[tuple[AudioFile, Result | FailedFile]]:
    """Hear recordings, several at a time: each in turn, with what was heard or why nothing was."""
    sizes = sum(source.size for source in sources)
    with Progress("tag", sizes // 1_000_000 + 1, "MB") as progress, _threads(jobs) as (pool, ended):
        counter = Counter(progress, ended)

        def hear(source: AudioFile) -> Callable[[], Result | FailedFile]:
            if kept and kept.has(source):
                counter.add(source.size)
                return lambda: kept.load(source)
            result = _hear(listener, source, over_time, lambda share: counter.add(share * source.size))
            if not kept or isinstance(result, FailedFile):
                return lambda: result
            kept.save(source, result)
            return lambda: kept.load(source)  # what waits for its turn takes no memory

        for source, result in zip(sources, pool.map(hear, sources), strict=True):
            yield source, result()


def _hear(
    listener: AudioTagger, source: AudioFile, over_time: LevelConfig | None, tell: Callable[[float], None]
) -> Result | FailedFile:
    try:
        if over_time:
            return listener.window_scores(source.path, over_time, tell)
        return listener.scores(source.path, tell)
    except (AudioReadError, OSError) as error:
        return FailedFile(source, describe_error(error))


class Counter:
    """Counts bytes from many threads, and ends those whose work nobody waits for."""

    def __init__(self, progress: Progress, ended: threading.Event) -> None:
        self.progress, self.ended = progress, ended
        self.bytes, self.lock = 0.0, threading.Lock()

    def add(self, n_bytes: float) -> None:
        if self.ended.is_set():
            raise EndedError
        with self.lock:
            before = int(self.bytes) // 1_000_000
            self.bytes += n_bytes
            self.progress.update(int(self.bytes) // 1_000_000 - before)


class EndedError(Exception):
    """The work is over: a signal came, or other work failed."""


@contextmanager
def _threads(jobs: int) -> Iterator[tuple[ThreadPoolExecutor, threading.Event]]:
    """Start threads that end soon after an error, with an event that tells them to."""
    ended = threading.Event()
    with (
        threadpool_limits(1, "blas"),
        ThreadPoolExecutor(joblib.effective_n_jobs(jobs)) as pool,
    ):  # the matrices are small
        try:
            yield pool, ended
        finally:
            ended.set()
            pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _written(
    table: OutputSpec | None, classes: Sequence[str], over_time: bool
) -> Iterator[Callable[[TaggingResult], None]]:
    """Yield what writes a recording into the table."""
    if not table:
        yield lambda heard: None
    elif table.is_folder:
        yield lambda heard: _write_own(table, heard, over_time)
    else:
        with open_atomic(table.path) as file:
            yield Writer(file, table.format, classes, over_time).write


def _write_own(table: OutputSpec, heard: TaggingResult, over_time: bool) -> None:
    """Write the file of one recording: its whole name with a suffix, below the folder as it lay."""
    path = table.path / f"{heard.source.fname}{FORMATS[table.format].suffix}"
    with open_atomic(path) as file:
        Writer(file, table.format, heard.classes, over_time).write(heard)


class Writer:
    """Writes recordings into one table, and counts what they add up to."""

    def __init__(self, file: IO[str], format: str, classes: Sequence[str], over_time: bool) -> None:
        self.file, self.format = file, FORMATS[format]
        self.seconds, self.events = 0.0, 0
        file.writelines(f"{line}\n" for line in self.format.header(classes, over_time))

    def write(self, heard: TaggingResult) -> None:
        heard = replace(heard, seconds_before=self.seconds, events_before=self.events)
        self.file.writelines(f"{line}\n" for line in self.format.lines(heard))
        self.events += len(heard.events)
        if isinstance(heard.result, WindowScores):
            self.seconds += heard.result.seconds


def _hertz(recipes: Sequence[FeatureConfig]) -> tuple[float, float]:
    """Between which frequencies the networks hear."""
    waves = [feature_config for feature_config in recipes if feature_config.feature == "waveform"]
    highs = [
        feature_config.sample_rate / 2 if feature_config in waves else feature_config.mel_max_hz
        for feature_config in recipes
    ]
    return (0.0 if waves else min(feature_config.mel_min_hz for feature_config in recipes)), max(highs)
