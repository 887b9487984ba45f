"""Commands on other Keras backends, if they are installed: models and scores are portable."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from conftest import ToyPipeline


def run_on(backend: str, *args: object, **variables: str) -> None:
    command = [sys.executable, "-m", "dcase2018", *map(str, args)]
    env = os.environ | {"KERAS_BACKEND": backend} | variables
    process = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert process.returncode == 0, process.stderr


def read_scores(path: Path) -> np.ndarray:
    return pd.read_csv(path, index_col="fname").to_numpy()


@pytest.fixture(params=["jax", "torch"])
def backend(request: pytest.FixtureRequest) -> str:
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return request.param


@pytest.mark.slow
def test_models_and_scores_are_portable_between_backends(
    toy_pipeline: ToyPipeline, tmp_path: Path, backend: str
) -> None:
    run = tmp_path / "run"
    fit = (
        "fit", toy_pipeline.train, toy_pipeline.fit_labels, run, "--preset", "quick", "--epochs", 2,
        "--validation", toy_pipeline.validation,
    )  # fmt: skip
    run_on(backend, *fit, "--max-steps", 50)
    run_on(backend, *fit)
    assert len(pd.read_csv(run / "history.csv")) == 2
    for trained in (toy_pipeline.run, run):
        scores = {}
        for scoring_backend in ("tensorflow", backend):
            out = tmp_path / f"{scoring_backend}.csv"
            outputs = ("-o", tmp_path / "s.csv", "--scores-output", out)
            run_on(scoring_backend, "predict", toy_pipeline.test, trained, *outputs)
            scores[scoring_backend] = read_scores(out)
        np.testing.assert_allclose(scores[backend], scores["tensorflow"], atol=1e-4)
        run_on(backend, "evaluate", toy_pipeline.test, toy_pipeline.test_labels, trained)


@pytest.mark.slow
def test_resume_is_exact_on_other_backends(toy_pipeline: ToyPipeline, tmp_path: Path, backend: str) -> None:
    histories, weights = [], []
    for stops in ((), (1, 20)):
        run = tmp_path / f"{len(stops)} stops"
        fit = ("fit", toy_pipeline.train, toy_pipeline.fit_labels, run, "--preset", "quick", "--epochs", 2)
        for max_steps in stops:
            run_on(backend, *fit, "-j", 2, "--max-steps", max_steps)
        run_on(backend, *fit)
        histories.append(pd.read_csv(run / "history.csv").drop(columns="seconds"))
        model = keras.saving.load_model(run / "model.keras", compile=False)
        weights.append(np.concatenate([np.ravel(keras.ops.convert_to_numpy(w)) for w in model.weights]))
    pd.testing.assert_frame_equal(*histories, check_exact=True)
    np.testing.assert_array_equal(*weights)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed")
def test_data_parallel_training_matches_one_device(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    histories = []
    for devices in (1, 2):
        run = tmp_path / str(devices)
        flags = f"--xla_force_host_platform_device_count={devices}"
        run_on(
            "jax", "fit", toy_pipeline.train, toy_pipeline.fit_labels, run, "--preset", "quick",
            "--epochs", 2, "--validation", toy_pipeline.validation, XLA_FLAGS=flags,
        )  # fmt: skip
        histories.append(pd.read_csv(run / "history.csv").drop(columns="seconds"))
    pd.testing.assert_frame_equal(*histories, rtol=1e-3)
