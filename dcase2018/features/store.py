"""The feature store: the one place that knows HDF5. Its format is specified in features/README.md.

A store holds the frames of many clips back to back in one contiguous block, so that a window is one
slice and the block can be mapped into memory, and an index with one row a clip. It holds no labels. The
index is believed because its seal holds, a clip's frames once their checksum has been compared.
"""

import dataclasses
import os
import zlib
from collections.abc import Iterable, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

import h5py
import numpy as np

from dcase2018.features.half import as_single
from dcase2018.features.recipe import Recipe
from dcase2018.features.seal import FORMAT, SealError, read_seal
from dcase2018.foundation import (
    AnyPath,
    Dcase2018Error,
    InputError,
    Progress,
    differences,
    from_dict,
    scratch,
)

WRITER = f"dcase2018 {version('dcase2018')}"

# The mend where a file is no store. It may be somebody's own: nobody is told to remove it.
ANOTHER = "name the store that dcase2018 extract wrote, or extract the clips to another file"

NO_SAMPLES = "no samples"  # the problem of a clip that is empty, but not bad


@dataclasses.dataclass(frozen=True)
class Entry:
    """A row of the index: a clip, what its frames add up to, and the file they were made from."""

    fname: str
    length: int  # frames
    crc32: int  # of the frames' bytes
    size: int  # bytes of the source file
    mtime_ns: int  # when the source file was last changed
    problem: str = ""  # why the clip has no frames

    @property
    def key(self) -> tuple[str, int, int]:
        """What has to be the same for the frames to be those of a file."""
        return self.fname, self.size, self.mtime_ns

    @property
    def is_set_aside(self) -> bool:
        """Whether the clip could not be used; an empty one could."""
        return self.problem not in ("", NO_SAMPLES)


def checksum(frames: np.ndarray) -> int:
    """CRC-32 of a clip's frames, as the index keeps it."""
    return zlib.crc32(np.ascontiguousarray(frames).data)


def is_store(path: Path) -> bool:
    """Whether a file begins as a store does, sound or not."""
    try:
        return read_seal(path) != 0
    except SealError:
        return True


