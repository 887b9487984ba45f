"""Reading a clip: mono float32 in [-1, 1) at one sample rate, and what is wrong with a bad one.

16-bit PCM at the wanted rate is sample / 32768, bit-exact. Everything else that libsndfile reads
(other widths, float, FLAC, Ogg, MP3) is scaled by it, mixed to mono by the mean of the channels and
resampled with soxr.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

EXTENSIONS = frozenset({".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff"})

# A WAV header gives this size, and so does a data chunk, where the writer could not know it.
UNKNOWN_SIZE = 0xFFFFFFFF


class BadClipError(Exception):
    """A clip that cannot be used; the text is the reason, without the clip's name."""


@dataclass(frozen=True)
class Clip:
    """Samples, float32, (n_samples,), and whether they were mixed or resampled."""

    samples: np.ndarray
    converted: bool


def read_clip(path: Path, sample_rate: int) -> Clip:
    """Read a clip as mono float32 at `sample_rate`; a file without samples gives none.

    Raises
    ------
    BadClipError
        If the file is no audio, ends before its header says, or holds a sample that is not finite.
    OSError
        If the file cannot be opened.
    """
    with path.open("rb") as file:
        _check_wav_size(file.read(12), file, path.stat().st_size)
        file.seek(0)
        try:
            with soundfile.SoundFile(file) as sound:
                expected, rate = sound.frames, sound.samplerate
                samples = sound.read(dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise BadClipError(f"not audio: {error.error_string}") from None
    if len(samples) < expected:
        raise BadClipError(f"truncated: {len(samples)} of {expected} samples")
    if not np.isfinite(samples).all():
        raise BadClipError("not finite: it holds NaN or infinity")
    converted = samples.shape[1] != 1 or rate != sample_rate
    mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(axis=1)
    if rate != sample_rate:
        import soxr  # only for clips that need it: it takes as long to load as many clips to read

        mono = soxr.resample(mono, rate, sample_rate)
    return Clip(mono, converted)


def _check_wav_size(head: bytes, file: BinaryIO, file_size: int) -> None:
    """Compare what a WAV's data chunk promises with what the file holds.

    libsndfile reads a cut-off file without a word, and gives what is left of it.
    """
    if head[:4] != b"RIFF" or head[8:12] != b"WAVE":
        return
    while len(chunk := file.read(8)) == 8:
        name, size = struct.unpack("<4sI", chunk)
        if name == b"data":
            left = file_size - file.tell()
            if size > left and size != UNKNOWN_SIZE:
                raise BadClipError(f"truncated: {left} of {size} bytes of samples")
            return
        file.seek(size + size % 2, 1)  # chunks begin at even offsets
