"""A small corpus in Kaggle's layout, made by NumPy, for trying everything without a download.

The 41 classes bear their real names and sound as unlike each other as a table of parameters makes
them; nobody would take them for the real thing. A clip is a function of (seed, its number) alone.
"""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from dcase2018.data.labels import write_table
from dcase2018.utils.atomic import StrPath, atomic_directory
from dcase2018.utils.errors import InputError
from dcase2018.utils.progress import Progress

SAMPLE_RATE = 44100
SECONDS = (0.3, 5.0)
UNVERIFIED = 0.6  # share of training clips, as in FSDKaggle2018
WRONG = 0.15  # share of wrong labels among them
PUBLIC = 0.19  # share of scored test clips
IGNORED = 10  # test clips that nobody scores, beside an empty one

# Frequencies of partials relative to the lowest, by what vibrates.
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
    """How a class sounds; an event is one stroke, note or burst."""

    hz: tuple[float, float] = (0, 0)  # range of the lowest partial; 0 for none
    partials: tuple[float, ...] = STRING
    tilt: float = 1.0  # a partial of ratio r has amplitude r ** -tilt
    noise: tuple[float, float] = (0, 0)  # band of noise in Hz; 0 for none
    mix: float = 0.0  # amplitude of the noise beside partials of amplitude 1
    attack: float = 0.005  # seconds
    decay: float = 1.0  # seconds to fall to 1 / e
    rate: float = 0.0  # events a second; 0 for one that lasts
    glide: float = 0.0  # octaves an event rises in its decay time
    vibrato: float = 0.0  # depth, as a fraction of the frequency, at 6 Hz


CLASS_SOUNDS = {
    "Acoustic_guitar": SynthParams((110, 330), STRING, 0.8, attack=0.003, decay=0.5, rate=2.5),
    "Applause": SynthParams(noise=(800, 4000), mix=1, attack=0.001, decay=0.012, rate=45),
    "Bark": SynthParams((350, 600), STRING, 0.4, (500, 3000), 0.3, 0.02, 0.09, 2.2, glide=-0.6),
    "Bass_drum": SynthParams((150, 190), SKIN, 2.0, attack=0.002, decay=0.12, rate=1.5, glide=-0.7),
    "Burping_or_eructation": SynthParams(
        (130, 170), STRING, 0.2, attack=0.05, decay=0.5, glide=-0.3, vibrato=0.15
    ),
    "Bus": SynthParams((125, 160), STRING, 0.9, (130, 500), 0.8, 0.3, 30, vibrato=0.02),
    "Cello": SynthParams((130, 220), STRING, 0.6, attack=0.12, decay=3, vibrato=0.012),
    "Chime": SynthParams((1500, 2800), BELL, 0.4, attack=0.002, decay=0.7, rate=4),
    "Clarinet": SynthParams((300, 500), PIPE, 0.9, attack=0.04, decay=5),
    "Computer_keyboard": SynthParams(noise=(2000, 7000), mix=1, attack=0.001, decay=0.008, rate=8),
    "Cough": SynthParams(noise=(500, 2500), mix=1, attack=0.02, decay=0.13, rate=2),
    "Cowbell": SynthParams((540, 620), (1, 1.48, 2.6), 0.3, attack=0.001, decay=0.12, rate=3),
    "Double_bass": SynthParams((125, 145), STRING, 1.6, attack=0.01, decay=0.7, rate=1.4),
    "Drawer_open_or_close": SynthParams((180, 260), SKIN, 1, (200, 1500), 1.5, 0.25, 0.15, 1),
    "Electric_piano": SynthParams((220, 500), (1, 4, 14), 1.0, attack=0.004, decay=0.9, rate=1.8),
    "Fart": SynthParams((130, 210), STRING, 0.1, (150, 900), 0.4, 0.03, 0.3, 1.2, glide=0.5, vibrato=0.08),
    "Finger_snapping": SynthParams((1700, 2300), PURE, 0.5, (1200, 4000), 0.8, 0.001, 0.02, 1.7),
    "Fireworks": SynthParams(noise=(150, 7000), mix=1, attack=0.001, decay=0.4, rate=1.2),
    "Flute": SynthParams((600, 1100), PURE, 2, (600, 3000), 0.06, 0.08, 4, vibrato=0.01),
    "Glockenspiel": SynthParams((1000, 1900), BAR, 0.5, attack=0.001, decay=0.4, rate=3),
    "Gong": SynthParams((140, 220), PLATE, 0.2, attack=0.03, decay=3, vibrato=0.004),
    "Gunshot_or_gunfire": SynthParams(noise=(300, 7500), mix=1, attack=0.001, decay=0.06, rate=1.6),
    "Harmonica": SynthParams((350, 450), CHORD, 0.3, attack=0.05, decay=4, vibrato=0.004),
    "Hi-hat": SynthParams(noise=(5000, 7500), mix=1, attack=0.001, decay=0.05, rate=5),
    "Keys_jangling": SynthParams((2000, 3000), PLATE, 0.1, attack=0.001, decay=0.06, rate=6),
    "Knock": SynthParams((240, 330), SKIN, 0.8, (200, 1200), 0.5, 0.001, 0.035, 4),
    "Laughter": SynthParams((300, 480), STRING, 0.7, (800, 3000), 0.2, 0.03, 0.08, 5, glide=-0.3),
    "Meow": SynthParams((500, 800), STRING, 0.5, attack=0.15, decay=0.4, rate=1, glide=0.5),
    "Microwave_oven": SynthParams((240, 242), STRING, 0.3, (2000, 4000), 0.25, 0.3, 30),
    "Oboe": SynthParams((450, 700), STRING, 0.0, attack=0.03, decay=4, vibrato=0.008),
    "Saxophone": SynthParams((200, 400), STRING, 0.35, (1000, 4000), 0.15, 0.06, 3, vibrato=0.02),
    "Scissors": SynthParams(noise=(3500, 7500), mix=1, attack=0.05, decay=0.04, rate=2.8),
    "Shatter": SynthParams((2200, 3800), PLATE, 0.0, (3000, 7500), 0.8, 0.001, 0.15, 9),
    "Snare_drum": SynthParams((190, 230), SKIN, 0.8, (1000, 6000), 0.9, 0.001, 0.09, 3),
    "Squeak": SynthParams((1200, 1700), PURE, 1, attack=0.05, decay=0.2, rate=2, glide=0.9),
    "Tambourine": SynthParams((4500, 6000), PLATE, 0.0, (4000, 7500), 0.7, 0.005, 0.12, 4),
    "Tearing": SynthParams(noise=(1500, 7500), mix=1, attack=0.2, decay=0.8, rate=0.7),
    "Telephone": SynthParams((850, 950), (1, 1.25), 0, attack=0.005, decay=0.5, rate=18),
    "Trumpet": SynthParams((350, 600), STRING, 0.1, attack=0.03, decay=0.6, rate=1.7),
    "Violin_or_fiddle": SynthParams((800, 1500), STRING, 0.5, attack=0.1, decay=4, vibrato=0.03),
    "Writing": SynthParams(noise=(2500, 6000), mix=1, attack=0.04, decay=0.03, rate=6),
}


