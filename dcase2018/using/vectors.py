"""Embeddings as a file, HDF5 or CSV by its suffix: written as they come, whole or not at all, and read.

HDF5 has `fname`, the names of the recordings, and a row an embedding in `features` (float32), `clip` (the
place of its recording in `fname`) and, if it is that of a window, `start` (in seconds). A row of the CSV is
`fname`, `start` for a window, and the numbers of the features, `f0`, `f1` and so on.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from dcase2018.features import Disk
from dcase2018.foundation import InputError, ensure_writable, published, published_text
from dcase2018.using.formats import quoted

# Given a recording's name, when each of its windows begins (or None), and the features, (rows, features).
Add = Callable[[str, np.ndarray | None, np.ndarray], None]

CHUNK_BYTES = 1 << 18  # less than HDF5 keeps in memory, so that a chunk is written once


@contextmanager
def published_vectors(path: Path, width: int, timed: bool) -> Iterator[Add]:
    """Yield what adds the embeddings of a recording to a file, which is published on leaving.

    Parameters
    ----------
    width
        Numbers in an embedding.
    timed
        Whether it is of a window, with a start.

    Raises
    ------
    OSError
        If it cannot be written; `path` is then what it was.
    """
    if path.suffix == ".csv":
        with published_text(path) as file:
            names = ["fname", *(["start"] if timed else []), *(f"f{number}" for number in range(width))]
            file.write(",".join(names) + "\n")
            yield lambda *added: file.writelines(_lines(*added))
        return
    ensure_writable(path.parent)
    with published(path) as partial:
        with Disk(partial, "w+") as disk, h5py.File(disk, "w") as store:
            columns = _columns(store, width, timed)
            fnames: list[bytes] = []

            def add(fname: str, starts: np.ndarray | None, features: np.ndarray) -> None:
                for name, values in (("features", features), ("clip", len(fnames)), ("start", starts)):
                    if name in columns:
                        columns[name].resize(len(columns[name]) + len(features), axis=0)
                        columns[name][len(columns[name]) - len(features) :] = values
                fnames.append(os.fsencode(fname))
                disk.check()

            yield add
            store.create_dataset("fname", data=np.array(fnames, object), dtype=h5py.string_dtype("utf-8"))
        disk.check()


def _columns(store: h5py.File, width: int, timed: bool) -> dict[str, h5py.Dataset]:
    shapes = {"features": ("float32", (width,)), "clip": ("int64", ())}
    if timed:
        shapes["start"] = ("float64", ())
    rows = max(1, CHUNK_BYTES // (4 * width))
    return {
        name: store.create_dataset(name, (0, *shape), dtype, maxshape=(None, *shape), chunks=(rows, *shape))
        for name, (dtype, shape) in shapes.items()
    }


def _lines(fname: str, starts: np.ndarray | None, features: np.ndarray) -> Iterator[str]:
    first = quoted(fname)
    for number, row in enumerate(features):
        start = [] if starts is None else [f"{starts[number]:.3f}"]
        yield ",".join([first, *start, *map(str, row)]) + "\n"


def read_vectors(path: Path) -> pd.DataFrame:
    """Read a file of embeddings: a row a recording, the mean of its windows, indexed by fname.

    Raises
    ------
    InputError
        If it is no such file, or is damaged.
    """
    try:
        fnames, features = _read_csv(path) if path.suffix == ".csv" else _read_hdf5(path)
    except (ValueError, KeyError, IndexError, TypeError, OSError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno:
            raise  # the system's fault, not the file's
        reason = (str(error).strip("'\"").splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path} has no embeddings ({reason}); dcase2018 embed writes them") from None
    if not len(features) or not np.isfinite(features).all():
        raise InputError(
            f"{path} has {'embeddings that are not finite' if len(features) else 'no embedding'}"
        )
    return pd.DataFrame(features).groupby(np.asarray(fnames, object)).mean()


def _read_csv(path: Path) -> tuple[list[str], np.ndarray]:
    """Name of the recording of each row, and its embedding."""
    table = pd.read_csv(path, dtype={"fname": str}, keep_default_na=False)
    columns = [name for name in table if name not in ("fname", "start")]
    if columns != [f"f{number}" for number in range(max(1, len(columns)))]:
        raise ValueError("its columns are not fname, perhaps start, f0, f1 and so on")
    return list(table["fname"]), table[columns].to_numpy(float)


def _read_hdf5(path: Path) -> tuple[list[str], np.ndarray]:
    """Name of the recording of each row, and its embedding."""
    with h5py.File(path, "r", locking=False) as file:
        fnames = [os.fsdecode(name) for name in file["fname"][:]]
        clips, features = file["clip"][:].astype(int), file["features"][:].astype(float)
    if features.ndim != 2 or clips.shape != features.shape[:1] or (clips < 0).any():
        raise ValueError("features and clip do not fit")
    return [fnames[clip] for clip in clips], features
