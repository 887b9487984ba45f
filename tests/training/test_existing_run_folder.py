"""Existing run folders: finished, partly deleted, damaged, or of another run."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from test_fit import PRESET, assert_same, labels, make_experiment, make_store, weights

from dcase2018.features.store import Store
from dcase2018.models.hparams import Preset
from dcase2018.runs.run import Run
from dcase2018.runs.training_state import StoppingCriteria
from dcase2018.training.experiment import Experiment
from dcase2018.training.fit import fit
from dcase2018.utils.errors import InputError


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return make_store(tmp_path / "s.h5")


def read_files(run: Run) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()}


def test_finished_run_without_checkpoints_is_not_retrained(store: Store) -> None:
    experiment = make_experiment(store, "run")
    fit(experiment)
    shutil.rmtree(experiment.run.path / "checkpoints")
    before = read_files(experiment.run)
    assert fit(experiment) == fit(experiment, overwrite=True) == "all 4 epochs are done"
    extended = make_experiment(store, "run", Preset("mlp", PRESET.hparams, 5))
    with pytest.raises(
        InputError, match="cannot resume because its checkpoints were deleted; name another folder, or"
    ):
        fit(extended)
    assert read_files(experiment.run) == before
    assert fit(extended, overwrite=True) == "all 5 epochs are done"
    uninterrupted = make_experiment(store, "uninterrupted", Preset("mlp", PRESET.hparams, 5))
    fit(uninterrupted)
    assert_same(uninterrupted.run, extended.run)


@pytest.mark.parametrize(
    "text",
    ["", "epoch\n1\n", "epoch,step,loss,learning_rate,seconds\n1,2,3,4\n", "\0", "epoch,step\n\xff,1\n"],
)
def test_damaged_history_is_reported_when_it_is_needed(store: Store, text: str) -> None:
    experiment = make_experiment(store, "run")
    fit(experiment)
    path = experiment.run.path / "history.csv"
    path.write_text(text, "latin-1")
    fit(experiment)  # reads the checkpoints instead
    shutil.rmtree(experiment.run.path / "checkpoints")
    with pytest.raises(InputError, match=r"is damaged: line|cannot resume because its checkpoints"):
        fit(experiment)


def test_damaged_model_is_written_again(store: Store) -> None:
    experiment = make_experiment(store, "run")
    fit(experiment)
    before = weights(experiment.run)
    model = experiment.run.path / "model.keras"
    model.write_bytes(model.read_bytes()[:-500])
    with pytest.raises(
        InputError, match=r"model.keras is damaged or incomplete; run the same dcase2018 fit again"
    ):
        experiment.run.load_for_inference()
    fit(experiment)
    for after, expected in zip(weights(experiment.run), before, strict=True):
        np.testing.assert_array_equal(after, expected)


@pytest.mark.slow
def test_model_of_another_shape_is_refused(store: Store) -> None:
    long_window = dataclasses.replace(PRESET.hparams, example_window_seconds=0.5)
    long_examples = make_experiment(store, "long", Preset("mlp", long_window, 1))
    table = labels()
    table["label"] = [f"class {i % 2}" for i in range(30)]
    preset = Preset("mlp", PRESET.hparams, 1)
    two_classes = Experiment.create(store.path.with_name("two"), preset, store, table)
    experiment = make_experiment(store, "run", preset)
    for each in (experiment, long_examples, two_classes):
        fit(each)
    for other in (long_examples, two_classes):
        shutil.copy(other.run.path / "model.keras", experiment.run.path)
        with pytest.raises(
            InputError, match=r"belongs to another run: its input and output shapes are .*, not"
        ):
            experiment.run.load_for_inference()


def test_hidden_leftovers_of_a_killed_process_are_ignored(store: Store) -> None:
    experiment = make_experiment(store, "run")
    experiment.run.path.mkdir()
    (experiment.run.path / ".run.json.0a1b2c3d.tmp").write_text("{")
    assert fit(experiment, StoppingCriteria(max_steps=1)) == "1 steps are done"
    events = EventAccumulator(str(experiment.run.path / "events"))
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == [1]
