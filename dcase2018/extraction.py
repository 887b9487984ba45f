"""Clips to store: parallel, resumable, and exact about every clip that cannot be used.

The clips that the store lacks are cut into shards; each shard is computed by one task and committed as
a small store of its own, in a hidden folder beside the target. When all are there, their clips are put
together in order and published as one store. A run that follows a kill, or a change of some clips,
knows what was committed by the name, size and time of the source files.
"""

import fcntl
import logging
import os
import shutil
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np

from dcase2018.audio import EXTENSIONS, BadClipError, read_clip
from dcase2018.errors import Dcase2018Error, InputError
from dcase2018.logmel import LogMel
from dcase2018.progress import Progress
from dcase2018.publish import ensure_writable
from dcase2018.recipe import Recipe
from dcase2018.store import Entry, Store, checksum, write_store

log = logging.getLogger(__name__)

# A shard is some seconds of work, which is all that a kill can lose.
SHARD_CLIPS = 256
SHARD_BYTES = 32 << 20  # of source files

NO_SAMPLES = "no samples"


@dataclass(frozen=True)
class Source:
    """A clip's file, and what would tell that it has changed."""

    fname: str
    path: Path
    size: int
    mtime_ns: int

    @property
    def key(self) -> tuple[str, int, int]:
        return self.fname, self.size, self.mtime_ns


# Where the frames of a clip are: the store or shard, and the row in it.
Places = dict[tuple[str, int, int], tuple[Store, int]]


@dataclass(frozen=True)
class Shard:
    """A committed shard: its store, and what a task has to tell of it."""

    path: Path
    clips: int
    seconds: float
    converted: int
    set_aside: int


@dataclass(frozen=True)
class Summary:
    """What an extraction did: clips in the store, computed now, converted, and set aside and why."""

    clips: int
    computed: int
    converted: int
    empty: list[str]
    set_aside: dict[str, str]


def extract(
    audio_dir: Path,
    store_path: Path,
    recipe: Recipe,
    names: Sequence[str] | None = None,
    jobs: int = 1,
    strict: bool = False,
) -> Summary:
    """Write the frames of the clips of a folder to a store.

    Parameters
    ----------
    names
        Which clips, in which order; all audio files of the folder in order of their names, if None.
    jobs
        Number of processes.
    strict
        Stop at the first clip that cannot be used, instead of setting it aside.

    Raises
    ------
    InputError
        If the folder holds no audio, a name is not in it or leads out of it, most of its clips
        cannot be used, or the store was made by another recipe.
    Dcase2018Error
        If another extraction is writing this store, or `strict` and a clip is bad.
    OSError
        If something cannot be read or written. What was committed is kept.
    """
    sources = find_sources(audio_dir, names)
    ensure_writable(store_path.parent)
    with _shards_folder(store_path) as folder:
        kept = _kept(store_path, folder, recipe)
        todo = [source for source in sources if source.key not in kept]
        log.info("%s: %d clips, %d of them to extract", store_path, len(sources), len(todo))
        shards = _compute(todo, folder, LogMel(recipe), jobs, strict)
        places = kept | _places(Store(shard.path) for shard in shards)
        merged = [places[source.key] for source in sources]
        _merge(store_path, recipe, merged)
    problems = {store.fnames[row]: store.problems[row] for store, row in merged}
    return Summary(
        clips=len(sources),
        computed=len(todo),
        converted=sum(shard.converted for shard in shards),
        empty=[name for name, why in problems.items() if why == NO_SAMPLES],
        set_aside={name: why for name, why in problems.items() if why not in ("", NO_SAMPLES)},
    )


def find_sources(audio_dir: Path, names: Sequence[str] | None = None) -> list[Source]:
    """Find the files of the clips, in order.

    Raises
    ------
    InputError
        If there are none, or a name is not in the folder or leads out of it.
    """
    if not audio_dir.is_dir():
        raise InputError(f"{audio_dir} is no folder")
    if names is None:
        names = sorted(
            entry.name
            for entry in os.scandir(audio_dir)
            if Path(entry.name).suffix.lower() in EXTENSIONS and not entry.name.startswith(".")
        )
    if not names:
        raise InputError(f"{audio_dir} holds no audio: no file ends in {', '.join(sorted(EXTENSIONS))}")
    root = audio_dir.resolve()
    outside = [name for name in names if not (root / name).resolve().is_relative_to(root)]
    if outside:
        raise InputError(f"clip {outside[0]!r} leads out of {audio_dir}; clips must lie in the folder")
    missing = [name for name in names if not (root / name).is_file()]
    if missing:
        raise InputError(f"{len(missing)} of {len(names)} clips are not in {audio_dir}: {missing[0]!r} ...")
    return [_source(name, root / name) for name in names]


def _source(name: str, path: Path) -> Source:
    status = path.stat()
    return Source(name, path, status.st_size, status.st_mtime_ns)


