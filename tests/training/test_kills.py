"""Training that is killed at any moment: it ends in the same weights."""

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
import os, signal, sys
from dcase2018.runs import training_state
from dcase2018.training import callbacks, fit
from dcase2018.cli.main import main

moments = {
    "in an epoch": (callbacks.HistoryLogger, "_log_step"),
    "writing a checkpoint": (training_state.TrainingState, "save"),
    "writing the best model": (callbacks, "save_model"),
    "between checkpoint and history": (callbacks, "write_table"),
    "deleting a checkpoint": (callbacks.shutil, "rmtree"),
    "writing the final model": (fit, "_save_final"),
}
moment, left = sys.argv[1], int(sys.argv[2])
owner, name = moments[moment]
work = getattr(owner, name)

def work_or_die(*args, **kwargs):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return work(*args, **kwargs)

setattr(owner, name, work_or_die)
callbacks.MAX_CHECKPOINTS = 3
del sys.argv[1:3]
main()
"""


def variables(model: keras.Model) -> list[keras.Variable]:
    optimizer = getattr(model, "optimizer", None)  # which a network that only scores lacks
    return model.weights + (optimizer.variables if optimizer else [])


@pytest.mark.slow
def test_a_killed_training_ends_as_an_undisturbed_one(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    def fit(run: str, moment: str = "in an epoch", left: int = 10**6) -> int:
        command = [
            sys.executable, "-c", FIT, moment, left, "fit", toy_pipeline.train, toy_pipeline.fit_labels, tmp_path / run,
            "--preset", "quick", "--epochs", 4, "--validation", toy_pipeline.validation, "--save-every", 7,
        ]  # fmt: skip
        return subprocess.run([*map(str, command)], capture_output=True, check=False).returncode

    assert fit("whole") == 0
    for moment, left in (
        ("in an epoch", 19),
        ("writing a checkpoint", 2),
        ("writing the best model", 0),
        ("between checkpoint and history", 3),
        ("deleting a checkpoint", 1),
        ("writing the final model", 0),
    ):
        assert fit("killed", moment, left) == -signal.SIGKILL, moment
    assert fit("killed") == 0
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    columns = ["epoch", "step", "loss", "learning_rate", "map3"]
    last = max(whole.glob("checkpoints/step-*")).relative_to(whole)
    for name in ("model.keras", "best.keras", last / "model.keras"):
        a, b = (keras.saving.load_model(run / name) for run in (whole, killed))
        for mine, theirs in zip(variables(a), variables(b), strict=True):
            np.testing.assert_array_equal(
                keras.ops.convert_to_numpy(mine), keras.ops.convert_to_numpy(theirs)
            )
    a, b = (pd.read_csv(run / "history.csv")[columns] for run in (whole, killed))
    pd.testing.assert_frame_equal(a, b, check_exact=True)
    assert list_dir(whole) == list_dir(killed)
    calibrations = [(run / "calibration.json").read_bytes() for run in (whole, killed)]
    assert calibrations[0] == calibrations[1]
    assert list_dir(whole / "checkpoints") == list_dir(killed / "checkpoints")
