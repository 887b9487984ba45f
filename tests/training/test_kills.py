"""Training that is killed at any moment resumes to the same weights."""

import signal
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from conftest import ToyPipeline, list_dir

FIT = """
import os, shutil, signal, sys
from dcase2018.runs import training_state
from dcase2018.training import callbacks, fit
from dcase2018.cli.main import main

moments = {
    "in an epoch": (callbacks.HistoryLogger, "_log_step"),
    "writing a checkpoint": (training_state.TrainingState, "save"),
    "writing the best model": (callbacks, "save_model"),
    "writing the history": (callbacks, "write_table"),
    "deleting a checkpoint": (shutil, "rmtree"),
    "writing the final model": (fit, "_save_final"),
}
moment, n_calls = sys.argv[1], int(sys.argv[2])
owner, name = moments[moment]
function = getattr(owner, name)

def call_or_die(*args, **kwargs):
    global n_calls
    n_calls -= 1
    if n_calls < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return function(*args, **kwargs)

setattr(owner, name, call_or_die)
callbacks.MAX_CHECKPOINTS = 3
del sys.argv[1:3]
main()
"""


def variables(model: keras.Model) -> list[keras.Variable]:
    optimizer = getattr(model, "optimizer", None)  # an inference model has none
    return model.weights + (optimizer.variables if optimizer else [])


def assert_same_model(a: Path, b: Path) -> None:
    loaded = [keras.saving.load_model(path) for path in (a, b)]
    for variable_a, variable_b in zip(*map(variables, loaded), strict=True):
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (variable_a, variable_b)))


@pytest.mark.slow
def test_killed_training_resumes_exactly(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    def fit(run: str, moment: str = "in an epoch", n_calls: int = 10**6) -> int:
        command = [
            sys.executable, "-c", FIT, moment, n_calls, "fit", toy_pipeline.train, toy_pipeline.fit_labels,
            tmp_path / run, "--preset", "quick", "--epochs", 4, "--validation", toy_pipeline.validation,
            "--save-every", 7,
        ]  # fmt: skip
        return subprocess.run([*map(str, command)], capture_output=True, check=False).returncode

    assert fit("uninterrupted") == 0
    for moment, n_calls in (
        ("in an epoch", 19),
        ("writing a checkpoint", 2),
        ("writing the best model", 0),
        ("writing the history", 3),
        ("deleting a checkpoint", 1),
        ("writing the final model", 0),
    ):
        assert fit("killed", moment, n_calls) == -signal.SIGKILL, moment
    assert fit("killed") == 0
    uninterrupted, killed = tmp_path / "uninterrupted", tmp_path / "killed"
    columns = ["epoch", "step", "loss", "learning_rate", "map3"]
    last = max(uninterrupted.glob("checkpoints/step-*")).relative_to(uninterrupted)
    for name in ("model.keras", "best.keras", last / "model.keras"):
        assert_same_model(uninterrupted / name, killed / name)
    histories = [pd.read_csv(run / "history.csv")[columns] for run in (uninterrupted, killed)]
    pd.testing.assert_frame_equal(*histories, check_exact=True)
    assert list_dir(uninterrupted) == list_dir(killed)
    calibrations = [(run / "calibration.json").read_bytes() for run in (uninterrupted, killed)]
    assert calibrations[0] == calibrations[1]
    assert list_dir(uninterrupted / "checkpoints") == list_dir(killed / "checkpoints")
