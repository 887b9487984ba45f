"""Batches of examples for Keras, shuffled across all clips."""

import keras
import numpy as np

from dcase2018.batching.augmentation import Augmentation
from dcase2018.batching.sampler import EpochSampler
from dcase2018.batching.windows import AllWindows, RandomCrops


class BatchLoader(keras.utils.PyDataset):
    """Shuffled batches `(examples, targets, weights)` out of the stream of all epochs.

    A batch is the next `batch_size` examples of the stream, so that one may end an epoch and begin the
    next. What a batch holds is a function of (seed, number) alone, whoever asks for it, and when.

    Parameters
    ----------
    targets
        Target of each clip of `examples`, float32, (clips, values).
    weights
        What each clip counts for in the loss, float32, (clips,).
    start_batch
        Number of the batch that is item 0, where training goes on.
    """

    def __init__(
        self,
        examples: AllWindows | RandomCrops,
        epochs: EpochSampler,
        augmentation: Augmentation,
        targets: np.ndarray,
        weights: np.ndarray,
        batch_size: int,
        start_batch: int = 0,
        workers: int = 1,
    ) -> None:
        super().__init__(workers=workers)
        self.examples, self.epochs, self.augmentation = examples, epochs, augmentation
        self.targets, self.weights = targets, weights
        self.batch_size, self.start_batch = batch_size, start_batch

    @property
    def num_batches(self) -> None:
        """None: Keras then asks for one item after the other without end."""
        return None

    def __getitem__(self, item: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        number = self.start_batch + item
        chosen, epoch = self.epochs.batch(number, self.batch_size)
        rng = np.random.default_rng([self.epochs.seed, 0, number])  # apart from those of the epochs
        clips = self.examples.clip_index[chosen]
        batch = self.examples.gather(chosen, rng), self.targets[clips], self.weights[clips]
        return self.augmentation(*batch, rng, mixing=epoch < self.epochs.final_phase_start)
