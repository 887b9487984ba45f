"""What lies in a run's folder when a training begins: finished, deleted in part, damaged, of another run."""

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


def contents(run: Run) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.path.iterdir() if path.is_file()}


def test_a_finished_run_whose_checkpoints_are_gone_is_left_alone(store: Store) -> None:
    experiment = make_experiment(store, "run")
    fit(experiment)
    shutil.rmtree(experiment.run.path / "checkpoints")
    before = contents(experiment.run)
    assert fit(experiment) == fit(experiment, overwrite=True) == "all 4 epochs are done"
    more = make_experiment(store, "run", Preset("mlp", PRESET.hparams, 5))
    with pytest.raises(
        InputError, match="cannot go on since its checkpoints are gone; name another folder, or"
    ):
        fit(more)
    assert contents(experiment.run) == before
    assert fit(more, overwrite=True) == "all 5 epochs are done"
    whole = make_experiment(store, "whole", Preset("mlp", PRESET.hparams, 5))
    fit(whole)
    assert_same(whole.run, more.run)


@pytest.mark.parametrize(
    "text",
    ["", "epoch\n1\n", "epoch,step,loss,learning_rate,seconds\n1,2,3,4\n", "\0", "epoch,step\n\xff,1\n"],
)
def test_a_damaged_history(store: Store, text: str) -> None:
    experiment = make_experiment(store, "run")
    fit(experiment)
    table = experiment.run.path / "history.csv"
    table.write_text(text, "latin-1")
    fit(experiment)  # the checkpoints tell
    shutil.rmtree(experiment.run.path / "checkpoints")
    with pytest.raises(InputError, match=r"is damaged: line|was finished, and cannot go on"):
        fit(experiment)


def test_a_network_that_was_damaged_is_written_anew(store: Store) -> None:
    experiment = make_experiment(store, "run")
    fit(experiment)
    before = weights(experiment.run)
    model = experiment.run.path / "model.keras"
    model.write_bytes(model.read_bytes()[:-500])
    with pytest.raises(
        InputError, match=r"model.keras is refused: it is damaged; the dcase2018 fit that wrote it"
    ):
        experiment.run.load_for_inference()
    fit(experiment)
    for mine, theirs in zip(weights(experiment.run), before, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_a_network_of_another_shape_is_refused(store: Store) -> None:
    long = plan(
        store, "long", Preset("mlp", dataclasses.replace(PRESET.hparams, example_window_seconds=0.5), 1)
    )
    few = labels()
    few["label"] = [f"class {i % 2}" for i in range(30)]
    two = Experiment.create(store.path.with_name("two"), Preset("mlp", PRESET.hparams, 1), store, few)
    mine = make_experiment(store, "mine", Preset("mlp", PRESET.hparams, 1))
    for experiment in (mine, long, two):
        fit(experiment)
    for other in (long, two):
        shutil.copy(other.run.path / "model.keras", mine.run.path)
        with pytest.raises(InputError, match=r"is refused: it is of another run, from .* this one is from"):
            mine.run.load_for_inference()


def test_what_a_killed_writer_left_is_no_run(store: Store) -> None:
    experiment = make_experiment(store, "run")
    experiment.run.path.mkdir()
    (experiment.run.path / ".partial-run.json").write_text("{")
    assert fit(experiment, StoppingCriteria(max_steps=1)) == "1 steps are done"
    events = EventAccumulator(str(experiment.run.path / "events"))
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == [1]
