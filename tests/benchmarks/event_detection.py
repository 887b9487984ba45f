"""Measure event detection on a long recording that is mixed from labelled clips.

    python tests/benchmarks/event_detection.py RUN AUDIO_FOLDER LABELS.csv

Clips in random order are added to room noise, with pauses between them and at random levels. A true event
lasts from the first to the last sample of its clip within 40 dB of the clip's peak. The results are printed
as JSON:

accuracy_separate_clips, accuracy_in_recording
    Accuracy of the top class: of each separate file, and of the windows centred in the clip's true event.
event_precision, event_recall, event_f1
    An event is correct if its class is right and its onset within a second.
segment_accuracy
    Fraction of seconds whose class, or silence, is correct. A second has the class of its longest event.
"""

import argparse
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from dcase2018.cli.keras_setup import load_keras
from dcase2018.data.labels import read_labels
from dcase2018.inference.audio_tagger import AudioTagger
from dcase2018.inference.event_detection import Event, EventConfig, detect_events
from dcase2018.inference.window_scores import WindowScores

SR = 44100
ONSET_COLLAR = 1.0  # seconds
NOISE_DB = -55.0  # RMS level of the room noise
PEAK_DB = (-24.0, -1.0)  # peak levels of the clips
PAUSE_SECONDS = (0.5, 8.0)
MIN_SEGMENT_SECONDS = 0.25  # a shorter part of a second counts as silence


@dataclass(frozen=True)
class Recording:
    """A mixed recording, the names of its clips, and their true events."""

    samples: np.ndarray
    fnames: Sequence[str]
    true_events: Sequence[Event]


def mix_recording(folder: Path, labels: Mapping[str, str], minutes: float, seed: int) -> Recording:
    """Add clips to room noise, one after the other, until the recording is full."""
    rng = np.random.default_rng(seed)
    samples = room_noise(round(minutes * 60 * SR), rng)
    fnames, true_events, time = [], [], rng.uniform(*PAUSE_SECONDS)
    for fname in rng.permutation(sorted(labels)):
        y, sr = soundfile.read(folder / fname, dtype="float32", always_2d=True)
        y = y.mean(axis=1)
        if sr != SR or not len(y) or not np.abs(y).max():
            continue
        start = round(time * SR)
        if start + len(y) > len(samples):
            break
        samples[start : start + len(y)] += y / np.abs(y).max() * 10 ** (rng.uniform(*PEAK_DB) / 20)
        loud = np.flatnonzero(np.abs(y) >= np.abs(y).max() / 100)
        true_events.append(Event((start + loud[0]) / SR, (start + loud[-1] + 1) / SR, labels[fname], 1.0))
        fnames.append(fname)
        time += len(y) / SR + rng.uniform(*PAUSE_SECONDS)
    return Recording(np.clip(samples, -1, 1), fnames, true_events)


def room_noise(n_samples: int, rng: np.random.Generator) -> np.ndarray:
    """Noise with a slope of -6 dB per octave, whose level varies by 6 dB within half a minute."""
    spectrum = np.fft.rfft(rng.standard_normal(n_samples, dtype=np.float32))
    spectrum /= np.maximum(np.arange(len(spectrum)) / n_samples * SR, 50)
    noise = np.fft.irfft(spectrum, n_samples)
    envelope = 10 ** (3 * np.sin(2 * np.pi * np.arange(n_samples) / (30 * SR)) / 20)
    noise *= envelope * 10 ** (NOISE_DB / 20) / noise.std()
    return noise.astype(np.float32)


def event_f1(events: Sequence[Event], true_events: Sequence[Event]) -> tuple[float, float, float]:
    """Precision, recall and F1. Each true event is matched once at most, by the nearest onset."""
    unmatched = list(true_events)
    n_correct = 0
    for event in events:
        candidates = [
            true for true in unmatched
            if true.label == event.label and abs(true.onset - event.onset) <= ONSET_COLLAR
        ]  # fmt: skip
        if candidates:
            unmatched.remove(min(candidates, key=lambda true: abs(true.onset - event.onset)))
            n_correct += 1
    precision, recall = n_correct / max(len(events), 1), n_correct / len(true_events)
    return precision, recall, 2 * precision * recall / max(precision + recall, 1e-9)


def segment_labels(events: Sequence[Event], seconds: float) -> list[str]:
    """Class of the longest event in each second, or "" for silence. The higher score breaks ties."""
    labels = []
    for second in range(int(seconds)):
        overlaps = [
            (min(event.offset, second + 1) - max(event.onset, second), event.score, event.label)
            for event in events
            if event.onset < second + 1 and event.offset > second
        ]
        duration, _, label = max(overlaps, default=(0.0, 0.0, ""))
        labels.append(label if duration >= MIN_SEGMENT_SECONDS else "")
    return labels


def accuracy_in_recording(
    windows: WindowScores, true_events: Sequence[Event], classes: Sequence[str]
) -> float:
    """Fraction of clips whose class has the highest mean score in the windows centred in them."""
    centres = windows.starts + windows.window_seconds / 2
    n_correct = 0
    for event in true_events:
        in_event = (centres >= event.onset) & (centres <= event.offset)
        if not in_event.any():
            nearest = windows.index_at(np.array((event.onset + event.offset) / 2))
            in_event = np.arange(len(windows)) == nearest
        n_correct += classes[windows.scores[in_event].mean(axis=0).argmax()] == event.label
    return n_correct / len(true_events)


def measure(
    tagger: AudioTagger, folder: Path, recording: Recording, event_config: EventConfig
) -> dict[str, Any]:
    seconds = len(recording.samples) / SR
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary, "recording.wav")
        soundfile.write(path, recording.samples, SR, subtype="PCM_16")
        windows = tagger.window_scores(path)
    scores = np.array([tagger.scores(folder / fname) for fname in recording.fnames])  # (clips, classes)
    events, true_events = detect_events(windows, tagger.classes, event_config), recording.true_events
    predicted = [tagger.classes[index] for index in scores.argmax(axis=1)]
    precision, recall, f1 = event_f1(events, true_events)
    labels, true_labels = segment_labels(events, seconds), segment_labels(true_events, seconds)
    return {
        "minutes": seconds / 60,
        "n_clips": len(recording.fnames),
        "accuracy_separate_clips": _agreement(predicted, [event.label for event in true_events]),
        "accuracy_in_recording": accuracy_in_recording(windows, true_events, tagger.classes),
        "n_events": len(events),
        "event_precision": precision,
        "event_recall": recall,
        "event_f1": f1,
        "segment_accuracy": _agreement(labels, true_labels),
        "segment_accuracy_all_silent": _agreement([""] * len(true_labels), true_labels),
    }


def _agreement(a: Sequence[str], b: Sequence[str]) -> float:
    return float(np.mean([x == y for x, y in zip(a, b, strict=True)]))


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
    args = parser.parse_args()
    load_keras()
    options = {"inference_hop_seconds": args.hop_seconds} if args.hop_seconds else {}
    tagger = AudioTagger.open([args.run], **options)
    table = read_labels(args.labels, tagger.classes)
    labels = dict(zip(table["fname"], table["label"], strict=True))
    recording = mix_recording(args.folder, labels, args.minutes, args.seed)
    print(json.dumps(measure(tagger, args.folder, recording, EventConfig(args.threshold)), indent=2))


if __name__ == "__main__":
    main()