def synthesize_clip(voice: SynthParams, rng: np.random.Generator) -> np.ndarray:
    """Make a clip of a voice: float32, (n_samples,), mono at 44.1 kHz, peak below 1."""
    low, high = np.log(SECONDS)
    n_samples = round(SAMPLE_RATE * np.exp(np.clip(rng.normal(0.1, 0.7), low, high)))
    samples = np.zeros(n_samples)
    start = 0
    while start < n_samples:
        event = _event(voice, n_samples - start, rng)
        samples[start : start + len(event)] += event * rng.uniform(0.5, 1)
        if not voice.rate:
            break
        start += max(1, round(SAMPLE_RATE / voice.rate * rng.uniform(0.7, 1.3)))
    samples += np.abs(samples).max() * 10 ** rng.uniform(-4, -2) * rng.standard_normal(n_samples)
    samples *= 10 ** rng.uniform(-0.9, -0.05) / np.abs(samples).max()
    return samples.astype(np.float32)


def _event(voice: SynthParams, most: int, rng: np.random.Generator) -> np.ndarray:
    """One stroke, note or burst, at most `most` samples long."""
    n_samples = min(most, round(SAMPLE_RATE * (voice.attack + 6 * voice.decay)))
    seconds = np.arange(n_samples) / SAMPLE_RATE
    samples = np.zeros(n_samples)
    if voice.hz[1]:
        phase = _phase(voice, seconds, rng)
        for ratio in voice.partials:
            detuned = ratio * rng.normal(1, 0.002)
            samples += ratio**-voice.tilt * np.sin(detuned * phase + rng.uniform(0, 2 * np.pi))
        samples /= sum(ratio**-voice.tilt for ratio in voice.partials)
    if voice.mix:
        samples += voice.mix * _noise(n_samples, voice.noise, rng)
    attack = voice.attack * rng.uniform(0.7, 1.4)
    decay = voice.decay * rng.uniform(0.7, 1.4)
    return samples * np.minimum(1, seconds / attack) * np.exp(-seconds / decay)