class Store:
    """A store, opened for reading. It can be pickled: each process maps the file anew.

    Attributes
    ----------
    recipe : Recipe
    fnames : list of str
    offsets, lengths : ndarray
        Where a clip's frames begin, and how many there are; int64, (clips,).
    crc32 : ndarray
        Checksum of each clip's frames, uint32, (clips,).

    Raises
    ------
    InputError
        If it is no store, or one of another format.
    OSError
        If it cannot be opened.
    """

    def __init__(self, path: AnyPath) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise InputError(f"{path} does not exist; dcase2018 extract makes it")
        self._check_seal()
        try:
            with h5py.File(path, "r", locking=False) as file:  # published whole: nobody writes it
                self._read(file)
        except Dcase2018Error:
            raise
        except Exception as error:  # of all kinds, where a store of format 1 is damaged
            if isinstance(error, OSError) and error.errno:
                raise  # the system's fault, not the file's
            reason = (str(error).strip("'\"").splitlines() or [type(error).__name__])[0]
            raise InputError(f"{path} is no whole feature store ({reason}); {ANOTHER}") from None
        self._check_index()
        self._sound = np.zeros(len(self), bool)  # the clips whose frames have been checked

    def _check_seal(self) -> None:
        """Refuse a file that is not as it was written, before HDF5 believes it."""
        try:
            self.format = read_seal(self.path)
        except SealError as error:
            raise InputError(
                f"{self.path} is a damaged feature store: {error}; remove it and run dcase2018 extract again"
            ) from None
        if not self.format:
            raise InputError(f"{self.path} is no feature store; {ANOTHER}")
        if self.format > FORMAT:
            raise self._of_another_format(self.format)

    def _of_another_format(self, found: object) -> InputError:
        return InputError(
            f"{self.path} is of store format {found}, this program reads 1 and {FORMAT};"
            " extract the clips to another file, or use the version that wrote it"
        )

    def _read(self, file: h5py.File) -> None:
        found = file.attrs.get("format")
        if found is None:
            raise ValueError("it names no store format")
        if found != self.format:
            raise self._of_another_format(found)
        self.writer = str(file.attrs["writer"])
        self.recipe = from_dict(Recipe, dict(file["recipe"].attrs))
        clips = file["clips"]
        self.fnames = [os.fsdecode(name) for name in clips["fname"][:]]
        self.problems = [text.decode() for text in clips["problem"][:]]
        self.offsets, self.lengths = clips["offset"][:], clips["length"][:]
        self.crc32 = clips["crc32"][:]
        self._sizes, self._mtimes = clips["size"][:], clips["mtime_ns"][:]
        block = file["frames"]
        self._shape, self._dtype = block.shape, block.dtype
        self._position = block.id.get_offset()

    def _check_index(self) -> None:
        columns = (self.problems, self.offsets, self.lengths, self.crc32, self._sizes, self._mtimes)
        ends = np.cumsum(self.lengths)
        if (
            any(len(column) != len(self) for column in columns)
            or (self.lengths < 0).any()
            or (self.offsets != ends - self.lengths).any()
            or self._shape != (self.lengths.sum(), self.recipe.width)
            or self._dtype != self.recipe.dtype
        ):
            raise InputError(f"{self.path} is damaged: its index does not fit its frames")

    def __len__(self) -> int:
        return len(self.fnames)

    def __getstate__(self) -> dict[str, object]:
        return {key: value for key, value in self.__dict__.items() if key != "frames"}

    @cached_property
    def frames(self) -> np.ndarray:
        """All frames, (all frames, recipe.width), read only.

        They are mapped into memory where they lie in one block, as `write_store` lays them. A store that
        was repacked in chunks, such as a compressed one, is read by h5py, slice by slice.
        """
        if self._position is not None:
            mapped = np.memmap(self.path, self._dtype, "r", self._position, self._shape)
            return mapped.view(np.ndarray)  # which is quicker at being cut
        if not self._shape[0]:
            return np.zeros(self._shape, self._dtype)
        return h5py.File(self.path, "r", locking=False)["frames"]

    def cut(self, starts: np.ndarray, counts: np.ndarray, n_frames: int) -> np.ndarray:
        """Cut frames out of the block: float32, (starts, n_frames, width).

        Each cut holds the `counts` frames, at most `n_frames`, from its start on; if there are fewer, they
        follow again and again.
        """
        frames = self.frames
        if isinstance(frames, np.ndarray):
            places = starts[:, None] + np.arange(n_frames) % counts[:, None]
            if frames.dtype == np.float32:
                return np.take(frames, places, axis=0)
            passing = scratch((*places.shape, self.recipe.width), frames.dtype)
            return as_single(np.take(frames, places, axis=0, out=passing, mode="clip"))
        cut = np.empty((len(starts), n_frames, self.recipe.width), np.float32)
        for i in np.argsort(starts):  # in the order of the file: chunks are unpacked once
            cut[i] = np.resize(frames[starts[i] : starts[i] + counts[i]], cut[i].shape)
        return cut

    @cached_property
    def rows(self) -> dict[str, int]:
        """Row of each clip's name."""
        return {fname: row for row, fname in enumerate(self.fnames)}

    def find(self, fnames: Iterable[str]) -> np.ndarray:
        """Rows of the clips of these names, int64.

        All work on clips begins here, so their frames are checked, each clip's once.

        Raises
        ------
        InputError
            If a clip is not in the store.
        Dcase2018Error
            If a clip is damaged.
        """
        fnames = list(fnames)
        missing = [fname for fname in fnames if fname not in self.rows]
        if missing:
            raise InputError(
                f"clip {missing[0]!r} {_and_others(missing)}not in {self.path};"
                " run dcase2018 extract on the folder that has all clips"
            )
        rows = np.array([self.rows[fname] for fname in fnames], np.int64)
        self._check(rows)
        return rows

    def clip(self, row: int) -> np.ndarray:
        """Frames of one clip, (length, recipe.width)."""
        return self.frames[self.offsets[row] : self.offsets[row] + self.lengths[row]]

    def entry(self, row: int) -> Entry:
        """Row of the index."""
        return Entry(
            self.fnames[row],
            int(self.lengths[row]),
            int(self.crc32[row]),
            int(self._sizes[row]),
            int(self._mtimes[row]),
            self.problems[row],
        )

    def is_sound(self, row: int) -> bool:
        """Whether a clip's frames still have the checksum that they were written with."""
        try:
            return checksum(self.clip(row)) == self.crc32[row]
        except OSError as error:
            if error.errno:
                raise  # the system's fault, not the file's
            return False  # a chunk that cannot be unpacked

    def verify(self) -> None:
        """Read everything and compare all checksums.

        Raises
        ------
        Dcase2018Error
            Naming the clips that are damaged.
        """
        self._check(np.arange(len(self)))

    def _check(self, rows: np.ndarray) -> None:
        """Compare the checksums of some clips, each once for as long as the store is open."""
        todo = np.unique(rows[~self._sound[rows]])
        with Progress("verify", len(todo), "clips", delay=2) as progress:
            for row in todo:
                self._sound[row] = self.is_sound(row)
                progress.update(1)
        damaged = [repr(self.fnames[row]) for row in todo if not self._sound[row]]
        if damaged:
            raise Dcase2018Error(
                f"{self.path} is damaged in {len(damaged)} of {len(todo)} clips: {', '.join(damaged)};"
                " run dcase2018 extract again to compute them anew"
            )

    def check_recipe(self, recipe: Recipe, owner: str) -> None:
        """Raise `InputError`, naming the keys that differ, unless the store was made by `recipe`."""
        differing = differences(self.recipe, recipe)
        if differing:
            raise InputError(f"{self.path} was not made by the recipe of {owner}: {'; '.join(differing)}")


def _and_others(names: Sequence[str]) -> str:
    return "is " if len(names) == 1 else f"and {len(names) - 1} more are "
