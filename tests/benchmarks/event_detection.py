"""Tagging over time, measured: labelled clips laid into a long recording, and what is found of them there.

    python tests/benchmarks/stream.py RUN AUDIO_FOLDER LABELS.csv

Clips drawn by chance lie in room noise with pauses between them, at levels from soft to loud. Their truth is
from the first to the last of their samples that is at most 40 dB below their peak. What is told:

- the same clips tagged one by one, and at their places by the mean of the windows whose middles lie there
- events: F1 of those found; one is right if its class is, and its start within a second of the truth
- segments: share of the seconds in which the class that is told (or none) is the one that sounds longest
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from dcase2018.cli.keras_setup import load_keras
from dcase2018.data.labels import read_labels
from dcase2018.inference.audio_tagger import AudioTagger
from dcase2018.inference.event_detection import Event, EventConfig, detect_events
from dcase2018.inference.window_scores import LevelConfig, WindowScores

SR = 44100
COLLAR = 1.0  # seconds
NOISE_DB = -55.0  # level of the room, its mean square
LEVELS_DB = (-24.0, -1.0)  # peaks of the clips
PAUSES = (0.5, 8.0)  # seconds


@dataclass(frozen=True)
class Stream:
    """A recording, the clips in it, and when each sounds."""

    samples: np.ndarray
    fnames: Sequence[str]
    truth: Sequence[Event]


def compose(folder: Path, labels: dict[str, str], minutes: float, seed: int) -> Stream:
    """Lay clips one after the other into room noise until it is full."""
    rng = np.random.default_rng(seed)
    samples = room(round(minutes * 60 * SR), rng)
    fnames, truth, place = [], [], rng.uniform(*PAUSES)
    for fname in rng.permutation(sorted(labels)):
        y, rate = soundfile.read(folder / fname, dtype="float32", always_2d=True)
        y = y.mean(axis=1)
        if rate != SR or not len(y) or not np.abs(y).max():
            continue
        start = round(place * SR)
        if start + len(y) > len(samples):
            break
        samples[start : start + len(y)] += y / np.abs(y).max() * 10 ** (rng.uniform(*LEVELS_DB) / 20)
        loud = np.flatnonzero(np.abs(y) >= np.abs(y).max() / 100)
        truth.append(Event((start + loud[0]) / SR, (start + loud[-1] + 1) / SR, labels[fname], 1.0))
        fnames.append(fname)
        place += len(y) / SR + rng.uniform(*PAUSES)
    return Stream(np.clip(samples, -1, 1), fnames, truth)


def room(n_samples: int, rng: np.random.Generator) -> np.ndarray:
    """Noise that falls by 6 dB an octave, as rooms do, and swells and fades by 6 dB over half a minute."""
    white = rng.standard_normal(n_samples, dtype=np.float32)
    spectrum = np.fft.rfft(white)
    spectrum /= np.maximum(np.arange(len(spectrum)) / n_samples * SR, 50)
    noise = np.fft.irfft(spectrum, n_samples)
    swell = 10 ** (3 * np.sin(2 * np.pi * np.arange(n_samples) / (30 * SR)) / 20)
    noise *= swell * 10 ** (NOISE_DB / 20) / noise.std()
    return noise.astype(np.float32)


def event_f1(found: Sequence[Event], truth: Sequence[Event]) -> tuple[float, float, float]:
    """Precision, recall and F1; each true event is found once at most, and by the nearest start."""
    left = list(truth)
    hits = 0
    for event in found:
        near = [t for t in left if t.label == event.label and abs(t.onset - event.onset) <= COLLAR]
        if near:
            left.remove(min(near, key=lambda t: abs(t.onset - event.onset)))
            hits += 1
    precision, recall = hits / max(len(found), 1), hits / len(truth)
    return precision, recall, 2 * precision * recall / max(precision + recall, 1e-9)


def segments(events: Sequence[Event], seconds: float) -> list[str]:
    """The class that sounds longest in each second, or none: the louder of two that sound as long."""
    told = []
    for second in range(int(seconds)):
        shares = [(min(e.offset, second + 1) - max(e.onset, second), e.score, e.label) for e in events
                  if e.onset < second + 1 and e.offset > second]  # fmt: skip
        best = max(shares, default=(0.0, 0.0, ""))
        told.append(best[2] if best[0] >= 0.25 else "")
    return told


def places(line: WindowScores, truth: Sequence[Event], classes: Sequence[str]) -> float:
    """Share of clips whose class is the best by the mean of the windows at their places."""
    middles = line.starts + line.window_seconds / 2
    right = 0
    for event in truth:
        inside = (middles >= event.onset) & (middles <= event.offset)
        if not inside.any():
            inside = np.arange(len(line)) == line.index_at(np.array((event.onset + event.offset) / 2))
        right += classes[line.scores[inside].mean(axis=0).argmax()] == event.label
    return right / len(truth)


def measure(
    listener: AudioTagger, folder: Path, stream: Stream, over_time: LevelConfig, joining: EventConfig
) -> dict:
    seconds = len(stream.samples) / SR
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary, "stream.wav")
        soundfile.write(path, stream.samples, SR, subtype="PCM_16")
        line = listener.window_scores(path, over_time)
    scores = np.array([listener.scores(folder / fname) for fname in stream.fnames])
    found = detect_events(line, listener.classes, joining)
    precision, recall, f1 = event_f1(found, stream.truth)
    told, true = segments(found, seconds), segments(stream.truth, seconds)
    right = [
        listener.classes[k] == event.label for k, event in zip(scores.argmax(1), stream.truth, strict=True)
    ]
    return {
        "minutes": seconds / 60,
        "clips": len(stream.fnames),
        "clips_one_by_one": float(np.mean(right)),
        "clips_at_their_places": places(line, stream.truth, listener.classes),
        "events_found": len(found),
        "event_precision": precision,
        "event_recall": recall,
        "event_f1": f1,
        "segment_accuracy": float(np.mean([a == b for a, b in zip(told, true, strict=True)])),
        "segment_accuracy_of_silence": float(np.mean([b == "" for b in true])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("labels", type=Path)
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threshold", type=float, default=EventConfig.threshold)
    parser.add_argument("--hop-seconds", type=float)
    given = parser.parse_args()
    load_keras()
    listener = AudioTagger.open([given.run], **({"inference_hop_seconds": given.hop} if given.hop else {}))
    table = read_labels(given.labels, listener.classes)
    labels = dict(zip(table["fname"], table["label"], strict=True))
    stream = compose(given.folder, labels, given.minutes, given.seed)
    figures = measure(listener, given.folder, stream, LevelConfig(), EventConfig(given.threshold))
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
