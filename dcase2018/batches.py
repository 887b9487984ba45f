"""Batches of examples for Keras, shuffled across all clips."""

import keras
import numpy as np

from dcase2018.windows import Windows


class Batches(keras.utils.PyDataset):
    """Shuffled batches `(examples, targets, weights)` out of an endless stream of epochs.

    Epoch after epoch, each in an order of its own, makes one stream in which every example comes once an
    epoch; a batch is the next `batch_size` of it, so that one may end an epoch and begin the next. What
    a batch holds is a function of (seed, number) alone, whoever asks for it, and when.

    Parameters
    ----------
    targets
        Target of each clip of `windows`, float32, (clips, classes).
    weights
        What each clip counts for in the loss, float32, (clips,).
    first
        Number of the batch that is item 0, where training goes on.
    """

    def __init__(
        self,
        windows: Windows,
        targets: np.ndarray,
        weights: np.ndarray,
        batch_size: int,
        seed: int,
        first: int = 0,
        workers: int = 1,
    ) -> None:
        super().__init__(workers=workers)
        self.windows, self.targets, self.weights = windows, targets, weights
        self.batch_size, self.seed, self.first = batch_size, seed, first
        self._orders: dict[int, np.ndarray] = {}

    @property
    def num_batches(self) -> None:
        """None: Keras then asks for one item after the other without end."""
        return None

    def __getitem__(self, item: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        examples = self.examples(self.first + item)
        clips = self.windows.clip[examples]
        return self.windows.cut(examples), self.targets[clips], self.weights[clips]

    def examples(self, number: int) -> np.ndarray:
        """Numbers of the examples of a batch: int, (batch_size,)."""
        places = np.arange(number * self.batch_size, (number + 1) * self.batch_size)
        epochs, places = np.divmod(places, len(self.windows))
        if epochs[0] == epochs[-1]:
            return self._order(int(epochs[0]))[places]
        return np.concatenate(
            [self._order(epoch)[places[epochs == epoch]] for epoch in range(epochs[0], epochs[-1] + 1)]
        )

    def _order(self, epoch: int) -> np.ndarray:
        """Numbers of all examples in the order of an epoch."""
        orders = self._orders
        if epoch not in orders:
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.windows))
            kept = {near: orders[near] for near in (epoch - 1, epoch + 1) if near in orders}
            orders = self._orders = {epoch: order} | kept  # one assignment: safe between threads
        return orders[epoch]
