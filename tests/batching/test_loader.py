"""Windows of clips, and batches of shuffled examples as a function of (seed, epoch, index)."""

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
from dcase2018.features.store_writer import LIBVER, write_store
from dcase2018.models.hparams import HParams

FEATURES = FeatureConfig(mel_bands=3)


def make_store(path: Path, lengths: list[int], step: float = 1.0) -> Store:
    """A store in which frame n of the whole store has the value n * step in every band."""
    ends = np.cumsum(lengths)
    frames = [
        np.repeat(step * np.arange(end - length, end, dtype=np.float32)[:, None], 3, axis=1)
        for length, end in zip(lengths, ends, strict=True)
    ]
    records = [
        ClipRecord(f"{i}.wav", len(clip), checksum(clip), size=0, mtime_ns=0) for i, clip in enumerate(frames)
    ]
    write_store(path, FEATURES, records, frames)
    return Store(path)


@pytest.mark.parametrize(
    ("length", "n_examples"), [(0, 0), (1, 1), (24, 1), (25, 1), (36, 1), (37, 2), (48, 2), (49, 3), (98, 7)]
)
def test_count_examples(length: int, n_examples: int) -> None:
    assert count_examples(np.array([length]), 25, 12).tolist() == [n_examples]


@given(
    st.lists(st.integers(0, 90), min_size=1, max_size=12).filter(any),
    st.integers(1, 40),
    st.integers(1, 40),
)
def test_all_windows_match_a_loop_over_clips(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], window: int, hop: int
) -> None:
    store = make_store(tmp_path_factory.mktemp("windows") / "s.h5", lengths)
    rows = np.flatnonzero(np.arange(len(lengths)) % 3 != 1)  # without some clips
    windows = AllWindows(store, rows, window, hop)
    expected, clips = [], []
    for position, row in enumerate(rows):
        clip = store.frames_of(row)
        start = 0
        while len(clip) and (start == 0 or start + window <= len(clip)):
            frames = clip[start : start + window]
            padding = np.full((window - len(frames), 3), FEATURES.silence_value, np.float32)
            expected.append(np.concatenate([frames, padding]))
            clips.append(position)
            start += hop
    assert windows.clip_index.tolist() == clips
    x = windows.gather(np.arange(len(windows)))
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x, np.reshape(expected, (-1, window, 3)))


NO_AUGMENTATION = Augmentation(HParams(), FEATURES)
WEIGHTS = np.array([1, 0.5, 1, 0.25, 0.125], np.float32)
LENGTHS = [100, 10, 0, 250, 73]  # 32 windows
N_EPOCHS = 9


def loader_of(
    store: Store,
    batch_size: int,
    seed: int = 7,
    augmentation: Augmentation = NO_AUGMENTATION,
    n_workers: int = 1,
) -> BatchLoader:
    windows = AllWindows(store, np.arange(5), augmentation.hparams.crop_frames(FEATURES), 12)
    sampler = EpochSampler(N_EPOCHS, len(windows), batch_size, seed)
    targets = np.eye(5, dtype=np.float32)
    return BatchLoader(windows, sampler, augmentation, targets, WEIGHTS, n_workers)


def make_loader(path: Path, batch_size: int, **settings: Any) -> BatchLoader:
    return loader_of(make_store(path / "s.h5", LENGTHS), batch_size, **settings)


@pytest.fixture(params=[4, 5, 100])  # 32 examples are 8 batches of 4, 6 of 5 and a remainder, 1 of 32
def loader(tmp_path: Path, request: pytest.FixtureRequest) -> BatchLoader:
    return make_loader(tmp_path, request.param)


Example = tuple[float, int, float]  # first frame, clip and weight


def epoch_of(loader: BatchLoader, epoch: int, first_batch: int = 0) -> list[Example]:
    """The examples of an epoch in order."""
    loader.set_epoch(epoch, first_batch)
    batches = [loader[item] for item in range(loader.num_batches)]
    return [
        (float(x[0, 0]), int(target.argmax()), float(weight))
        for batch in batches
        for x, target, weight in zip(*batch, strict=True)
    ]


def all_examples(loader: BatchLoader) -> list[Example]:
    return [
        (float(x[0, 0]), int(clip), float(loader.weights[clip]))
        for batch, clips in iter_batches(loader.examples, 5)
        for x, clip in zip(batch, clips, strict=True)
    ]


def test_epoch_has_each_example_once_in_whole_batches(loader: BatchLoader) -> None:
    assert len(loader.examples) == 32
    epochs = [epoch_of(loader, epoch) for epoch in range(3)]
    for examples in epochs:
        assert len(examples) == 32 // loader.sampler.batch_size * loader.sampler.batch_size
        assert len(set(examples)) == len(examples)
        assert set(examples) <= set(all_examples(loader))
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