def _phase(voice: SynthParams, seconds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Phase in radians of the lowest partial, with its glide and vibrato."""
    low, high = np.log(voice.hz)
    hz = np.exp(rng.uniform(low, high))
    octaves = voice.glide * np.minimum(1, seconds / voice.decay) * rng.uniform(0.7, 1.3)
    wobble = 1 + voice.vibrato * np.sin(2 * np.pi * 6 * seconds + rng.uniform(0, 2 * np.pi))
    return 2 * np.pi * np.cumsum(hz * 2**octaves * wobble) / SAMPLE_RATE


def _noise(n_samples: int, band: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """Noise of a band of frequencies, with unit peak."""
    size = 1 << max(8, (n_samples - 1).bit_length())
    hz = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    low, high = band[0] * rng.uniform(0.85, 1.15), band[1] * rng.uniform(0.85, 1.15)
    spectrum = np.fft.rfft(rng.standard_normal(size)) * ((hz > low) & (hz < high))
    noise = np.fft.irfft(spectrum)[:n_samples]
    return noise / np.abs(noise).max()


def synthesize(data: StrPath, train_per_class: int = 12, test_per_class: int = 4, seed: int = 0) -> None:
    """Write a corpus in Kaggle's layout; the same seed gives the same bytes.

    `data` gets audio_train/, audio_test/, train.csv, sample_submission.csv, and beside them the truth
    of the test clips, test_post_competition.csv. It appears whole.

    Raises
    ------
    InputError
        If `data` exists and is not empty.
    OSError
        If something cannot be written.
    """
    data = Path(data)
    if data.exists() and (not data.is_dir() or any(data.iterdir())):
        raise InputError(f"{data} exists and is not empty; remove it or name another folder")
    rng = np.random.default_rng(seed)
    train = _permuted(train_per_class, 0, rng)
    test = _permuted(test_per_class, IGNORED, rng)
    names = [f"{n:08x}.wav" for n in rng.choice(2**32, len(train) + len(test), replace=False)]
    train.insert(0, "fname", names[: len(train)])
    test.insert(0, "fname", names[len(train) :])
    with atomic_directory(data, fsync=False) as folder:
        with Progress("synthesize", len(names), "clips") as progress:
            for part, table in (("audio_train", train), ("audio_test", test)):
                (folder / part).mkdir()
                for number, (fname, label) in enumerate(zip(table.fname, table.label, strict=True)):
                    clip_rng = np.random.default_rng([seed, part == "audio_test", number])
                    _write_clip(folder / part / fname, label, clip_rng)
                    progress.update(1)
        sample = pd.DataFrame({"fname": sorted(test.fname), "label": "Laughter Hi-Hat Flute"})
        write_table(folder / "sample_submission.csv", sample)
        write_table(folder / "test_post_competition.csv", _scored(test, rng))
        write_table(folder / "train.csv", _guessed(train, rng))


def _permuted(per_class: int, ignored: int, rng: np.random.Generator) -> pd.DataFrame:
    """Labels of clips in random order: some of each class, some ignored, and if so one empty."""
    labels = [label for label in CLASS_SOUNDS for _ in range(per_class)]
    labels += [""] * bool(ignored) + [str(label) for label in rng.choice(list(CLASS_SOUNDS), ignored)]
    usage = [""] * (len(CLASS_SOUNDS) * per_class) + ["Ignored"] * (
        len(labels) - len(CLASS_SOUNDS) * per_class
    )
    table = pd.DataFrame({"label": labels, "usage": usage})
    return table.iloc[rng.permutation(len(table))].reset_index(drop=True)


def _write_clip(path: Path, label: str, rng: np.random.Generator) -> None:
    """Write a clip of a class, or one without samples if `label` is empty."""
    samples = synthesize_clip(CLASS_SOUNDS[label], rng) if label else np.zeros(0, np.float32)
    written = io.BytesIO()  # libsndfile does not say why it cannot write a file
    soundfile.write(written, samples, SAMPLE_RATE, format="WAV", subtype="PCM_16")
    path.write_bytes(written.getvalue())


def _scored(test: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """The truth of the test clips, as it was published after the competition."""
    public = np.where(rng.random(len(test)) < PUBLIC, "Public", "Private")
    ignored = test.usage == "Ignored"
    truth = pd.DataFrame(
        {
            "fname": test.fname,
            "label": test.label.where(~ignored, "None"),
            "usage": np.where(ignored, "Ignored", public),
            "freesound_id": 0,
            "license": "Creative Commons 0",
        }
    )
    return truth.sort_values("fname")


def _guessed(train: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """The training labels: verified ones are right, some of the others are not."""
    verified = rng.random(len(train)) >= UNVERIFIED
    wrong = ~verified & (rng.random(len(train)) < WRONG)
    guesses = rng.choice(list(CLASS_SOUNDS), len(train))
    labels = {
        "fname": train.fname,
        "label": train.label.where(~wrong, guesses),
        "manually_verified": verified.astype(int),
    }
    return pd.DataFrame(labels).sort_values("fname")
