"""Benchmark `batches`: `BatchLoader` compared with slices read by h5py, and with copying memory.

The crops are those of the preset `compact`. "In Keras" uses a model without layers, so its rate is the
upper limit for training.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import h5py
import keras
import numpy as np
from harness import N_CLASSES, Corpus, Row, Size, measure_rates

from dcase2018.batching.augmentation import Augmentation
from dcase2018.batching.loader import BatchLoader
from dcase2018.batching.sampler import EpochSampler
from dcase2018.batching.windows import AllWindows, RandomCrops
from dcase2018.cli.keras_setup import keep_freed_memory
from dcase2018.features.config import FEATURE_CONFIGS
from dcase2018.features.extraction import extract
from dcase2018.features.store import Store
from dcase2018.features.store_writer import write_store
from dcase2018.models.hparams import PRESETS, HParams

BATCH_SIZE = 64
N_EPOCHS = 100
UNIT = "examples per second"

# Makes the batch with this index.
MakeBatch = Callable[[int], object]


class NoOpModel(keras.Model):
    """A model that reads batches and does nothing with them."""

    def make_train_function(self, force: bool = False) -> None:
        def skip_batch(iterator: Iterator) -> dict[str, float]:
            next(iterator)
            return {}

        self.train_function = skip_batch


def measure(corpus: Corpus, size: Size) -> list[Row]:
    keep_freed_memory()  # as in all commands that import Keras
    logmel96 = corpus.root / "logmel96.h5"
    extract(corpus.audio, logmel96, FEATURE_CONFIGS["logmel96"])
    return [*measure_examples(corpus, size), *measure_crops(Store(logmel96), size)]


def measure_examples(corpus: Corpus, size: Size) -> list[Row]:
    """Measure the examples of the preset `baseline`."""
    small = load_examples(Store(corpus.store))
    large = load_examples(repeat_store(Store(corpus.store), corpus.root / "large.h5", 10))
    source = small[0][0]
    with h5py.File(corpus.store) as file:
        make_batch: dict[str, MakeBatch] = {
            "h5py, slice by slice": partial(read_slices, file["frames"], small),
            "BatchLoader": partial(load_batch, small),
            "BatchLoader, 10x store": partial(load_batch, large),
            "copying memory": lambda index: source.copy(),
        }
        implementations = {
            name: partial(batch_rate, make, BATCH_SIZE, size.batches) for name, make in make_batch.items()
        }
        return measure_rates("batches", UNIT, implementations, size.rounds)


def measure_crops(store: Store, size: Size) -> list[Row]:
    """Measure the augmented crops of the preset `compact`."""
    loader = load_crops(store, size.batches)
    batch_size = loader.sampler.batch_size
    with h5py.File(store.path) as file:
        make_batch: dict[str, MakeBatch] = {
            "h5py, slice by slice": partial(read_slices, file["frames"], loader),
            "BatchLoader": partial(load_batch, loader),
        }
        implementations = {
            name: partial(batch_rate, make, batch_size, size.batches) for name, make in make_batch.items()
        }
        implementations |= {
            "in Keras": partial(keras_rate, loader),
            "in Keras, 2 threads": partial(keras_rate, load_crops(store, size.batches, n_workers=2)),
        }
        return measure_rates("crops", UNIT, implementations, size.rounds)


def keras_rate(loader: BatchLoader) -> float:
    """Rate of one epoch of `model.fit`, with a model that does nothing."""
    model = NoOpModel()
    model.compile()
    loader.set_epoch(0)
    started = time.perf_counter()
    model.fit(loader, verbose=0, shuffle=False)
    return loader.num_batches * loader.sampler.batch_size / (time.perf_counter() - started)


def load_examples(store: Store) -> BatchLoader:
    rows = np.arange(len(store))
    return make_loader(AllWindows(store, rows, 25, 12), HParams(batch_size=BATCH_SIZE))


def load_crops(store: Store, n_batches: int, n_workers: int = 1) -> BatchLoader:
    """Load crops in epochs of `n_batches` batches, for which clips are repeated."""
    hparams = PRESETS["compact"].hparams
    rows = np.resize(np.arange(len(store)), n_batches * hparams.batch_size)
    n_frames = hparams.crop_frames(store.feature_config)
    return make_loader(RandomCrops(store, rows, n_frames, hparams.pad_mode), hparams, n_workers)


def make_loader(examples: AllWindows | RandomCrops, hparams: HParams, n_workers: int = 1) -> BatchLoader:
    store, n_clips = examples.store, len(examples.rows)
    targets = np.eye(N_CLASSES, dtype=np.float32)[np.arange(n_clips) % N_CLASSES]
    weights = np.ones(n_clips, np.float32)
    sampler = EpochSampler(N_EPOCHS, len(examples), hparams.batch_size, seed=0)
    augmentation = Augmentation(hparams, store.feature_config)
    store.verify()  # also reads the store into the page cache
    loader = BatchLoader(examples, sampler, augmentation, targets, weights, n_workers)
    loader[0]  # shuffles the first epoch
    return loader


def locate_batch(loader: BatchLoader, index: int) -> tuple[int, int]:
    """Epoch of the batch with this index over all epochs, and its index in the epoch."""
    epoch, item = divmod(index, int(loader.sampler.n_batches[0]))
    return epoch % N_EPOCHS, item


def load_batch(loader: BatchLoader, index: int) -> object:
    epoch, item = locate_batch(loader, index)
    if epoch != loader.epoch:
        loader.set_epoch(epoch)
    return loader[item]


def read_slices(frames: h5py.Dataset, loader: BatchLoader, index: int) -> np.ndarray:
    """Read a batch of windows with h5py, one slice per example: (batch, n_frames, n_features)."""
    examples, n_frames = loader.examples, loader.examples.window
    clips = examples.clip_index[loader.sampler.batch(*locate_batch(loader, index))]
    starts = np.minimum(examples.store.offsets[examples.rows[clips]], len(frames) - n_frames)
    return np.stack([frames[start : start + n_frames].astype(np.float32) for start in starts])


def repeat_store(store: Store, path: Path, n_copies: int) -> Store:
    """Write a store with `n_copies` of every clip."""
    rows = np.tile(np.arange(len(store)), n_copies).tolist()
    records = [dataclasses.replace(store.record(row), fname=f"{i}.wav") for i, row in enumerate(rows)]
    write_store(path, store.feature_config, records, (store.frames_of(row) for row in rows), fsync=False)
    return Store(path)


def batch_rate(make_batch: MakeBatch, batch_size: int, n_batches: int) -> float:
    started = time.perf_counter()
    for index in range(n_batches):
        make_batch(index)
    return n_batches * batch_size / (time.perf_counter() - started)