@pytest.mark.parametrize("mixup_alpha", [0.0, 0.5])
def test_sum_of_a_soft_target_is_a_factor_of_the_weight(tmp_path: Path, mixup_alpha: float) -> None:
    """Of two loaders with the same mixup, one has soft targets with a last value that is not a class."""
    augmentation = Augmentation(HParams(mixup_alpha=mixup_alpha), FEATURES)
    hard, soft = (make_loader(tmp_path, 8, augmentation=augmentation) for _ in range(2))
    factors = np.array([1, 0.25, 1, 0.5, 1e-30], np.float32)
    soft.set_soft_targets(np.column_stack([np.diag(factors), np.arange(5)]).astype(np.float32), n_classes=5)
    for item in range(hard.num_batches):
        (x, targets, weights), (soft_x, soft_targets, soft_weights) = hard[item], soft[item]
        np.testing.assert_array_equal(soft_x, x)
        share = targets @ factors
        np.testing.assert_allclose(soft_weights, weights * share, rtol=1e-5)
        np.testing.assert_allclose(soft_targets[:, :5], targets * factors / share[:, None], atol=1e-6)
        np.testing.assert_allclose(soft_targets[:, 5], targets @ np.arange(5), rtol=1e-5)
        assert soft_targets.dtype == soft_weights.dtype == np.float32


def test_remainder_differs_between_epochs(tmp_path: Path) -> None:
    loader = make_loader(tmp_path, 5)
    remainders = [frozenset(all_examples(loader)) - set(epoch_of(loader, epoch)) for epoch in range(5)]
    assert {len(remainder) for remainder in remainders} == {2}
    assert len(set(remainders)) > 1


def test_order_depends_on_the_seed(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s.h5", LENGTHS)
    assert epoch_of(loader_of(store, 4), 0) != epoch_of(loader_of(store, 4, seed=8), 0)


ALL_AUGMENTATIONS = HParams(
    time_shift=0.5,
    gain_db=6,
    speed_change=0.2,
    filter_augment_db=6,
    time_mask=0.3,
    freq_mask=0.5,
    mixup_alpha=0.3,
)


@pytest.mark.parametrize("hparams", [HParams(), ALL_AUGMENTATIONS])
def test_item_depends_on_epoch_and_index_alone(tmp_path: Path, hparams: HParams) -> None:
    store = make_store(tmp_path / "s.h5", LENGTHS, step=0.1)  # log mel values, whose exponential is finite
    loader = loader_of(store, 5, augmentation=Augmentation(hparams, FEATURES))
    copy = pickle.loads(pickle.dumps(loader))
    items = [(epoch, index) for epoch in range(4) for index in range(6)]
    batches = {}
    for epoch, index in items:
        loader.set_epoch(epoch)
        batches[epoch, index] = loader[index]
        assert np.isfinite(loader[index][0]).all()
    for epoch, index in reversed(items):
        copy.set_epoch(epoch)
        for copied, original in zip(copy[index], batches[epoch, index], strict=True):
            np.testing.assert_array_equal(copied, original)


@pytest.mark.parametrize("n_workers", [1, 4])
def test_resumed_epoch_continues_at_the_next_batch(tmp_path: Path, n_workers: int) -> None:
    examples = epoch_of(make_loader(tmp_path, 5), 2)
    loader = make_loader(tmp_path, 5, n_workers=n_workers)
    loader.set_epoch(2, first_batch=4)
    assert loader.num_batches == 2
    assert epoch_of(loader, 2, first_batch=4) == examples[20:]


@pytest.mark.parametrize("n_workers", [1, 4])
def test_keras_receives_the_same_batches_from_any_number_of_workers(tmp_path: Path, n_workers: int) -> None:
    loader = make_loader(tmp_path, 4, n_workers=n_workers)
    received: list[np.ndarray] = []

    class Record(keras.layers.Layer):
        def call(self, x: np.ndarray) -> np.ndarray:
            received.append(keras.ops.convert_to_numpy(x))
            return keras.ops.mean(x, axis=1)

    model = keras.Sequential([Record(), keras.layers.Dense(5)])
    model.compile("sgd", "mse", run_eagerly=True)
    received.clear()
    set_epoch = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: loader.set_epoch(epoch))
    model.fit(loader, epochs=3, shuffle=False, verbose=0, callbacks=[set_epoch])
    reference = make_loader(tmp_path, 4)
    expected = []
    for epoch in range(3):
        reference.set_epoch(epoch)
        expected += [reference[index][0] for index in range(8)]
    np.testing.assert_array_equal(received[-24:], expected)


