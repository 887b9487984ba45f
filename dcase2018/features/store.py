"""The feature store: the one place that knows HDF5. Its format is specified in features/README.md.

A store holds the frames of many clips back to back in one contiguous block, so that a window is one
slice and the block can be mapped into memory, and an index with one row a clip. It holds no labels. The
index is believed because its seal holds, a clip's frames once their checksum has been compared.
"""

import dataclasses
import io
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

import h5py
import numpy as np

from dcase2018.features.config import FeatureConfig
from dcase2018.utils.atomic import StrPath, atomic_path
from dcase2018.utils.buffers import reusable_buffer
from dcase2018.utils.config import diff, from_dict
from dcase2018.utils.errors import Dcase2018Error, InputError
from dcase2018.utils.progress import Progress

# A half has 5 bits of exponent and 10 of fraction, a single 8 and 23, and their exponents are biased by 15
# and 127. So a half's bits, moved up by 13 places behind the sign, are a single 2**112 times too small.
MOVE = 23 - 10
SIGN_AND_MOVED = np.int32(~0x7FFFFFFF | 0x0FFFE000)
SCALE = np.float32(2.0 ** (127 - 15))


def float16_to_float32(frames: np.ndarray) -> np.ndarray:
    """Finite float16 frames as float32: exact, subnormal numbers included."""
    bits = frames.view(np.int16).astype(np.int32)  # with the sign in all upper bits
    bits <<= MOVE
    bits &= SIGN_AND_MOVED
    single = bits.view(np.float32)
    single *= SCALE
    return single


BLOCK_BYTES = 512  # the least user block that HDF5 knows
MAGIC = b"DCASE18\n"
HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
FORMAT = 2

# Magic, format, CRC-32 of all that follows but the frames, and where the frames lie: first byte, bytes.
HEAD = struct.Struct("<8sIIQQ")
COVERED = 16  # first byte that the checksum covers

PIECE_BYTES = 1 << 20


class SealError(Exception):
    """The bytes of a store are not those that were sealed; the text is the reason."""


def write_seal(path: Path, position: int, n_bytes: int) -> None:
    """Seal a file whose first `BLOCK_BYTES` are kept free, and whose frames lie where it is said.

    Raises
    ------
    OSError
        If it cannot be written.
    """
    with path.open("r+b") as file:
        file.write(HEAD.pack(MAGIC, FORMAT, 0, position, n_bytes))
        file.flush()
        crc32 = _checksum(file, position, n_bytes)
        file.seek(0)
        file.write(HEAD.pack(MAGIC, FORMAT, crc32, position, n_bytes))


