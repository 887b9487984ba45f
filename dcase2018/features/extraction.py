"""Clips to store: parallel, resumable, and exact about every clip that cannot be used.

The clips that the store lacks are cut into shards; each shard is computed by one task and committed as
a small store of its own, in a hidden folder beside the target. When all are there, their clips are put
together in order and published as one store. A run that follows a kill, or a change of some clips,
knows what was committed by the name, size and time of the source files.
"""

import csv
import logging
import os
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import joblib
import numpy as np
from threadpoolctl import threadpool_limits

from dcase2018.data.audio import UNREADABLE, AudioReader, AudioReadError, describe_error
from dcase2018.data.files import AudioFile, list_clips
from dcase2018.features.config import FeatureConfig
from dcase2018.features.frontend import FrontEnd
from dcase2018.features.store import EMPTY, ClipRecord, Store, checksum, write_store
from dcase2018.utils.atomic import StrPath, ensure_writable, open_atomic, work_directory
from dcase2018.utils.errors import Dcase2018Error, InputError
from dcase2018.utils.parallel import parallel_pool
from dcase2018.utils.progress import Progress
from dcase2018.utils.signals import sigterm_as_exception


@dataclass(frozen=True)
class Shard:
    """A committed shard: its store, and what a task has to tell of it."""

    path: Path
    clips: int
    seconds: float
    converted: int
    set_aside: list[ClipRecord]


def extract_shard(sources: Sequence[AudioFile], path: Path, front_end: FrontEnd, strict: bool) -> Shard:
    """Compute the frames of some clips and commit them as a store: the task of one worker."""
    with threadpool_limits(1, "blas"):  # the matrices are small, and a job is one core
        return _commit_shard(sources, path, front_end, strict)


def _commit_shard(sources: Sequence[AudioFile], path: Path, front_end: FrontEnd, strict: bool) -> Shard:
    frames: list[np.ndarray] = []
    entries: list[ClipRecord] = []
    seconds = converted = 0.0
    for source in sources:
        problem = ""
        try:
            with AudioReader(source.path, front_end.feature_config.sample_rate) as clip:
                frames.append(front_end(clip))
                seconds += clip.seconds
                converted += clip.is_resampled_or_downmixed
        except (AudioReadError, OSError) as error:
            problem = describe_error(error)
            if strict:
                raise Dcase2018Error(f"clip {source.fname!r} cannot be used: {problem}") from None
            frames.append(
                np.empty((0, front_end.feature_config.n_features), front_end.feature_config.storage_dtype)
            )
        length = len(frames[-1])
        problem = problem or ("" if length else EMPTY)
        entries.append(
            ClipRecord(source.fname, length, checksum(frames[-1]), source.size, source.mtime_ns, problem)
        )
    write_store(path, front_end.feature_config, entries, frames, fsync=False)
    set_aside = [entry for entry in entries if entry.is_failed]
    return Shard(path, len(entries), seconds, int(converted), set_aside)


log = logging.getLogger(__name__)

# A shard is some seconds of work, which is all that a kill can lose.
SHARD_CLIPS = 256
SHARD_BYTES = 16 << 20  # of source files

# Where the frames of a clip are: the store or shard, and the row in it.
Places = dict[tuple[str, int, int], tuple[Store, int]]


@dataclass(frozen=True)
class ExtractionSummary:
    """What an extraction did: clips in the store, computed now, converted, and set aside and why."""

    clips: int
    computed: int
    converted: int
    empty: list[str]
    set_aside: dict[str, str]


def extract(
    audio_dir: StrPath,
    store_path: StrPath,
    feature_config: FeatureConfig,
    names: Sequence[str] | None = None,
    jobs: int = 1,
    strict: bool = False,
    dask_address: str | None = None,
    force: bool = False,
) -> ExtractionSummary:
    """Write the frames of the clips of a folder to a store.

    Parameters
    ----------
    names
        Which clips, in which order; all audio files of the folder in order of their names, if None.
    jobs
        Number of processes; -1 for as many as there are cores.
    strict
        Stop at the first clip that cannot be used, instead of setting it aside.
    scheduler
        Address of a Dask cluster to work on instead, which must see the same folders.
    force
        Leave out clips that the store holds and that are not among these.

    Returns
    -------
    Summary
        How many clips the store has now, and which of them are empty or set aside.

    Raises
    ------
    InputError
        If the folder holds no audio, a name is not in it or leads out of it, most of its clips
        cannot be used, or the store was made by another feature_config or would lose clips.
    Dcase2018Error
        If another extraction is writing this store, `strict` and a clip is bad, or SIGTERM came.
    OSError
        If something cannot be read or written. What was committed is kept.
    """
    audio_dir, store_path = Path(audio_dir), Path(store_path)
    sources = list_clips(audio_dir, names)
    ensure_writable(store_path.parent)
    with sigterm_as_exception(), work_directory(store_path, "shards") as folder:
        standing = _standing(store_path, feature_config)
        if standing and not force:
            _check_none_is_lost(standing, sources, audio_dir)
        kept = _kept(standing, folder, feature_config)
        todo = [source for source in sources if source.key not in kept]
        log.info("%s: %d clips, %d of them to extract", store_path, len(sources), len(todo))
        with parallel_pool(jobs, dask_address) as pool:
            shards = _compute(todo, len(kept), folder, FrontEnd(feature_config), strict, pool)
        places = kept | _places(Store(shard.path) for shard in shards)
        entries = _merge(store_path, feature_config, [places[source.key] for source in sources])
        summary = ExtractionSummary(
            clips=len(sources),
            computed=len(todo),
            converted=sum(shard.converted for shard in shards),
            empty=[entry.fname for entry in entries if entry.error == EMPTY],
            set_aside={entry.fname: entry.error for entry in entries if entry.is_failed},
        )
        _list_set_aside(store_path, summary.set_aside)
    return summary


