"""Synthesize a small corpus in Kaggle's layout, to try the toolkit without a download.

The 41 classes have their real names. Their sounds differ from each other but do not resemble the real ones.
Each clip depends only on the seed and on its index.
"""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from dcase2018.data.labels import write_table
from dcase2018.utils.atomic import StrPath, atomic_directory
from dcase2018.utils.config import check_number, check_seed
from dcase2018.utils.errors import InputError
from dcase2018.utils.progress import Progress

SAMPLE_RATE = 44100
DURATION_SECONDS = (0.3, 5.0)
UNVERIFIED_FRACTION = 0.6  # of the training clips, as in FSDKaggle2018
LABEL_NOISE_RATE = 0.15  # fraction of wrong labels among the unverified clips
PUBLIC_FRACTION = 0.19  # of the scored test clips
N_IGNORED = 10  # test clips that are not scored, in addition to an empty one

# Frequencies of the partials relative to the lowest, by vibrating body.
STRING = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10)
PIPE = (1, 3, 5, 7, 9)
CHORD = (1, 1.26, 1.5, 2, 2.52, 3, 4, 5)
PURE = (1, 2)
BAR = (1, 2.76, 5.4, 8.93)
BELL = (0.5, 1, 1.2, 1.5, 2, 2.5, 3.3, 4.1)
SKIN = (1, 1.59, 2.14, 2.65, 3.16)
PLATE = (1, 1.41, 1.83, 2.47, 3.07, 3.71, 4.83)


@dataclass(frozen=True)
class SynthParams:
    """Synthesis parameters of a class. An event is one stroke, note or burst."""

    hz: tuple[float, float] = (0, 0)  # range of the lowest partial; (0, 0): no partials
    partials: tuple[float, ...] = STRING
    spectral_tilt: float = 1.0  # a partial of ratio r has amplitude r ** -spectral_tilt
    noise_band: tuple[float, float] = (0, 0)  # Hz
    noise_gain: float = 0.0  # amplitude of the noise relative to the partials
    attack: float = 0.005  # seconds
    decay: float = 1.0  # seconds to fall to 1 / e
    events_per_second: float = 0.0  # 0: a single event
    glide_octaves: float = 0.0  # rise in pitch within the decay time
    vibrato: float = 0.0  # depth at 6 Hz, as a fraction of the frequency


