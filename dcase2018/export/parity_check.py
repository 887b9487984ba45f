"""What an exported folder says of clips, beside what `predict` says: the one test that counts for it."""

import json
import logging
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from dcase2018.features.extraction import extract
from dcase2018.features.store import Store
from dcase2018.inference.ensemble import Ensemble
from dcase2018.inference.predictor import predict
from dcase2018.runs.run import Run
from dcase2018.utils.errors import Dcase2018Error


def clips_for(run: Run) -> dict[str, np.ndarray]:
    """Clips to compare by: float32 in [-1, 1], at the feature_config's sample rate.

    Silence, noise, a tone between silence, a sweep; shorter than a frame, than an example; none; and one of
    more examples than the graph takes at a time.
    """
    from dcase2018.export.graph import AT_ONCE

    rate = run.feature_config.sample_rate
    rng = np.random.default_rng(0)
    seconds = np.arange(2 * rate) / rate
    quiet = np.zeros(rate // 10)
    window, hop = run.example_shape[0], run.hparams.inference_hop_frames(run.feature_config)
    long = (window + (AT_ONCE + 1) * hop) * run.feature_config.hop_length
    loudness = np.repeat(rng.uniform(0.01, 0.2, long // rate + 1), rate)[:long]
    clips = {
        "silence": np.zeros(rate),
        "noise": rng.normal(0, 0.1, 2 * rate),
        "tone": np.concatenate([quiet, 0.5 * np.sin(2 * np.pi * 440 * seconds), quiet]),
        "sweep": 0.3 * np.sin(2 * np.pi * (100 + 400 * seconds) * seconds),
        "less than a frame": rng.normal(0, 0.1, run.feature_config.frame_length // 4),
        "short": rng.normal(0, 0.1, rate // 9),
        "nothing": np.zeros(0),
        "long": rng.normal(0, 1, long) * loudness,
    }
    return {name: np.clip(samples, -1, 1).astype(np.float32) for name, samples in clips.items()}


def compare(folder: Path, run: Run, checkpoint: int | str | None) -> pd.Series:
    """Tag clips by an exported folder's `example.py`, in a process of its own, and by `predict`.

    Returns
    -------
    Series
        The largest difference between the scores of each clip, indexed by the clip's name.

    Raises
    ------
    Dcase2018Error
        If the example fails, naming its last words.
    """
    with tempfile.TemporaryDirectory() as reusable_buffer, _quietly():
        audio, store = Path(reusable_buffer, "clips"), Path(reusable_buffer, "clips.h5")
        audio.mkdir()
        for name, samples in clips_for(run).items():
            soundfile.write(audio / f"{name}.wav", samples, run.feature_config.sample_rate, subtype="PCM_16")
        extract(audio, store, run.feature_config)
        expected = predict(Ensemble.open([run.path], [Store(store)], checkpoint))
        told = _told_by_example(folder, sorted(audio.iterdir()))
    return (told.loc[expected.index, expected.columns] - expected).abs().max(axis=1, skipna=False)


def _told_by_example(folder: Path, clips: list[Path]) -> pd.DataFrame:
    command = [sys.executable, str(folder / "example.py"), *map(str, clips)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        words = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise Dcase2018Error(f"the exported example fails: {words[-1]}")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return pd.DataFrame([line["scores"] for line in lines], index=[line["fname"] for line in lines])


@contextmanager
def _quietly() -> Iterator[None]:
    """Keep to oneself how clips go that nobody knows of."""
    log = logging.getLogger("dcase2018")
    level = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(level)
