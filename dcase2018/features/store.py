"""Reader of the feature store, one HDF5 file. features/README.md specifies its format.

A store holds the frames of many clips back to back in one contiguous dataset, which can be memory-mapped,
and an index with one row per clip. It holds no labels. HDF5's own checksums protect the structure, one
CRC-32 the index and the feature config, and one CRC-32 per clip the frames.
"""

import dataclasses
import math
import os
import zlib
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path

import h5py
import numpy as np

from dcase2018.data.clip_names import describe_missing, normalize_fname
from dcase2018.features.config import FeatureConfig
from dcase2018.utils.atomic import StrPath
from dcase2018.utils.buffers import reusable_buffer
from dcase2018.utils.config import diff, from_dict
from dcase2018.utils.errors import Dcase2018Error, InputError
from dcase2018.utils.progress import Progress

FORMAT = 3
EMPTY = "no samples"  # the `error` of a clip without samples, which is valid
CONFIG = "feature_config/"
COLUMNS = ("fname", "offset", "length", "is_silent", "crc32", "size", "mtime_ns", "error")

HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
SUPERBLOCK_VERSION = 3  # of HDF5 1.10, the byte after the signature

# float16 has 5 bits of exponent, with a bias of 15, and 10 bits of fraction; float32 has 8 bits, with a bias
# of 127, and 23 bits. A shift by 13 below the sign and the other bias convert all numbers but zero and
# subnormal ones.
FLOAT16_SHIFT = 23 - 10
FLOAT16_MASK = np.int32(~0x7FFFFFFF | 0x0FFFE000)  # the sign and the shifted bits
FLOAT16_BIAS = np.int32((127 - 15) << 23)
FLOAT16_EXPONENT = np.int16(0x7C00)  # 0 in zero and subnormal numbers


def float16_to_float32(frames: np.ndarray) -> np.ndarray:
    """Convert finite float16 frames to float32, exactly, including subnormal numbers.

    Only integers are computed with, because TensorFlow's threads replace subnormal float32 numbers by 0.
    """
    halves = frames.view(np.int16)
    bits = halves.astype(np.int32)  # repeats the sign in all upper bits
    bits <<= FLOAT16_SHIFT
    bits &= FLOAT16_MASK
    bits += FLOAT16_BIAS
    values = bits.view(np.float32)
    small = np.flatnonzero((halves & FLOAT16_EXPONENT) == 0)
    values.reshape(-1)[small] = frames.reshape(-1)[small]
    return values


@dataclasses.dataclass(frozen=True)
class ClipRecord:
    """One row of the index: a clip, the checksum of its frames, and its source file."""

    fname: str
    length: int  # frames
    crc32: int  # of the frames' bytes
    size: int  # bytes of the source file
    mtime_ns: int  # modification time of the source file
    error: str = ""  # why the clip has no frames, or a warning about the frames that it has
    is_silent: bool = False  # an empty clip is silent, a failed one is not

    @property
    def key(self) -> tuple[str, int, int]:
        """Name, size and modification time of the source file, which identify its content."""
        return self.fname, self.size, self.mtime_ns

    @property
    def is_failed(self) -> bool:
        """Whether the clip could not be read. An empty clip is not failed."""
        return not self.length and self.error not in ("", EMPTY)

    @property
    def warning(self) -> str:
        """What is wrong with the source file although the clip has frames, or ""."""
        return self.error if self.length else ""


def checksum(frames: np.ndarray) -> int:
    """Compute the CRC-32 of a clip's frames."""
    return zlib.crc32(np.ascontiguousarray(frames).data)


def is_store(path: Path) -> bool:
    """Whether a file is an HDF5 file, valid or not, and therefore no audio file."""
    with path.open("rb") as file:
        return file.read(len(HDF5_SIGNATURE)) == HDF5_SIGNATURE


