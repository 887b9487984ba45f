"""Examples: count, start and content; batches: each example once an epoch, by seed and number alone."""

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcase2018.batching.augmentation import Augmentation
from dcase2018.batching.loader import BatchLoader
from dcase2018.batching.sampler import EpochSampler
from dcase2018.batching.windows import AllWindows, RandomCrops, count_examples, iter_batches
from dcase2018.features.config import FeatureConfig
from dcase2018.features.store import ClipRecord, Store, checksum
from dcase2018.features.store_writer import write_store
from dcase2018.models.hparams import HParams

RECIPE = FeatureConfig(mel_bands=3)


def make_store(path: Path, lengths: list[int]) -> Store:
    """A store in which frame number n of the whole store holds n in every band."""
    ends = np.cumsum(lengths)
    frames = [
        np.repeat(np.arange(end - length, end, dtype=np.float32)[:, None], 3, axis=1)
        for length, end in zip(lengths, ends, strict=True)
    ]
    entries = [
        ClipRecord(f"{i}.wav", len(clip), checksum(clip), size=0, mtime_ns=0) for i, clip in enumerate(frames)
    ]
    write_store(path, RECIPE, entries, frames)
    return Store(path)


@pytest.mark.parametrize(
    ("length", "count"), [(0, 0), (1, 1), (24, 1), (25, 1), (36, 1), (37, 2), (48, 2), (49, 3), (98, 7)]
)
def test_count(length: int, count: int) -> None:
    assert count_examples(np.array([length]), 25, 12).tolist() == [count]


@given(
    st.lists(st.integers(0, 90), min_size=1, max_size=12).filter(any),
    st.integers(1, 40),
    st.integers(1, 40),
)
def test_examples_are_the_windows_of_each_clip(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], window: int, hop: int
) -> None:
    store = make_store(tmp_path_factory.mktemp("windows") / "s.h5", lengths)
    rows = np.flatnonzero(np.arange(len(lengths)) % 3 != 1)  # leave some clips out
    windows = AllWindows(store, rows, window, hop)
    expected, clips = [], []
    for position, row in enumerate(rows):
        clip = store.frames_of(row)
        start = 0
        while len(clip) and (start == 0 or start + window <= len(clip)):
            piece = clip[start : start + window]
            padding = np.full((window - len(piece), 3), RECIPE.silence_value, np.float32)
            expected.append(np.concatenate([piece, padding]))
            clips.append(position)
            start += hop
    assert windows.clip_index.tolist() == clips
    cut = windows.gather(np.arange(len(windows)))
    assert cut.dtype == np.float32
    np.testing.assert_array_equal(cut, np.reshape(expected, (-1, window, 3)))


PLAIN = Augmentation(HParams(), RECIPE)
WEIGHTS = np.array([1, 0.5, 1, 0.25, 0.125], np.float32)
LENGTHS = [100, 10, 0, 250, 73]


def batches_of(
    store: Store, batch_size: int, seed: int = 7, augmentation: Augmentation = PLAIN, **settings: int
) -> BatchLoader:
    windows = AllWindows(store, np.arange(5), 25, 12)
    epochs = EpochSampler(9, len(windows), seed)
    targets = np.eye(5, dtype=np.float32)
    return BatchLoader(windows, epochs, augmentation, targets, WEIGHTS, batch_size, **settings)


def make_batches(path: Path, batch_size: int, **settings: Any) -> BatchLoader:
    return batches_of(make_store(path / "s.h5", LENGTHS), batch_size, **settings)


@pytest.fixture(params=[4, 5, 100])  # the 32 examples fill batches of 4, but not of 5 or 100
def batches(tmp_path: Path, request: pytest.FixtureRequest) -> BatchLoader:
    return make_batches(tmp_path, request.param)


def stream(batches: BatchLoader, n_batches: int) -> list[tuple[float, int, float]]:
    """What so many batches serve: first frame, clip and weight of each example, in order."""
    items = [batches[item] for item in range(n_batches)]
    return [
        (float(example[0, 0]), int(target.argmax()), float(weight))
        for item in items
        for example, target, weight in zip(*item, strict=True)
    ]


def everything(batches: BatchLoader) -> list[tuple[float, int, float]]:
    return [
        (float(example[0, 0]), int(clip), float(batches.weights[clip]))
        for examples, clips in iter_batches(batches.examples, 5)
        for example, clip in zip(examples, clips, strict=True)
    ]


