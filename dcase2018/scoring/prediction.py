"""Scores of clips: the mean of their examples' scores, and over the runs of an ensemble."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dcase2018.examples import Windows, in_turn
from dcase2018.features import Store
from dcase2018.foundation import Dcase2018Error, Progress
from dcase2018.runs import Ensemble, Run

if TYPE_CHECKING:
    import keras

EXAMPLES_AT_ONCE = 256
LEAST_SCORE = 1e-7  # what a geometric mean takes for a smaller one


class Tagger:
    """A run with its network in memory and a store of its recipe."""

    def __init__(self, run: Run, model: "keras.Model", store: Store) -> None:
        self.run, self.model, self.store = run, model, store

    def each(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Score clips of the store, one after the other: float64, (classes,).

        The examples of all clips make one stream of full batches, so that short clips cost no more than
        their share. A clip without frames gets the shares of the classes in training.

        Raises
        ------
        Dcase2018Error
            If the network gives scores that are not finite.
        """
        run = self.run
        geometric = run.hparams.score_mean == "geometric"
        window, hop = run.hparams.example_window(run.recipe), run.hparams.score_hop(run.recipe)
        windows = Windows(self.store, rows, window, hop, run.hparams.short)
        sums = np.zeros((len(rows), len(run.classes)))
        done = 0
        for examples, clips in in_turn(windows, EXAMPLES_AT_ONCE):
            scores = self.model.predict_on_batch(examples)
            if not np.isfinite(scores).all():
                raise Dcase2018Error(f"the network of {run.path} gives scores that are not finite")
            np.add.at(sums, clips, np.log(np.maximum(scores, LEAST_SCORE)) if geometric else scores)
            for clip in range(done, clips[-1]):  # the last one may go on in the next batch
                yield self._mean(sums[clip], windows.counts[clip], geometric)
            done = clips[-1]
        for clip in range(done, len(rows)):
            yield self._mean(sums[clip], windows.counts[clip], geometric)

    def _mean(self, total: np.ndarray, count: int, geometric: bool) -> np.ndarray:
        if not count:
            return self.run.prior.astype(float)
        if not geometric:
            return total / count
        mean = np.exp(total / count)
        return mean / mean.sum() if self.run.hparams.classifier == "softmax" else mean

    def scores(self, rows: np.ndarray) -> np.ndarray:
        """Score clips of the store: float64, (clips, classes)."""
        scores = np.empty((len(rows), len(self.run.classes)))
        for clip, score in enumerate(self.each(rows)):
            scores[clip] = score
        return scores


def load_taggers(ensemble: Ensemble) -> list[Tagger]:
    """Load the networks of an ensemble.

    Raises
    ------
    InputError
        If a network is no Keras model of plain layers.
    """
    return [
        Tagger(member.run, member.run.load_model(ensemble.which), member.store) for member in ensemble.members
    ]


def iter_scores(ensemble: Ensemble, fnames: Sequence[str]) -> Iterator[np.ndarray]:
    """Score clips by an ensemble, one after the other: the mean of its members' scores, (classes,).

    Raises
    ------
    InputError
        If a clip is not in the store of a member, or see `load_taggers`.
    """
    streams = [tagger.each(tagger.store.find(fnames)) for tagger in load_taggers(ensemble)]
    for scores in zip(*streams, strict=True):
        yield np.mean(scores, axis=0)


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
        for clip, score in enumerate(iter_scores(ensemble, fnames)):
            scores[clip] = score
            progress.update(1)
    return pd.DataFrame(scores, index=pd.Index(fnames, name="fname", dtype=object), columns=ensemble.classes)
