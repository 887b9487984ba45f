"""Examples: count, start and content; batches: each example once an epoch, by seed and number alone."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcase2018.batches import Batches, Windows, count_examples, in_turn
from dcase2018.recipe import Recipe
from dcase2018.store import Entry, Store, checksum, write_store

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


@pytest.fixture
def batches(tmp_path: Path) -> Batches:
    windows = Windows(make_store(tmp_path / "s.h5", [100, 10, 0, 250, 73]), np.arange(5), 25, 12)
    return Batches(windows, np.eye(5, dtype=np.float32), batch_size=4, seed=7)


def served(batches: Batches, epoch: int) -> list[tuple[float, int]]:
    """What an epoch serves: first frame and clip of each example, in order."""
    items = [batches[epoch * batches.steps + step] for step in range(batches.steps)]
    return [
        (float(example[0, 0]), int(target.argmax()))
        for examples, targets in items
        for example, target in zip(examples, targets, strict=True)
    ]


def test_an_epoch_serves_each_example_once_with_its_target(batches: Batches) -> None:
    assert len(batches.windows) % 4 == 0  # so that none is left out
    everything = [
        (float(example[0, 0]), int(clip))
        for examples, clips in in_turn(batches.windows, 5)
        for example, clip in zip(examples, clips, strict=True)
    ]
    for epoch in range(3):
        assert sorted(served(batches, epoch)) == sorted(everything)


def test_the_order_is_another_each_epoch_and_seed(batches: Batches) -> None:
    other = Batches(batches.windows, batches.targets, 4, seed=8)
    orders = [served(batches, 0), served(batches, 1), served(other, 0)]
    assert orders[0] != orders[1] != orders[2] != orders[0]


def test_an_item_depends_on_its_number_alone(batches: Batches) -> None:
    forwards = [batches[number] for number in range(3 * batches.steps)]
    copy = pickle.loads(pickle.dumps(batches))
    for number in reversed(range(3 * batches.steps)):
        for mine, theirs in zip(copy[number], forwards[number], strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_a_batch_is_no_larger_than_there_are_examples(tmp_path: Path) -> None:
    windows = Windows(make_store(tmp_path / "s.h5", [30]), np.arange(1), 25, 12)
    batches = Batches(windows, np.eye(1, dtype=np.float32), batch_size=64, seed=0)
    assert batches[0][0].shape == (1, 25, 3)
    assert batches.steps == 1