def test_every_epoch_serves_each_example_once_with_its_target_and_weight(batches: BatchLoader) -> None:
    n = len(batches.examples)
    assert n == 32
    server = stream(batches, -(-3 * n // batches.batch_size))
    epochs = [server[start : start + n] for start in (0, n, 2 * n)]
    for epoch in epochs:
        assert sorted(epoch) == sorted(everything(batches))
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


def test_the_order_is_another_for_another_seed(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s.h5", LENGTHS)
    assert stream(batches_of(store, 4), 8) != stream(batches_of(store, 4, seed=8), 8)


EVERYTHING = HParams(
    time_shift=0.5,
    gain_db=6,
    freq_shift=0.1,
    filter_augment_db=6,
    time_mask=0.3,
    freq_mask=0.5,
    mixup_alpha=0.3,
)


@pytest.mark.parametrize("hparams", [HParams(), EVERYTHING])
def test_an_item_depends_on_its_number_alone(tmp_path: Path, hparams: HParams) -> None:
    batches = make_batches(tmp_path, 5, augmentation=Augmentation(hparams, RECIPE))
    forwards = [batches[number] for number in range(20)]
    copy = pickle.loads(pickle.dumps(batches))
    for number in reversed(range(20)):
        for mine, theirs in zip(copy[number], forwards[number], strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_going_on_serves_what_was_left(tmp_path: Path) -> None:
    whole = stream(make_batches(tmp_path, 5), 20)
    assert stream(make_batches(tmp_path, 5, start_batch=7), 13) == whole[35:]


@pytest.mark.parametrize("workers", [1, 4])
def test_keras_is_served_the_same_by_any_number_of_workers(tmp_path: Path, workers: int) -> None:
    batches = make_batches(tmp_path, 4, workers=workers)
    seen: list[np.ndarray] = []

    class Watch(keras.layers.Layer):
        def call(self, x: np.ndarray) -> np.ndarray:
            seen.append(keras.ops.convert_to_numpy(x))
            return keras.ops.mean(x, axis=1)

    model = keras.Sequential([Watch(), keras.layers.Dense(5)])
    model.compile("sgd", "mse", run_eagerly=True)
    seen.clear()
    model.fit(batches, steps_per_epoch=24, shuffle=False, verbose=0)
    expected = [batches[item][0] for item in range(24)]
    np.testing.assert_array_equal(seen[-24:], expected)


def test_a_compressed_store_serves_the_same(tmp_path: Path) -> None:
    whole = make_batches(tmp_path, 5)
    with h5py.File(tmp_path / "s.h5") as source, h5py.File(tmp_path / "packed.h5", "w", libver=("v110", "v110")) as target:
        for name in source:
            if name != "frames":
                source.copy(name, target)
        target.attrs.update(source.attrs)
        target.create_dataset("frames", data=source["frames"][:], chunks=(16, 3), compression="gzip")
    store = Store(tmp_path / "packed.h5")
    assert stream(batches_of(store, 5), 20) == stream(whole, 20)
    store.verify()


def test_crops_come_from_anywhere_in_a_clip_one_an_epoch(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s.h5", LENGTHS)
    crops = RandomCrops(store, np.arange(5), 25, "wrap")
    assert crops.clip_index.tolist() == [0, 1, 3, 4]  # clip 2 has no frames
    rng = np.random.default_rng(0)
    drawn = [crops.gather(np.arange(4), rng)[:, :, 0] for _ in range(300)]
    for clip, (first, length) in {0: (0, 100), 2: (110, 250), 3: (360, 73)}.items():
        starts = {int(crop[clip, 0]) for crop in drawn}
        assert min(starts) >= first
        assert max(starts) <= first + length - 25
        assert len(starts) > 0.6 * (length - 24)
        assert all((np.diff(crop[clip]) == 1).all() for crop in drawn)
    for crop in drawn:
        np.testing.assert_array_equal(crop[1], 100 + np.arange(25) % 10)  # again and again


def test_short_clips_are_tiled_in_scoring_too(tmp_path: Path) -> None:
    windows = AllWindows(make_store(tmp_path / "s.h5", [10]), np.arange(1), 25, 12, "wrap")
    np.testing.assert_array_equal(windows.gather(np.arange(1))[0, :, 0], np.arange(25) % 10)


def test_the_last_epochs_are_of_some_examples_only() -> None:
    some = np.array([2, 3, 5])
    epochs = EpochSampler(3, 10, seed=0, final_examples=some, n_final_epochs=1)
    assert epochs.ends.tolist() == [10, 20, 23]
    server = np.concatenate([epochs.batch(number, 4)[0] for number in range(6)])
    assert sorted(server[:10]) == sorted(server[10:20]) == list(range(10))
    assert sorted(server[20:23]) == some.tolist()
    assert [epochs.batch(number, 4)[1] for number in range(6)] == [0, 0, 0, 1, 1, 2]
    assert len(epochs.batch(100, 4)[0]) == 4  # beyond the end it begins again


def test_examples_may_be_drawn_by_odds() -> None:
    sampling_weights = np.repeat([1.0, 3.0], [500, 500])
    drawn = EpochSampler(1, 1000, seed=0, sampling_weights=sampling_weights).order(0)
    assert len(drawn) == 1000
    assert (drawn >= 500).mean() == pytest.approx(0.75, abs=0.04)


MEMORY = """
import sys, pathlib, numpy as np
from dcase2018.batching.augmentation import Augmentation
from dcase2018.batching.loader import Batches
from dcase2018.batching.sampler import Epochs
from dcase2018.batching.windows import Windows
from dcase2018.features.store import Store
from dcase2018.models.hparams import HParams

store = Store(pathlib.Path(sys.argv[1]))
n = len(store)
windows = Windows(store, np.arange(n), 25, 12)
plain = Augmentation(HParams(), store.feature_config)
batches = Batches(windows, Epochs(5, len(windows), 0), plain, np.zeros((n, 41), "f4"), np.ones(n, "f4"), 64)
for item in range(400):
    batches[item]
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["RssAnon"].split()[0]))
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_store(tmp_path: Path) -> None:
    private = []
    for n_clips in (300, 3000):
        clip = np.zeros((500, 64), np.float32)
        entries = [ClipRecord(f"{i}.wav", 500, checksum(clip), 0, 0) for i in range(n_clips)]
        write_store(tmp_path / "s.h5", FeatureConfig(), entries, (clip for _ in entries), fsync=False)
        command = [sys.executable, "-c", MEMORY, str(tmp_path / "s.h5")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        private.append(int(done.stdout) / 1024)
    assert (tmp_path / "s.h5").stat().st_size > 300e6
    assert private[1] - private[0] < 50  # MiB