CLASS_SOUNDS = {
    "Acoustic_guitar": SynthParams((110, 330), STRING, 0.8, attack=0.003, decay=0.5, events_per_second=2.5),
    "Applause": SynthParams(
        noise_band=(800, 4000), noise_gain=1, attack=0.001, decay=0.012, events_per_second=45
    ),
    "Bark": SynthParams((350, 600), STRING, 0.4, (500, 3000), 0.3, 0.02, 0.09, 2.2, glide_octaves=-0.6),
    "Bass_drum": SynthParams(
        (150, 190), SKIN, 2.0, attack=0.002, decay=0.12, events_per_second=1.5, glide_octaves=-0.7
    ),
    "Burping_or_eructation": SynthParams(
        (130, 170), STRING, 0.2, attack=0.05, decay=0.5, glide_octaves=-0.3, vibrato=0.15
    ),
    "Bus": SynthParams((125, 160), STRING, 0.9, (130, 500), 0.8, 0.3, 30, vibrato=0.02),
    "Cello": SynthParams((130, 220), STRING, 0.6, attack=0.12, decay=3, vibrato=0.012),
    "Chime": SynthParams((1500, 2800), BELL, 0.4, attack=0.002, decay=0.7, events_per_second=4),
    "Clarinet": SynthParams((300, 500), PIPE, 0.9, attack=0.04, decay=5),
    "Computer_keyboard": SynthParams(
        noise_band=(2000, 7000), noise_gain=1, attack=0.001, decay=0.008, events_per_second=8
    ),
    "Cough": SynthParams(noise_band=(500, 2500), noise_gain=1, attack=0.02, decay=0.13, events_per_second=2),
    "Cowbell": SynthParams((540, 620), (1, 1.48, 2.6), 0.3, attack=0.001, decay=0.12, events_per_second=3),
    "Double_bass": SynthParams((125, 145), STRING, 1.6, attack=0.01, decay=0.7, events_per_second=1.4),
    "Drawer_open_or_close": SynthParams((180, 260), SKIN, 1, (200, 1500), 1.5, 0.25, 0.15, 1),
    "Electric_piano": SynthParams(
        (220, 500), (1, 4, 14), 1.0, attack=0.004, decay=0.9, events_per_second=1.8
    ),
    "Fart": SynthParams(
        (130, 210), STRING, 0.1, (150, 900), 0.4, 0.03, 0.3, 1.2, glide_octaves=0.5, vibrato=0.08
    ),
    "Finger_snapping": SynthParams((1700, 2300), PURE, 0.5, (1200, 4000), 0.8, 0.001, 0.02, 1.7),
    "Fireworks": SynthParams(
        noise_band=(150, 7000), noise_gain=1, attack=0.001, decay=0.4, events_per_second=1.2
    ),
    "Flute": SynthParams((600, 1100), PURE, 2, (600, 3000), 0.06, 0.08, 4, vibrato=0.01),
    "Glockenspiel": SynthParams((1000, 1900), BAR, 0.5, attack=0.001, decay=0.4, events_per_second=3),
    "Gong": SynthParams((140, 220), PLATE, 0.2, attack=0.03, decay=3, vibrato=0.004),
    "Gunshot_or_gunfire": SynthParams(
        noise_band=(300, 7500), noise_gain=1, attack=0.001, decay=0.06, events_per_second=1.6
    ),
    "Harmonica": SynthParams((350, 450), CHORD, 0.3, attack=0.05, decay=4, vibrato=0.004),
    "Hi-hat": SynthParams(
        noise_band=(5000, 7500), noise_gain=1, attack=0.001, decay=0.05, events_per_second=5
    ),
    "Keys_jangling": SynthParams((2000, 3000), PLATE, 0.1, attack=0.001, decay=0.06, events_per_second=6),
    "Knock": SynthParams((240, 330), SKIN, 0.8, (200, 1200), 0.5, 0.001, 0.035, 4),
    "Laughter": SynthParams((300, 480), STRING, 0.7, (800, 3000), 0.2, 0.03, 0.08, 5, glide_octaves=-0.3),
    "Meow": SynthParams(
        (500, 800), STRING, 0.5, attack=0.15, decay=0.4, events_per_second=1, glide_octaves=0.5
    ),
    "Microwave_oven": SynthParams((240, 242), STRING, 0.3, (2000, 4000), 0.25, 0.3, 30),
    "Oboe": SynthParams((450, 700), STRING, 0.0, attack=0.03, decay=4, vibrato=0.008),
    "Saxophone": SynthParams((200, 400), STRING, 0.35, (1000, 4000), 0.15, 0.06, 3, vibrato=0.02),
    "Scissors": SynthParams(
        noise_band=(3500, 7500), noise_gain=1, attack=0.05, decay=0.04, events_per_second=2.8
    ),
    "Shatter": SynthParams((2200, 3800), PLATE, 0.0, (3000, 7500), 0.8, 0.001, 0.15, 9),
    "Snare_drum": SynthParams((190, 230), SKIN, 0.8, (1000, 6000), 0.9, 0.001, 0.09, 3),
    "Squeak": SynthParams(
        (1200, 1700), PURE, 1, attack=0.05, decay=0.2, events_per_second=2, glide_octaves=0.9
    ),
    "Tambourine": SynthParams((4500, 6000), PLATE, 0.0, (4000, 7500), 0.7, 0.005, 0.12, 4),
    "Tearing": SynthParams(
        noise_band=(1500, 7500), noise_gain=1, attack=0.2, decay=0.8, events_per_second=0.7
    ),
    "Telephone": SynthParams((850, 950), (1, 1.25), 0, attack=0.005, decay=0.5, events_per_second=18),
    "Trumpet": SynthParams((350, 600), STRING, 0.1, attack=0.03, decay=0.6, events_per_second=1.7),
    "Violin_or_fiddle": SynthParams((800, 1500), STRING, 0.5, attack=0.1, decay=4, vibrato=0.03),
    "Writing": SynthParams(
        noise_band=(2500, 6000), noise_gain=1, attack=0.04, decay=0.03, events_per_second=6
    ),
}


