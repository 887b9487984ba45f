"""Batches out of a store against windows read by h5py one by one, and a plain copy of memory."""

import time

import h5py
import numpy as np
from comparison import Corpus, Row, compare

from dcase2018.augment import Augmentation
from dcase2018.batches import Batches
from dcase2018.epochs import Epochs
from dcase2018.hparams import HParams
from dcase2018.store import Store
from dcase2018.windows import Windows

N_BATCHES = 400
BATCH = 64


def measure(corpus: Corpus, rounds: int = 5) -> list[Row]:
    store = Store(corpus.store)
    rows = np.arange(len(store))
    windows = Windows(store, rows, 25, 12)
    targets = np.eye(41, dtype=np.float32)[rows % 41]
    plain = Augmentation(HParams(), store.recipe)
    weights = np.ones(len(rows), np.float32)
    batches = Batches(windows, Epochs(5, len(windows), seed=0), plain, targets, weights, BATCH)
    np.asarray(store.frames).sum()  # into the page cache
    batches[0]
    source = batches[0][0]

    def ours(number: int) -> None:
        batches[number]

    def one_by_one(number: int) -> None:
        frames = file["frames"]
        examples, _ = batches.epochs.batch(number, BATCH)
        starts = store.offsets[windows.clip[examples]]  # of the clips: as many bytes from as many places
        np.stack([frames[start : start + 25] for start in starts])

    def copy(number: int) -> None:
        source.copy()

    ways = {"h5py one by one": one_by_one, "Batches": ours, "memory copy": copy}

    def rate_of(name: str) -> float:
        started = time.perf_counter()
        for number in range(N_BATCHES):
            ways[name](number)
        return N_BATCHES * BATCH / (time.perf_counter() - started)

    with h5py.File(corpus.store) as file:
        return compare("batches", "examples a second", rate_of, list(ways), rounds)
