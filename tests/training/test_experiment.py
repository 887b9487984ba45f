"""A training that is planned: what counts how much, and what each epoch has."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import BASELINE

from dcase2018.features.store import ClipRecord, Store, checksum, write_store
from dcase2018.models.hparams import HParams, Preset
from dcase2018.training.experiment import Experiment
from dcase2018.utils.errors import InputError

LABELS = ["rare", "common", "common", "common"]
VERIFIED = ["1", "0", "1", "0"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    rng = np.random.default_rng(0)
    frames = [rng.normal(3, 2, (length, 64)).astype(np.float32) for length in (61, 300, 61, 10)]
    entries = [ClipRecord(f"{i}.wav", len(clip), checksum(clip), 0, 0) for i, clip in enumerate(frames)]
    write_store(tmp_path / "s.h5", BASELINE, entries, frames)
    return Store(tmp_path / "s.h5")


def plan(store: Store, weights: list[str] | None = None, **hparams: object) -> Experiment:
    labels = {"fname": [f"{i}.wav" for i in range(4)], "label": LABELS, "manually_verified": VERIFIED}
    labels |= {"weight": weights} if weights else {}
    preset = Preset("mlp", HParams(batch_size=4, **hparams), epochs=3)
    return Experiment.create(Path("run"), preset, store, pd.DataFrame(labels, dtype=object))


def test_unverified_clips_count_less(store: Store) -> None:
    assert plan(store).sample_weights.tolist() == [1, 1, 1, 1]
    assert plan(store, unverified_weight=0.25).sample_weights.tolist() == [1, 0.25, 1, 0.25]


def test_weights_of_the_label_file_take_the_place_of_one_for_all(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    given = plan(store, ["1", "0.5", "0", "0.25"], unverified_weight=0.65, class_balance="loss_weight")
    np.testing.assert_allclose(given.weights, [2, 1 / 3, 0, 1 / 6], rtol=1e-6)
    assert "unverified_weight has no effect: the label file has a weight for each clip" in caplog.text
    assert plan(store, ["1", "0.5", "0", "0.25"], unverified_weight=0).sample_weights.tolist() == [1, 0.5, 0, 0.25]
    with pytest.raises(InputError, match="leaves no clip to learn from: every weight is 0"):
        plan(store, ["0"] * 4)


def test_weights_are_part_of_the_data_where_they_are_told(store: Store) -> None:
    data = [
        plan(store, weights).run.training_fingerprint for weights in (None, ["1"] * 4, ["1", "1", "1", "0.5"])
    ]
    assert len(set(data)) == 3
    assert data[0] == "8e2bae652ca65d08"  # as before there were weights


def test_rare_classes_count_more_or_come_more_often(store: Store) -> None:
    np.testing.assert_allclose(
        plan(store, class_balance="loss_weight").weights, [2, 2 / 3, 2 / 3, 2 / 3], rtol=1e-6
    )
    experiment = plan(store, class_balance="sampler", example_sampling="random_crop")
    np.testing.assert_allclose(experiment.epochs.sampling_weights, [2, 2 / 3, 2 / 3, 2 / 3])


def test_masked_losses_are_told_who_is_unverified(store: Store) -> None:
    for experiment in (plan(store), plan(store, loss_mask_std=2.0)):
        targets = experiment.targets(experiment.training.y_true)
        assert targets.dtype == np.float32
        assert targets[:, :2].tolist() == [[0, 1], [1, 0], [1, 0], [1, 0]]
    assert targets[:, 2:].tolist() == [[0], [1], [0], [1]]


def test_doubts_come_again_and_again(store: Store) -> None:
    for every, steps in ((0, []), (1, [1, 2]), (2, [2]), (3, []), (1000, [])):
        assert (
            plan(store, example_sampling="random_crop", label_refinement_every=every).refinement_steps
            == steps
        )  # 3 epochs of a step each
    verified_at_last = plan(
        store, example_sampling="random_crop", label_refinement_every=1, verified_finetune_fraction=1 / 3
    )
    assert verified_at_last.refinement_steps == [1]


def test_a_last_stretch_on_verified_clips(store: Store) -> None:
    experiment = plan(store, verified_finetune_fraction=1 / 3, example_sampling="random_crop")
    assert experiment.epochs.ends.tolist() == [4, 8, 10]
    assert sorted(experiment.epochs.order(2)) == [0, 2]
    assert [experiment.epoch_end(epoch) for epoch in (0, 1, 2, 3)] == [0, 1, 2, 2]
    windows = plan(store, verified_finetune_fraction=1 / 3)
    assert set(windows.examples.clip_index[windows.epochs.order(2)]) == {0, 2}


def test_a_last_stretch_needs_verified_clips(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.VERIFIED", ["0"] * 4)
    with pytest.raises(
        InputError, match="verified_finetune_fraction needs a label file that names verified clips"
    ):
        plan(store, verified_finetune_fraction=1 / 3)


def test_statistics_are_those_of_all_frames(store: Store) -> None:
    mean, variance = plan(store).training.feature_stats()
    np.testing.assert_allclose(mean, store.frames.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(variance, store.frames.var(axis=0), rtol=1e-4)


def test_what_does_not_go_together_is_refused_or_told(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plan(store, warmup_epochs=2)
    assert "warmup_epochs has no effect: schedule is constant, not cosine" in caplog.text
    table = pd.DataFrame({"fname": ["0.wav", "1.wav"], "label": ["rare", "common"]}, dtype=object)
    with pytest.raises(InputError, match=r"--model wave learns from waveform, and .* holds log_mel"):
        Experiment.create(Path("run"), Preset("wave", HParams(), 1), store, table)
    with pytest.raises(
        InputError, match=r"in both the training and the validation file: '1.wav'; learn from"
    ):
        Experiment.create(Path("run"), Preset("mlp", HParams(), 1), store, table, table[1:])
    monkeypatch.setattr(f"{__name__}.VERIFIED", ["0"] * 4)
    with pytest.raises(InputError, match="unverified_weight=0 leaves no clip to learn from"):
        plan(store, unverified_weight=0)
    monkeypatch.setattr(f"{__name__}.LABELS", ["common"] * 4)
    with pytest.raises(InputError, match="all clips are of one class, 'common'"):
        plan(store)
