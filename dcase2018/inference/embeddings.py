"""Embeddings: what a network makes of examples before it classifies them.

They are for those who compare sounds, look at a collection, or train something small of their own. The
embedding of a clip is the mean of its windows'.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from dcase2018.batching.windows import AllWindows, iter_batches, sliding_windows
from dcase2018.data.audio import AudioReader, AudioReadError, describe_error
from dcase2018.data.files import AudioFile
from dcase2018.features.frontend import FrontEnd
from dcase2018.features.store import Store
from dcase2018.features.store_writer import DeferredErrorFile
from dcase2018.inference.audio_tagger import INFERENCE_BATCH, FailedFile, Hearing
from dcase2018.inference.output_formats import quoted
from dcase2018.runs.run import Run
from dcase2018.utils.atomic import atomic_path, ensure_writable, open_atomic
from dcase2018.utils.errors import Dcase2018Error, InputError
from dcase2018.utils.progress import Progress
from dcase2018.utils.signals import sigterm_as_exception

# Given a recording's name, when each of its windows begins (or None), and the features, (rows, features).
Add = Callable[[str, np.ndarray | None, np.ndarray], None]

CHUNK_BYTES = 1 << 18  # less than HDF5 keeps in memory, so that a chunk is written once


@contextmanager
def open_embedding_writer(path: Path, width: int, timed: bool) -> Iterator[Add]:
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
        with open_atomic(path) as file:
            names = ["fname", *(["start"] if timed else []), *(f"f{number}" for number in range(width))]
            file.write(",".join(names) + "\n")
            yield lambda *added: file.writelines(_lines(*added))
        return
    ensure_writable(path.parent)
    with atomic_path(path) as partial:
        with DeferredErrorFile(partial, "w+") as disk, h5py.File(disk, "w") as store:
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


def read_embeddings(path: Path) -> pd.DataFrame:
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


log = logging.getLogger(__name__)

BatchLoader = Iterator[tuple[np.ndarray, np.ndarray]]  # first frames of examples, and the examples


class Embedder:
    """A run's network without its classifier, and how it hears.

    Raises
    ------
    InputError
        If the run has no such network, or it is no Keras model of plain layers.
    """

    def __init__(self, run: Run, checkpoint: int | str | None = None) -> None:
        from dcase2018.models.architectures import embedding_model  # imports Keras

        self.run, self.hearing = run, Hearing.of(run)
        self.front_end = FrontEnd(run.feature_config)
        self.network = embedding_model(run.load_checkpoint(run.model_file(checkpoint)))

    @property
    def width(self) -> int:
        """Numbers in an embedding."""
        return int(self.network.output_shape[-1])

    def of_file(self, path: Path) -> tuple[np.ndarray, np.ndarray]:
        """Embed the windows of a file as a clip: starts in seconds, (windows,), and (windows, width)."""
        how = self.hearing
        with AudioReader(path, how.feature_config.sample_rate) as clip:
            pieces = self.front_end.iter_frames(clip)
            return self._of(
                sliding_windows(
                    pieces, how.feature_config, how.window, how.hop, how.pad_mode, INFERENCE_BATCH
                )
            )

    def of_row(self, store: Store, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Embed the windows of a clip of a store, as `of_file` does."""
        how = self.hearing
        windows = AllWindows(store, np.array([row]), how.window, how.hop, how.pad_mode)
        starts = np.arange(len(windows)) * how.hop
        batches = (examples for examples, _ in iter_batches(windows, INFERENCE_BATCH))
        return self._of(
            (starts[number * INFERENCE_BATCH :][: len(examples)], examples)
            for number, examples in enumerate(batches)
        )

    def _of(self, batches: BatchLoader) -> tuple[np.ndarray, np.ndarray]:
        starts, features = [np.zeros(0, np.int64)], [np.zeros((0, self.width), np.float32)]
        for some, examples in batches:
            starts.append(some)
            features.append(self.network.predict_on_batch(examples))
            if not np.isfinite(features[-1]).all():
                raise Dcase2018Error(f"the network of {self.run.path} gives features that are not finite")
        return np.concatenate(starts) * self.hearing.hop_seconds, np.concatenate(features)


def embed(
    embedder: Embedder, clips: Store | Sequence[AudioFile], path: Path, per_window: bool
) -> list[FailedFile]:
    """Write the embeddings of clips, telling the progress.

    Parameters
    ----------
    clips
        All clips of a store, in its order; or audio files.
    path
        .csv, .h5 or .hdf5 (see `vectors`).
    per_window
        A row a window; otherwise a row a clip. Clips without frames have none.

    Returns
    -------
    list of FailedFile
        Files that cannot be used.

    Raises
    ------
    InputError
        If the store is of another feature_config, or none of the files can be used.
    Dcase2018Error
        If the network gives features that are not finite, a clip of the store is damaged, or SIGTERM came.
    OSError
        If it cannot be written.
    """
    set_aside: list[FailedFile] = []
    with sigterm_as_exception(), open_embedding_writer(path, embedder.width, per_window) as add:
        with Progress("embed", len(clips), "clips") as progress:
            for fname, result in _each(embedder, clips):
                progress.update(1)
                if isinstance(result, FailedFile):
                    set_aside.append(result)
                    continue
                starts, features = result
                if not len(features):
                    log.warning("%s has no frames, and gets no row", fname)
                elif per_window:
                    add(fname, starts, features)
                else:
                    add(fname, None, features.mean(axis=0, dtype=float, keepdims=True))
        if set_aside and len(set_aside) == len(clips):
            raise InputError(f"no recording can be used, such as {set_aside[0]}")
    return set_aside


def _each(
    embedder: Embedder, clips: Store | Sequence[AudioFile]
) -> Iterator[tuple[str, FailedFile | tuple[np.ndarray, np.ndarray]]]:
    if isinstance(clips, Store):
        clips.check_config(embedder.run.feature_config, f"the run {embedder.run.path}")
        for fname, row in zip(clips.fnames, clips.rows_of(clips.fnames), strict=True):
            yield fname, embedder.of_row(clips, row)
        return
    for source in clips:
        try:
            yield source.fname, embedder.of_file(source.path)
        except (AudioReadError, OSError) as error:
            yield source.fname, FailedFile(source, describe_error(error))
