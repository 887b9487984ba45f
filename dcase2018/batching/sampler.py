"""Which examples an epoch consists of, and in which order: a function of (seed, epoch) alone."""

import numpy as np


class EpochSampler:
    """The epochs of a training, laid end to end as one stream of examples.

    Parameters
    ----------
    count
        Number of epochs.
    examples
        Number of examples to learn from.
    final_examples
        Numbers of the examples of the last `last_count` epochs; all, if None.
    odds
        How often to draw each example, relative to the others, (examples,): an epoch is then drawn with
        replacement. If None, each comes once an epoch.

    Attributes
    ----------
    ends : ndarray
        Examples served when each epoch is complete, int64, (count,).
    """

    def __init__(
        self,
        count: int,
        examples: int,
        seed: int,
        final_examples: np.ndarray | None = None,
        n_final_epochs: int = 0,
        sampling_weights: np.ndarray | None = None,
    ) -> None:
        self.seed, self.sampling_weights = seed, sampling_weights
        self.all_examples = np.arange(examples)
        self.final_examples = self.all_examples if final_examples is None else final_examples
        self.final_phase_start = max(0, count - n_final_epochs)
        self.lengths = np.array([len(self._pool(epoch)) for epoch in range(count)])
        self.ends = np.cumsum(self.lengths)
        self._orders: dict[int, np.ndarray] = {}

    def batch(self, number: int, batch_size: int) -> tuple[np.ndarray, int]:
        """Numbers of the examples of a batch, int (batch_size,), and the epoch that it begins in.

        Beyond the last epoch the stream begins again: it may be read ahead of its end.
        """
        place = number * batch_size % int(self.ends[-1])
        first = epoch = int(np.searchsorted(self.ends, place, side="right"))
        place -= int(self.ends[epoch] - self.lengths[epoch])
        pieces = [self.order(epoch)[place : place + batch_size]]
        while (left := batch_size - sum(map(len, pieces))) > 0:
            epoch = (epoch + 1) % len(self.ends)
            pieces.append(self.order(epoch)[:left])
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces), first

    def order(self, epoch: int) -> np.ndarray:
        """Numbers of the examples of an epoch, in its order."""
        orders = self._orders
        if epoch not in orders:
            kept = {near: orders[near] for near in (epoch - 1, epoch + 1) if near in orders}
            orders = self._orders = {epoch: self._draw(epoch)} | kept  # one assignment: safe in threads
        return orders[epoch]

    def _draw(self, epoch: int) -> np.ndarray:
        rng = np.random.default_rng([self.seed, epoch])
        pool = self._pool(epoch)
        if self.sampling_weights is None:
            return rng.permutation(pool)
        sampling_weights = self.sampling_weights[pool]
        return rng.choice(pool, len(pool), p=sampling_weights / sampling_weights.sum())

    def _pool(self, epoch: int) -> np.ndarray:
        return self.all_examples if epoch < self.final_phase_start else self.final_examples
