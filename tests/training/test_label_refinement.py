"""Doubts on labels that are known to be wrong: told, given up, and the same after any stop."""

import dataclasses
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from test_fit import PRESET, assert_same, labels, make_store, plan

from dcase2018.features.store import Store
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


def mislabelled() -> tuple[pd.DataFrame, np.ndarray]:
    """Labels of which the first 12 are verified and 4 of the others wrong, and which those are."""
    table = labels().assign(manually_verified=["1"] * 12 + ["0"] * 18)
    wrong = np.isin(np.arange(30), [13, 17, 22, 27])
    table.loc[wrong, "label"] = [f"class {(i + 1) % 3}" for i in np.flatnonzero(wrong)]
    return table, wrong


def level_network(x: keras.KerasTensor, hparams: HParams) -> keras.KerasTensor:
    """A network that hears the level of an example, and nothing by which to learn a clip by heart."""
    level = keras.ops.mean(x, axis=(1, 2))[:, None]
    return keras.layers.Dense(16, activation="relu")(level)


def doubting(store: Store, name: str, monkeypatch: pytest.MonkeyPatch) -> Experiment:
    monkeypatch.setitem(MODELS, "level", level_network)
    hparams = dataclasses.replace(PRESET.hparams, label_refinement_every=4, lr=0.05)
    preset = Preset("level", hparams, epochs=12)
    return Experiment.create(store.path.with_name(name), preset, store, mislabelled()[0])


def test_wrong_labels_are_told_on_the_way_and_given_up(
    store: Store, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")
    experiment = doubting(store, "run", monkeypatch)
    fit(experiment)
    told = "doubts after step 120: about 20 % of unverified labels are wrong, and 4 clips held for others"
    assert told in caplog.text  # 4 of 18 are
    run, clips = experiment.run, experiment.training
    assert sorted(path.name for path in run.path.glob("heard/*")) == [
        "step-00000060.csv",
        "step-00000120.csv",
    ]
    model = run.load_for_inference()
    held = refined_targets(experiment, model, 121)  # by what was heard after step 120
    np.testing.assert_array_equal(held[:12], clips.y_true[:12])
    np.testing.assert_allclose(held.sum(axis=1), 1)
    assert held[np.arange(30), np.arange(30) % 3].min() > 0.5  # what the clips are made as
    np.testing.assert_array_equal(refined_targets(experiment, model, 59), clips.y_true)
    _, wrong = mislabelled()
    says = StorePredictor(run, model, store).scores(clips.rows).argmax(axis=1)
    assert (says[wrong] == np.flatnonzero(wrong) % 3).all()


def test_doubts_are_the_same_after_any_stop(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = doubting(store, "whole", monkeypatch)
    fit(whole)
    parts = doubting(store, "parts", monkeypatch)
    for step in (59, 60, 61, 120, 121):
        assert fit(parts, StoppingCriteria(max_steps=step)) == f"{step} steps are done"
    fit(parts)
    assert_same(whole.run, parts.run)
    for step in whole.refinement_steps:
        assert (
            parts.run.refinement_scores_path(step).read_bytes()
            == whole.run.refinement_scores_path(step).read_bytes()
        )


def test_what_was_heard_is_needed_to_go_on(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = doubting(store, "run", monkeypatch)
    fit(experiment, StoppingCriteria(max_steps=61))
    heard = experiment.run.refinement_scores_path(60)
    rows = heard.read_text().splitlines(keepends=True)
    heard.write_text("".join(rows[:-1]))
    with pytest.raises(InputError, match=r"lacks clips or classes of this run; .* begin anew with --force"):
        fit(experiment)
    heard.unlink()
    with pytest.raises(InputError, match=r"no file that can be read .*; .* begin anew with --force"):
        fit(experiment)


def test_nobody_doubts_what_is_verified(store: Store) -> None:
    plain = plan(store, "plain")
    hparams = dataclasses.replace(PRESET.hparams, label_refinement_every=1)
    sure = plan(store, "sure", Preset("mlp", hparams, PRESET.epochs))
    for experiment in (plain, sure):
        fit(experiment)
    assert_same(plain.run, sure.run)
    assert not (sure.run.path / "label_refinement").exists()
