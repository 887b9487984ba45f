"""Recordings to tables: several at a time, each heard once, going on after a kill.

What is heard in a recording depends on it alone, so that the tables are the same whatever was heard before.
Recordings are read by threads that share the networks, which use all cores in turn.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import joblib
from threadpoolctl import threadpool_limits

from dcase2018.corpus import BadClipError, Source, problem_of
from dcase2018.features import Recipe
from dcase2018.foundation import InputError, Progress, ended_in_order, published_text
from dcase2018.using.events import Event, Joining, find_events
from dcase2018.using.formats import FORMATS, Heard
from dcase2018.using.kept import Kept, Result, kept_beside, settings_of
from dcase2018.using.listening import Listener, SetAside
from dcase2018.using.timeline import OverTime, Timeline


@dataclass(frozen=True)
class Following:
    """How recordings are followed over time, and what is an event there."""

    over_time: OverTime
    joining: Joining


@dataclass(frozen=True)
class Table:
    """Where to write what was heard: a file for all recordings, or a folder with a file for each."""

    path: Path
    format: str  # of FORMATS
    is_folder: bool


def tag(
    listener: Listener,
    sources: Sequence[Source],
    following: Following | None = None,
    table: Table | None = None,
    jobs: int = -1,
) -> Iterator[Heard | SetAside]:
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
    Heard or SetAside
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
    with ended_in_order(), ExitStack() as stack:
        kept = None
        if table:
            kept = stack.enter_context(kept_beside(table.path, sources, settings_of(listener, over_time)))
        write = stack.enter_context(_written(table, listener.classes, bool(following)))
        hertz = _hertz([run.recipe for run in listener.runs])
        set_aside: list[SetAside] = []
        for source, result in _results(listener, sources, over_time, kept, jobs):
            if isinstance(result, SetAside):
                set_aside.append(result)
                yield result
                continue
            events: Sequence[Event] = ()
            if following and isinstance(result, Timeline):
                events = find_events(result, listener.classes, following.joining)
            heard = Heard(source, listener.classes, result, events, hertz)
            write(heard)
            yield heard
        if len(set_aside) == len(sources):
            raise InputError(f"no recording can be used, such as {set_aside[0]}")


def _results(
    listener: Listener, sources: Sequence[Source], over_time: OverTime | None, kept: Kept | None, jobs: int
) -> Iterator[tuple[Source, Result | SetAside]]:
    """Hear recordings, several at a time: each in turn, with what was heard or why nothing was."""
    sizes = sum(source.size for source in sources)
    with Progress("tag", sizes // 1_000_000 + 1, "MB") as progress, _threads(jobs) as (pool, ended):
        counter = Counter(progress, ended)

        def hear(source: Source) -> Callable[[], Result | SetAside]:
            if kept and kept.has(source):
                counter.add(source.size)
                return lambda: kept.load(source)
            result = _hear(listener, source, over_time, lambda share: counter.add(share * source.size))
            if not kept or isinstance(result, SetAside):
                return lambda: result
            kept.save(source, result)
            return lambda: kept.load(source)  # what waits for its turn takes no memory

        for source, result in zip(sources, pool.map(hear, sources), strict=True):
            yield source, result()


def _hear(
    listener: Listener, source: Source, over_time: OverTime | None, tell: Callable[[float], None]
) -> Result | SetAside:
    try:
        if over_time:
            return listener.timeline(source.path, over_time, tell)
        return listener.scores(source.path, tell)
    except (BadClipError, OSError) as error:
        return SetAside(source, problem_of(error))


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
    table: Table | None, classes: Sequence[str], over_time: bool
) -> Iterator[Callable[[Heard], None]]:
    """Yield what writes a recording into the table."""
    if not table:
        yield lambda heard: None
    elif table.is_folder:
        yield lambda heard: _write_own(table, heard, over_time)
    else:
        with published_text(table.path) as file:
            yield Writer(file, table.format, classes, over_time).write


def _write_own(table: Table, heard: Heard, over_time: bool) -> None:
    """Write the file of one recording: its whole name with a suffix, below the folder as it lay."""
    path = table.path / f"{heard.source.fname}{FORMATS[table.format].suffix}"
    with published_text(path) as file:
        Writer(file, table.format, heard.classes, over_time).write(heard)


class Writer:
    """Writes recordings into one table, and counts what they add up to."""

    def __init__(self, file: IO[str], format: str, classes: Sequence[str], over_time: bool) -> None:
        self.file, self.format = file, FORMATS[format]
        self.seconds, self.events = 0.0, 0
        file.writelines(f"{line}\n" for line in self.format.header(classes, over_time))

    def write(self, heard: Heard) -> None:
        heard = replace(heard, seconds_before=self.seconds, events_before=self.events)
        self.file.writelines(f"{line}\n" for line in self.format.lines(heard))
        self.events += len(heard.events)
        if isinstance(heard.result, Timeline):
            self.seconds += heard.result.seconds


def _hertz(recipes: Sequence[Recipe]) -> tuple[float, float]:
    """Between which frequencies the networks hear."""
    waves = [recipe for recipe in recipes if recipe.feature == "waveform"]
    highs = [recipe.sample_rate / 2 if recipe in waves else recipe.mel_max_hz for recipe in recipes]
    return (0.0 if waves else min(recipe.mel_min_hz for recipe in recipes)), max(highs)
