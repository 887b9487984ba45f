"""Read audio files block by block as mono samples at one sample rate.

16-bit mono PCM at the target rate is returned unchanged, so that dividing by 32768 is exact.
All other formats are returned as float32, where full scale is 1: channels are averaged, and soxr resamples.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path

import numpy as np

from dcase2018.data.audio_corrections import Corrections, find_corrections
from dcase2018.data.audio_decoders import MAX_CHANNELS, Block, SoundfileDecoder, open_decoder
from dcase2018.data.audio_errors import UNREADABLE, AudioReadError
from dcase2018.utils.config import check_number
from dcase2018.utils.errors import InputError

VALID_SAMPLE_RATES = range(1000, 1_000_001)  # Hz; other rates come from a damaged header
SUBTYPES = {"float32": "FLOAT", "float64": "DOUBLE", "int16": "PCM_16", "int32": "PCM_32"}
MAX_WAV_BYTES = 4_000_000_000  # of 2**32


@contextmanager
def temporary_audio_file(samples: np.ndarray, sample_rate: int) -> Iterator[Path]:
    """Write samples to a temporary WAV file without loss, so that they are processed like a file.

    Parameters
    ----------
    samples
        float32 or float64 with full scale 1, int16 or int32, (n_samples,) or (n_samples, n_channels).
    sample_rate
        Sample rate in Hz.

    Raises
    ------
    InputError
        If the shape, the dtype, the size or the sample rate is not allowed.
    """
    import soundfile

    check_number("sample_rate", sample_rate, int, ge=VALID_SAMPLE_RATES[0], le=VALID_SAMPLE_RATES[-1])
    n_samples, n_channels = (*samples.shape, 1)[:2] if samples.ndim in (1, 2) else (0, 0)
    if not 1 <= n_channels <= min(MAX_CHANNELS, n_samples or 1):
        raise InputError(
            f"an array of samples must be (n_samples,) or (n_samples, n_channels), not {samples.shape};"
            " transpose it if it is (n_channels, n_samples)"
        )
    if str(samples.dtype) not in SUBTYPES:
        raise InputError(f"samples must be {', '.join(SUBTYPES)}, not {samples.dtype}; convert the array")
    if samples.nbytes > MAX_WAV_BYTES:
        raise InputError(f"the array has {samples.nbytes} bytes; write longer recordings to a file")
    with tempfile.TemporaryDirectory(prefix="dcase2018-") as folder:
        path = Path(folder, "array.wav")
        soundfile.write(path, samples, int(sample_rate), SUBTYPES[str(samples.dtype)])
        yield path


class AudioReader:
    """An audio file, open for reading. Use it as a context manager.

    Parameters
    ----------
    path
        An audio file in one of the formats that libsndfile or FFmpeg decodes.
    sample_rate
        Sample rate of the blocks in Hz.

    Attributes
    ----------
    seconds : float
        Duration of the samples in the file. Until `blocks` was read once to its end, the duration according
        to the header, or an estimate; 0 if it is unknown.
    warning : str
        What is wrong with the file although it is used, or "". It is complete when `blocks` was read once to
        its end. `is_incomplete` returns whether audio is lost.
    file_sample_rate : int
        Sample rate of the file in Hz.
    is_resampled_or_downmixed : bool
        Whether the blocks differ from the samples of the file in sample rate or number of channels.
    full_scale : float
        Divide the blocks by this value to get samples in [-1, 1].

    Raises
    ------
    AudioReadError
        If the path is not a regular file, or the file is not audio.
    OSError
        If the file cannot be opened.
    """

    def __init__(self, path: Path, sample_rate: int) -> None:
        if not path.is_file():  # opening a pipe would block
            raise AudioReadError(f"{UNREADABLE}: not a regular file")
        self.sample_rate = sample_rate
        self._decoder = decoder = open_decoder(path)
        self._check_format(decoder.sample_rate, decoder.n_channels)
        self.is_resampled_or_downmixed = decoder.n_channels != 1 or decoder.sample_rate != sample_rate
        self.file_sample_rate = decoder.sample_rate
        self.seconds = decoder.n_samples / decoder.sample_rate
        is_native_pcm16 = decoder.is_pcm16 and not self.is_resampled_or_downmixed
        self._dtype = "int16" if is_native_pcm16 else "float32"
        self.full_scale = 32768.0 if is_native_pcm16 else 1.0
        may_need_corrections = decoder.is_float or decoder.n_channels > 1
        self._corrections = None if may_need_corrections else Corrections()
        self._n_limited = 0
        self._only_block: Block | None = None  # of a short file, which is then decoded once

    def __enter__(self) -> "AudioReader":
        return self

    def __exit__(self, *_: object) -> None:
        self._decoder.close()

    @property
    def warning(self) -> str:
        notes = [self._decoder.warning, *(self._corrections.notes if self._corrections else [])]
        if self._n_limited:
            notes.append(f"samples far beyond full scale, limited to it: {self._n_limited}")
        return "; ".join(filter(None, notes))

    def blocks(self) -> Iterator[np.ndarray]:
        """Read the file from its start.

        Yields
        ------
        ndarray
            int16 or float32, (n_samples,), at `sample_rate`. The blocks have different lengths.

        Raises
        ------
        AudioReadError
            If nothing of the file can be decoded, or it has NaN or infinite samples.
        """
        if self._corrections is None:
            blocks = (samples for samples, _ in self._decoded_blocks())
            self._corrections = find_corrections(blocks, self._decoder.is_float)
        for rate, group in groupby(self._mono_blocks(self._corrections), itemgetter(1)):
            mono = (samples for samples, _ in group)
            yield from mono if rate == self.sample_rate else _resample(mono, rate, self.sample_rate)

    def is_longer_than(self, seconds: float) -> bool:
        """Return whether the file is longer, by decoding as much of it as necessary.

        Raises
        ------
        AudioReadError
            If nothing of the file can be decoded.
        """
        if isinstance(self._decoder, SoundfileDecoder):
            return self.seconds > seconds
        n_seconds = 0.0
        for samples, sample_rate in self._decoded_blocks():
            n_seconds += len(samples) / sample_rate
            if n_seconds > seconds:
                return True
        return False

    def _decoded_blocks(self) -> Iterator[Block]:
        """Decode the file from its start: samples, (n_samples, n_channels), and their sample rate."""
        if self._only_block:
            yield self._only_block
            return
        seconds, blocks = 0.0, 0
        for samples, sample_rate in self._decoder.blocks(self._dtype):
            self._check_format(sample_rate, samples.shape[1])
            seconds, blocks = seconds + len(samples) / sample_rate, blocks + 1
            yield samples, sample_rate
        self.seconds = seconds
        if blocks == 1:
            self._only_block = samples, sample_rate

    def _mono_blocks(self, corrections: Corrections) -> Iterator[Block]:
        self._n_limited = 0
        for samples, sample_rate in self._decoded_blocks():
            if samples.dtype != np.int16:
                samples = self._scale_and_limit(samples, corrections)
            if samples.shape[1] == 1:
                yield samples[:, 0], sample_rate
            elif samples.shape[1] in corrections.channel_of:
                yield samples[:, corrections.channel_of[samples.shape[1]]], sample_rate
            else:
                yield samples.mean(axis=1), sample_rate

    def _scale_and_limit(self, samples: np.ndarray, corrections: Corrections) -> np.ndarray:
        """Scale samples, and set samples far beyond full scale to full scale."""
        peak = max(samples.max(), -samples.min())
        if not np.isfinite(peak):
            raise AudioReadError("not finite: the samples contain NaN or infinity")
        if corrections.full_scale != 1:
            samples = samples / np.float32(corrections.full_scale)
        if peak > corrections.limit * corrections.full_scale * self.full_scale:
            is_beyond = np.abs(samples) > corrections.limit * self.full_scale
            self._n_limited += int(is_beyond.sum())
            samples = np.where(is_beyond, np.sign(samples) * np.float32(self.full_scale), samples)
        return samples

    def _check_format(self, sample_rate: int, n_channels: int) -> None:
        if sample_rate not in VALID_SAMPLE_RATES:
            raise AudioReadError(f"damaged: the sample rate is {sample_rate} Hz")
        if not 1 <= n_channels <= MAX_CHANNELS:
            raise AudioReadError(f"damaged: the number of channels is {n_channels}")


def _resample(blocks: Iterator[np.ndarray], sample_rate: int, target_rate: int) -> Iterator[np.ndarray]:
    """Resample a signal that continues at its first level before and after the blocks.

    Silence there would be a step at both ends of a signal with a constant offset.
    """
    import soxr  # imported only when needed: the import takes as long as reading many clips

    first = next(blocks, np.zeros(0, np.float32))
    start = first[: sample_rate // 100]
    level = start.mean(dtype=np.float64).astype(np.float32) if len(start) else np.float32(0)
    stream = soxr.ResampleStream(sample_rate, target_rate, 1, dtype="float32")
    for block in chain([first], blocks):
        yield stream.resample_chunk(block - level) + level
    yield stream.resample_chunk(np.zeros(0, np.float32), last=True) + level
