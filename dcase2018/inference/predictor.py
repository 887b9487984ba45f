"""Scores of clips: the mean of their examples' scores, and over the runs of an ensemble."""

from collections.abc import Iterator, Sequence
from itertools import compress
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dcase2018.batching.dataset import LabeledDataset
from dcase2018.batching.windows import AllWindows, iter_batches
from dcase2018.data.labels import LABELS_COLUMN
from dcase2018.features.store import Store
from dcase2018.inference.ensemble import Ensemble
from dcase2018.runs.run import Run
from dcase2018.utils.errors import Dcase2018Error
from dcase2018.utils.progress import Progress

if TYPE_CHECKING:
    import keras

INFERENCE_BATCH = 256
CLIP_BATCH = 16  # whose examples' scores are held in memory
SCORE_EPS = 1e-7  # what a geometric mean takes for a smaller one


class ExamplePredictor:
    """A run with its network in memory: scores of examples, and of clips by those of their examples."""

    def __init__(self, run: Run, model: "keras.Model") -> None:
        self.run, self.model = run, model
        self.geometric = run.hparams.clip_pooling == "geometric_mean"

    def __call__(self, examples: np.ndarray) -> np.ndarray:
        """Score examples: float32, (examples, classes).

        Raises
        ------
        Dcase2018Error
            If the network gives scores that are not finite.
        """
        few = examples.repeat(2, axis=0) if len(examples) == 1 else examples  # one alone is rounded otherwise
        scores = self.model.predict_on_batch(few)[: len(examples)]
        if not np.isfinite(scores).all():
            raise Dcase2018Error(f"the network of {self.run.path} gives scores that are not finite")
        return scores

    def terms(self, scores: np.ndarray) -> np.ndarray:
        """What is added up over a clip's examples, the shape of `scores`."""
        return np.log(np.maximum(scores, SCORE_EPS)) if self.geometric else scores

    def mean(self, total: np.ndarray, count: int) -> np.ndarray:
        """Scores of a clip, float64 (classes,), of the sum of the terms of its `count` examples.

        A clip without examples gets the shares of the classes in training.
        """
        if not count:
            return self.run.prior.astype(float)
        if not self.geometric:
            return total / count
        mean = np.exp(total / count)
        return mean / mean.sum() if self.run.hparams.classifier == "softmax" else mean


