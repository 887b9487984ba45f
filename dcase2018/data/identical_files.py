"""Find audio files with the same bytes."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dcase2018.data.audio import AudioReader
from dcase2018.data.audio_errors import AudioReadError
from dcase2018.data.files import list_clips
from dcase2018.utils.progress import Progress

SILENCE_RATE = 44100  # Hz; any rate shows whether a file is silent


def file_keys(folder: Path, fnames: Sequence[str]) -> np.ndarray:
    """Return a key of each file's content, equal for files with the same bytes: uint64, (n_clips,).

    The key is 0 for a file of unique size, and for silent files, which are identical but no copies.

    Raises
    ------
    InputError
        If a clip is not in the folder.
    OSError
        If a file cannot be read.
    """
    files = list_clips(folder, fnames)
    n_of_size = Counter(file.size for file in files)
    keys = np.zeros(len(files), np.uint64)
    candidates = [i for i, file in enumerate(files) if file.size and n_of_size[file.size] > 1]
    with Progress("compare", len(candidates), "clips", delay=2) as progress:
        for i in candidates:
            with files[i].path.open("rb") as file:
                keys[i] = int.from_bytes(hashlib.file_digest(file, "sha256").digest()[:8])
            progress.update(1)
    for key, first, count in zip(*np.unique(keys, return_index=True, return_counts=True), strict=True):
        if key and count > 1 and _is_silent(files[first].path):
            keys[keys == key] = 0
    return keys


def _is_silent(path: Path) -> bool:
    """Return whether all samples of a file are zero; False if it cannot be read."""
    try:
        with AudioReader(path, SILENCE_RATE) as reader:
            return not any(block.any() for block in reader.blocks())
    except (AudioReadError, OSError):
        return False
