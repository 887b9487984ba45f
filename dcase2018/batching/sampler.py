"""Order of the examples in each epoch, in whole batches, as a function of (seed, epoch) alone."""

import numpy as np


class EpochSampler:
    """Shuffles the examples of each epoch and divides them into whole batches.

    Examples that do not fill a batch are left out. They differ from epoch to epoch. An epoch with fewer
    examples than a batch repeats them to fill one batch.

    Parameters
    ----------
    n_epochs
        Number of epochs.
    n_examples
        Number of training examples.
    batch_size
        Examples per batch. The number of examples of the largest epoch is the maximum.
    seed
        Seed of the order.
    final_examples
        Indices of the examples of the last `n_final_epochs` epochs; all examples if None.
    n_final_epochs
        Number of epochs of the final phase.
    sampling_weights
        Relative probability of each example, (examples,). Each epoch is then drawn with replacement.
        If None, each epoch has each example once.

    Attributes
    ----------
    final_phase_start : int
        First epoch of the final phase; `n_epochs` without one.
    n_batches : ndarray
        Batches of each epoch, int64, (n_epochs,).
    epoch_ends : ndarray
        Batches up to the end of each epoch, int64, (n_epochs,).
    """

    def __init__(
        self,
        n_epochs: int,
        n_examples: int,
        batch_size: int,
        seed: int,
        final_examples: np.ndarray | None = None,
        n_final_epochs: int = 0,
        sampling_weights: np.ndarray | None = None,
    ) -> None:
        self.seed, self.sampling_weights = seed, sampling_weights
        self.all_examples = np.arange(n_examples)
        self.final_examples = self.all_examples if final_examples is None else final_examples
        self.final_phase_start = max(0, n_epochs - n_final_epochs)
        is_final = np.arange(n_epochs) >= self.final_phase_start
        n_per_epoch = np.where(is_final, len(self.final_examples), n_examples)
        self.batch_size = min(batch_size, int(n_per_epoch.max()))
        self.n_batches = np.maximum(1, n_per_epoch // self.batch_size)
        self.epoch_ends = np.cumsum(self.n_batches)
        self._orders: dict[int, np.ndarray] = {}

    def batch(self, epoch: int, index: int) -> np.ndarray:
        """Return the example indices of a batch of an epoch: int64, (batch_size,)."""
        return self.order(epoch)[index * self.batch_size :][: self.batch_size]

    def order(self, epoch: int) -> np.ndarray:
        """Return the example indices of an epoch in order: int64, (at least batch_size,)."""
        order = self._orders.get(epoch)
        if order is None:
            order = self._shuffle(epoch)
            self._orders = {epoch: order}  # replaced in one assignment, which is safe with threads
        return order

    def _shuffle(self, epoch: int) -> np.ndarray:
        rng = np.random.default_rng([self.seed, epoch])
        pool = self.final_examples if epoch >= self.final_phase_start else self.all_examples
        if self.sampling_weights is None:
            order = rng.permutation(pool)
        else:
            weights = self.sampling_weights[pool]
            order = rng.choice(pool, len(pool), p=weights / weights.sum())
        return np.resize(order, max(len(order), self.batch_size))