def synthesize_clip(params: SynthParams, rng: np.random.Generator) -> np.ndarray:
    """Synthesize a clip of a class: float32, (n_samples,), mono at 44.1 kHz, with a peak below 1."""
    low, high = np.log(DURATION_SECONDS)
    n_samples = round(SAMPLE_RATE * np.exp(np.clip(rng.normal(0.1, 0.7), low, high)))
    samples = np.zeros(n_samples)
    start = 0
    while start < n_samples:
        event = _event(params, n_samples - start, rng)
        samples[start : start + len(event)] += event * rng.uniform(0.5, 1)
        if not params.events_per_second:
            break
        start += max(1, round(SAMPLE_RATE / params.events_per_second * rng.uniform(0.7, 1.3)))
    samples += np.abs(samples).max() * 10 ** rng.uniform(-4, -2) * rng.standard_normal(n_samples)
    samples *= 10 ** rng.uniform(-0.9, -0.05) / np.abs(samples).max()
    return samples.astype(np.float32)


def _event(params: SynthParams, max_samples: int, rng: np.random.Generator) -> np.ndarray:
    n_samples = min(max_samples, round(SAMPLE_RATE * (params.attack + 6 * params.decay)))
    seconds = np.arange(n_samples) / SAMPLE_RATE
    samples = np.zeros(n_samples)
    if params.hz[1]:
        phase = _phase(params, seconds, rng)
        for ratio in params.partials:
            detuned = ratio * rng.normal(1, 0.002)
            samples += ratio**-params.spectral_tilt * np.sin(detuned * phase + rng.uniform(0, 2 * np.pi))
        samples /= sum(ratio**-params.spectral_tilt for ratio in params.partials)
    if params.noise_gain:
        samples += params.noise_gain * _band_noise(n_samples, params.noise_band, rng)
    attack = params.attack * rng.uniform(0.7, 1.4)
    decay = params.decay * rng.uniform(0.7, 1.4)
    return samples * np.minimum(1, seconds / attack) * np.exp(-seconds / decay)


