"""Compare the scores of an exported folder with those of `predict` on generated clips."""

import json
import logging
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from dcase2018.features.extraction import extract
from dcase2018.features.levels import SILENCE_DBFS
from dcase2018.features.store import Store
from dcase2018.inference.ensemble import Ensemble
from dcase2018.inference.predictor import predict
from dcase2018.runs.run import Run
from dcase2018.utils.errors import Dcase2018Error
from dcase2018.utils.safe_path import python_command


def make_test_clips(run: Run) -> dict[str, np.ndarray]:
    """Generate test clips: float32 in [-1, 1], at the sample rate of the run's feature config.

    The clips are silence, very quiet noise, noise, noise with a constant offset, a tone between silence, a
    sweep, clips shorter than a frame and than a window, a clip without samples, and one with more windows
    than a batch of the graph.
    """
    from dcase2018.exporting.graph import GRAPH_BATCH  # imports Keras

    rate = run.feature_config.sample_rate
    rng = np.random.default_rng(0)
    seconds = np.arange(2 * rate) / rate
    silence = np.zeros(rate // 10)
    window, hop = run.example_shape[0], run.hparams.inference_hop_frames(run.feature_config)
    n_long = (window + (GRAPH_BATCH + 1) * hop) * run.feature_config.hop_length
    loudness = np.repeat(rng.uniform(0.01, 0.2, n_long // rate + 1), rate)[:n_long]
    clips = {
        "silence": np.zeros(rate),
        "quiet noise": rng.normal(0, 10 ** ((SILENCE_DBFS - 10) / 20), rate),
        "noise": rng.normal(0, 0.1, 2 * rate),
        "tone": np.concatenate([silence, 0.5 * np.sin(2 * np.pi * 440 * seconds), silence]),
        "noise with an offset": np.concatenate([silence, rng.normal(0, 0.1, rate), silence]) + 0.2,
        "sweep": 0.3 * np.sin(2 * np.pi * (100 + 400 * seconds) * seconds),
        "shorter than a frame": rng.normal(0, 0.1, run.feature_config.frame_length // 4),
        "short": rng.normal(0, 0.1, rate // 9),
        "empty": np.zeros(0),
        "long": rng.normal(0, 1, n_long) * loudness,
    }
    return {name: np.clip(samples, -1, 1).astype(np.float32) for name, samples in clips.items()}


def max_differences(folder: Path, run: Run, checkpoint: int | str | None) -> pd.Series:
    """Score test clips with the `example.py` of an exported folder, in a subprocess, and with `predict`.

    Returns
    -------
    Series
        Largest absolute difference between the scores of each clip, indexed by file name.

    Raises
    ------
    Dcase2018Error
        If `example.py` fails.
    """
    with tempfile.TemporaryDirectory() as work, _silence_logging():
        audio, store = Path(work, "clips"), Path(work, "clips.h5")
        audio.mkdir()
        for name, samples in make_test_clips(run).items():
            soundfile.write(audio / f"{name}.wav", samples, run.feature_config.sample_rate, subtype="PCM_16")
        extract(audio, store, run.feature_config)
        expected = predict(Ensemble.open([run.path], [Store(store)], checkpoint))
        exported_scores = _run_example(folder, sorted(audio.iterdir()))
    aligned = expected[exported_scores.columns]
    return (aligned - exported_scores.loc[expected.index]).abs().max(axis=1, skipna=False)


def _run_example(folder: Path, clips: list[Path]) -> pd.DataFrame:
    """Return the scores that `example.py` prints: one row per clip, one column per class."""
    command = python_command(str(folder / "example.py"), *map(str, clips))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        stderr = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise Dcase2018Error(f"the example.py of the export fails: {stderr[-1]}")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return pd.DataFrame([row["scores"] for row in rows], index=[row["fname"] for row in rows])


@contextmanager
def _silence_logging() -> Iterator[None]:
    """Log warnings only, since users have no need for messages about test clips."""
    log = logging.getLogger("dcase2018")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(level)
