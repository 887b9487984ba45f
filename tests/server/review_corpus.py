"""A small corpus for a review: clips with unusual names and formats, labels, and a list of label issues."""

import csv
import os
from dataclasses import dataclass
from pathlib import Path

import soundfile
from conftest import noise

VERIFIED = [f"verified-{label}-{number}.wav" for label in ("c0", "c1") for number in range(5)]
LISTED = [
    "spaces in name.wav", "é and 音.wav", os.fsdecode(b"bytes-\xff\xfe.wav"), "<img src=x>&'\".wav",
    "line\nend.wav", "sub/folder.flac", "old.aiff", "100%#?.wav",
    *(f"clip-{number}.wav" for number in range(12)),
]  # fmt: skip
ISSUE_COLUMNS = ["rank", "fname", "label", "issue_probability", "predicted_label", "reason"]


@dataclass(frozen=True)
class ReviewCorpus:
    """Paths of the corpus."""

    labels: Path
    issues: Path
    audio: Path


def make_review_corpus(folder: Path) -> ReviewCorpus:
    """Write 10 verified clips of two classes, and 20 unverified ones, which are listed.

    The label of all listed clips is c0. c1 is proposed for the even ones; for the odd ones, no class is. One
    clip of the label file is not listed, and one file of the folder has no label.
    """
    corpus = ReviewCorpus(folder / "train.csv", folder / "issues.csv", folder / "audio")
    for seed, name in enumerate([*VERIFIED, *LISTED, "unlisted.wav", "secret.wav"]):
        path = corpus.audio / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(os.fsencode(path), noise(8000 + 100 * seed, seed), 44100, subtype="PCM_16")
    rows = [[name, name.split("-")[1], 1] for name in VERIFIED]
    rows += [[name, "c0", 0] for name in [*LISTED, "unlisted.wav"]]
    write_csv(corpus.labels, ["fname", "label", "manually_verified"], rows)
    issues = [
        [rank, name, "c0", 0.9, "" if rank % 2 else "c1", "predicted as c1"]
        for rank, name in enumerate(LISTED)
    ]
    write_csv(corpus.issues, ISSUE_COLUMNS, issues)
    return corpus


def write_csv(path: Path, header: list[str], rows: list[list]) -> None:
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        csv.writer(file).writerows([header, *rows])
