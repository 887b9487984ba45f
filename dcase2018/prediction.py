"""Scores of clips: the mean of their examples' scores, and over the runs of an ensemble."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from dcase2018.batches import Windows, in_turn
from dcase2018.errors import Dcase2018Error
from dcase2018.progress import Progress
from dcase2018.run import Run
from dcase2018.store import Store

if TYPE_CHECKING:
    import keras

CLIPS_AT_ONCE = 128
EXAMPLES_AT_ONCE = 256


class Tagger:
    """A run with its network in memory."""

    def __init__(self, run: Run, model: "keras.Model") -> None:
        self.run, self.model = run, model

    def scores(self, store: Store, rows: np.ndarray) -> np.ndarray:
        """Mean scores of some clips' examples: float64, (clips, classes).

        A clip without frames gets the shares of the classes in training.

        Raises
        ------
        Dcase2018Error
            If the network gives scores that are not finite.
        """
        windows = Windows(store, rows, *self.run.example_geometry)
        sums = np.zeros((len(rows), len(self.run.classes)))
        for examples, clips in in_turn(windows, EXAMPLES_AT_ONCE):
            np.add.at(sums, clips, self.model.predict_on_batch(examples))
        if not np.isfinite(sums).all():
            raise Dcase2018Error(f"the network of {self.run.path} gives scores that are not finite")
        counts = np.bincount(windows.clip, minlength=len(rows))[:, None]
        return np.where(counts > 0, sums / np.maximum(counts, 1), self.run.prior)


def load_taggers(runs: Sequence[Run], checkpoint: int | None = None) -> list[Tagger]:
    """Load the networks of an ensemble (see `dcase2018.run.open_ensemble`).

    Raises
    ------
    InputError
        If a network is not there, or is no Keras model of plain layers.
    """
    return [Tagger(run, run.load_model(checkpoint)) for run in runs]


def iter_scores(
    taggers: Sequence[Tagger], store: Store, rows: np.ndarray
) -> Iterator[tuple[slice, np.ndarray]]:
    """Score clips, some at a time: the slice of `rows`, and the mean of the taggers' scores."""
    for start in range(0, len(rows), CLIPS_AT_ONCE):
        part = slice(start, min(start + CLIPS_AT_ONCE, len(rows)))
        yield part, np.mean([tagger.scores(store, rows[part]) for tagger in taggers], axis=0)


def predict(taggers: Sequence[Tagger], store: Store, rows: np.ndarray) -> np.ndarray:
    """Score clips, telling the progress: float64, (clips, classes)."""
    scores = np.empty((len(rows), len(taggers[0].run.classes)))
    with Progress("predict", len(rows), "clips") as progress:
        for part, some in iter_scores(taggers, store, rows):
            scores[part] = some
            progress.update(len(some))
    return scores
