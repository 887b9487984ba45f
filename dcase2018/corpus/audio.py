"""Reading a clip: mono samples at one sample rate, block by block, and what is wrong with a bad one.

16-bit mono PCM at the wanted rate is read as it is, so that the reference's sample / 32768 stays exact.
Everything else that libsndfile reads (other widths, float, FLAC, Ogg, MP3) comes as float32 in [-1, 1],
mixed to mono by the mean of the channels and resampled with soxr.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile

from dcase2018.corpus.containers import UNREADABLE, BadClipError, check_whole

EXTENSIONS = frozenset({".wav", ".flac", ".ogg", ".mp3", ".aif", ".aiff"})

RATES = range(1000, 1_000_001)  # in Hz; beyond them a header is damaged, and would swell when resampled

BLOCK = 1 << 20  # samples of all channels read at a time: memory does not grow with a clip

GUESS = 4 * 1152  # samples by which libsndfile may be wrong where an MP3 does not tell its length


class Clip:
    """An audio file, open for reading.

    Attributes
    ----------
    seconds : float
        How long it is.
    converted : bool
        Whether it is mixed to mono or resampled.
    full_scale : float
        What a block's samples have to be divided by to lie in [-1, 1].

    Raises
    ------
    BadClipError
        If it is no audio or no file, or shorter than its header says.
    OSError
        If the file cannot be opened.
    """

    def __init__(self, path: Path, sample_rate: int) -> None:
        if not path.is_file():  # a pipe would be waited for
            raise BadClipError(f"{UNREADABLE}: it is no file")
        with path.open("rb") as file:
            counted = check_whole(file, path.stat().st_size)
        self.sample_rate = sample_rate
        try:
            self._sound = soundfile.SoundFile(os.fsencode(path))
        except soundfile.LibsndfileError as error:
            raise BadClipError(f"not audio: {_reason(error)}") from None
        if counted is not None and counted > self._sound.frames + GUESS:
            raise BadClipError(
                "an MP3 of varying bit rate without a header that tells its length; convert it"
            )
        self._tells_length = counted is None
        if self._sound.samplerate not in RATES:
            raise BadClipError(f"damaged: a sample rate of {self._sound.samplerate} Hz")
        self.converted = self._sound.channels != 1 or self._sound.samplerate != sample_rate
        self.seconds = self._sound.frames / self._sound.samplerate
        exact = self._sound.subtype == "PCM_16" and not self.converted
        self._dtype = "int16" if exact else "float32"
        self.full_scale = 32768.0 if exact else 1.0

    def __enter__(self) -> "Clip":
        return self

    def __exit__(self, *_: object) -> None:
        self._sound.close()

    def blocks(self) -> Iterator[np.ndarray]:
        """Read the clip from its start: int16 or float32, (some samples,), at `sample_rate`.

        Raises
        ------
        BadClipError
            If the file ends early, cannot be decoded, or holds a sample that is not finite.
        """
        blocks = self._decoded()
        if self._sound.samplerate != self.sample_rate:
            blocks = _resampled(blocks, self._sound.samplerate, self.sample_rate)
        return blocks

    def _decoded(self) -> Iterator[np.ndarray]:
        sound = self._sound
        done = 0
        try:
            sound.seek(0)
            while done < sound.frames:
                block = sound.read(BLOCK // sound.channels, self._dtype, always_2d=True)
                if not len(block) and not self._tells_length:
                    return
                if not len(block):
                    raise BadClipError(f"truncated: {done} of {sound.frames} samples")
                done += len(block)
                mono = block[:, 0] if sound.channels == 1 else block.mean(axis=1)
                if not np.isfinite(mono).all():
                    raise BadClipError("not finite: it holds NaN or infinity")
                yield mono
        except soundfile.LibsndfileError as error:
            raise BadClipError(f"truncated or damaged: {_reason(error)}") from None


def _reason(error: soundfile.LibsndfileError) -> str:
    return str(error.error_string) or f"libsndfile's error {error.code}"


def _resampled(blocks: Iterator[np.ndarray], rate: int, wanted: int) -> Iterator[np.ndarray]:
    import soxr  # only for clips that need it: it takes as long to load as many clips to read

    stream = soxr.ResampleStream(rate, wanted, 1, dtype="float32")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True)
