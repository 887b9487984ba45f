"""Guess from file names which clips are cut from one recording."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np
import pandas as pd

from dcase2018.data.labels import class_names, multi_hot

MIN_RECORDINGS = (
    3  # per class; fewer are probably class names with a counter, such as dog_1.wav and dog_2.wav
)

# File names of datasets whose clips are cut from Freesound recordings.
DATASET_NAMES = (
    re.compile(r"(\d+)-\d+-\d+-\d+"),  # UrbanSound8K: recording, class, occurrence, slice
    re.compile(r"\d-(\d+)-[A-Z]-\d+"),  # ESC-50: fold, recording, take, class
)
TIMESTAMP = re.compile(r"(19|20)\d\d[-_.]?\d\d[-_.]?\d\d([-_ T]?\d{6})?$")  # of a recording, not of a clip
COPY = re.compile(r"([ _-]+copy([ _-]*\d+)?| *\(\d+\))+$", re.IGNORECASE)
COUNTER = re.compile(
    r"([ _.-]+|(?<=\d)(?=[a-z]))(clip|part|segment|seg|chunk|slice|take|window)?[ _.-]*"
    r"\d+([.]\d+)?(s|ms|sec)?$",
    re.IGNORECASE,
)


def find_recordings(labels: pd.DataFrame, fnames: Sequence[str]) -> np.ndarray | None:
    """Guess from which recording each clip is cut, or of which file it is a copy.

    The guess is the name without a counter or time at its end: `rec12_003.wav` and `rec12_004.wav`, or
    `b020_90_100.wav`, which names the start and the end. Names that end in a date and time are kept.

    Parameters
    ----------
    labels
        Labels of the first clips in `fnames` (see `read_labels`).
    fnames
        Names of all clips.

    Returns
    -------
    ndarray or None
        Path of the recording, without suffix: str, (n_clips,). None unless most classes have several
        recordings: `dog_1.wav` and `cat_1.wav` name the class.
    """
    recordings = np.array([_recording(fname, 1) for fname in fnames], dtype=str)
    if len(np.unique(recordings)) == len(recordings):
        recordings = np.array([_recording(fname, 2) for fname in fnames], dtype=str)
    if not len(labels):
        return None
    y_true = multi_hot(labels, class_names(labels))
    labelled = recordings[: len(labels)]
    n_recordings = [len(np.unique(labelled[is_in_class])) for is_in_class in y_true.T]
    return recordings if np.median(n_recordings) >= MIN_RECORDINGS else None


def _recording(fname: str, n_counters: int) -> str:
    folder, slash, name = fname.rpartition("/")
    name = PurePosixPath(name).stem
    for pattern in DATASET_NAMES:
        if match := pattern.fullmatch(name):
            return match[1]
    name = COPY.sub("", name) or name
    for _ in range(n_counters):
        if not TIMESTAMP.search(name):
            name = COUNTER.sub("", name) or name
    return folder + slash + name