class StorePredictor(ExamplePredictor):
    """A run with its network in memory and a store of its feature_config."""

    def __init__(self, run: Run, model: "keras.Model", store: Store) -> None:
        super().__init__(run, model)
        self.store = store

    def iter_clip_scores(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Score clips of the store, one after the other: float64, (classes,).

        The examples of all clips make one stream of full batches, so that short clips cost no more than
        their share. A clip without frames gets the shares of the classes in training.

        Raises
        ------
        Dcase2018Error
            If the network gives scores that are not finite.
        """
        windows = self._windows(rows)
        sums = np.zeros((len(rows), len(self.run.classes)))
        done = 0
        for examples, clips in iter_batches(windows, INFERENCE_BATCH):
            np.add.at(sums, clips, self.terms(self(examples)))
            for clip in range(done, clips[-1]):  # the last one may go on in the next batch
                yield self.mean(sums[clip], windows.n_per_clip[clip])
            done = clips[-1]
        for clip in range(done, len(rows)):
            yield self.mean(sums[clip], windows.n_per_clip[clip])

    def over_time(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Score the examples of clips of the store, one clip after the other.

        Yields the middle of each example in frames, (examples,), and its scores, (examples, classes); a clip
        without frames has no examples.

        Raises
        ------
        Dcase2018Error
            See `each`.
        """
        for start in range(0, len(rows), CLIP_BATCH):
            windows = self._windows(rows[start : start + CLIP_BATCH])
            batches = [self(examples) for examples, _ in iter_batches(windows, INFERENCE_BATCH)]
            scores = np.concatenate([np.zeros((0, len(self.run.classes)), np.float32), *batches])
            for own in np.split(scores, np.cumsum(windows.n_per_clip)[:-1]):
                yield np.arange(len(own)) * windows.hop + windows.window / 2, own

    def _windows(self, rows: np.ndarray) -> AllWindows:
        hparams, feature_config = self.run.hparams, self.run.feature_config
        window, hop = hparams.example_frames(feature_config), hparams.inference_hop_frames(feature_config)
        return AllWindows(self.store, rows, window, hop, hparams.pad_mode)

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """Score clips of the store: float64, (clips, classes)."""
        scores = np.empty((len(rows), len(self.run.classes)))
        for clip, score in enumerate(self.iter_clip_scores(rows)):
            scores[clip] = score
        return scores

    def table(self, clips: LabeledDataset) -> pd.DataFrame:
        """Score labelled clips of the store.

        Returns
        -------
        DataFrame
            A row a clip: its columns are `fname`, `labels` (parted by commas), `verified`, and a class each.
        """
        table = pd.DataFrame(self.scores(clips.rows), columns=self.run.classes)
        table.insert(0, "fname", [self.store.fnames[row] for row in clips.rows])
        table.insert(1, LABELS_COLUMN, [",".join(compress(self.run.classes, true)) for true in clips.y_true])
        table.insert(2, "verified", clips.verified)
        return table


def load_predictors(ensemble: Ensemble) -> list[StorePredictor]:
    """Load the networks of an ensemble.

    Raises
    ------
    InputError
        If a network is no Keras model of plain layers.
    """
    return [
        StorePredictor(member.run, member.run.load_for_inference(ensemble.checkpoint), member.store)
        for member in ensemble.members
    ]


def iter_ensemble_scores(ensemble: Ensemble, fnames: Sequence[str]) -> Iterator[np.ndarray]:
    """Score clips by an ensemble, one after the other: the mean of its members' scores, (classes,).

    Raises
    ------
    InputError
        If a clip is not in the store of a member, or see `load_predictors`.
    """
    streams = [tagger.iter_clip_scores(tagger.store.rows_of(fnames)) for tagger in load_predictors(ensemble)]
    for scores in zip(*streams, strict=True):
        yield np.mean(scores, axis=0)


def iter_window_scores(ensemble: Ensemble, fnames: Sequence[str]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Score the examples of clips by an ensemble, one clip after the other: the mean of its members' scores.

    Yields the middle of each of the first member's examples in s, (examples,), and scores there,
    (examples, classes); between the examples of another member lie straight lines.

    Raises
    ------
    InputError, Dcase2018Error
        See `predict`.
    """
    streams = [
        (tagger.over_time(tagger.store.rows_of(fnames)), tagger.run.feature_config.stft_hop_seconds)
        for tagger in load_predictors(ensemble)
    ]
    for _ in fnames:
        (seconds, scores), *others = [
            (middles * hop, scores) for stream, hop in streams for middles, scores in [next(stream)]
        ]
        if len(scores):
            scores = np.mean([scores, *(_at(seconds, *other) for other in others if len(other[1]))], axis=0)
        yield seconds, scores


def _at(seconds: np.ndarray, middles: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Scores of each class at other times: (len(seconds), classes)."""
    return np.stack([np.interp(seconds, middles, own) for own in scores.T], axis=1)


def predict(ensemble: Ensemble, fnames: Sequence[str] | None = None) -> pd.DataFrame:
    """Score clips, telling the progress.

    Parameters
    ----------
    fnames
        Names of the clips; all of the first member's store, in order of name, if None.

    Returns
    -------
    DataFrame
        float64, a row a clip, indexed by `fname`; a column a class.

    Raises
    ------
    InputError
        If a clip is not in the store of a member, or a network is no Keras model of plain layers.
    Dcase2018Error
        If a network gives scores that are not finite.
    """
    if fnames is None:
        fnames = sorted(ensemble.members[0].store.fnames)
    scores = np.empty((len(fnames), len(ensemble.classes)))
    with Progress("predict", len(fnames), "clips") as progress:
        for clip, score in enumerate(iter_ensemble_scores(ensemble, fnames)):
            scores[clip] = score
            progress.update(1)
    return pd.DataFrame(scores, index=pd.Index(fnames, name="fname", dtype=object), columns=ensemble.classes)
