"""A shard: some clips to a small store of its own, the task of one worker."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from dcase2018.corpus import BadClipError, Clip, Source, problem_of
from dcase2018.features.frontend import FrontEnd
from dcase2018.features.store import NO_SAMPLES, Entry, checksum
from dcase2018.features.writing import write_store
from dcase2018.foundation import Dcase2018Error


@dataclass(frozen=True)
class Shard:
    """A committed shard: its store, and what a task has to tell of it."""

    path: Path
    clips: int
    seconds: float
    converted: int
    set_aside: list[Entry]


def commit_shard(sources: Sequence[Source], path: Path, front_end: FrontEnd, strict: bool) -> Shard:
    """Compute the frames of some clips and commit them as a store: the task of one worker."""
    with threadpool_limits(1, "blas"):  # the matrices are small, and a job is one core
        return _commit_shard(sources, path, front_end, strict)


def _commit_shard(sources: Sequence[Source], path: Path, front_end: FrontEnd, strict: bool) -> Shard:
    frames: list[np.ndarray] = []
    entries: list[Entry] = []
    seconds = converted = 0.0
    for source in sources:
        problem = ""
        try:
            with Clip(source.path, front_end.recipe.sample_rate) as clip:
                frames.append(front_end(clip))
                seconds += clip.seconds
                converted += clip.converted
        except (BadClipError, OSError) as error:
            problem = problem_of(error)
            if strict:
                raise Dcase2018Error(f"clip {source.fname!r} cannot be used: {problem}") from None
            frames.append(np.empty((0, front_end.recipe.width), front_end.recipe.dtype))
        length = len(frames[-1])
        problem = problem or ("" if length else NO_SAMPLES)
        entries.append(
            Entry(source.fname, length, checksum(frames[-1]), source.size, source.mtime_ns, problem)
        )
    write_store(path, front_end.recipe, entries, frames, durable=False)
    set_aside = [entry for entry in entries if entry.is_set_aside]
    return Shard(path, len(entries), seconds, int(converted), set_aside)
