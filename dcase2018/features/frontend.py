"""Front end: an open audio file to frames, as a feature config defines them.

Audio is read in blocks, so memory grows with the frames only. A config that trims or normalizes by the peak
reads the audio twice: first to measure its levels, then to compute frames of the samples without their
constant offset. Other configs, such as that of the baseline, keep the offset.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from dcase2018.data.audio import AudioReader
from dcase2018.data.audio_errors import AudioReadError
from dcase2018.features.config import FeatureConfig
from dcase2018.features.levels import HopLevels, SilenceDetector, measure_levels, remove_offset
from dcase2018.features.logmel import LogMel

# Windows of samples, (n_frames, frame_length), and their full scale, to frames, (n_frames, n_features).
Transform = Callable[[np.ndarray, float], np.ndarray]


def waveform(windows: np.ndarray, full_scale: float) -> np.ndarray:
    """Scale samples to float32 in [-1, 1]."""
    return windows / np.float32(full_scale)


@dataclass(frozen=True)
class ClipSamples:
    """The samples from which the frames of a clip are computed.

    Attributes
    ----------
    blocks
        Blocks of samples at the sample rate of the config, without trimmed ends and removed offset.
    full_scale
        Value that the samples are divided by.
    silence
        Whether the clip is silent, once the blocks were read.
    """

    blocks: Iterator[np.ndarray]
    full_scale: float
    silence: SilenceDetector


@dataclass(frozen=True)
class ClipFrames:
    """The frames of a clip in batches, (n, n_features), which can be read once."""

    batches: Iterator[np.ndarray]
    silence: SilenceDetector

    def __iter__(self) -> Iterator[np.ndarray]:
        return self.batches

    @property
    def is_silent(self) -> bool:
        """Whether the clip is silent (see `levels`), once its frames were read."""
        return self.silence.is_silent


class FrontEnd:
    """Compute the frames of audio files. It can be pickled."""

    def __init__(self, feature_config: FeatureConfig) -> None:
        self.feature_config = feature_config
        self.transform: Transform = (
            waveform if feature_config.feature == "waveform" else LogMel(feature_config)
        )

    @property
    def n_passes(self) -> int:
        """How many times the audio is read: 2 if the config needs its levels, else 1."""
        return 2 if self.feature_config.depends_on_levels else 1

    def iter_frames(self, clip: AudioReader) -> ClipFrames:
        """Compute the frames of a clip in batches, of the config's `storage_dtype`.

        Raises
        ------
        AudioReadError
            If the clip cannot be decoded completely, or its samples or frames are not finite.
        """
        samples = self.preprocess(clip)
        frames = self._frames(samples.blocks, samples.full_scale, self.feature_config.storage_dtype)
        return ClipFrames(frames, samples.silence)

    def preprocess(self, clip: AudioReader) -> ClipSamples:
        """Read the samples from which frames are computed: trimmed and scaled if the config requires it.

        Raises
        ------
        AudioReadError
            If the clip cannot be decoded completely, or is not finite.
        """
        full_scale, hop_length = clip.full_scale, self.feature_config.hop_length
        silence = SilenceDetector(hop_length, full_scale)
        blocks = silence.watch(clip.blocks())
        if self.feature_config.depends_on_levels:
            levels = measure_levels(blocks, hop_length, full_scale)
            kept = _slice_stream(clip.blocks(), *_non_silent_range(levels.peaks, self.feature_config))
            blocks = remove_offset(kept, levels.offset)
            peak = levels.peaks.max(initial=0)
            if self.feature_config.normalize == "peak" and peak > 0:
                full_scale = float(peak)
        return ClipSamples(blocks, full_scale, silence)

    def measure_levels(self, clip: AudioReader) -> HopLevels:
        """Measure the levels of a clip, where 1 is full scale."""
        levels = measure_levels(clip.blocks(), self.feature_config.hop_length, clip.full_scale)
        return levels.scaled(clip.full_scale)

    def iter_raw_frames(self, clip: AudioReader, offset: float = 0.0) -> Iterator[np.ndarray]:
        """Compute the frames of a recording in batches, as float32, without trimming and normalization.

        Parameters
        ----------
        offset
            Constant offset to subtract; 1 is full scale.
        """
        blocks = remove_offset(clip.blocks(), offset * clip.full_scale)
        return self._frames(blocks, clip.full_scale, "float32")

    def _frames(self, blocks: Iterable[np.ndarray], full_scale: float, dtype: str) -> Iterator[np.ndarray]:
        for windows in frame_stream(blocks, self.feature_config.frame_length, self.feature_config.hop_length):
            frames = self.transform(windows, full_scale).astype(dtype, copy=False)
            if not np.isfinite(frames).all():
                raise AudioReadError("not finite: its samples are too large")
            yield frames


def frame_stream(blocks: Iterable[np.ndarray], length: int, hop: int) -> Iterator[np.ndarray]:
    """Slice a stream of samples into windows.

    Parameters
    ----------
    blocks
        Consecutive samples, in blocks of any size.
    length, hop
        Length of a window and distance between the starts of two windows, in samples.

    Yields
    ------
    ndarray
        Views of complete windows, (n, length). A stream shorter than one window is zero-padded to one.
    """
    carry = np.zeros(0, np.int16)  # samples that the next window starts with
    is_first = True
    for block in blocks:
        samples = np.concatenate([carry, block]) if len(carry) else block
        n_windows = max(0, (len(samples) - length) // hop + 1)
        if n_windows:
            is_first = False
            yield np.lib.stride_tricks.sliding_window_view(samples, length)[: n_windows * hop : hop]
        carry = samples[n_windows * hop :]
    if is_first and len(carry):
        yield np.pad(carry, (0, length - len(carry)))[None]


def _non_silent_range(peaks: np.ndarray, feature_config: FeatureConfig) -> tuple[int, int]:
    """Find the first and the last sample between the silent ends. A silent clip is not trimmed."""
    threshold = peaks.max(initial=0) * 10 ** (-feature_config.trim_db / 20) if feature_config.trim_db else 0
    non_silent = np.flatnonzero(peaks >= threshold)
    if not len(non_silent):
        return 0, 0
    hop = feature_config.hop_length
    return int(non_silent[0]) * hop, int(non_silent[-1] + 1) * hop


def _slice_stream(blocks: Iterable[np.ndarray], start: int, stop: int) -> Iterator[np.ndarray]:
    """Yield the samples of a stream from `start` to `stop`."""
    position = 0
    for block in blocks:
        selected = block[max(0, start - position) : max(0, stop - position)]
        position += len(block)
        if len(selected):
            yield selected
