"""Batches out of a store against windows read by h5py one by one, and a plain copy of memory.

The crops are `compact`'s, augmented; where they are served by Keras, nobody learns from them, so that their
rate is that of a step that takes no time.
"""

import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import keras
import numpy as np
from comparison import Corpus, Row, compare

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

Way = Callable[[int], object]

N_BATCHES = 400
BATCH = 64


def examples_of(store: Store) -> BatchLoader:
    windows = AllWindows(store, np.arange(len(store)), 25, 12)
    return batches_of(store, windows, HParams(batch_size=BATCH))


def crops_of(store: Store, workers: int = 1) -> BatchLoader:
    hparams = PRESETS["compact"].hparams
    crops = RandomCrops(
        store, np.arange(len(store)), hparams.example_frames(store.feature_config), hparams.pad_mode
    )
    return batches_of(store, crops, hparams, workers)


def batches_of(
    store: Store, examples: AllWindows | RandomCrops, hparams: HParams, workers: int = 1
) -> BatchLoader:
    rows = np.arange(len(store))
    targets = np.eye(41, dtype=np.float32)[rows % 41]
    weights = np.ones(len(rows), np.float32)
    change = Augmentation(hparams, store.feature_config)
    store.verify()  # which also takes it into the page cache
    # One long epoch, so that every batch is an item of it
    order = EpochSampler(1, 100 * len(examples), hparams.batch_size, seed=0)
    order.all_examples = order.all_examples % len(examples)
    order.final_examples = order.all_examples
    batches = BatchLoader(examples, order, change, targets, weights, n_workers=workers)
    batches[0]
    return batches


class Idle(keras.Model):
    """A network that takes its batches and does nothing with them."""

    def make_train_function(self, force: bool = False) -> None:
        def take(iterator: Iterator) -> dict[str, float]:
            next(iterator)
            return {}

        self.train_function = take


def ten_times(store: Store, path: Path) -> Store:
    """A store with every clip ten times."""
    rows = [row for _ in range(10) for row in range(len(store))]
    entries = [dataclasses.replace(store.record(row), fname=f"{n}.wav") for n, row in enumerate(rows)]
    write_store(path, store.feature_config, entries, (store.frames_of(row) for row in rows), fsync=False)
    return Store(path)


def measure(corpus: Corpus, rounds: int = 5) -> list[Row]:
    keep_freed_memory()  # as all commands that load Keras do
    wide = corpus.root / "logmel96.h5"
    extract(corpus.audio, wide, FEATURE_CONFIGS["logmel96"])
    return [*measure_examples(corpus, rounds), *measure_crops(Store(wide), rounds)]


def measure_examples(corpus: Corpus, rounds: int) -> list[Row]:
    store = Store(corpus.store)
    small, large = examples_of(store), examples_of(ten_times(store, corpus.root / "ten.h5"))
    source = small[0][0]
    with h5py.File(corpus.store) as file:
        ways: dict[str, Way] = {
            "h5py one by one": lambda number: one_by_one(file["frames"], small, number, 25),
            "Batches": small.__getitem__,
            "Batches, 10x store": large.__getitem__,
            "memory copy": lambda number: source.copy(),
        }
        return compare_ways("batches", ways, BATCH, rounds)


def measure_crops(store: Store, rounds: int) -> list[Row]:
    batches = crops_of(store)
    window = batches.examples.window
    idle = Idle()
    idle.compile()

    def server(workers: int) -> None:
        dataset = crops_of(store, workers)
        idle.fit(dataset, steps_per_epoch=N_BATCHES, verbose=0, shuffle=False)

    with h5py.File(store.path) as file:
        ways: dict[str, Way] = {
            "h5py, as they are": lambda number: one_by_one(file["frames"], batches, number, window),
            "Batches": batches.__getitem__,
        }
        wholes = {"served by Keras": lambda: server(1), "by two threads": lambda: server(2)}
        return compare_ways("random_crop", ways, batches.sampler.batch_size, rounds, wholes)


def one_by_one(frames: h5py.Dataset, batches: BatchLoader, number: int, window: int) -> None:
    """Read as many frames from as many places."""
    examples = batches.sampler.batch(0, number)
    store = batches.examples.store
    starts = np.minimum(store.offsets[batches.examples.clip_index[examples]], len(frames) - window)
    np.stack([frames[start : start + window].astype(np.float32) for start in starts])


def compare_ways(
    part: str,
    ways: dict[str, Way],
    batch_size: int,
    rounds: int,
    wholes: dict[str, Callable[[], None]] | None = None,
) -> list[Row]:
    """Time ways to make a batch, and `wholes`, which make all of them by themselves."""
    wholes = wholes or {}

    def rate_of(name: str) -> float:
        started = time.perf_counter()
        if name in wholes:
            wholes[name]()
        else:
            for number in range(N_BATCHES):
                ways[name](number)
        return N_BATCHES * batch_size / (time.perf_counter() - started)

    return compare(part, "examples a second", rate_of, [*ways, *wholes], rounds)