def test_compressed_store_gives_the_same_batches(tmp_path: Path) -> None:
    loader = make_loader(tmp_path, 5)
    packed = tmp_path / "packed.h5"
    with h5py.File(tmp_path / "s.h5") as source, h5py.File(packed, "w", libver=LIBVER) as target:
        for name in source:
            if name != "frames":
                source.copy(name, target)
        target.attrs.update(source.attrs)
        target.create_dataset("frames", data=source["frames"][:], chunks=(16, 3), compression="gzip")
    store = Store(packed)
    assert epoch_of(loader_of(store, 5), 0) == epoch_of(loader, 0)
    store.verify()


def test_random_crops_cover_the_whole_clip(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s.h5", LENGTHS)
    crops = RandomCrops(store, np.arange(5), 25, "wrap")
    assert crops.clip_index.tolist() == [0, 1, 3, 4]  # clip 2 has no frames
    rng = np.random.default_rng(0)
    batches = [crops.gather(np.arange(4), rng)[:, :, 0] for _ in range(300)]
    for clip, (first, length) in {0: (0, 100), 2: (110, 250), 3: (360, 73)}.items():
        starts = {int(crop[clip, 0]) for crop in batches}
        assert min(starts) >= first
        assert max(starts) <= first + length - 25
        assert len(starts) > 0.6 * (length - 24)
        assert all((np.diff(crop[clip]) == 1).all() for crop in batches)
    for crop in batches:
        np.testing.assert_array_equal(crop[1], 100 + np.arange(25) % 10)  # repeated


def test_all_windows_repeat_short_clips(tmp_path: Path) -> None:
    windows = AllWindows(make_store(tmp_path / "s.h5", [10]), np.arange(1), 25, 12, "wrap")
    np.testing.assert_array_equal(windows.gather(np.arange(1))[0, :, 0], np.arange(25) % 10)


def test_final_epochs_have_final_examples_only() -> None:
    final_examples = np.array([2, 3, 5, 7, 8])
    sampler = EpochSampler(3, 10, 4, seed=0, final_examples=final_examples, n_final_epochs=1)
    assert sampler.n_batches.tolist() == [2, 2, 1]
    assert sampler.epoch_ends.tolist() == [2, 4, 5]
    assert sorted(sampler.order(0)) == sorted(sampler.order(1)) == list(range(10))
    assert sorted(sampler.order(2)) == final_examples.tolist()
    assert set(sampler.batch(2, 0)) <= set(final_examples)


def test_epoch_smaller_than_a_batch_repeats_examples() -> None:
    final_examples = np.array([2, 3, 5])
    sampler = EpochSampler(2, 10, 8, seed=0, final_examples=final_examples, n_final_epochs=1)
    assert sampler.n_batches.tolist() == [1, 1]
    assert len(sampler.batch(1, 0)) == 8
    assert set(sampler.batch(1, 0)) == {2, 3, 5}


def test_sampling_weights_are_drawing_probabilities() -> None:
    sampling_weights = np.repeat([1.0, 3.0], [500, 500])
    order = EpochSampler(1, 1000, 10, seed=0, sampling_weights=sampling_weights).order(0)
    assert len(order) == 1000
    assert (order >= 500).mean() == pytest.approx(0.75, abs=0.04)


MEMORY = """
import sys, pathlib, numpy as np
from dcase2018.batching.augmentation import Augmentation
from dcase2018.batching.loader import BatchLoader
from dcase2018.batching.sampler import EpochSampler
from dcase2018.batching.windows import AllWindows
from dcase2018.features.store import Store
from dcase2018.models.hparams import HParams

store = Store(pathlib.Path(sys.argv[1]))
n = len(store)
windows = AllWindows(store, np.arange(n), 25, 12)
augmentation = Augmentation(HParams(), store.feature_config)
sampler = EpochSampler(5, len(windows), 64, 0)
loader = BatchLoader(windows, sampler, augmentation, np.zeros((n, 41), "f4"), np.ones(n, "f4"))
for item in range(400):
    loader.set_epoch(item // loader.sampler.n_batches[0] % 5)
    loader[item % loader.num_batches]
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(int(status["RssAnon"].split()[0]))
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_store(tmp_path: Path) -> None:
    private_mib = []
    for n_clips in (300, 3000):
        clip = np.zeros((500, 64), np.float32)
        records = [ClipRecord(f"{i}.wav", 500, checksum(clip), 0, 0) for i in range(n_clips)]
        write_store(tmp_path / "s.h5", FeatureConfig(), records, (clip for _ in records), fsync=False)
        command = [sys.executable, "-c", MEMORY, str(tmp_path / "s.h5")]
        result = subprocess.run(command, capture_output=True, text=True, check=True)
        private_mib.append(int(result.stdout) / 1024)
    assert (tmp_path / "s.h5").stat().st_size > 300e6
    assert private_mib[1] - private_mib[0] < 50