def read_seal(path: Path) -> int:
    """Check the seal of a store and tell its format: 1 for an HDF5 file without a seal, 0 for no store.

    Raises
    ------
    SealError
        If the bytes are not those that were sealed. What a newer format seals is not checked.
    OSError
        If it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(HEAD.size)
        if head[:8] == HDF5_MAGIC:
            return 1
        if head[:8] != MAGIC:
            return 0
        if len(head) < HEAD.size:
            raise SealError("it is cut off")
        _, form, crc32, position, n_bytes = HEAD.unpack(head)
        if form <= FORMAT and _checksum(file, position, n_bytes) != crc32:
            raise SealError("the checksum of its index does not hold")
        return int(form)


def _checksum(file: BinaryIO, position: int, n_bytes: int) -> int:
    """CRC-32 of a file from `COVERED` on, its frames left out."""
    size = file.seek(0, 2)
    first = min(position, size)
    crc32 = 0
    for start, stop in ((COVERED, first), (min(first + n_bytes, size), size)):
        file.seek(start)
        for piece in _pieces(file, stop - start):
            crc32 = zlib.crc32(piece, crc32)
    return crc32


def _pieces(file: BinaryIO, left: int) -> Iterator[bytes]:
    """Read so many bytes, or what there is of them, with bounded memory."""
    while left > 0 and (piece := file.read(min(left, PIECE_BYTES))):
        yield piece
        left -= len(piece)


WRITER = f"dcase2018 {version('dcase2018')}"

# The mend where a file is no store. It may be somebody's own: nobody is told to remove it.
ANOTHER = "name the store that dcase2018 extract wrote, or extract the clips to another file"

EMPTY = "no samples"  # the problem of a clip that is empty, but not bad


@dataclasses.dataclass(frozen=True)
class ClipRecord:
    """A row of the index: a clip, what its frames add up to, and the file they were made from."""

    fname: str
    length: int  # frames
    crc32: int  # of the frames' bytes
    size: int  # bytes of the source file
    mtime_ns: int  # when the source file was last changed
    error: str = ""  # why the clip has no frames

    @property
    def key(self) -> tuple[str, int, int]:
        """What has to be the same for the frames to be those of a file."""
        return self.fname, self.size, self.mtime_ns

    @property
    def is_failed(self) -> bool:
        """Whether the clip could not be used; an empty one could."""
        return self.error not in ("", EMPTY)


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
    feature_config : FeatureConfig
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

    def __init__(self, path: StrPath) -> None:
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
        self.feature_config = from_dict(FeatureConfig, dict(file["feature_config"].attrs))
        clips = file["clips"]
        self.fnames = [os.fsdecode(name) for name in clips["fname"][:]]
        self.errors = [text.decode() for text in clips["error"][:]]
        self.offsets, self.lengths = clips["offset"][:], clips["length"][:]
        self.crc32 = clips["crc32"][:]
        self._sizes, self._mtimes = clips["size"][:], clips["mtime_ns"][:]
        block = file["frames"]
        self._shape, self._dtype = block.shape, block.dtype
        self._position = block.id.get_offset()

    def _check_index(self) -> None:
        columns = (self.errors, self.offsets, self.lengths, self.crc32, self._sizes, self._mtimes)
        ends = np.cumsum(self.lengths)
        if (
            any(len(column) != len(self) for column in columns)
            or (self.lengths < 0).any()
            or (self.offsets != ends - self.lengths).any()
            or self._shape != (self.lengths.sum(), self.feature_config.n_features)
            or self._dtype != self.feature_config.storage_dtype
        ):
            raise InputError(f"{self.path} is damaged: its index does not fit its frames")

    def __len__(self) -> int:
        return len(self.fnames)

    def __getstate__(self) -> dict[str, object]:
        return {key: value for key, value in self.__dict__.items() if key != "frames"}

    @cached_property
    def frames(self) -> np.ndarray:
        """All frames, (all frames, feature_config.n_features), read only.

        They are mapped into memory where they lie in one block, as `write_store` lays them. A store that
        was repacked in chunks, such as a compressed one, is read by h5py, slice by slice.
        """
        if self._position is not None:
            mapped = np.memmap(self.path, self._dtype, "r", self._position, self._shape)
            return mapped.view(np.ndarray)  # which is quicker at being cut
        if not self._shape[0]:
            return np.zeros(self._shape, self._dtype)
        return h5py.File(self.path, "r", locking=False)["frames"]

    def gather_windows(self, starts: np.ndarray, counts: np.ndarray, n_frames: int) -> np.ndarray:
        """Cut frames out of the block: float32, (starts, n_frames, width).

        Each cut holds the `counts` frames, at most `n_frames`, from its start on; if there are fewer, they
        follow again and again.
        """
        frames = self.frames
        if isinstance(frames, np.ndarray):
            places = starts[:, None] + np.arange(n_frames) % counts[:, None]
            if frames.dtype == np.float32:
                return np.take(frames, places, axis=0)
            passing = reusable_buffer((*places.shape, self.feature_config.n_features), frames.dtype)
            return float16_to_float32(np.take(frames, places, axis=0, out=passing, mode="clip"))
        cut = np.empty((len(starts), n_frames, self.feature_config.n_features), np.float32)
        for i in np.argsort(starts):  # in the order of the file: chunks are unpacked once
            cut[i] = np.resize(frames[starts[i] : starts[i] + counts[i]], cut[i].shape)
        return cut

    @cached_property
    def rows(self) -> dict[str, int]:
        """Row of each clip's name."""
        return {fname: row for row, fname in enumerate(self.fnames)}

    def rows_of(self, fnames: Iterable[str]) -> np.ndarray:
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

    def frames_of(self, row: int) -> np.ndarray:
        """Frames of one clip, (length, feature_config.n_features)."""
        return self.frames[self.offsets[row] : self.offsets[row] + self.lengths[row]]

    def entry(self, row: int) -> ClipRecord:
        """Row of the index."""
        return ClipRecord(
            self.fnames[row],
            int(self.lengths[row]),
            int(self.crc32[row]),
            int(self._sizes[row]),
            int(self._mtimes[row]),
            self.errors[row],
        )

    def checksum_ok(self, row: int) -> bool:
        """Whether a clip's frames still have the checksum that they were written with."""
        try:
            return checksum(self.frames_of(row)) == self.crc32[row]
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
                self._sound[row] = self.checksum_ok(row)
                progress.update(1)
        damaged = [repr(self.fnames[row]) for row in todo if not self._sound[row]]
        if damaged:
            raise Dcase2018Error(
                f"{self.path} is damaged in {len(damaged)} of {len(todo)} clips: {', '.join(damaged)};"
                " run dcase2018 extract again to compute them anew"
            )

    def check_config(self, feature_config: FeatureConfig, owner: str) -> None:
        """Raise `InputError`, naming the keys that differ, unless the store was made by `feature_config`."""
        differing = diff(self.feature_config, feature_config)
        if differing:
            raise InputError(
                f"{self.path} was not made by the feature_config of {owner}: {'; '.join(differing)}"
            )


