"""Experiments: sample weights, epochs, and combinations that are refused."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import BASELINE

from dcase2018.features.store import ClipRecord, Store, checksum
from dcase2018.features.store_writer import write_store
from dcase2018.models.hparams import HParams, Preset
from dcase2018.runs.run import Run
from dcase2018.training.experiment import Experiment
from dcase2018.utils.errors import InputError

LABELS = ["rare", "common", "common", "common"]
VERIFIED = ["1", "0", "1", "0"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    rng = np.random.default_rng(0)
    frames = [rng.normal(3, 2, (length, 64)).astype(np.float32) for length in (61, 300, 61, 10)]
    records = [ClipRecord(f"{i}.wav", len(clip), checksum(clip), 0, 0) for i, clip in enumerate(frames)]
    write_store(tmp_path / "s.h5", BASELINE, records, frames)
    return Store(tmp_path / "s.h5")


def make_experiment(store: Store, weights: list[str] | None = None, **hparams: object) -> Experiment:
    labels = {"fname": [f"{i}.wav" for i in range(4)], "label": LABELS, "manually_verified": VERIFIED}
    labels |= {"weight": weights} if weights else {}
    preset = Preset("mlp", HParams(batch_size=4, **hparams), epochs=3)
    return Experiment.create(Path("run"), preset, store, pd.DataFrame(labels, dtype=object))


def test_unverified_weight_scales_sample_weights(store: Store) -> None:
    assert make_experiment(store).sample_weights.tolist() == [1, 1, 1, 1]
    assert make_experiment(store, unverified_weight=0.25).sample_weights.tolist() == [1, 0.25, 1, 0.25]


def test_weight_column_overrides_unverified_weight(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    experiment = make_experiment(
        store, ["1", "0.5", "0", "0.25"], unverified_weight=0.65, class_balance="loss_weight"
    )
    np.testing.assert_allclose(experiment.sample_weights, [2, 1 / 3, 0, 1 / 6], rtol=1e-6)
    assert "unverified_weight has no effect: the label file has a weight for each clip" in caplog.text
    assert make_experiment(store, ["1", "0.5", "0", "0.25"], unverified_weight=0).sample_weights.tolist() == [
        1,
        0.5,
        0,
        0.25,
    ]
    with pytest.raises(InputError, match="leaves no training clip: every weight is 0"):
        make_experiment(store, ["0"] * 4)


def test_weight_column_is_part_of_the_fingerprint(store: Store) -> None:
    fingerprints = [
        make_experiment(store, weights).run.training_fingerprint
        for weights in (None, ["1"] * 4, ["1", "1", "1", "0.5"])
    ]
    assert len(set(fingerprints)) == 3
    assert fingerprints[0] == "8e2bae652ca65d08"  # without the column


def test_class_balance_weights_or_samples_rare_classes(store: Store) -> None:
    weighted = make_experiment(store, class_balance="loss_weight")
    np.testing.assert_allclose(weighted.sample_weights, [2, 2 / 3, 2 / 3, 2 / 3], rtol=1e-6)
    experiment = make_experiment(store, class_balance="sampler", example_sampling="random_crop")
    np.testing.assert_allclose(experiment.sampler.sampling_weights, [2, 2 / 3, 2 / 3, 2 / 3])


def test_loss_masking_adds_a_column_of_unverified_clips(store: Store) -> None:
    for experiment in (make_experiment(store), make_experiment(store, loss_mask_std=2.0)):
        targets = experiment.make_targets(experiment.training.y_true)
        assert targets.dtype == np.float32
        assert targets[:, :2].tolist() == [[0, 1], [1, 0], [1, 0], [1, 0]]
    assert targets[:, 2:].tolist() == [[0], [1], [0], [1]]


def test_refinement_repeats_before_the_final_phase(store: Store) -> None:
    for every, steps in ((0, []), (1, [1, 2]), (2, [2]), (3, []), (1000, [])):
        experiment = make_experiment(store, example_sampling="random_crop", label_refinement_every=every)
        assert experiment.refinement_steps == steps  # 3 epochs of a step each
    with_final_phase = make_experiment(
        store, example_sampling="random_crop", label_refinement_every=1, verified_finetune_fraction=1 / 3
    )
    assert with_final_phase.refinement_steps == [1]


def test_final_phase_uses_verified_clips_only(store: Store) -> None:
    experiment = make_experiment(store, verified_finetune_fraction=1 / 3, example_sampling="random_crop")
    assert [experiment.epoch_end(n_epochs) for n_epochs in (0, 1, 2, 3)] == [0, 1, 2, 3]
    assert sorted(experiment.sampler.order(1)) == [0, 1, 2, 3]
    assert set(experiment.sampler.order(2)) == {0, 2}
    windows = make_experiment(store, verified_finetune_fraction=1 / 3)
    assert set(windows.examples.clip_index[windows.sampler.order(2)]) == {0, 2}


def test_final_phase_requires_verified_clips(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.VERIFIED", ["0"] * 4)
    with pytest.raises(InputError, match="verified_finetune_fraction requires verified clips"):
        make_experiment(store, verified_finetune_fraction=1 / 3)


def test_background_classes_are_stored_and_must_exist(store: Store, tmp_path: Path) -> None:
    table = pd.DataFrame({"fname": ["0.wav", "1.wav"], "label": ["rare", "common"]}, dtype=object)
    preset = Preset("mlp", HParams(), 1)
    run = Experiment.create(tmp_path, preset, store, table, background=["rare"]).run
    run.save()
    assert Run.load(tmp_path).background_classes == ["rare"]
    assert Run.load(tmp_path).classes == ["common", "rare"]
    with pytest.raises(InputError, match="no --background, not --background rare"):
        Experiment.create(tmp_path, preset, store, table).run.matches_existing()
    with pytest.raises(InputError, match="--background 'rear' is not a class; the nearest one is 'rare'"):
        Experiment.create(tmp_path, preset, store, table, background=["rear"])
    with pytest.raises(InputError, match="--background hides all 2 classes; leave at least one"):
        Experiment.create(tmp_path, preset, store, table, background=["rare", "common"])


def test_feature_stats_are_those_of_all_frames(store: Store) -> None:
    mean, variance = make_experiment(store).training.feature_stats()
    np.testing.assert_allclose(mean, store.frames.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(variance, store.frames.var(axis=0), rtol=1e-4)


def test_invalid_combinations_are_refused_and_unused_settings_logged(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    make_experiment(store, warmup_epochs=2)
    assert "warmup_epochs has no effect with lr_schedule=constant" in caplog.text
    table = pd.DataFrame({"fname": ["0.wav", "1.wav"], "label": ["rare", "common"]}, dtype=object)
    with pytest.raises(InputError, match=r"--model wave requires waveform features, and .* holds log_mel"):
        Experiment.create(Path("run"), Preset("wave", HParams(), 1), store, table)
    with pytest.raises(InputError, match=r"in both the training and the validation file: '1.wav'; split"):
        Experiment.create(Path("run"), Preset("mlp", HParams(), 1), store, table, table[1:])
    monkeypatch.setattr(f"{__name__}.VERIFIED", ["0"] * 4)
    with pytest.raises(InputError, match="unverified_weight=0 leaves no training clip"):
        make_experiment(store, unverified_weight=0)
    monkeypatch.setattr(f"{__name__}.LABELS", ["common"] * 4)
    with pytest.raises(InputError, match="all clips are of one class, 'common'"):
        make_experiment(store)


def test_classes_without_a_clip_are_reported(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    labels = pd.DataFrame({"fname": [f"{i}.wav" for i in range(3)], "label": ["a", "b", "a"]}, dtype=object)
    preset = Preset("mlp", HParams(batch_size=4), epochs=3)
    arguments = (Path("folds", "fold-1"), preset, store, labels[:2], labels[2:])
    Experiment.create(*arguments, classes=["a", "b", "c", "d"])
    assert caplog.messages == [
        "folds/fold-1 is trained on no clip of c, d; its scores of these are meaningless",
        "folds/fold-1 is validated on no clip of b, c, d",
    ]
    caplog.clear()
    Experiment.create(*arguments[:4], labels[2:].assign(fname="3.wav"))
    assert caplog.messages == ["folds/fold-1 is validated on no clip of b"]
