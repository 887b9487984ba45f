"""Writer of the feature store. features/README.md specifies its format."""

import dataclasses
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dcase2018.features.config import FeatureConfig
from dcase2018.features.store import CONFIG, FORMAT, ClipRecord, Store, checksum_items
from dcase2018.utils.atomic import atomic_path

CREATED_BY = f"dcase2018 {version('dcase2018')}"

# HDF5 1.10 is the first version with a checksum in every structure: superblock, headers, heaps and chunk
# indexes. Text has a fixed length, because HDF5 keeps text of variable length in a heap without a checksum.
LIBVER = ("v110", "v110")

ALIGNMENT_BYTES = 64  # of datasets; NumPy copies a mapped array that is not aligned

WRITE_BYTES = 1 << 20  # per call of HDF5, which takes as long as writing 100 kB


def write_store(
    path: Path,
    feature_config: FeatureConfig,
    records: Sequence[ClipRecord],
    frames: Iterable[np.ndarray],
    fsync: bool = True,
) -> None:
    """Write a store atomically.

    Parameters
    ----------
    frames
        The frames of each record in turn: (record.length, n_features), of the config's `storage_dtype`.
    fsync
        Whether the store must survive a power failure, and is opened once to check it.

    Raises
    ------
    OSError
        If the store cannot be written. An existing store at `path` is then unchanged.
    """
    items = _make_items(feature_config, records)
    shape = (sum(record.length for record in records), feature_config.n_features)
    with atomic_path(path, fsync) as partial:
        layout = {"libver": LIBVER, "alignment_threshold": 1, "alignment_interval": ALIGNMENT_BYTES}
        with DeferredErrorFile(partial, "w+") as disk, h5py.File(disk, "w", **layout) as file:
            dataset = file.create_dataset("frames", shape, feature_config.storage_dtype)
            for name, value in items.items():
                group, _, key = name.rpartition("/")
                target = file.require_group(group) if group else file
                if group == "clips":
                    target.create_dataset(key, data=value)
                else:
                    target.attrs[key] = value[()]
            file.attrs["crc32"] = np.uint32(checksum_items(items, dataset.dtype, shape))
            start = 0
            for block in _coalesce(frames):
                dataset[start : start + len(block)] = block
                start += len(block)
                disk.check()
            if start != len(dataset):
                raise ValueError(f"got {start} frames for an index of {len(dataset)}")
        disk.check()
        if fsync:
            Store(partial)  # raises if the store cannot be read


class DeferredErrorFile(io.FileIO):
    """A file whose failed writes raise in `check` alone: HDF5 crashes when a write raises."""

    error: OSError | None = None

    def write(self, data: Any) -> int:
        remaining = memoryview(data).cast("B")
        size = len(remaining)
        try:
            while remaining:
                remaining = remaining[super().write(remaining) :]
        except OSError as error:
            self.error = error
        return size

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self.error = error
            return size or 0

    def check(self) -> None:
        """Raise the error of a failed write, if there was one."""
        if self.error:
            raise OSError(self.error.errno, self.error.strerror, str(self.name))


def _coalesce(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Concatenate the frames of short clips to blocks of at least `WRITE_BYTES`."""
    pending: list[np.ndarray] = []
    size = 0
    for clip in frames:
        pending.append(clip)
        size += clip.nbytes
        if size >= WRITE_BYTES:
            yield clip if len(pending) == 1 else np.concatenate(pending)
            pending, size = [], 0
    if pending:
        yield np.concatenate(pending)


def _make_items(feature_config: FeatureConfig, records: Sequence[ClipRecord]) -> dict[str, np.ndarray]:
    """Make the arrays that the index checksum covers, by their path in the HDF5 file."""
    lengths = np.array([record.length for record in records], np.int64)
    config = dataclasses.asdict(feature_config).items()
    return {
        "format": np.array(FORMAT, np.int64),
        "created_by": np.array(CREATED_BY, "S"),
        **{CONFIG + key: np.array(value, "S" if type(value) is str else None) for key, value in config},
        "clips/fname": _text_column([os.fsencode(record.fname) for record in records]),
        "clips/offset": np.cumsum(lengths) - lengths,
        "clips/length": lengths,
        "clips/is_silent": np.array([record.is_silent for record in records], np.uint8),
        "clips/crc32": np.array([record.crc32 for record in records], np.uint32),
        "clips/size": np.array([record.size for record in records], np.int64),
        "clips/mtime_ns": np.array([record.mtime_ns for record in records], np.int64),
        "clips/error": _text_column([os.fsencode(record.error) for record in records]),
    }


def _text_column(values: Sequence[bytes]) -> np.ndarray:
    return np.array(values, h5py.string_dtype("utf-8", max([1, *map(len, values)])))