class Store:
    """Open a feature store for reading. A store can be pickled; each process maps the file itself.

    Parameters
    ----------
    path
        A file written by `extract`.

    Attributes
    ----------
    feature_config : FeatureConfig
    created_by : str
        Program and version that wrote the store.
    fnames, errors : list of str
        Name of each clip, and why it has no frames, or a warning about its frames, or "".
    offsets, lengths : ndarray
        First frame and number of frames of each clip; int64, (n_clips,).
    is_silent : ndarray
        Whether each clip is silent throughout (see `features.levels`); bool, (n_clips,).
    crc32 : ndarray
        Checksum of each clip's frames; uint32, (n_clips,).

    Raises
    ------
    InputError
        If the file is not a store of this format, or its structure, index or feature config is damaged.
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> store = Store("features/train.h5")  # doctest: +SKIP
    >>> store.frames_of(store.rows["00044347.wav"]).shape  # doctest: +SKIP
    (1398, 64)
    """

    def __init__(self, path: StrPath) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise InputError(f"{path} does not exist; dcase2018 extract writes it")
        self._check_signature()
        try:
            with h5py.File(path, "r", locking=False) as file:  # no process writes to a complete store
                self._read(file)
        except Dcase2018Error:
            raise
        except Exception as error:  # h5py raises many types for a damaged file
            if isinstance(error, OSError) and error.errno:
                raise  # the system failed to read the file
            reason = (str(error).strip("'\"").splitlines() or [type(error).__name__])[0]
            raise InputError(
                f"{path} is not a feature store, or is damaged ({reason}); name a store that"
                " dcase2018 extract wrote, or run dcase2018 extract again to another file"
            ) from None
        self._check_index()
        self._verified = np.zeros(len(self), bool)  # clips whose frames have the right checksum

    def _check_signature(self) -> None:
        """Reject other files before HDF5 opens them: older HDF5 versions have no checksums."""
        with self.path.open("rb") as file:
            if file.read(len(HDF5_SIGNATURE) + 1) != HDF5_SIGNATURE + bytes([SUPERBLOCK_VERSION]):
                raise InputError(
                    f"{self.path} is not a feature store of format {FORMAT}; name one,"
                    " or run dcase2018 extract again to another file"
                )

    def _read(self, file: h5py.File) -> None:
        if "format" not in file.attrs:
            raise ValueError("it has no attribute `format`")
        if file.attrs["format"] != FORMAT:
            raise InputError(
                f"{self.path} has store format {file.attrs['format']}, and this version of dcase2018 reads"
                f" format {FORMAT}; run dcase2018 extract again to another file, or use that version"
            )
        frames = file["frames"]
        self._shape, self._dtype = frames.shape, frames.dtype
        position = frames.id.get_offset()  # in the file; None if the dataset is chunked or empty
        is_aligned = position is not None and position % self._dtype.alignment == 0
        self._position = position if is_aligned else None
        items = _read_items(file)
        if checksum_items(items, self._dtype, self._shape) != file.attrs["crc32"]:
            raise self._damaged("its index has the wrong checksum")
        self.created_by = items["created_by"].item().decode()
        self.feature_config = from_dict(
            FeatureConfig,
            {
                name.removeprefix(CONFIG): os.fsdecode(value.item())
                if value.dtype.kind == "S"
                else value.item()
                for name, value in items.items()
                if name.startswith(CONFIG)
            },
        )
        self.fnames = [os.fsdecode(name) for name in items["clips/fname"]]
        self.errors = [os.fsdecode(text) for text in items["clips/error"]]
        self.offsets, self.lengths = items["clips/offset"], items["clips/length"]
        self.is_silent = items["clips/is_silent"].astype(bool)
        self.crc32 = items["clips/crc32"]
        self._sizes, self._mtimes = items["clips/size"], items["clips/mtime_ns"]

    def _check_index(self) -> None:
        """Check that the index describes the frames, as another program may have written both."""
        columns = (
            self.errors,
            self.offsets,
            self.lengths,
            self.is_silent,
            self.crc32,
            self._sizes,
            self._mtimes,
        )
        ends = np.cumsum(self.lengths)
        if (
            any(len(column) != len(self) for column in columns)
            or (self.lengths < 0).any()
            or (self.offsets != ends - self.lengths).any()
            or self._shape != (self.lengths.sum(), self.feature_config.n_features)
            or self._dtype != self.feature_config.storage_dtype
            or self._end > self.path.stat().st_size
        ):
            raise self._damaged("its index does not match its frames")

    def _damaged(self, reason: str) -> InputError:
        return InputError(f"{self.path} is damaged: {reason}; remove it and run dcase2018 extract again")

    @property
    def _end(self) -> int:
        """File position after mappable `frames`; 0 if they are not mappable."""
        return 0 if self._position is None else self._position + math.prod(self._shape) * self._dtype.itemsize

    def __len__(self) -> int:
        return len(self.fnames)

    def __repr__(self) -> str:
        return f"<Store {self.path}: {len(self)} clips, {self.feature_config.n_features} values per frame>"

    def __getstate__(self) -> dict[str, object]:
        return {key: value for key, value in self.__dict__.items() if key != "frames"}

    @cached_property
    def frames(self) -> np.ndarray:
        """All frames, (n_frames, feature_config.n_features), read-only.

        A contiguous and aligned dataset is memory-mapped. Another one, such as that of a compressed store,
        is an `h5py.Dataset`, which reads slice by slice.
        """
        if self._position is not None:
            mapped = np.memmap(self.path, self._dtype, "r", self._position, self._shape)
            return mapped.view(np.ndarray)  # slices faster than a memmap
        if not self._shape[0]:
            return np.zeros(self._shape, self._dtype)
        return h5py.File(self.path, "r", locking=False)["frames"]

    def gather_windows(self, starts: np.ndarray, counts: np.ndarray, n_frames: int) -> np.ndarray:
        """Gather windows of frames, repeating the frames of a window that has too few.

        Parameters
        ----------
        starts
            First frame of each window; integers, (n_windows,).
        counts
            Number of frames to read for each window, at most `n_frames`; integers, (n_windows,).
        n_frames
            Length of a window.

        Returns
        -------
        ndarray
            float32, (n_windows, n_frames, n_features).
        """
        frames = self.frames
        if isinstance(frames, np.ndarray):
            rows = starts[:, None] + np.arange(n_frames) % counts[:, None]
            if frames.dtype == np.float32:
                return np.take(frames, rows, axis=0)
            buffer = reusable_buffer((*rows.shape, self.feature_config.n_features), frames.dtype)
            return float16_to_float32(np.take(frames, rows, axis=0, out=buffer, mode="clip"))
        windows = np.empty((len(starts), n_frames, self.feature_config.n_features), np.float32)
        for i in np.argsort(starts):  # in file order, so that each chunk is decompressed once
            windows[i] = np.resize(frames[starts[i] : starts[i] + counts[i]], windows[i].shape)
        return windows

    @cached_property
    def rows(self) -> dict[str, int]:
        """Index row of each clip name, in Unicode form NFC and with `/`."""
        return {normalize_fname(fname): row for row, fname in enumerate(self.fnames)}

    def rows_of(self, fnames: Iterable[str]) -> np.ndarray:
        """Look up clips and verify the checksums of their frames, once per clip and open store.

        Returns
        -------
        ndarray
            Index row of each name, int64.

        Raises
        ------
        InputError
            If a clip is not in the store.
        Dcase2018Error
            If a clip is damaged.
        """
        fnames = [normalize_fname(fname) for fname in fnames]
        missing = [fname for fname in fnames if fname not in self.rows]
        if missing:
            raise InputError(
                f"{len(missing)} of {len(fnames)} clips are not in {self.path}:"
                f" {describe_missing(missing, self.rows)}; correct the names,"
                " or run dcase2018 extract on the folder that has all clips"
            )
        rows = np.array([self.rows[fname] for fname in fnames], np.int64)
        self._verify(rows)
        return rows

    def frames_of(self, row: int) -> np.ndarray:
        """Return the frames of one clip, (length, feature_config.n_features)."""
        return self.frames[self.offsets[row] : self.offsets[row] + self.lengths[row]]

    def record(self, row: int) -> ClipRecord:
        """Return one row of the index."""
        return ClipRecord(
            self.fnames[row],
            int(self.lengths[row]),
            int(self.crc32[row]),
            int(self._sizes[row]),
            int(self._mtimes[row]),
            self.errors[row],
            bool(self.is_silent[row]),
        )

    def checksum_ok(self, row: int) -> bool:
        """Whether a clip's frames have the checksum of the index."""
        try:
            return checksum(self.frames_of(row)) == self.crc32[row]
        except OSError as error:
            if error.errno:
                raise  # the system failed to read the file
            return False  # a chunk that cannot be decompressed

    def verify(self) -> None:
        """Verify the checksums of all clips.

        Raises
        ------
        Dcase2018Error
            If clips are damaged. The message names them.
        """
        self._verify(np.arange(len(self)))

    def _verify(self, rows: np.ndarray) -> None:
        unverified = np.unique(rows[~self._verified[rows]])
        with Progress("verify", len(unverified), "clips", delay=2) as progress:
            for row in unverified:
                self._verified[row] = self.checksum_ok(row)
                progress.update(1)
        damaged = [repr(self.fnames[row]) for row in unverified if not self._verified[row]]
        if damaged:
            raise Dcase2018Error(
                f"{self.path} is damaged in {len(damaged)} of {len(unverified)} clips: {', '.join(damaged)};"
                " run dcase2018 extract again to replace them"
            )

    def check_config(self, feature_config: FeatureConfig, expected_by: str) -> None:
        """Raise `InputError`, which names the fields that differ, unless the store has `feature_config`."""
        differences = diff(self.feature_config, feature_config)
        if differences:
            raise InputError(
                f"{self.path} has another feature config than {expected_by}: {'; '.join(differences)}"
            )


def _read_items(file: h5py.File) -> dict[str, np.ndarray]:
    """Read the arrays that the index checksum covers, by their path in the file."""
    config = file["feature_config"].attrs
    return {
        **{name: np.asarray(file.attrs[name]) for name in ("format", "created_by")},
        **{CONFIG + key: np.asarray(config[key]) for key in config},
        **{f"clips/{name}": file["clips"][name][:] for name in COLUMNS},
    }


def checksum_items(items: Mapping[str, np.ndarray], dtype: np.dtype, shape: tuple[int, ...]) -> int:
    """Compute the CRC-32 of the index: names, dtypes, shapes and bytes of `items`, and the frames' type."""
    crc32 = zlib.crc32(f"frames {dtype.str} {tuple(map(int, shape))}\n".encode())
    for name in sorted(items):
        value = items[name]
        crc32 = zlib.crc32(f"{name} {value.dtype.str} {value.shape}\n".encode() + value.tobytes(), crc32)
    return crc32