def _and_others(names: Sequence[str]) -> str:
    return "is " if len(names) == 1 else f"and {len(names) - 1} more are "


def write_store(
    path: Path,
    feature_config: FeatureConfig,
    entries: Sequence[ClipRecord],
    frames: Iterable[np.ndarray],
    fsync: bool = True,
) -> None:
    """Write a store and publish it whole.

    Parameters
    ----------
    frames
        The frames of each entry in turn: (entry.length, feature_config.n_features), of the feature_config's dtype.
    durable
        Whether it has to outlive a power cut; if not, `Store.checksum_ok` tells afterwards.

    Raises
    ------
    OSError
        If it cannot be written; a store that stood at `path` is then untouched.
    """
    lengths = np.array([entry.length for entry in entries], np.int64)
    with atomic_path(path, fsync) as partial:
        with (
            DeferredErrorFile(partial, "w+") as disk,
            h5py.File(disk, "w", userblock_size=BLOCK_BYTES) as file,
        ):
            file.attrs["format"] = FORMAT
            file.attrs["writer"] = WRITER
            file.create_group("feature_config").attrs.update(dataclasses.asdict(feature_config))
            _write_index(file.create_group("clips"), entries, lengths)
            block = file.create_dataset(
                "frames", (lengths.sum(), feature_config.n_features), feature_config.storage_dtype
            )
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
        if fsync:
            Store(partial)  # what was written can be read


class DeferredErrorFile(io.FileIO):
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


def _write_index(group: h5py.Group, entries: Sequence[ClipRecord], lengths: np.ndarray) -> None:
    text = h5py.string_dtype("utf-8")
    columns = {
        "fname": np.array([os.fsencode(entry.fname) for entry in entries], object),
        "error": np.array([entry.error for entry in entries], object),
    }
    for name, values in columns.items():
        group.create_dataset(name, data=values, dtype=text)
    group["offset"] = np.cumsum(lengths) - lengths
    group["length"] = lengths
    group["crc32"] = np.array([entry.crc32 for entry in entries], np.uint32)
    group["size"] = np.array([entry.size for entry in entries], np.int64)
    group["mtime_ns"] = np.array([entry.mtime_ns for entry in entries], np.int64)
