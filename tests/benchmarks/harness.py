"""The benchmark corpus, runs on it, and a timer that alternates between implementations."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import pandas as pd
import soundfile

from dcase2018.data.synthetic import CLASS_SOUNDS, synthesize_clip
from dcase2018.features.config import FEATURE_CONFIGS
from dcase2018.features.extraction import extract
from dcase2018.features.store import Store
from dcase2018.models.architectures import build, with_activation
from dcase2018.models.hparams import PRESETS
from dcase2018.runs.model_io import save_model
from dcase2018.runs.run import Run
from dcase2018.training.experiment import Experiment

SR = 44100
N_CLASSES = 41

# One run of an implementation. It returns its rate, in units per second.
RateFunction = Callable[[], float]


class Row(TypedDict):
    """A result: the median rate, and the median ratio to the first implementation of the benchmark."""

    benchmark: str
    implementation: str
    rate: float
    unit: str
    ratio: float


@dataclass(frozen=True)
class Size:
    """How much a benchmark measures.

    Attributes
    ----------
    seconds
        Audio of the corpus, in seconds.
    report_seconds
        Audio of the corpus of the benchmark `report`; 9,300 s are about 1,600 clips, as in the challenge.
    rounds
        Measurements of each implementation.
    steps
        Training steps per measurement, in the benchmark `fit`.
    batches
        Batches per measurement, in the benchmark `batches`.
    clips
        Clips in the benchmark `predict`; `export` uses a fifth of them.
    """

    seconds: float = 3700
    report_seconds: float = 9300
    rounds: int = 3
    steps: int = 30
    batches: int = 400
    clips: int = 60


@dataclass(frozen=True)
class Corpus:
    """Synthetic clips with the durations of FSDKaggle2018."""

    root: Path
    seconds: float
    labels: pd.DataFrame

    @property
    def audio(self) -> Path:
        return self.root / "clips"

    @property
    def store(self) -> Path:
        return self.root / "clips.h5"


def draw_clip_seconds(rng: np.random.Generator, n_clips: int) -> np.ndarray:
    """Draw durations like those of FSDKaggle2018, 0.3 to 30 s with a mean of about 6.8 s: (n_clips,)."""
    return np.clip(np.exp(rng.normal(1.49, 1.0, n_clips)), 0.3, 30)


def make_corpus(root: Path, seconds: float) -> Corpus:
    """Write clips with a total duration of at least `seconds`, and at least two per class."""
    (root / "clips").mkdir()
    rng = np.random.default_rng(0)
    sounds = np.concatenate([synthesize_clip(params, rng) for params in CLASS_SOUNDS.values()])
    total, fnames = 0, []
    while total < seconds * SR or len(fnames) < 2 * N_CLASSES:
        n_samples = int(SR * min(draw_clip_seconds(rng, 1)[0], seconds))
        samples = np.resize(np.roll(sounds, -int(rng.integers(len(sounds)))), n_samples)
        fnames.append(f"{len(fnames):05d}.wav")
        soundfile.write(root / "clips" / fnames[-1], samples, SR, subtype="PCM_16")
        total += n_samples
    labels = [f"class_{index % N_CLASSES:02d}" for index in range(len(fnames))]
    return Corpus(root, total / SR, pd.DataFrame({"fname": fnames, "label": labels}, dtype=object))


def make_run(corpus: Corpus, preset: str, n_clips: int | None = None) -> tuple[Run, Store]:
    """Create a run of a preset with random weights, and the store of the first clips of the corpus."""
    labels, path = corpus.labels[:n_clips], corpus.root / f"{preset}.h5"
    extract(corpus.audio, path, FEATURE_CONFIGS[PRESETS[preset].features], names=list(labels["fname"]))
    run = Experiment.create(corpus.root / preset, PRESETS[preset], Store(path), labels).run
    run.path.mkdir()
    run.save()
    run.save_training_clips([])
    model = build(run.model, run.example_shape, len(run.classes), run.hparams)
    save_model(with_activation(model, run.hparams.classifier), run.path / "model.keras")
    return run, Store(path)


def measure_rates(
    benchmark: str, unit: str, implementations: Mapping[str, RateFunction], rounds: int
) -> list[Row]:
    """Measure the rate of each implementation in turn, `rounds` times.

    The ratio to the first implementation is computed within each round, where the load of the machine is
    about the same.
    """
    rates = {name: [] for name in implementations}
    for _ in range(rounds):
        for name, rate in implementations.items():
            rates[name].append(rate())
    reference = np.array(next(iter(rates.values())))
    return [
        Row(
            benchmark=benchmark,
            implementation=name,
            rate=float(np.median(values)),
            unit=unit,
            ratio=float(np.median(np.array(values) / reference)),
        )
        for name, values in rates.items()
    ]


def format_table(rows: Sequence[Row]) -> str:
    header = f"{'benchmark':16} {'implementation':24} {'rate':>10}  {'unit':26} {'ratio':>8}"
    lines = [
        "{benchmark:16} {implementation:24} {rate:10.0f}  {unit:26} {ratio:7.2f}x".format(**row)
        for row in rows
    ]
    return "\n".join([header, *lines])
