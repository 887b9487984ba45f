"""Scores of clips: networks score windows, and the scores of a clip's windows are pooled.

Windows come as a stream of `WindowBatch`: `store_windows` reads them from a store, and
`audio_tagger.audio_windows` computes them from an audio file. Everything after that is shared, so `predict`
and `tag` agree.
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import compress
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from dcase2018.batching.dataset import LabeledDataset
from dcase2018.batching.windows import AllWindows, iter_batches
from dcase2018.data.labels import LABELS_COLUMN
from dcase2018.features.config import FeatureConfig
from dcase2018.features.store import Store
from dcase2018.inference.ensemble import Ensemble
from dcase2018.inference.pooling import Pooling, log_pooling
from dcase2018.runs.run import Run
from dcase2018.utils.errors import Dcase2018Error
from dcase2018.utils.progress import Progress

if TYPE_CHECKING:
    from dcase2018.models.backend import keras

INFERENCE_BATCH = 256

_network_lock = threading.Lock()  # a network uses all cores, and Keras does not promise thread safety


@dataclass(frozen=True)
class WindowConfig:
    """How a run cuts frames into windows.

    Attributes
    ----------
    window, hop
        Frames in a window, and from the start of one window to the next.
    pad_mode
        Padding of a clip shorter than a window: "constant" (silence) or "wrap" (the clip is repeated).
    """

    feature_config: FeatureConfig
    window: int
    hop: int
    pad_mode: str

    @classmethod
    def from_run(cls, run: Run) -> "WindowConfig":
        hparams, feature_config = run.hparams, run.feature_config
        return cls(
            feature_config,
            hparams.example_frames(feature_config),
            hparams.inference_hop_frames(feature_config),
            hparams.pad_mode,
        )

    @property
    def window_seconds(self) -> float:
        """Length of the samples that a window is computed from."""
        samples = (self.window - 1) * self.feature_config.hop_length + self.feature_config.frame_length
        return samples / self.feature_config.sample_rate


class WindowBatch(NamedTuple):
    """Consecutive windows of one or more clips.

    Attributes
    ----------
    clip_index
        Position of each window's clip in the stream, int, (windows,), ascending.
    starts
        First frame of each window in its clip, int64, (windows,).
    examples
        float32, (windows, window, n_features).
    """

    clip_index: np.ndarray
    starts: np.ndarray
    examples: np.ndarray


def store_windows(
    store: Store, rows: np.ndarray, config: WindowConfig, batch_size: int = INFERENCE_BATCH
) -> Iterator[WindowBatch]:
    """Read the windows of clips of a store, in full batches across clips.

    Full batches make many short clips as fast as a few long ones.

    Parameters
    ----------
    rows
        Rows of the clips in the store, (clips,).
    """
    windows = AllWindows(store, rows, config.window, config.hop, config.pad_mode)
    first_window = np.cumsum(windows.n_per_clip) - windows.n_per_clip
    n_read = 0
    for examples, clip_index in iter_batches(windows, batch_size):
        window_index = np.arange(n_read, n_read + len(examples)) - first_window[clip_index]
        yield WindowBatch(clip_index, window_index * config.hop, examples)
        n_read += len(examples)


class Predictor:
    """A run with a network in memory, which may be used from several threads.

    Parameters
    ----------
    model
        The run's classifier, or its network without the classifier, which returns embeddings.
    """

    def __init__(self, run: Run, model: "keras.Model") -> None:
        self.run, self.model = run, model
        self.pooling = Pooling.of_windows(run)
        self.window_config = WindowConfig.from_run(run)

    @property
    def n_outputs(self) -> int:
        return int(self.model.output_shape[-1])

    def __call__(self, examples: np.ndarray) -> np.ndarray:
        """Return the network's output for each window: float32, (windows, n_outputs).

        Raises
        ------
        Dcase2018Error
            If an output is not finite.
        """
        # A batch of one is rounded differently from larger batches.
        padded = examples.repeat(2, axis=0) if len(examples) == 1 else examples
        with _network_lock:
            outputs = self.model.predict_on_batch(padded)[: len(examples)]
        if not np.isfinite(outputs).all():
            raise Dcase2018Error(f"{self.run.path}: the output of the network is not finite")
        return outputs

    def window_outputs(self, windows: Iterable[WindowBatch]) -> tuple[np.ndarray, np.ndarray]:
        """Return the first frame of each window of a clip, int64, and the outputs, (windows, n_outputs)."""
        starts = [np.zeros(0, np.int64)]
        outputs = [np.zeros((0, self.n_outputs), np.float32)]
        for batch in windows:
            starts.append(batch.starts)
            outputs.append(self(batch.examples))
        return np.concatenate(starts), np.concatenate(outputs)

    def pool(self, total: np.ndarray, n_windows: int) -> np.ndarray:
        """Return the scores of a clip, float64 (classes,), from the sum of its pooling terms.

        A clip without windows gets the class frequencies of the training set.
        """
        return self.pooling.finish(total / n_windows) if n_windows else self.run.prior.astype(float)


def iter_clip_scores(
    predictors: Sequence[Predictor], windows: Iterable[WindowBatch], n_clips: int
) -> Iterator[np.ndarray]:
    """Score clips by networks that share their windows; each window is computed once.

    Parameters
    ----------
    windows
        Windows of `n_clips` clips in order; clips without windows are allowed.

    Yields
    ------
    ndarray
        Scores of a clip by each predictor, float64, (predictors, classes).
    """
    totals = np.zeros((len(predictors), n_clips, len(predictors[0].run.classes)))
    n_windows = np.zeros(n_clips, np.int64)

    def pooled(clip: int) -> np.ndarray:
        pairs = zip(predictors, totals[:, clip], strict=True)
        return np.stack([predictor.pool(total, n_windows[clip]) for predictor, total in pairs])

    n_done = 0
    for batch in windows:
        for total, predictor in zip(totals, predictors, strict=True):
            np.add.at(total, batch.clip_index, predictor.pooling.terms(predictor(batch.examples)))
        np.add.at(n_windows, batch.clip_index, 1)
        last = int(batch.clip_index[-1])
        yield from map(pooled, range(n_done, last))  # the last clip may continue in the next batch
        n_done = last
    yield from map(pooled, range(n_done, n_clips))


class StorePredictor(Predictor):
    """A run with its network in memory, and a store of its feature config."""

    def __init__(self, run: Run, model: "keras.Model", store: Store) -> None:
        super().__init__(run, model)
        self.store = store

    def iter_clip_scores(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the scores of clips of the store: float64, (classes,).

        A silent clip, like one without frames, gets the class frequencies of the training set.
        """
        audible = np.flatnonzero(~self.store.is_silent[rows])
        windows = (
            batch._replace(clip_index=audible[batch.clip_index])
            for batch in store_windows(self.store, rows[audible], self.window_config)
        )
        for (scores,) in iter_clip_scores([self], windows, len(rows)):
            yield scores

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """Return the scores of clips of the store: float64, (clips, classes)."""
        scores = np.empty((len(rows), len(self.run.classes)))
        for clip, clip_scores in enumerate(self.iter_clip_scores(rows)):
            scores[clip] = clip_scores
        return scores

    def table(self, clips: LabeledDataset) -> pd.DataFrame:
        """Score labelled clips of the store.

        Returns
        -------
        DataFrame
            One row per clip with the columns `fname`, `labels` (separated by commas), `verified`, and one
            column per class.
        """
        table = pd.DataFrame(self.scores(clips.rows), columns=self.run.classes)
        table.insert(0, "fname", [self.store.fnames[row] for row in clips.rows])
        table.insert(1, LABELS_COLUMN, [",".join(compress(self.run.classes, row)) for row in clips.y_true])
        table.insert(2, "verified", clips.verified)
        return table

    def window_scores(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        """Score the windows of one clip of the store.

        Returns
        -------
        centers : ndarray
            Center of each window in seconds, float64, (windows,).
        scores : ndarray
            float32, (windows, classes).
        """
        starts, scores = self.window_outputs(store_windows(self.store, np.array([row]), self.window_config))
        if self.store.is_silent[row]:
            scores[:] = self.run.prior
        return (starts + self.window_config.window / 2) * self.run.feature_config.frame_hop_seconds, scores


def load_predictors(ensemble: Ensemble) -> list[StorePredictor]:
    """Load the networks of an ensemble."""
    return [
        StorePredictor(member.run, member.run.load_for_inference(ensemble.checkpoint), member.store)
        for member in ensemble.members
    ]


def iter_ensemble_scores(ensemble: Ensemble, fnames: Sequence[str]) -> Iterator[np.ndarray]:
    """Yield the scores of clips, averaged over the members of an ensemble: float64, (classes,).

    The average over members is `Pooling.of_runs`. Errors are those of `predict`.
    """
    streams = [
        predictor.iter_clip_scores(predictor.store.rows_of(fnames)) for predictor in load_predictors(ensemble)
    ]
    runs = [member.run for member in ensemble.members]
    log_pooling(runs)
    pooling = Pooling.of_runs(runs)
    for scores in zip(*streams, strict=True):
        yield pooling(scores)


def iter_window_scores(
    ensemble: Ensemble, fnames: Sequence[str], member_of_clip: Sequence[int] | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the window scores of clips, averaged over the members of an ensemble.

    Scores of a member with other windows are interpolated linearly at the first member's windows.

    Parameters
    ----------
    member_of_clip
        Index of the only member that scores each clip, (clips,), for out-of-fold scores.

    Yields
    ------
    centers : ndarray
        Center of each window of the first member in seconds, float64, (windows,).
    scores : ndarray
        (windows, classes). Errors are those of `predict`.
    """
    predictors = load_predictors(ensemble)
    pooling = Pooling.of_runs([predictor.run for predictor in predictors])
    member_rows = [predictor.store.rows_of(fnames) for predictor in predictors]
    for clip, rows in enumerate(zip(*member_rows, strict=True)):
        if member_of_clip is not None:
            member = member_of_clip[clip]
            yield predictors[member].window_scores(rows[member])
            continue
        results = [predictor.window_scores(row) for predictor, row in zip(predictors, rows, strict=True)]
        centers, scores = results[0]
        if len(scores):
            aligned = [_interpolate(centers, *result) for result in results[1:] if len(result[1])]
            scores = pooling([scores, *aligned])
        yield centers, scores


def _interpolate(times: np.ndarray, centers: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return the scores of each class at other times: (len(times), classes)."""
    return np.stack([np.interp(times, centers, column) for column in scores.T], axis=1)


def predict(ensemble: Ensemble, fnames: Sequence[str] | None = None) -> pd.DataFrame:
    """Score clips of a store, and log the progress.

    Parameters
    ----------
    ensemble
        One run, or several runs whose scores are averaged, with their stores.
    fnames
        Names of the clips. Default: all clips of the first member's store, sorted by name.

    Returns
    -------
    DataFrame
        float64, one row per clip, indexed by `fname`, and one column per class. A clip that is silent or has
        no frames gets the class frequencies of the training set.

    Raises
    ------
    InputError
        If a clip is not in the store of a member, or a model file cannot be used.
    Dcase2018Error
        If a network's scores are not finite.

    Examples
    --------
    >>> from dcase2018 import Ensemble, Store, predict
    >>> ensemble = Ensemble.open(["runs/first"], [Store("features/test.h5")])
    >>> scores = predict(ensemble)
    >>> scores.loc["a.wav"].nlargest(3)
    """
    if fnames is None:
        fnames = sorted(ensemble.members[0].store.fnames)
    scores = np.empty((len(fnames), len(ensemble.classes)))
    with Progress("predict", len(fnames), "clips") as progress:
        for clip, clip_scores in enumerate(iter_ensemble_scores(ensemble, fnames)):
            scores[clip] = clip_scores
            progress.update(1)
    return pd.DataFrame(scores, index=pd.Index(fnames, name="fname", dtype=object), columns=ensemble.classes)
