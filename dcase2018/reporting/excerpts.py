"""The sound of clips as a tagger hears it: mixed, resampled, trimmed, and of bounded length.

Nothing else in this room, and nothing that learns or scores, touches audio.
"""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile

from dcase2018.corpus import BadClipError, Clip, find_sources
from dcase2018.features import FrontEnd, Recipe

SECONDS = 15.0  # of a clip that are shown and played

PIECE = 1 << 14  # samples written at a time: libvorbis overflows its stack with many


def audio_files(audio: Path, fnames: Sequence[str]) -> dict[str, Path]:
    """Find the files of clips, by name.

    Raises
    ------
    InputError
        If one is not in the folder, or its name leads out of it.
    """
    return {source.fname: source.path for source in find_sources(audio, fnames)}


def write_excerpt(target: Path, source: Path, recipe: Recipe) -> str:
    """Write the beginning of a clip as Ogg Vorbis, or return why there is nothing to be heard.

    Raises
    ------
    OSError
        If the clip cannot be opened, or the excerpt not be written.
    """
    try:
        with Clip(source, recipe.sample_rate) as clip:
            blocks, full_scale = FrontEnd(recipe).heard(clip)
            pieces = list(_pieces(blocks, round(SECONDS * recipe.sample_rate)))
    except BadClipError as error:
        return str(error)
    if not pieces:
        return "no samples"
    encoded = io.BytesIO()
    with soundfile.SoundFile(encoded, "w", recipe.sample_rate, 1, "VORBIS", format="OGG") as excerpt:
        for piece in pieces:
            excerpt.write(piece / np.float32(full_scale))
    target.write_bytes(encoded.getbuffer())
    return ""


def _pieces(blocks: Iterator[np.ndarray], most: int) -> Iterator[np.ndarray]:
    """Cut the first `most` samples of a stream small."""
    for block in blocks:
        for start in range(0, min(len(block), most), PIECE):
            yield block[start : min(start + PIECE, most)]
        most -= len(block)
        if most <= 0:
            return
