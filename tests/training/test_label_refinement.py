"""Label refinement finds wrong labels, changes their targets, and is identical after any interruption."""

import dataclasses
import zlib
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from conftest import BASELINE
from test_fit import PRESET, assert_same, labels, make_experiment, make_store

from dcase2018.data.labels import write_table
from dcase2018.features.store import ClipRecord, Store, checksum
from dcase2018.features.store_writer import write_store
from dcase2018.inference.predictor import StorePredictor
from dcase2018.models.architectures import MODELS
from dcase2018.models.hparams import HParams, Preset
from dcase2018.runs.training_state import StoppingCriteria
from dcase2018.training.experiment import Experiment
from dcase2018.training.fit import fit
from dcase2018.training.label_refinement import refined_targets
from dcase2018.utils.errors import InputError


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_store(tmp_path / "s.h5")


def noisy_labels() -> tuple[pd.DataFrame, np.ndarray]:
    """Labels, 12 of them verified and 4 of the others wrong, and a mask of the wrong ones."""
    table = labels().assign(manually_verified=["1"] * 12 + ["0"] * 18)
    is_wrong = np.isin(np.arange(30), [13, 17, 22, 27])
    table.loc[is_wrong, "label"] = [f"class {(i + 1) % 3}" for i in np.flatnonzero(is_wrong)]
    return table, is_wrong


def level_network(x: keras.KerasTensor, hparams: HParams) -> keras.KerasTensor:
    """A network whose only input is the mean level of an example, so that it cannot memorize clips."""
    level = keras.ops.mean(x, axis=(1, 2))[:, None]
    return keras.layers.Dense(16, activation="relu")(level)


def make_refining_experiment(store: Store, name: str, monkeypatch: pytest.MonkeyPatch) -> Experiment:
    """An experiment of 12 epochs of 15 steps whose labels are refined after epochs 4 and 8."""
    monkeypatch.setitem(MODELS, "level", level_network)
    hparams = dataclasses.replace(PRESET.hparams, label_refinement_every=4, lr=0.05)
    preset = Preset("level", hparams, epochs=12)
    return Experiment.create(store.path.with_name(name), preset, store, noisy_labels()[0])


def test_refinement_corrects_targets_of_wrong_labels(
    store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")
    experiment = make_refining_experiment(store, "run", monkeypatch)
    fit(experiment)
    message = "label refinement after step 120: about 17 % of unverified labels are wrong"  # 4 of 18 are
    assert f"{message} (0 % of none of the classes), 4 targets changed" in caplog.text
    run, clips = experiment.run, experiment.training
    assert sorted(path.name for path in run.path.glob("label_refinement/*")) == [
        "step-00000060.csv",
        "step-00000120.csv",
    ]
    checksums = run.state().refinement_checksums
    targets = refined_targets(experiment, 121, checksums)  # from the predictions after step 120
    np.testing.assert_array_equal(targets[:12], clips.y_true[:12])
    np.testing.assert_allclose(targets.sum(axis=1), 1, atol=0.01)
    assert targets[np.arange(30), np.arange(30) % 3].min() > 0.5  # the true classes
    np.testing.assert_array_equal(refined_targets(experiment, 59, checksums), clips.y_true)
    _, is_wrong = noisy_labels()
    predicted = StorePredictor(run, run.load_for_inference(), store).scores(clips.rows).argmax(axis=1)
    assert (predicted[is_wrong] == np.flatnonzero(is_wrong) % 3).all()


def test_targets_of_clips_of_none_of_the_classes_sum_to_almost_zero(tmp_path: Path) -> None:
    """Of 300 clips of 10 classes, 50 unverified ones have uncertain predictions and random labels."""
    numbers, is_none = np.arange(300), np.arange(300) >= 250
    frames = [np.full((1, 64), i, np.float32) for i in numbers]
    records = [ClipRecord(f"{i}.wav", 1, checksum(clip), 0, 0) for i, clip in enumerate(frames)]
    write_store(tmp_path / "s.h5", BASELINE, records, frames)
    names = [f"class_{i}" for i in range(10)]
    given = np.where(is_none, (7 * numbers // 10) % 10, numbers % 10)
    verified = np.where(numbers < 150, "1", "0")
    columns = {"fname": [f"{i}.wav" for i in numbers], "label": np.array(names)[given]}
    table = pd.DataFrame({**columns, "manually_verified": verified}, dtype=object)
    highest = np.where(is_none | (numbers % 10 == 0), 0.6, 0.98)[:, None]
    scores = np.where(np.eye(10, dtype=bool)[numbers % 10], highest, (1 - highest) / 9)
    hparams = dataclasses.replace(PRESET.hparams, label_refinement_every=1)
    preset = Preset("mlp", hparams, epochs=2)
    experiment = Experiment.create(tmp_path / "run", preset, Store(tmp_path / "s.h5"), table)
    step = experiment.refinement_steps[0]
    path = experiment.run.refinement_scores_path(step)
    path.parent.mkdir(parents=True)
    predictions = pd.DataFrame(scores, columns=names)
    write_table(
        path, pd.concat([table.set_axis(["fname", "labels", "verified"], axis=1), predictions], axis=1)
    )
    targets = refined_targets(experiment, step, {step: zlib.crc32(path.read_bytes())})
    assert targets[is_none].sum(axis=1).mean() < 0.3
    assert targets[~is_none].sum(axis=1).mean() > 0.97
    np.testing.assert_array_equal(targets[:150], experiment.training.y_true[:150])


@pytest.mark.slow
def test_refinement_is_identical_after_interruptions(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    uninterrupted = make_refining_experiment(store, "uninterrupted", monkeypatch)
    fit(uninterrupted)
    resumed = make_refining_experiment(store, "resumed", monkeypatch)
    for step in (59, 60, 61, 120, 121):
        assert fit(resumed, StoppingCriteria(max_steps=step)) == f"{step} steps are done"
    fit(resumed)
    assert_same(uninterrupted.run, resumed.run)
    for step in uninterrupted.refinement_steps:
        paths = [run.refinement_scores_path(step) for run in (uninterrupted.run, resumed.run)]
        assert paths[0].read_bytes() == paths[1].read_bytes()


def test_resume_requires_refinement_scores(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = make_refining_experiment(store, "run", monkeypatch)
    fit(experiment, StoppingCriteria(max_steps=61))
    scores = experiment.run.refinement_scores_path(60)
    rows = scores.read_text().splitlines(keepends=True)
    scores.write_text("".join(rows).replace("0.1", "0.2", 1))
    with pytest.raises(InputError, match=r"was changed: its checksum is wrong; .* again with --overwrite"):
        fit(experiment)
    scores.write_text("".join(rows[:-1]))
    with pytest.raises(InputError, match=r"lacks clips or classes of this run; .* again with --overwrite"):
        fit(experiment)
    scores.unlink()
    with pytest.raises(InputError, match=r"step-00000060.csv .*; .* again with --overwrite"):
        fit(experiment)


def test_refinement_skips_verified_labels(store: Store) -> None:
    without = make_experiment(store, "without")
    hparams = dataclasses.replace(PRESET.hparams, label_refinement_every=1)
    all_verified = make_experiment(store, "all-verified", Preset("mlp", hparams, PRESET.epochs))
    for experiment in (without, all_verified):
        fit(experiment)
    assert_same(without.run, all_verified.run)
    assert not (all_verified.run.path / "label_refinement").exists()
