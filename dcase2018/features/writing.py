"""Writing a feature store, whole or not at all, and sealing it."""

import dataclasses
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from dcase2018.features.recipe import Recipe
from dcase2018.features.seal import BLOCK_BYTES, FORMAT, write_seal
from dcase2018.features.store import WRITER, Entry, Store
from dcase2018.foundation import published

PIECE_BYTES = 1 << 20


def write_store(
    path: Path,
    recipe: Recipe,
    entries: Sequence[Entry],
    frames: Iterable[np.ndarray],
    durable: bool = True,
) -> None:
    """Write a store and publish it whole.

    Parameters
    ----------
    frames
        The frames of each entry in turn: (entry.length, recipe.width), of the recipe's dtype.
    durable
        Whether it has to outlive a power cut; if not, `Store.is_sound` tells afterwards.

    Raises
    ------
    OSError
        If it cannot be written; a store that stood at `path` is then untouched.
    """
    lengths = np.array([entry.length for entry in entries], np.int64)
    with published(path, durable) as partial:
        with Disk(partial, "w+") as disk, h5py.File(disk, "w", userblock_size=BLOCK_BYTES) as file:
            file.attrs["format"] = FORMAT
            file.attrs["writer"] = WRITER
            file.create_group("recipe").attrs.update(dataclasses.asdict(recipe))
            _write_index(file.create_group("clips"), entries, lengths)
            block = file.create_dataset("frames", (lengths.sum(), recipe.width), recipe.dtype)
            start = 0
            for piece in _large_pieces(frames):
                block[start : start + len(piece)] = piece
                start += len(piece)
                disk.check()
            if start != len(block):
                raise ValueError(f"{start} frames were given for an index of {len(block)}")
            position, n_bytes = block.id.get_offset() or 0, block.nbytes
        disk.check()
        write_seal(partial, position, n_bytes)
        if durable:
            Store(partial)  # what was written can be read


class Disk(io.FileIO):
    """A file that keeps its failures to itself until asked: HDF5 crashes when it is told of one."""

    error: OSError | None = None

    def write(self, data: Any) -> int:
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            while left:
                left = left[super().write(left) :]
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
        """Raise the failure that happened, if one did."""
        if self.error:
            raise OSError(self.error.errno, self.error.strerror, str(self.name))


def _large_pieces(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Join the frames of small clips: HDF5 takes as long for a call as for writing 100 kB."""
    held: list[np.ndarray] = []
    size = 0
    for clip in frames:
        held.append(clip)
        size += clip.nbytes
        if size >= PIECE_BYTES:
            yield clip if len(held) == 1 else np.concatenate(held)
            held, size = [], 0
    if held:
        yield np.concatenate(held)


def _write_index(group: h5py.Group, entries: Sequence[Entry], lengths: np.ndarray) -> None:
    text = h5py.string_dtype("utf-8")
    columns = {
        "fname": np.array([os.fsencode(entry.fname) for entry in entries], object),
        "problem": np.array([entry.problem for entry in entries], object),
    }
    for name, values in columns.items():
        group.create_dataset(name, data=values, dtype=text)
    group["offset"] = np.cumsum(lengths) - lengths
    group["length"] = lengths
    group["crc32"] = np.array([entry.crc32 for entry in entries], np.uint32)
    group["size"] = np.array([entry.size for entry in entries], np.int64)
    group["mtime_ns"] = np.array([entry.mtime_ns for entry in entries], np.int64)