def _phase(params: SynthParams, seconds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the phase of the lowest partial in radians, with glide and vibrato."""
    low, high = np.log(params.hz)
    hz = np.exp(rng.uniform(low, high))
    octaves = params.glide_octaves * np.minimum(1, seconds / params.decay) * rng.uniform(0.7, 1.3)
    vibrato = 1 + params.vibrato * np.sin(2 * np.pi * 6 * seconds + rng.uniform(0, 2 * np.pi))
    return 2 * np.pi * np.cumsum(hz * 2**octaves * vibrato) / SAMPLE_RATE


def _band_noise(n_samples: int, band: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """Return band-limited noise with a peak of 1."""
    n_fft = 1 << max(8, (n_samples - 1).bit_length())
    hz = np.fft.rfftfreq(n_fft, 1 / SAMPLE_RATE)
    low, high = band[0] * rng.uniform(0.85, 1.15), band[1] * rng.uniform(0.85, 1.15)
    spectrum = np.fft.rfft(rng.standard_normal(n_fft)) * ((hz > low) & (hz < high))
    noise = np.fft.irfft(spectrum)[:n_samples]
    return noise / np.abs(noise).max()


def synthesize(data: StrPath, train_per_class: int = 12, test_per_class: int = 4, seed: int = 0) -> None:
    """Write a synthetic corpus in Kaggle's layout, atomically.

    The folder gets `audio_train/`, `audio_test/`, `train.csv`, `sample_submission.csv` and, with the labels
    of the test clips, `test_post_competition.csv`. The same seed gives the same bytes.

    Parameters
    ----------
    data
        Target folder, new or empty.
    train_per_class, test_per_class
        Number of clips per class.
    seed
        Seed of the random generators.

    Raises
    ------
    InputError
        If `data` exists and is not empty, or a number is out of range.
    OSError
        If the folder cannot be written to.

    Examples
    --------
    >>> synthesize("data/demo", train_per_class=6, test_per_class=2, seed=1)
    """
    data = Path(data)
    check_number("train_per_class", train_per_class, int, ge=1)
    check_number("test_per_class", test_per_class, int, ge=1)
    check_seed(seed)
    if data.exists() and (not data.is_dir() or any(data.iterdir())):
        raise InputError(f"{data} exists and is not empty; remove it or name another folder")
    rng = np.random.default_rng(seed)
    train = _shuffled_labels(train_per_class, 0, rng)
    test = _shuffled_labels(test_per_class, N_IGNORED, rng)
    fnames = [f"{n:08x}.wav" for n in rng.choice(2**32, len(train) + len(test), replace=False)]
    train.insert(0, "fname", fnames[: len(train)])
    test.insert(0, "fname", fnames[len(train) :])
    with atomic_directory(data, fsync=False) as folder:
        with Progress("synthesize", len(fnames), "clips") as progress:
            _write_clips(folder / "audio_train", train, [seed, False], progress)
            _write_clips(folder / "audio_test", test, [seed, True], progress)
        sample = pd.DataFrame({"fname": sorted(test.fname), "label": "Laughter Hi-Hat Flute"})
        write_table(folder / "sample_submission.csv", sample)
        write_table(folder / "test_post_competition.csv", _test_table(test, rng))
        write_table(folder / "train.csv", _noisy_train_table(train, rng))


def _shuffled_labels(per_class: int, n_ignored: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return labels and usage of clips in random order. If any are ignored, one more is an empty clip."""
    scored = [label for label in CLASS_SOUNDS for _ in range(per_class)]
    ignored = [""] * bool(n_ignored) + [str(label) for label in rng.choice(list(CLASS_SOUNDS), n_ignored)]
    usage = [""] * len(scored) + ["Ignored"] * len(ignored)
    table = pd.DataFrame({"label": scored + ignored, "usage": usage})
    return table.iloc[rng.permutation(len(table))].reset_index(drop=True)


def _write_clips(folder: Path, table: pd.DataFrame, seed: list[int], progress: Progress) -> None:
    folder.mkdir()
    for i, (fname, label) in enumerate(zip(table.fname, table.label, strict=True)):
        _write_clip(folder / fname, label, np.random.default_rng([*seed, i]))
        progress.update(1)


def _write_clip(path: Path, label: str, rng: np.random.Generator) -> None:
    """Write a clip of a class; an empty label gives a file without samples."""
    samples = synthesize_clip(CLASS_SOUNDS[label], rng) if label else np.zeros(0, np.float32)
    buffer = io.BytesIO()  # libsndfile gives no reason when it cannot write a file
    soundfile.write(buffer, samples, SAMPLE_RATE, format="WAV", subtype="PCM_16")
    path.write_bytes(buffer.getvalue())


def _test_table(test: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Return the labels of the test clips, in the format published after the competition."""
    scored_usage = np.where(rng.random(len(test)) < PUBLIC_FRACTION, "Public", "Private")
    is_ignored = test.usage == "Ignored"
    table = pd.DataFrame(
        {
            "fname": test.fname,
            "label": test.label.where(~is_ignored, "None"),
            "usage": np.where(is_ignored, "Ignored", scored_usage),
            "freesound_id": 0,
            "license": "Creative Commons 0",
        }
    )
    return table.sort_values("fname")


def _noisy_train_table(train: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Return the training labels: verified labels are correct, some of the others are random."""
    is_verified = rng.random(len(train)) >= UNVERIFIED_FRACTION
    is_noisy = ~is_verified & (rng.random(len(train)) < LABEL_NOISE_RATE)
    random_labels = rng.choice(list(CLASS_SOUNDS), len(train))
    table = {
        "fname": train.fname,
        "label": train.label.where(~is_noisy, random_labels),
        "manually_verified": is_verified.astype(int),
    }
    return pd.DataFrame(table).sort_values("fname")
