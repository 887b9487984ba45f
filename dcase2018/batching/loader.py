"""Keras dataset of shuffled, augmented batches."""

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from dcase2018.batching.augmentation import Augmentation, Batch
from dcase2018.batching.sampler import EpochSampler
from dcase2018.batching.windows import AllWindows, RandomCrops
from dcase2018.models.backend import keras


class BatchLoader(keras.utils.PyDataset):
    """Batches `(x, targets, sample_weights)` of one epoch at a time.

    A batch is a function of (seed, epoch, index). It depends neither on the number of threads nor on the
    order in which Keras requests items.

    Parameters
    ----------
    examples
        Training examples.
    sampler
        Examples of each batch.
    augmentation
        Changes applied to each batch.
    targets
        Target of each clip of `examples`, float32, (clips, values).
    weights
        Weight of each clip in the loss, float32, (clips,).
    n_workers
        Threads that prepare batches. Keras's own queue of several workers is not used, because it can
        return the items that were requested before training out of order.
    """

    def __init__(
        self,
        examples: AllWindows | RandomCrops,
        sampler: EpochSampler,
        augmentation: Augmentation,
        targets: np.ndarray,
        weights: np.ndarray,
        n_workers: int = 1,
    ) -> None:
        super().__init__(workers=1)
        self.examples, self.sampler, self.augmentation = examples, sampler, augmentation
        self.targets, self.weights = targets, weights
        self.n_soft_classes, self.n_workers = 0, n_workers
        self.n_prefetch = 2 * n_workers if n_workers > 1 else 0
        self._threads = ThreadPoolExecutor(n_workers) if n_workers > 1 else None
        self.set_epoch(0)

    def set_epoch(self, epoch: int, first_batch: int = 0) -> None:
        """Select the epoch that the items belong to, and the batch that is item 0 where training resumes."""
        self.epoch, self.first_batch = epoch, first_batch
        self._pending: dict[int, Future[Batch]] = {}

    def set_soft_targets(self, targets: np.ndarray, n_classes: int) -> None:
        """Replace the targets by soft ones.

        The classes of a soft target, its first `n_classes` values, sum to 1 or less. After mixup, this sum
        is a factor of the example's weight (see `_weight_by_sum`).
        """
        self.targets, self.n_soft_classes = targets, n_classes

    @property
    def num_batches(self) -> int:
        """Number of batches of the epoch from `first_batch` on."""
        return int(self.sampler.n_batches[self.epoch]) - self.first_batch

    def __getitem__(self, item: int) -> Batch:
        if self._threads is None:
            return self._load(self.epoch, self.first_batch + item)
        pending = self._pending
        for ahead in range(item, min(item + self.n_prefetch, self.num_batches)):
            if ahead not in pending:
                pending[ahead] = self._threads.submit(self._load, self.epoch, self.first_batch + ahead)
        return pending.pop(item).result()

    def _load(self, epoch: int, index: int) -> Batch:
        indices = self.sampler.batch(epoch, index)
        rng = np.random.default_rng([self.sampler.seed, epoch, 1 + index])  # [seed, epoch] is the sampler's
        clips = self.examples.clip_index[indices]
        x = self.examples.gather(indices, rng)
        allow_mixup = epoch < self.sampler.final_phase_start
        x, targets, weights = self.augmentation(x, self.targets[clips], self.weights[clips], rng, allow_mixup)
        if self.n_soft_classes:
            _weight_by_sum(targets, weights, self.n_soft_classes)
        return x, targets, weights


def _weight_by_sum(targets: np.ndarray, weights: np.ndarray, n_classes: int) -> None:
    """Scale the classes of each target to a sum of 1, and multiply the weights by the former sums, in place.

    The cross-entropy of logits in TensorFlow has a wrong gradient for other sums.

    Parameters
    ----------
    targets : ndarray, (batch, values)
        The first `n_classes` values of a target are its classes.
    weights : ndarray, (batch,)
    n_classes : int
    """
    classes = targets[:, :n_classes]
    sums = classes.sum(axis=1)
    classes /= np.maximum(sums, np.finfo(np.float32).tiny)[:, None]
    weights *= sums
