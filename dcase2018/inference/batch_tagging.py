"""Tag many recordings and write the results, in several threads and resumable after a kill.

The result of a recording depends on that recording alone, so the output does not depend on the order of the
work. Threads read recordings; they share the networks, which use all cores one at a time.
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

from dcase2018.data.audio_errors import AudioReadError, describe_error
from dcase2018.data.files import AudioFile, list_recordings
from dcase2018.features.config import FeatureConfig
from dcase2018.inference.audio_tagger import AudioTagger, FailedFile, ProgressCallback, WarningCallback
from dcase2018.inference.event_detection import Event, EventConfig, detect_events
from dcase2018.inference.output_formats import OUTPUT_FORMATS, OutputSpec, TaggingResult
from dcase2018.inference.window_scores import ClipScores, LevelConfig, WindowScores
from dcase2018.utils.atomic import StrPath, atomic_path, open_atomic, work_directory
from dcase2018.utils.errors import InputError
from dcase2018.utils.input_files import as_paths
from dcase2018.utils.progress import Progress
from dcase2018.utils.signals import sigterm_as_exception

MB = 1_000_000

Scores = ClipScores | WindowScores


class ResultCache:
    """Scores of recordings in a folder.

    Parameters
    ----------
    digest
        Digest of everything that determines the scores, except the recordings (see `settings_digest`).
    """

    def __init__(self, folder: Path, digest: str) -> None:
        self.folder, self.digest = folder, digest

    def path(self, file: AudioFile) -> Path:
        """Return the path of a recording's scores; it depends on the recording's size and time too."""
        key = json.dumps([self.digest, str(file.path), file.size, file.mtime_ns])
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"

    def has(self, file: AudioFile) -> bool:
        """Return whether the cache has valid scores of a recording."""
        try:
            self.load(file)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return False
        return True

    def load(self, file: AudioFile) -> tuple[Scores, str]:
        """Return the scores of a recording, and the warning about its file."""
        with np.load(self.path(file), allow_pickle=False) as arrays:
            values = dict(arrays)
        warning = str(values.pop("warning"))
        return _from_arrays(values), warning

    def save(self, file: AudioFile, scores: Scores, warning: str) -> None:
        """Write the scores of a recording atomically."""
        with atomic_path(self.path(file), fsync=False) as partial, partial.open("wb") as stream:
            np.savez(stream, warning=np.array(warning), **_to_arrays(scores))

    def prune(self, files: Sequence[AudioFile]) -> None:
        """Delete everything but the scores of these recordings."""
        expected = {self.path(file) for file in files}
        for path in self.folder.iterdir():
            if path not in expected:
                path.unlink()


def _to_arrays(scores: Scores) -> dict[str, Any]:
    return {field.name: np.asarray(getattr(scores, field.name)) for field in fields(scores)}


def _from_arrays(arrays: dict[str, Any]) -> Scores:
    values: dict[str, Any] = {name: value if value.ndim else value.item() for name, value in arrays.items()}
    return WindowScores(**values) if "starts" in values else ClipScores(**values)


def settings_digest(tagger: AudioTagger, level_config: LevelConfig | None) -> str:
    """Return a digest of everything that determines the scores of a recording, except the recording."""
    digest = hashlib.sha256()
    for run in tagger.runs:
        digest.update(run.model_file(tagger.checkpoint).read_bytes())
        values = [asdict(run.hparams), asdict(run.feature_config), list(run.classes), list(run.class_counts)]
        digest.update(json.dumps(values).encode())
    digest.update(json.dumps([level_config and asdict(level_config), tagger.classes]).encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class DetectionConfig:
    """Settings of the window scores and of the events detected in them."""

    levels: LevelConfig
    events: EventConfig


def tag(
    tagger: AudioTagger,
    audio: StrPath | Sequence[StrPath],
    events: EventConfig | None = None,
    levels: LevelConfig | None = None,
    output: StrPath | None = None,
    format: str | None = None,
    jobs: int = -1,
) -> Iterator[TaggingResult | FailedFile]:
    """Tag recordings of any length.

    Parameters
    ----------
    tagger
        The runs.
    audio
        Audio files and folders of them.
    events
        Score windows and detect events. Default: score each recording as one clip.
    levels
        Level normalization of the windows, with `events`.
    output
        File or folder to write, if any. Until it is complete, scores are cached beside it, and the same call
        resumes an interrupted one.
    format
        "csv", "jsonl", "events", "audacity" or "raven". Default: by the suffix of `output`; csv in a folder.
    jobs
        Recordings to read at the same time; -1 for the number of cores.

    Returns
    -------
    iterator of TaggingResult or FailedFile
        One per recording, in order. The work is done while it is read; `output` is complete at its end.

    Raises
    ------
    InputError
        If a path does not exist, `output` and `format` do not match, or no recording can be used.
    Dcase2018Error, OSError
        If a score is not finite, the output cannot be written, another process writes it, or SIGTERM arrives.

    Examples
    --------
    >>> tagger = dcase2018.AudioTagger.open("runs/first")
    >>> for result in dcase2018.tag(tagger, "sounds", dcase2018.EventConfig(), output="sounds.events.csv"):
    ...     print(result)
    """
    if levels and not events:
        raise InputError("levels apply to events only; give events too")
    if format and not output:
        raise InputError(f"format {format!r} needs an output file or folder; give output")
    detection = DetectionConfig(levels or LevelConfig(), events) if events else None
    spec = OutputSpec.create(output, format, bool(events)) if output else None
    return tag_files(tagger, list_recordings(as_paths(audio, "audio")), detection, spec, jobs)


def tag_files(
    tagger: AudioTagger,
    files: Sequence[AudioFile],
    detection: DetectionConfig | None = None,
    output: OutputSpec | None = None,
    jobs: int = -1,
) -> Iterator[TaggingResult | FailedFile]:
    """Tag recordings, write the results, and log the progress.

    Parameters
    ----------
    detection
        Score windows and detect events. Default: score each recording as one clip.
    output
        Where to write the results, if anywhere. Until it is written, scores are cached beside it, and the
        same call resumes an interrupted one.
    jobs
        Recordings to read at the same time; -1 for the number of cores.

    Yields
    ------
    TaggingResult or FailedFile
        One per recording, in order. The output is complete when the iterator is exhausted.

    Raises
    ------
    InputError
        If none of the recordings can be used.
    Dcase2018Error, OSError
        If a score is not finite, the output cannot be written, another process writes it, or SIGTERM arrives.
    """
    with sigterm_as_exception(), ExitStack() as stack:
        cache = None
        if output:
            folder = stack.enter_context(work_directory(output.path, "cache"))
            cache = ResultCache(folder, settings_digest(tagger, detection.levels if detection else None))
            cache.prune(files)
        write = stack.enter_context(_open_output(output, tagger.classes, bool(detection)))
        failed: list[FailedFile] = []
        for result in _tag_files(tagger, files, detection, cache, jobs):
            if isinstance(result, FailedFile):
                failed.append(result)
            else:
                write(result)
            yield result
        check_any_usable(failed, len(files))


def check_any_usable(failed: Sequence[FailedFile], n_files: int) -> None:
    """Raise `InputError` if all of some files failed."""
    if failed and len(failed) == n_files:
        raise InputError(f"none of the recordings can be used, for example {failed[0]}")


def _tag_files(
    tagger: AudioTagger,
    files: Sequence[AudioFile],
    detection: DetectionConfig | None,
    cache: ResultCache | None,
    jobs: int,
) -> Iterator[TaggingResult | FailedFile]:
    level_config = detection.levels if detection else None
    for file, (scores, warning) in _score_files(tagger, files, level_config, cache, jobs):
        if isinstance(scores, FailedFile):
            yield scores
            continue
        events: Sequence[Event] = ()
        reported_range = (0.0, 0.0)
        if detection and isinstance(scores, WindowScores):
            events = detect_events(scores, tagger.classes, detection.events)
            configs = [run.feature_config for run in tagger.runs]
            reported_range = freq_range(configs, scores.file_sample_rate)
        yield TaggingResult(file, tagger.classes, scores, events, reported_range, warning)


def _score_files(
    tagger: AudioTagger,
    files: Sequence[AudioFile],
    level_config: LevelConfig | None,
    cache: ResultCache | None,
    jobs: int,
) -> Iterator[tuple[AudioFile, tuple[Scores | FailedFile, str]]]:
    """Score recordings in threads, and yield each with its scores or failure and its warning, in order."""
    n_bytes = sum(file.size for file in files)
    with Progress("tag", n_bytes // MB + 1, "MB") as progress, _thread_pool(jobs) as (pool, stopped):
        counter = ByteProgress(progress, stopped)

        def process(file: AudioFile) -> Callable[[], tuple[Scores | FailedFile, str]]:
            if cache and cache.has(file):
                counter.add(file.size)
                return lambda: cache.load(file)
            warnings: list[str] = []
            on_progress = lambda fraction: counter.add(fraction * file.size)  # noqa: E731
            scores = _score_file(tagger, file, level_config, on_progress, warnings.append)
            warning = "".join(warnings)
            if not cache or isinstance(scores, FailedFile):
                return lambda: (scores, warning)
            cache.save(file, scores, warning)
            return lambda: cache.load(file)  # scores that wait for their turn take no memory

        for file, load in zip(files, pool.map(process, files), strict=True):
            yield file, load()


def _score_file(
    tagger: AudioTagger,
    file: AudioFile,
    level_config: LevelConfig | None,
    on_progress: ProgressCallback,
    on_warning: WarningCallback,
) -> Scores | FailedFile:
    try:
        file.check_exists()
        if level_config:
            return tagger.window_scores(file.path, level_config, on_progress, on_warning)
        return tagger.clip_scores(file.path, on_progress, on_warning)
    except (AudioReadError, OSError) as error:
        return FailedFile(file, describe_error(error))


class Cancelled(Exception):
    """The work was stopped by a signal, or other work failed."""


class ByteProgress:
    """Counts the bytes processed by several threads, and stops the threads when asked to."""

    def __init__(self, progress: Progress, stopped: threading.Event) -> None:
        self.progress, self.stopped = progress, stopped
        self.n_bytes, self.lock = 0.0, threading.Lock()

    def add(self, n_bytes: float) -> None:
        """Count bytes; raise `Cancelled` if the work was stopped."""
        if self.stopped.is_set():
            raise Cancelled
        with self.lock:
            before = int(self.n_bytes) // MB
            self.n_bytes += n_bytes
            self.progress.update(int(self.n_bytes) // MB - before)


@contextmanager
def _thread_pool(jobs: int) -> Iterator[tuple[ThreadPoolExecutor, threading.Event]]:
    """Yield a thread pool, and an event that is set on leaving, so that its threads stop soon."""
    stopped = threading.Event()
    # Single-threaded BLAS: the matrices of the front end are small.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(joblib.effective_n_jobs(jobs)) as pool:
        try:
            yield pool, stopped
        finally:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _open_output(
    output: OutputSpec | None, classes: Sequence[str], has_windows: bool
) -> Iterator[Callable[[TaggingResult], None]]:
    """Yield a function that writes a result."""
    if not output:
        yield lambda result: None
    elif output.is_folder:
        yield lambda result: _write_one(output, result, has_windows)
    else:
        with open_atomic(output.path) as stream:
            yield TableWriter(stream, output.format, classes, has_windows).write


def _write_one(output: OutputSpec, result: TaggingResult, has_windows: bool) -> None:
    """Write the file of one recording: its relative path plus a suffix."""
    path = output.path / f"{result.file.fname}{OUTPUT_FORMATS[output.format].suffix}"
    with open_atomic(path) as stream:
        TableWriter(stream, output.format, result.classes, has_windows).write(result)


class TableWriter:
    """Writes results to one file, and sums up their durations and events."""

    def __init__(self, stream: IO[str], format: str, classes: Sequence[str], has_windows: bool) -> None:
        self.stream, self.format = stream, OUTPUT_FORMATS[format]
        self.seconds, self.n_events = 0.0, 0
        stream.writelines(f"{line}\n" for line in self.format.header(classes, has_windows))

    def write(self, result: TaggingResult) -> None:
        result = replace(result, time_offset=self.seconds, event_offset=self.n_events)
        self.stream.writelines(f"{line}\n" for line in self.format.rows(result))
        self.n_events += len(result.events)
        if isinstance(result.scores, WindowScores):
            self.seconds += result.scores.seconds


def freq_range(configs: Sequence[FeatureConfig], file_sample_rate: float) -> tuple[float, float]:
    """Return the lowest and the highest frequency of a file that feature configs use, in Hz."""
    lowest = [0.0 if config.feature == "waveform" else config.mel_min_hz for config in configs]
    highest = [
        config.sample_rate / 2 if config.feature == "waveform" else config.mel_max_hz for config in configs
    ]
    nyquist = file_sample_rate / 2
    return min(*lowest, nyquist), min(max(highest), nyquist)
