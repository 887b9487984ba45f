"""What the benchmarks share: an hour of audio, and ways of doing one thing timed in turn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from dcase2018.data.synthetic import CLASS_SOUNDS, synthesize_clip

SECONDS = 3700
SR = 44100

Row = dict[str, float | str]


@dataclass(frozen=True)
class Corpus:
    """Clips of the length of FSDKaggle2018's."""

    root: Path
    seconds: float
    labels: pd.DataFrame

    @property
    def audio(self) -> Path:
        return self.root / "clips"

    @property
    def store(self) -> Path:
        return self.root / "clips.h5"


def make_corpus(root: Path, seconds: float = SECONDS) -> Corpus:
    (root / "clips").mkdir()
    rng = np.random.default_rng(0)
    voices = np.concatenate([synthesize_clip(voice, rng) for voice in CLASS_SOUNDS.values()])
    total, fnames = 0, []
    while total < seconds * SR:
        n_samples = int(SR * np.clip(np.exp(rng.normal(1.4, 1)), 0.3, 30))
        samples = np.resize(np.roll(voices, -int(rng.integers(len(voices)))), n_samples)
        fnames.append(f"{len(fnames):05d}.wav")
        soundfile.write(root / "clips" / fnames[-1], samples, SR, subtype="PCM_16")
        total += n_samples
    labels = [f"class {number % 41:02d}" for number in range(len(fnames))]
    return Corpus(root, total / SR, pd.DataFrame({"fname": fnames, "label": labels}, dtype=object))


def compare(
    part: str, unit: str, rate_of: Callable[[str], float], ways: Sequence[str], rounds: int
) -> list[Row]:
    """Measure the rate of each way in turn, `rounds` times.

    A way's ratio to the first is the median of those within a round, in which the machine was the same.
    """
    rates = {name: [] for name in ways}
    for _ in range(rounds):
        for name in ways:
            rates[name].append(rate_of(name))
    first = np.array(rates[ways[0]])
    return [
        {
            "part": part,
            "way": name,
            "rate": float(np.median(values)),
            "unit": unit,
            "ratio": float(np.median(np.array(values) / first)),
        }
        for name, values in rates.items()
    ]
