"""Training on a store made by hand: reproducible, kept on the way, and honest about a lost cause."""

from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from conftest import BASELINE

from dcase2018 import training
from dcase2018.errors import Dcase2018Error
from dcase2018.hparams import HParams, Preset
from dcase2018.run import Run
from dcase2018.store import Entry, Store, checksum, write_store
from dcase2018.training import fit

PRESET = Preset("mlp", HParams(batch_size=8, nh=16, lr=0.01, weights_init_stddev=0.1), epochs=4)


def make_data(path: Path, level: float = 1.0) -> tuple[Store, pd.DataFrame]:
    """Clips of three classes, each of noise around a level of its own."""
    rng = np.random.default_rng(0)
    frames = [level * (rng.standard_normal((61, 64)) + 2 * (i % 3)).astype(np.float32) for i in range(30)]
    entries = [Entry(f"{i}.wav", 61, checksum(clip), 0, 0) for i, clip in enumerate(frames)]
    write_store(path, BASELINE, entries, frames)
    labels = {"fname": [f"{i}.wav" for i in range(30)], "label": [f"class {i % 3}" for i in range(30)]}
    return Store(path), pd.DataFrame(labels, dtype=object)


def weights(run: Run) -> list[np.ndarray]:
    return [keras.ops.convert_to_numpy(w) for w in run.load_model().weights]


def test_the_same_seed_gives_the_same_weights(tmp_path: Path) -> None:
    store, labels = make_data(tmp_path / "s.h5")
    runs = [
        fit(store, labels, tmp_path / name, PRESET, seed=seed)
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    for a, b in zip(weights(runs[0]), weights(runs[1]), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (weights(runs[0])[0] != weights(runs[2])[0]).any()
    histories = [(tmp_path / name / "history.csv").read_text().splitlines() for name in "ab"]
    losses = [[line.rpartition(",")[0] for line in history] for history in histories]  # less the seconds
    assert losses[0] == losses[1]


def test_a_class_map_sets_the_order_and_may_name_more(tmp_path: Path) -> None:
    store, labels = make_data(tmp_path / "s.h5")
    classes = ["class 2", "another", "class 1", "class 0"]
    run = fit(store, labels, tmp_path / "run", PRESET, classes=classes)
    assert Run.load(tmp_path / "run").class_clips == [10, 0, 10, 10]
    assert run.load_model().output_shape == (None, 4)


def test_a_checkpoint_now_and_then_is_kept_for_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "CHECKPOINTS_KEPT", 2)
    store, labels = make_data(tmp_path / "s.h5")
    fit(store, labels, tmp_path / "run", PRESET, checkpoint_steps=3)
    last = 4 * (30 * 4 // 8)
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) == 2
    monkeypatch.setattr(training, "LASTING_SECONDS", 0)
    fit(store, labels, tmp_path / "run", PRESET, checkpoint_steps=3)
    assert len(list((tmp_path / "run" / "checkpoints").iterdir())) == last // 3


def test_a_loss_that_is_no_number_stops_the_training(tmp_path: Path) -> None:
    store, labels = make_data(tmp_path / "s.h5", level=1e37)
    with pytest.raises(Dcase2018Error, match=r"the loss became (nan|inf) at step \d+; try a smaller lr"):
        fit(store, labels, tmp_path / "run", PRESET)
    assert not (tmp_path / "run" / "model.keras").exists()
    assert (tmp_path / "run" / "run.json").exists()
