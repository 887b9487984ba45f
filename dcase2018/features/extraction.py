"""Feature extraction: a folder of clips to a store, in parallel and resumable.

Clips that the store does not have are grouped into shards. Each task computes one shard and writes it as a
small store to a hidden folder beside the target. At the end the clips of all shards are merged in order into
one store, which is written atomically. A later run reuses clips whose source file has the same name, size and
modification time, from the store and from the shards of an interrupted run.
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

from dcase2018.data.audio import AudioReader
from dcase2018.data.audio_errors import UNREADABLE, AudioReadError, describe_error, is_incomplete
from dcase2018.data.files import AudioFile, list_clips
from dcase2018.features.config import FeatureConfig
from dcase2018.features.frontend import FrontEnd
from dcase2018.features.store import EMPTY, ClipRecord, Store, checksum
from dcase2018.features.store_writer import write_store
from dcase2018.utils.atomic import StrPath, ensure_writable, open_atomic, remove_leftovers, work_directory
from dcase2018.utils.errors import Dcase2018Error, InputError
from dcase2018.utils.parallel import parallel_pool
from dcase2018.utils.progress import Progress
from dcase2018.utils.signals import sigterm_as_exception

log = logging.getLogger(__name__)

# A shard takes seconds to compute. A kill loses the shards in progress only.
SHARD_CLIPS = 256
SHARD_BYTES = 16 << 20  # of source files

MIN_FAILED = 8  # failed clips from which extraction stops, if they outnumber the valid ones

# Store or shard, and index row, by the key of a clip's source file.
ClipLocations = dict[tuple[str, int, int], tuple[Store, int]]


@dataclass(frozen=True)
class ExtractionSummary:
    """Result of an extraction.

    Attributes
    ----------
    clips
        Number of clips in the store.
    computed
        Number of clips computed by this run, including failed ones.
    converted
        Number of these that were resampled or mixed to mono.
    empty
        Names of the clips without samples.
    silent
        Names of the other clips that are silent throughout.
    failed
        Error of each clip that could not be read, by name.
    warnings
        What is wrong with each other clip whose file is damaged or unusual, by name. `is_incomplete` returns
        whether audio is lost.
    """

    clips: int
    computed: int
    converted: int
    empty: list[str]
    silent: list[str]
    failed: dict[str, str]
    warnings: dict[str, str]


def extract(
    audio_dir: StrPath,
    store_path: StrPath,
    feature_config: FeatureConfig,
    names: Sequence[str] | None = None,
    jobs: int = 1,
    strict: bool = False,
    dask_address: str | None = None,
    prune: bool = False,
    skip_missing: bool = False,
) -> ExtractionSummary:
    """Write the features of the clips in a folder to a store.

    A run that was interrupted resumes. On an existing store, only new and changed clips are computed.

    Parameters
    ----------
    audio_dir
        Folder of the clips.
    store_path
        Store to write.
    feature_config
        What to compute, such as one of `FEATURE_CONFIGS`.
    names
        Clips to extract, in this order, relative to `audio_dir`; names match in Unicode form NFC and with `/`
        for backslashes. None for all audio files directly in the folder, in order of name.
    jobs
        Number of processes; -1 for one per core.
    strict
        Raise at the first clip that cannot be read, or is incomplete, instead of skipping or using it.
    dask_address
        Address of a Dask cluster to compute on. Its workers must see the same folders.
    prune
        Drop clips of an existing store that are not among `names`.
    skip_missing
        Skip names without a file, as clips that cannot be read, instead of raising.

    Returns
    -------
    ExtractionSummary
        Numbers of clips, and the clips that are empty or failed.

    Raises
    ------
    InputError
        If the folder has no audio, a name is not in it, most clips cannot be read, or the existing store has
        another feature config or would lose clips.
    Dcase2018Error
        If another process writes this store, a clip fails under `strict`, or SIGTERM arrives.
    OSError
        If a file cannot be read or written. Finished shards stay on disk.

    Examples
    --------
    >>> from dcase2018 import FEATURE_CONFIGS, extract
    >>> summary = extract(
    ...     "data/audio_train", "features/train.h5", FEATURE_CONFIGS["baseline"]
    ... )  # doctest: +SKIP
    >>> summary.failed  # doctest: +SKIP
    {'0a1b2c3d.wav': 'truncated: 4956 of 88200 bytes of samples'}
    """
    audio_dir, store_path = Path(audio_dir), Path(store_path)
    sources = list_clips(audio_dir, names, allow_missing=skip_missing)
    ensure_writable(store_path.parent)
    with sigterm_as_exception(), work_directory(store_path, "shards") as folder:
        existing = _open_existing(store_path, feature_config)
        if existing and not prune:
            _check_no_clip_dropped(existing, sources, audio_dir)
        reusable = _reusable_clips(existing, folder, feature_config)
        missing = [source for source in sources if source.key not in reusable]
        log.info("%s: %d clips, %d to extract", store_path, len(sources), len(missing))
        with parallel_pool(jobs, dask_address) as pool:
            shards = _extract_missing(missing, len(reusable), folder, FrontEnd(feature_config), strict, pool)
        clips = reusable | _locate_clips(Store(shard.path) for shard in shards)
        located = [clips[source.key] for source in sources]
        records = [store.record(row) for store, row in located]
        summary = ExtractionSummary(
            clips=len(sources),
            computed=len(missing),
            converted=sum(shard.converted for shard in shards),
            empty=[record.fname for record in records if record.error == EMPTY],
            silent=[record.fname for record in records if record.is_silent and record.length],
            failed={record.fname: record.error for record in records if record.is_failed},
            warnings={record.fname: record.warning for record in records if record.warning},
        )
        _write_csv(store_path.with_suffix(".failed.csv"), "error", summary.failed)
        _write_csv(warnings_csv(store_path), "warning", summary.warnings)
        _merge_shards(store_path, feature_config, records, located)
    return summary


def _open_existing(store_path: Path, feature_config: FeatureConfig) -> Store | None:
    if not store_path.exists():
        return None
    store = Store(store_path)
    store.check_config(feature_config, "this extraction (remove it or name another store)")
    return store


def _check_no_clip_dropped(existing: Store, sources: Sequence[AudioFile], audio_dir: Path) -> None:
    """Raise if the existing store has valid clips that are not among the sources."""
    fnames = {source.fname for source in sources}
    records = map(existing.record, range(len(existing)))
    dropped = [record.fname for record in records if record.fname not in fnames and not record.is_failed]
    if dropped:
        raise InputError(
            f"{existing.path} has {len(dropped)} clips that are not among the {len(fnames)} of {audio_dir},"
            f" such as {dropped[0]!r}; name another store, or drop them with --prune"
        )


def _reusable_clips(existing: Store | None, folder: Path, feature_config: FeatureConfig) -> ClipLocations:
    """Locate the undamaged clips of earlier runs, and remove unusable shards."""
    stores = [existing] if existing else []
    for path in folder.glob("[!.]*"):
        shard = _open_shard(path, feature_config)
        if shard:
            stores.append(shard)
        else:
            path.unlink()
    return {
        key: (store, row)
        for key, (store, row) in _locate_clips(stores).items()
        if store.checksum_ok(row) and not store.errors[row].startswith(UNREADABLE)
    }


def _open_shard(path: Path, feature_config: FeatureConfig) -> Store | None:
    try:
        shard = Store(path)
    except InputError:
        return None
    return shard if shard.feature_config == feature_config else None


def _locate_clips(stores: Iterable[Store]) -> ClipLocations:
    return {store.record(row).key: (store, row) for store in stores for row in range(len(store))}


@dataclass(frozen=True)
class _Shard:
    """A shard on disk, and what the task reports about it."""

    path: Path
    clips: int
    seconds: float
    converted: int
    failed: list[ClipRecord]


def _extract_missing(
    missing: Sequence[AudioFile],
    n_reused: int,
    folder: Path,
    front_end: FrontEnd,
    strict: bool,
    pool: joblib.Parallel,
) -> list[_Shard]:
    """Compute the shards of the missing clips. Stop if most clips fail."""
    tasks = (
        joblib.delayed(extract_shard)(sources, folder / f"{uuid.uuid4().hex}.h5", front_end, strict)
        for sources in _make_shards(missing)
    )
    shards: list[_Shard] = []
    failed: list[ClipRecord] = []
    done, seconds = 0, 0.0
    with Progress("extract", len(missing), "clips") as progress:
        for shard in pool(tasks):
            shards.append(shard)
            done += shard.clips
            seconds += shard.seconds
            failed += shard.failed
            n_valid = n_reused + done - len(failed)
            if len(failed) > max(MIN_FAILED, n_valid) or len(failed) == n_reused + len(missing):
                raise InputError(
                    f"{len(failed)} of the first {done} clips cannot be read, such as"
                    f" {failed[0].fname!r} ({failed[0].error}); is this the right folder?"
                )
            speed = seconds / max(progress.elapsed, 1e-9)
            progress.update(shard.clips, audio=f"{seconds:.0f} s", speed=f"{speed:.0f}x", failed=len(failed))
    return shards


def _make_shards(sources: Sequence[AudioFile]) -> Iterator[list[AudioFile]]:
    """Group clips into shards of at most `SHARD_CLIPS` clips and `SHARD_BYTES` (or one clip)."""
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


def extract_shard(sources: Sequence[AudioFile], path: Path, front_end: FrontEnd, strict: bool) -> _Shard:
    """Compute the frames of some clips and write them as a store: the task of one worker."""
    with threadpool_limits(1, "blas"):  # the matrices are small, and each job has one core
        clips = [_extract_clip(source, front_end, strict) for source in sources]
    records, frames, seconds, converted = zip(*clips, strict=True)
    write_store(path, front_end.feature_config, records, frames, fsync=False)
    failed = [record for record in records if record.is_failed]
    return _Shard(path, len(records), sum(seconds), sum(converted), failed)


def _extract_clip(
    source: AudioFile, front_end: FrontEnd, strict: bool
) -> tuple[ClipRecord, np.ndarray, float, bool]:
    """Compute the record, the frames and the duration of a clip, and whether its samples were converted."""
    config = front_end.feature_config
    error = ""
    frames = np.empty((0, config.n_features), config.storage_dtype)
    seconds, is_converted, is_silent = 0.0, False, False
    try:
        source.check_exists()
        with AudioReader(source.path, config.sample_rate) as clip:
            batches = front_end.iter_frames(clip)
            frames = np.concatenate([frames, *batches])
            is_silent = batches.is_silent
            seconds, is_converted = clip.seconds, clip.is_resampled_or_downmixed
            error = clip.warning
    except (AudioReadError, OSError) as problem:
        error = describe_error(problem)
    if strict and error and (not len(frames) or is_incomplete(error)):
        raise Dcase2018Error(f"clip {source.fname!r} cannot be read completely: {error}")
    error = error or ("" if len(frames) else EMPTY)
    record = ClipRecord(
        source.fname, len(frames), checksum(frames), source.size, source.mtime_ns, error, is_silent
    )
    return record, frames, seconds, is_converted


def _merge_shards(
    store_path: Path,
    feature_config: FeatureConfig,
    records: Sequence[ClipRecord],
    clips: Sequence[tuple[Store, int]],
) -> None:
    """Write the store, unless it exists with exactly these clips."""
    first = clips[0][0]
    if first.path == store_path and clips == [(first, row) for row in range(len(first))]:
        os.utime(store_path)
    else:
        write_store(store_path, feature_config, records, _contiguous_spans(clips))


def _contiguous_spans(clips: Sequence[tuple[Store, int]]) -> Iterator[np.ndarray]:
    """Yield the frames of clips, those of adjacent rows of one store as one array."""
    ends = [i for i, (last, clip) in enumerate(pairwise(clips), 1) if clip != (last[0], last[1] + 1)]
    for start, end in pairwise([0, *ends, len(clips)]):
        store, row = clips[start]
        last_row = row + end - start - 1
        yield store.frames[store.offsets[row] : store.offsets[last_row] + store.lengths[last_row]]


def warnings_csv(store_path: Path) -> Path:
    """Return the path of the list of clips with warnings, `STORE.warnings.csv`."""
    return store_path.with_suffix(".warnings.csv")


def _write_csv(path: Path, column: str, texts: dict[str, str]) -> None:
    """Write a list of clips beside the store, or remove that of an earlier run if there are none."""
    remove_leftovers(path)
    if not texts:
        path.unlink(missing_ok=True)
        return
    with open_atomic(path) as file:
        csv.writer(file, lineterminator="\n").writerows([("fname", column), *texts.items()])
