"""Batches out of a store against windows read by h5py one by one, and a plain copy of memory."""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from comparison import Corpus, Row, compare

from dcase2018.examples.augment import Augmentation
from dcase2018.examples.batches import Batches
from dcase2018.examples.epochs import Epochs
from dcase2018.examples.windows import Windows
from dcase2018.features.store import Store
from dcase2018.features.writing import write_store
from dcase2018.networks.hparams import HParams

N_BATCHES = 400
BATCH = 64


def batches_of(store: Store) -> Batches:
    rows = np.arange(len(store))
    windows = Windows(store, rows, 25, 12)
    targets = np.eye(41, dtype=np.float32)[rows % 41]
    weights = np.ones(len(rows), np.float32)
    plain = Augmentation(HParams(), store.recipe)
    np.asarray(store.frames).sum()  # into the page cache
    batches = Batches(windows, Epochs(5, len(windows), seed=0), plain, targets, weights, BATCH)
    batches[0]
    return batches


def ten_times(store: Store, path: Path) -> Store:
    """A store with every clip ten times."""
    rows = [row for _ in range(10) for row in range(len(store))]
    entries = [dataclasses.replace(store.entry(row), fname=f"{n}.wav") for n, row in enumerate(rows)]
    write_store(path, store.recipe, entries, (store.clip(row) for row in rows), durable=False)
    return Store(path)


def measure(corpus: Corpus, rounds: int = 5) -> list[Row]:
    store = Store(corpus.store)
    small, large = batches_of(store), batches_of(ten_times(store, corpus.root / "ten.h5"))
    source = small[0][0]

    def one_by_one(number: int) -> None:
        frames = file["frames"]
        examples, _ = small.epochs.batch(number, BATCH)
        starts = store.offsets[small.examples.clip[examples]]  # as many bytes from as many places
        np.stack([frames[start : start + 25] for start in starts])

    ways: dict[str, Callable[[int], object]] = {
        "h5py one by one": one_by_one,
        "Batches": small.__getitem__,
        "Batches, 10x store": large.__getitem__,
        "memory copy": lambda number: source.copy(),
    }

    def rate_of(name: str) -> float:
        started = time.perf_counter()
        for number in range(N_BATCHES):
            ways[name](number)
        return N_BATCHES * BATCH / (time.perf_counter() - started)

    with h5py.File(corpus.store) as file:
        return compare("batches", "examples a second", rate_of, list(ways), rounds)
