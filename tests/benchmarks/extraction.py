"""Extraction against a plain loop over librosa, in one run, on an hour of audio made for it."""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import joblib
import librosa
import numpy as np
import soundfile

from dcase2018.extraction import extract
from dcase2018.recipe import RECIPES
from dcase2018.synthetic import VOICES, render

SECONDS = 3700
SR = 44100


def make_clips(folder: Path) -> float:
    """Write clips of the length of FSDKaggle2018's, and return their seconds."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    voices = np.concatenate([render(voice, rng) for voice in VOICES.values()])
    total, number = 0, 0
    while total < SECONDS * SR:
        n_samples = int(SR * np.clip(np.exp(rng.normal(1.4, 1)), 0.3, 30))
        samples = np.resize(np.roll(voices, -int(rng.integers(len(voices)))), n_samples)
        soundfile.write(folder / f"{number:05d}.wav", samples, SR, subtype="PCM_16")
        total, number = total + n_samples, number + 1
    return total / SR


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
    return lambda audio_dir, store: extract(audio_dir, store, RECIPES["baseline"], jobs=jobs) and None


def measure(rounds: int = 3) -> list[dict[str, float | str]]:
    """Time each way in turn, `rounds` times; the ratios are medians of those within a round."""
    ways = {
        "plain loop": plain_loop,
        "extract -j 1": ours(1),
        "extract -j 2": ours(2),
        "decoding alone": decode,
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        seconds = make_clips(root / "clips")
        warm = root / "warm"
        warm.mkdir()
        for number in range(4):
            soundfile.write(warm / f"{number}.wav", np.zeros(SR, np.int16), SR)
        joblib.Parallel(2)(joblib.delayed(os.getpid)() for _ in range(4))
        for round_ in range(-1, rounds):  # a first one, on little, starts processes and compiles
            for name, way in ways.items():
                started = time.perf_counter()
                way(warm if round_ < 0 else root / "clips", root / f"{name} {round_}.h5")
                if round_ >= 0:
                    times[name].append(time.perf_counter() - started)
    plain = np.array(times["plain loop"])
    return [
        {
            "part": "extraction",
            "way": name,
            "rate": seconds / float(np.median(taken)),
            "unit": "s of audio a second",
            "ratio": float(np.median(plain / np.array(taken))),
        }
        for name, taken in times.items()
    ]
