"""Examples: count, start and content; batches: each example once an epoch, by seed and number alone."""

import pickle
import subprocess
import sys
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcase2018.batches import Batches
from dcase2018.recipe import Recipe
from dcase2018.store import Entry, Store, checksum, write_store
from dcase2018.windows import Windows, count_examples, in_turn

RECIPE = Recipe(mel_bands=3)


def make_store(path: Path, lengths: list[int]) -> Store:
    """A store in which frame number n of the whole store holds n in every band."""
    ends = np.cumsum(lengths)
    frames = [
        np.repeat(np.arange(end - length, end, dtype=np.float32)[:, None], 3, axis=1)
        for length, end in zip(lengths, ends, strict=True)
    ]
    entries = [
        Entry(f"{i}.wav", len(clip), checksum(clip), size=0, mtime_ns=0) for i, clip in enumerate(frames)
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
    windows = Windows(store, rows, window, hop)
    expected, clips = [], []
    for position, row in enumerate(rows):
        clip = store.clip(row)
        start = 0
        while len(clip) and (start == 0 or start + window <= len(clip)):
            piece = clip[start : start + window]
            padding = np.full((window - len(piece), 3), RECIPE.silence, np.float32)
            expected.append(np.concatenate([piece, padding]))
            clips.append(position)
            start += hop
    assert windows.clip.tolist() == clips
    cut = windows.cut(np.arange(len(windows)))
    assert cut.dtype == np.float32
    np.testing.assert_array_equal(cut, np.reshape(expected, (-1, window, 3)))


def make_batches(path: Path, batch_size: int, **settings: int) -> Batches:
    windows = Windows(make_store(path / "s.h5", [100, 10, 0, 250, 73]), np.arange(5), 25, 12)
    weights = np.array([1, 0.5, 1, 0.25, 0.125], np.float32)
    return Batches(windows, np.eye(5, dtype=np.float32), weights, batch_size, seed=7, **settings)


@pytest.fixture(params=[4, 5, 100])  # the 32 examples fill batches of 4, but not of 5 or 100
def batches(tmp_path: Path, request: pytest.FixtureRequest) -> Batches:
    return make_batches(tmp_path, request.param)


def stream(batches: Batches, n_batches: int) -> list[tuple[float, int, float]]:
    """What so many batches serve: first frame, clip and weight of each example, in order."""
    items = [batches[item] for item in range(n_batches)]
    return [
        (float(example[0, 0]), int(target.argmax()), float(weight))
        for item in items
        for example, target, weight in zip(*item, strict=True)
    ]


def everything(batches: Batches) -> list[tuple[float, int, float]]:
    return [
        (float(example[0, 0]), int(clip), float(batches.weights[clip]))
        for examples, clips in in_turn(batches.windows, 5)
        for example, clip in zip(examples, clips, strict=True)
    ]


def test_every_epoch_serves_each_example_once_with_its_target_and_weight(batches: Batches) -> None:
    n = len(batches.windows)
    assert n == 32
    served = stream(batches, -(-3 * n // batches.batch_size))
    epochs = [served[start : start + n] for start in (0, n, 2 * n)]
    for epoch in epochs:
        assert sorted(epoch) == sorted(everything(batches))
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


def test_the_order_is_another_for_another_seed(tmp_path: Path) -> None:
    batches = make_batches(tmp_path, 4)
    other = Batches(batches.windows, batches.targets, batches.weights, 4, seed=8)
    assert stream(batches, 8) != stream(other, 8)


def test_an_item_depends_on_its_number_alone(batches: Batches) -> None:
    forwards = [batches[number] for number in range(20)]
    copy = pickle.loads(pickle.dumps(batches))
    for number in reversed(range(20)):
        for mine, theirs in zip(copy[number], forwards[number], strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_going_on_serves_what_was_left(tmp_path: Path) -> None:
    whole = stream(make_batches(tmp_path, 5), 20)
    assert stream(make_batches(tmp_path, 5, first=7), 13) == whole[35:]


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
    with h5py.File(tmp_path / "s.h5") as source, h5py.File(tmp_path / "packed.h5", "w") as target:
        for name in source:
            if name != "frames":
                source.copy(name, target)
        target.attrs.update(source.attrs)
        target.create_dataset("frames", data=source["frames"][:], chunks=(16, 3), compression="gzip")
    store = Store(tmp_path / "packed.h5")
    packed = Batches(Windows(store, np.arange(5), 25, 12), whole.targets, whole.weights, 5, seed=7)
    assert stream(packed, 20) == stream(whole, 20)
    store.verify()


MEMORY = """
import sys, pathlib, numpy as np
from dcase2018.batches import Batches
from dcase2018.store import Store
from dcase2018.windows import Windows

store = Store(pathlib.Path(sys.argv[1]))
n = len(store)
batches = Batches(Windows(store, np.arange(n), 25, 12), np.zeros((n, 41), "f4"), np.ones(n, "f4"), 64, 0)
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
        entries = [Entry(f"{i}.wav", 500, checksum(clip), 0, 0) for i in range(n_clips)]
        write_store(tmp_path / "s.h5", Recipe(), entries, (clip for _ in entries), durable=False)
        command = [sys.executable, "-c", MEMORY, str(tmp_path / "s.h5")]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        private.append(int(done.stdout) / 1024)
    assert (tmp_path / "s.h5").stat().st_size > 300e6
    assert private[1] - private[0] < 50  # MiB
