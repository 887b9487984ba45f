"""The same commands on other backends, where they are installed: models move, and scores agree."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ToyPipeline


def dcase_on(backend: str, *args: object, **environment: str) -> None:
    command = [sys.executable, "-m", "dcase2018", *map(str, args)]
    env = os.environ | {"KERAS_BACKEND": backend} | environment
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def read(path: Path) -> np.ndarray:
    return pd.read_csv(path, index_col="fname").to_numpy()


@pytest.fixture(params=["jax", "torch"])
def backend(request: pytest.FixtureRequest) -> str:
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return request.param


@pytest.mark.slow
def test_models_move_between_backends(toy_pipeline: ToyPipeline, tmp_path: Path, backend: str) -> None:
    run = tmp_path / "run"
    dcase_on(
        backend, "fit", toy_pipeline.train, toy_pipeline.fit_labels, run, "--preset", "quick", "--epochs", 2,
        "--validation", toy_pipeline.validation, "--max-steps", 50,
    )  # fmt: skip
    dcase_on(backend, "fit", toy_pipeline.train, toy_pipeline.fit_labels, run, "--preset", "quick", "--epochs", 2,
        "--validation", toy_pipeline.validation)  # fmt: skip
    assert len(pd.read_csv(run / "history.csv")) == 2
    for trained in (toy_pipeline.run, run):
        scores = {}
        for where in ("tensorflow", backend):
            out = tmp_path / f"{where}.csv"
            dcase_on(where, "predict", toy_pipeline.test, tmp_path / "s.csv", trained, "--scores-output", out)
            scores[where] = read(out)
        np.testing.assert_allclose(scores[backend], scores["tensorflow"], atol=1e-4)
        dcase_on(backend, "evaluate", toy_pipeline.test, toy_pipeline.test_labels, trained)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")
def test_several_devices_share_a_batch(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    histories = []
    for devices in (1, 2):
        run = tmp_path / str(devices)
        dcase_on(
            "jax", "fit", toy_pipeline.train, toy_pipeline.fit_labels, run, "--preset", "quick", "--epochs", 2,
            "--validation", toy_pipeline.validation, XLA_FLAGS=f"--xla_force_host_platform_device_count={devices}",
        )  # fmt: skip
        histories.append(pd.read_csv(run / "history.csv").drop(columns="seconds"))
    pd.testing.assert_frame_equal(*histories, rtol=1e-3)