def _standing(store_path: Path, feature_config: FeatureConfig) -> Store | None:
    """Open the store that an earlier run made, if there is one."""
    if not store_path.exists():
        return None
    store = Store(store_path)
    store.check_config(feature_config, "this extraction (remove it or name another store)")
    return store


def _check_none_is_lost(standing: Store, sources: Sequence[AudioFile], audio_dir: Path) -> None:
    """Refuse to leave out clips of the standing store; what was set aside is no loss."""
    here = {source.fname for source in sources}
    entries = map(standing.entry, range(len(standing)))
    lost = [entry.fname for entry in entries if entry.fname not in here and not entry.is_failed]
    if lost:
        raise InputError(
            f"{standing.path} holds {len(lost)} clips that are not among the {len(here)} of {audio_dir},"
            f" such as {lost[0]!r}; name another store, or leave them out: --force"
        )


def _kept(standing: Store | None, folder: Path, feature_config: FeatureConfig) -> Places:
    """Find the sound clips that earlier runs committed, and drop shards that are of no use."""
    stores = [standing] if standing else []
    for path in folder.iterdir():
        shard = None if path.name.startswith(".partial-") else _open_shard(path, feature_config)
        if shard:
            stores.append(shard)
        else:
            path.unlink()
    return {
        key: (store, row)
        for key, (store, row) in _places(stores).items()
        if store.checksum_ok(row) and not store.errors[row].startswith(UNREADABLE)
    }


def _open_shard(path: Path, feature_config: FeatureConfig) -> Store | None:
    try:
        shard = Store(path)
    except InputError:
        return None
    return shard if shard.feature_config == feature_config else None


def _places(stores: Iterable[Store]) -> Places:
    places: Places = {}
    for store in stores:
        for row in range(len(store)):
            places[store.entry(row).key] = store, row
    return places


def _compute(
    todo: Sequence[AudioFile],
    n_kept: int,
    folder: Path,
    front_end: FrontEnd,
    strict: bool,
    pool: joblib.Parallel,
) -> list[Shard]:
    """Compute and commit the shards of the clips that are not kept."""
    tasks = (
        joblib.delayed(extract_shard)(sources, folder / f"{uuid.uuid4().hex}.h5", front_end, strict)
        for sources in _cut(todo)
    )
    shards: list[Shard] = []
    bad: list[ClipRecord] = []
    done = seconds = 0.0
    with Progress("extract", len(todo), "clips") as progress:
        for shard in pool(tasks):
            shards.append(shard)
            done += shard.clips
            seconds += shard.seconds
            bad += shard.set_aside
            if len(bad) > max(8, n_kept + done - len(bad)) or len(bad) == n_kept + len(todo):
                raise InputError(
                    f"{len(bad)} of the first {done:.0f} clips cannot be used, such as"
                    f" {bad[0].fname!r} ({bad[0].error}); is it the right folder?"
                )
            rate = seconds / max(progress.elapsed, 1e-9)
            progress.update(shard.clips, audio=f"{seconds:.0f} s", speed=f"{rate:.0f}x", bad=len(bad))
    return shards


def _cut(sources: Sequence[AudioFile]) -> Iterator[list[AudioFile]]:
    """Cut the clips into shards of bounded number and size."""
    shard: list[AudioFile] = []
    size = 0
    for source in sources:
        if shard and (len(shard) == SHARD_CLIPS or size + source.size > SHARD_BYTES):
            yield shard
            shard, size = [], 0
        shard.append(source)
        size += source.size
    if shard:
        yield shard


def _merge(
    store_path: Path, feature_config: FeatureConfig, places: Sequence[tuple[Store, int]]
) -> list[ClipRecord]:
    """Publish the store, unless it is there with these very clips; return its index."""
    entries = [store.entry(row) for store, row in places]
    standing = places[0][0]
    if standing.path == store_path and places == [(standing, row) for row in range(len(standing))]:
        os.utime(store_path)
    else:
        write_store(store_path, feature_config, entries, _runs(places))
    return entries


def _runs(places: Sequence[tuple[Store, int]]) -> Iterator[np.ndarray]:
    """Frames of clips, joined where they lie one after the other already."""
    ends = [
        number for number, (last, place) in enumerate(pairwise(places), 1) if place != (last[0], last[1] + 1)
    ]
    for first, end in pairwise([0, *ends, len(places)]):
        store, row = places[first]
        stop = row + end - first - 1
        yield store.frames[store.offsets[row] : store.offsets[stop] + store.lengths[stop]]


def _list_set_aside(store_path: Path, problems: dict[str, str]) -> None:
    """List the clips that could not be used in a CSV beside the store."""
    path = store_path.with_suffix(".failed.csv")
    if not problems:
        path.unlink(missing_ok=True)
        return
    with open_atomic(path) as file:
        csv.writer(file, lineterminator="\n").writerows([("fname", "error"), *problems.items()])
