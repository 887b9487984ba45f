"""Benchmark `extraction`: `extract` compared with a plain loop over librosa."""

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import h5py
import joblib
import librosa
import numpy as np
import soundfile
from harness import SR, Corpus, Row, Size, measure_rates

from dcase2018.features.config import FEATURE_CONFIGS
from dcase2018.features.extraction import extract

Extractor = Callable[[Path, Path], object]


def plain_loop(audio_dir: Path, store: Path) -> None:
    """Common code: librosa functions, one HDF5 dataset per clip."""
    with h5py.File(store, "w") as file:
        for path in sorted(audio_dir.iterdir()):
            y, sr = librosa.load(path, sr=None)
            mel = librosa.feature.melspectrogram(
                y=y, sr=sr, n_fft=2048, win_length=1102, hop_length=441, center=False, power=1,
                n_mels=64, fmin=125, fmax=7500, htk=True, norm=None,
            )  # fmt: skip
            file[path.name] = np.log(mel + 0.001).T.astype(np.float32)


def decode(audio_dir: Path, store: Path) -> None:
    """Upper limit: decoding only."""
    for path in sorted(audio_dir.iterdir()):
        soundfile.read(path, dtype="int16")


def extract_with(jobs: int, audio_dir: Path, store: Path) -> None:
    extract(audio_dir, store, FEATURE_CONFIGS["baseline"], jobs=jobs)


def measure(corpus: Corpus, size: Size) -> list[Row]:
    extractors: dict[str, Extractor] = {
        "plain loop": plain_loop,
        "extract -j 1": partial(extract_with, 1),
        "extract -j 2": partial(extract_with, 2),
        "decoding only": decode,
    }
    _warm_up(corpus.root / "warm", extractors)

    def rate(extractor: Extractor) -> float:
        started = time.perf_counter()
        extractor(corpus.audio, corpus.root / f"{started}.h5")
        return corpus.seconds / (time.perf_counter() - started)

    implementations = {name: partial(rate, extractor) for name, extractor in extractors.items()}
    return measure_rates("extraction", "s of audio per second", implementations, size.rounds)


def _warm_up(folder: Path, extractors: dict[str, Extractor]) -> None:
    """Start the worker processes and compile librosa's functions."""
    folder.mkdir()
    for index in range(4):
        soundfile.write(folder / f"{index}.wav", np.zeros(SR, np.int16), SR)
    joblib.Parallel(2)(joblib.delayed(os.getpid)() for _ in range(4))
    for name, extractor in extractors.items():
        extractor(folder, folder.with_name(f"{name} warm.h5"))
