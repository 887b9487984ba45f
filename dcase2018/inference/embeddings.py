"""Embeddings: outputs of the layer before the classifier, for windows and clips.

They serve to compare clips, to explore a collection, or to train a small classifier. The embedding of a clip
is the mean over its windows.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from dcase2018.data.audio import AudioReader
from dcase2018.data.audio_errors import AudioReadError, describe_error
from dcase2018.data.files import AudioFile, list_recordings
from dcase2018.features.frontend import FrontEnd
from dcase2018.features.store import Store
from dcase2018.features.store_writer import DeferredErrorFile
from dcase2018.inference.audio_tagger import AUDIO_BATCH, FailedFile, audio_windows
from dcase2018.inference.batch_tagging import check_any_usable
from dcase2018.inference.output_formats import csv_quote
from dcase2018.inference.predictor import Predictor, store_windows
from dcase2018.runs.run import Run
from dcase2018.utils.atomic import StrPath, atomic_path, ensure_writable, open_atomic
from dcase2018.utils.errors import InputError
from dcase2018.utils.input_files import as_paths, require_regular_file
from dcase2018.utils.progress import Progress
from dcase2018.utils.signals import sigterm_as_exception

log = logging.getLogger(__name__)

Embedding = tuple[
    np.ndarray, np.ndarray
]  # start of each window in seconds, (windows,); (windows, n_features)
AddRows = Callable[[str, np.ndarray | None, np.ndarray], None]  # fname, starts, features (rows, n_features)

LEVELS = ("window", "clip")
SUFFIXES = (".h5", ".hdf5", ".csv")

CHUNK_BYTES = 1 << 18  # fits the chunk cache of HDF5, so that a chunk is written once


@contextmanager
def open_embedding_writer(path: Path, n_features: int, with_starts: bool) -> Iterator[AddRows]:
    """Yield a function that adds the embeddings of a recording to a file, which is written atomically.

    Parameters
    ----------
    path
        File ending in .csv, .h5 or .hdf5.
    n_features
        Length of an embedding.
    with_starts
        Whether embeddings are of windows, and have a start time.

    Raises
    ------
    OSError
        If the file cannot be written; `path` is then unchanged.
    """
    if path.suffix == ".csv":
        with open_atomic(path) as stream:
            names = ["fname", *(["start"] if with_starts else []), *(f"f{i}" for i in range(n_features))]
            stream.write(",".join(names) + "\n")
            yield lambda *rows: stream.writelines(_csv_rows(*rows))
        return
    ensure_writable(path.parent)
    with atomic_path(path) as partial:
        with DeferredErrorFile(partial, "w+") as disk, h5py.File(disk, "w") as file:
            datasets = _create_datasets(file, n_features, with_starts)
            fnames: list[bytes] = []

            def add(fname: str, starts: np.ndarray | None, features: np.ndarray) -> None:
                for name, values in (("features", features), ("clip", len(fnames)), ("start", starts)):
                    if name in datasets:
                        datasets[name].resize(len(datasets[name]) + len(features), axis=0)
                        datasets[name][len(datasets[name]) - len(features) :] = values
                fnames.append(os.fsencode(fname))
                disk.check()

            yield add
            file.create_dataset("fname", data=np.array(fnames, object), dtype=h5py.string_dtype("utf-8"))
        disk.check()


def _create_datasets(file: h5py.File, n_features: int, with_starts: bool) -> dict[str, h5py.Dataset]:
    shapes = {"features": ("float32", (n_features,)), "clip": ("int64", ())}
    if with_starts:
        shapes["start"] = ("float64", ())
    rows = max(1, CHUNK_BYTES // (4 * n_features))
    return {
        name: file.create_dataset(name, (0, *shape), dtype, maxshape=(None, *shape), chunks=(rows, *shape))
        for name, (dtype, shape) in shapes.items()
    }


def _csv_rows(fname: str, starts: np.ndarray | None, features: np.ndarray) -> Iterator[str]:
    quoted_fname = csv_quote(fname)
    for index, values in enumerate(features):
        start = [] if starts is None else [f"{starts[index]:.3f}"]
        yield ",".join([quoted_fname, *start, *map(str, values)]) + "\n"


def read_embeddings(path: StrPath) -> pd.DataFrame:
    """Read an embedding file: one row per recording, the mean over its windows, indexed by fname.

    Raises
    ------
    InputError
        If the file is not an embedding file, or is damaged.
    """
    path = Path(path)
    require_regular_file(path)
    try:
        fnames, features = _read_csv(path) if path.suffix == ".csv" else _read_hdf5(path)
    except (ValueError, KeyError, IndexError, TypeError, OSError, RuntimeError) as error:
        if isinstance(error, OSError) and error.errno:
            raise  # an error of the file system
        reason = (str(error).strip("'\"").splitlines() or [type(error).__name__])[0]
        raise InputError(f"{path} has no embeddings ({reason}); write them with dcase2018 embed") from None
    if not len(features):
        raise InputError(f"{path} has no embeddings; write them with dcase2018 embed")
    if not np.isfinite(features).all():
        raise InputError(f"{path} has embeddings that are not finite; write them with dcase2018 embed")
    return pd.DataFrame(features).groupby(np.asarray(fnames, object)).mean()


def _read_csv(path: Path) -> tuple[list[str], np.ndarray]:
    """Return the recording and the embedding of each row."""
    table = pd.read_csv(path, dtype={"fname": str}, keep_default_na=False)
    columns = [name for name in table if name not in ("fname", "start")]
    if columns != [f"f{i}" for i in range(max(1, len(columns)))]:
        raise ValueError("the columns must be fname, optionally start, f0, f1 and so on")
    return list(table["fname"]), table[columns].to_numpy(float)


def _read_hdf5(path: Path) -> tuple[list[str], np.ndarray]:
    """Return the recording and the embedding of each row."""
    with h5py.File(path, "r", locking=False) as file:
        fnames = [os.fsdecode(name) for name in file["fname"][:]]
        clips, features = file["clip"][:].astype(int), file["features"][:].astype(float)
    if features.ndim != 2 or clips.shape != features.shape[:1] or (clips < 0).any():
        raise ValueError("the shapes of features and clip do not match")
    return [fnames[clip] for clip in clips], features


def load_embedder(run: Run, checkpoint: int | str | None = None) -> Predictor:
    """Load a run's network without its classifier.

    Raises
    ------
    InputError
        If the run lacks the checkpoint, or the model file cannot be used.
    """
    from dcase2018.models.architectures import embedding_model  # imports Keras

    return Predictor(run, embedding_model(run.load_checkpoint(run.model_file(checkpoint))))


def embed(
    run: Run,
    clips: Store | StrPath | Sequence[StrPath],
    path: StrPath,
    level: str = "window",
    checkpoint: int | str | None = None,
) -> tuple[list[FailedFile], dict[str, str]]:
    """Write the embeddings of clips, and log the progress. `read_embeddings` reads the file.

    Parameters
    ----------
    run
        The run whose layer before the classifier gives the embeddings.
    clips
        A store, whose clips are all embedded in order, or audio files and folders of them.
    path
        File ending in .csv, .h5 or .hdf5.
    level
        "window" for one row per window, or "clip" for one row per clip. Clips without frames have no row.
    checkpoint
        Step of the checkpoint to load, or "best". Default: the trained network.

    Returns
    -------
    tuple
        List of the files that cannot be used, and what is wrong with used files, by name.

    Raises
    ------
    InputError
        If the suffix or the level is unknown, the store has another feature config, the run lacks the
        checkpoint, or none of the files can be used.
    Dcase2018Error, OSError
        If an embedding is not finite, a clip is damaged, the file cannot be written, or SIGTERM arrives.

    Examples
    --------
    >>> dcase2018.embed(dcase2018.Run.load("runs/first"), "sounds", "embeddings.h5", level="clip")
    ([], {})
    >>> dcase2018.read_embeddings("embeddings.h5").shape
    (35, 200)
    """
    path = Path(path)
    check_embedding_path(path)
    if level not in LEVELS:
        raise InputError(f"level must be one of {', '.join(LEVELS)}, not {level!r}")
    inputs = clips if isinstance(clips, Store) else list_recordings(as_paths(clips, "clips"))
    _, failed, warnings = write_embeddings(load_embedder(run, checkpoint), inputs, path, level)
    return failed, warnings


def check_embedding_path(path: Path) -> None:
    """Raise `InputError` unless the suffix is one of `SUFFIXES`."""
    if path.suffix not in SUFFIXES:
        raise InputError(f"{path} must end in .h5, .hdf5 or .csv")


def write_embeddings(
    embedder: Predictor, clips: Store | Sequence[AudioFile], path: Path, level: str
) -> tuple[int, list[FailedFile], dict[str, str]]:
    """Write the embeddings that a network of `load_embedder` computes.

    Returns the number of clips with embeddings, and the results of `embed`.
    """
    n_clips = 0
    failed: list[FailedFile] = []
    warnings: dict[str, str] = {}
    is_window_level = level == "window"
    with (
        sigterm_as_exception(),
        open_embedding_writer(path, embedder.n_outputs, is_window_level) as add,
        Progress("embed", len(clips), "clips") as progress,
    ):
        for fname, result in _embed_clips(embedder, clips, warnings):
            progress.update(1)
            if isinstance(result, FailedFile):
                failed.append(result)
            elif not len(result[1]):
                log.warning("%s has no frames and gets no row", fname)
            else:
                n_clips += 1
                starts, features = result
                if is_window_level:
                    add(fname, starts, features)
                else:
                    add(fname, None, features.mean(axis=0, dtype=float, keepdims=True))
        check_any_usable(failed, len(clips))
    return n_clips, failed, warnings


def _embed_clips(
    embedder: Predictor, clips: Store | Sequence[AudioFile], warnings: dict[str, str]
) -> Iterator[tuple[str, FailedFile | Embedding]]:
    """Yield the name of each clip with its embeddings, or the reason why the file cannot be used."""
    config = embedder.window_config
    if isinstance(clips, Store):
        clips.check_config(config.feature_config, f"the run {embedder.run.path}")
        for fname, row in zip(clips.fnames, clips.rows_of(clips.fnames), strict=True):
            starts, features = embedder.window_outputs(
                store_windows(clips, np.array([row]), config, AUDIO_BATCH)
            )
            yield fname, (starts * config.feature_config.frame_hop_seconds, features)
        return
    front_end = FrontEnd(config.feature_config)
    for file in clips:
        try:
            file.check_exists()
            with AudioReader(file.path, config.feature_config.sample_rate) as reader:
                windows = audio_windows(front_end.iter_frames(reader), config)
                starts, features = embedder.window_outputs(windows)
                if reader.warning:
                    warnings[file.fname] = reader.warning
        except (AudioReadError, OSError) as error:
            yield file.fname, FailedFile(file, describe_error(error))
        else:
            yield file.fname, (starts * config.feature_config.frame_hop_seconds, features)
