"""The sound of a clip as a tagger hears it: mixed, resampled, trimmed, and of bounded length."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from dcase2018.corpus import BadClipError, Clip
from dcase2018.features import FrontEnd, Recipe

SECONDS = 15.0  # of a clip that are shown and played

PIECE = 1 << 14  # samples: libvorbis has its stack overflow where it gets many at a time


def write_excerpt(target: Path, source: Path, recipe: Recipe) -> None:
    """Write the beginning of a clip as Ogg Vorbis.

    Raises
    ------
    BadClipError
        If the clip cannot be decoded, or has no samples; there may then be a part of a file.
    OSError
        If a file cannot be opened or written.
    """
    done = 0
    with (
        Clip(source, recipe.sample_rate) as clip,
        soundfile.SoundFile(target, "w", recipe.sample_rate, 1, "VORBIS", format="OGG") as excerpt,
    ):
        blocks, full_scale = FrontEnd(recipe).heard(clip)
        for piece in _pieces(blocks, round(SECONDS * recipe.sample_rate)):
            excerpt.write(piece / np.float32(full_scale))
            done += len(piece)
    if not done:
        raise BadClipError("no samples")


def _pieces(blocks: Iterator[np.ndarray], most: int) -> Iterator[np.ndarray]:
    """Cut the first `most` samples of a stream small."""
    for block in blocks:
        for start in range(0, min(len(block), most), PIECE):
            yield block[start : min(start + PIECE, most)]
        most -= len(block)
        if most <= 0:
            return