@contextmanager
def _shards_folder(store_path: Path) -> Iterator[Path]:
    """Hold the folder of a store's shards for this process; it is removed when the store is done."""
    folder = store_path.with_name(f".{store_path.name}.shards")
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise Dcase2018Error(
                f"{store_path} is being written by process {lock.read() or '?'}; wait for it to end"
            ) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield folder
        shutil.rmtree(folder)


def _kept(store_path: Path, folder: Path, recipe: Recipe) -> Places:
    """Find the sound clips that earlier runs committed, and drop shards that are of no use."""
    stores = []
    if store_path.exists():
        stores.append(Store(store_path))
        stores[0].check_recipe(recipe, "this extraction (remove it or name another store)")
    for path in sorted(folder.iterdir()):
        shard = _open_shard(path, recipe)
        if shard:
            stores.append(shard)
        elif path.name != "lock":
            path.unlink()
    return {key: (store, row) for key, (store, row) in _places(stores).items() if store.is_sound(row)}


def _open_shard(path: Path, recipe: Recipe) -> Store | None:
    try:
        shard = Store(path)
    except InputError:
        return None
    return shard if shard.recipe == recipe else None


def _places(stores: Iterable[Store]) -> Places:
    places: Places = {}
    for store in stores:
        for row in range(len(store)):
            entry = store.entry(row)
            places[entry.fname, entry.size, entry.mtime_ns] = store, row
    return places


def _compute(todo: Sequence[Source], folder: Path, front_end: LogMel, jobs: int, strict: bool) -> list[Shard]:
    """Compute and commit the shards of the clips, `jobs` at a time."""
    tasks = (
        joblib.delayed(commit_shard)(sources, folder / f"{uuid.uuid4().hex}.h5", front_end, strict)
        for sources in _cut(todo)
    )
    shards: list[Shard] = []
    done = seconds = bad = 0.0
    with Progress("extract", len(todo), "clips") as progress:
        for shard in joblib.Parallel(jobs, return_as="generator_unordered")(tasks):
            shards.append(shard)
            done += shard.clips
            seconds += shard.seconds
            bad += shard.set_aside
            if bad > max(8, done / 2) or bad == len(todo):
                raise InputError(
                    f"{bad:.0f} of the first {done:.0f} clips cannot be used, such as"
                    f" {_first_problem(shards)}; is it the right folder?"
                )
            rate = seconds / max(progress.elapsed, 1e-9)
            progress.update(shard.clips, audio=f"{seconds:.0f} s", speed=f"{rate:.0f}x", bad=f"{bad:.0f}")
    return shards


def _first_problem(shards: Iterable[Shard]) -> str:
    return next(
        f"{name!r} ({why})"
        for store in (Store(shard.path) for shard in shards)
        for name, why in zip(store.fnames, store.problems, strict=True)
        if why not in ("", NO_SAMPLES)
    )


def _cut(sources: Sequence[Source]) -> Iterator[list[Source]]:
    """Cut the clips into shards of bounded number and size."""
    shard: list[Source] = []
    size = 0
    for source in sources:
        if shard and (len(shard) == SHARD_CLIPS or size + source.size > SHARD_BYTES):
            yield shard
            shard, size = [], 0
        shard.append(source)
        size += source.size
    if shard:
        yield shard


def commit_shard(sources: Sequence[Source], path: Path, front_end: LogMel, strict: bool) -> Shard:
    """Compute the frames of some clips and commit them as a store: the task of one worker."""
    recipe = front_end.recipe
    frames: list[np.ndarray] = []
    entries: list[Entry] = []
    samples = converted = 0
    for source in sources:
        problem = ""
        try:
            clip = read_clip(source.path, recipe.sample_rate)
            problem = "" if len(clip.samples) else NO_SAMPLES
            samples += len(clip.samples)
            converted += clip.converted
            frames.append(front_end(clip.samples))
        except (BadClipError, OSError) as error:
            problem = _reason(error)
            if strict:
                raise Dcase2018Error(f"clip {source.fname!r} cannot be used: {problem}") from None
            frames.append(np.empty((0, recipe.mel_bands), np.float32))
        entries.append(
            Entry(source.fname, len(frames[-1]), checksum(frames[-1]), source.size, source.mtime_ns, problem)
        )
    write_store(path, recipe, entries, frames)
    set_aside = sum(entry.problem not in ("", NO_SAMPLES) for entry in entries)
    return Shard(path, len(entries), samples / recipe.sample_rate, converted, set_aside)


def _reason(error: Exception) -> str:
    return f"unreadable: {error.strerror}" if isinstance(error, OSError) else str(error)


def _merge(store_path: Path, recipe: Recipe, places: Sequence[tuple[Store, int]]) -> None:
    """Publish the store, unless it is there with these very clips."""
    standing = places[0][0]
    if standing.path == store_path and places == [(standing, row) for row in range(len(standing))]:
        os.utime(store_path)
        return
    entries = [store.entry(row) for store, row in places]
    write_store(store_path, recipe, entries, (store.clip(row) for store, row in places))
