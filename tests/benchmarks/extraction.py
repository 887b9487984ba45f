"""Extraction against a plain loop over librosa, on an hour of audio."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import joblib
import librosa
import numpy as np
import soundfile
from comparison import SR, Corpus, Row, compare

from dcase2018.features.config import FEATURE_CONFIGS
from dcase2018.features.extraction import extract


def plain_loop(audio_dir: Path, store: Path) -> None:
    """What most people write: librosa's own functions, a dataset a clip."""
    with h5py.File(store, "w") as file:
        for path in sorted(audio_dir.iterdir()):
            y, sr = librosa.load(path, sr=None)
            mel = librosa.feature.melspectrogram(
                y=y, sr=sr, n_fft=2048, win_length=1102, hop_length=441, center=False, power=1,
                n_mels=64, fmin=125, fmax=7500, htk=True, norm=None,
            )  # fmt: skip
            file[path.name] = np.log(mel + 0.001).T.astype(np.float32)


def decode(audio_dir: Path, store: Path) -> None:
    """The limit: reading alone."""
    for path in sorted(audio_dir.iterdir()):
        soundfile.read(path, dtype="int16")


def ours(jobs: int) -> Callable[[Path, Path], None]:
    return lambda audio_dir, store: extract(audio_dir, store, FEATURE_CONFIGS["baseline"], jobs=jobs) and None


def measure(corpus: Corpus, rounds: int = 3) -> list[Row]:
    ways = {
        "plain loop": plain_loop,
        "extract -j 1": ours(1),
        "extract -j 2": ours(2),
        "decoding alone": decode,
    }
    warm = corpus.root / "warm"
    warm.mkdir()
    for number in range(4):
        soundfile.write(warm / f"{number}.wav", np.zeros(SR, np.int16), SR)
    joblib.Parallel(2)(joblib.delayed(os.getpid)() for _ in range(4))
    for name, way in ways.items():  # on little: processes start, and what can be is compiled
        way(warm, corpus.root / f"{name} warm.h5")

    def rate_of(name: str) -> float:
        started = time.perf_counter()
        ways[name](corpus.audio, corpus.root / f"{name} {started}.h5")
        return corpus.seconds / (time.perf_counter() - started)

    return compare("extraction", "s of audio a second", rate_of, list(ways), rounds)
