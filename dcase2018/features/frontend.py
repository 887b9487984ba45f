"""Front end: an open audio file to frames, as a feature config defines them.

Audio is read in blocks, so memory grows with the frames only. A config that trims or normalizes by the peak
reads the audio twice: first to find the peak, then to compute frames.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain

import numpy as np

from dcase2018.data.audio import AudioReader
from dcase2018.data.audio_errors import AudioReadError
from dcase2018.features.config import FeatureConfig
from dcase2018.features.logmel import LogMel

# Windows of samples, (n_frames, frame_length), and their full scale, to frames, (n_frames, n_features).
Transform = Callable[[np.ndarray, float], np.ndarray]


def waveform(windows: np.ndarray, full_scale: float) -> np.ndarray:
    """Scale samples to float32 in [-1, 1]."""
    return windows / np.float32(full_scale)


class FrontEnd:
    """Compute the frames of audio files. It can be pickled."""

    def __init__(self, feature_config: FeatureConfig) -> None:
        self.feature_config = feature_config
        self.transform: Transform = (
            waveform if feature_config.feature == "waveform" else LogMel(feature_config)
        )

    @property
    def n_passes(self) -> int:
        """How many times the audio is read: 2 if the config needs its peak, else 1."""
        return 2 if self.feature_config.trim_db or self.feature_config.normalize == "peak" else 1

    def __call__(self, clip: AudioReader) -> np.ndarray:
        """Compute the frames of a clip: (n_frames, n_features), of the config's `storage_dtype`.

        Raises
        ------
        AudioReadError
            If the clip cannot be decoded completely, or its samples or frames are not finite.
        """
        return _concatenate(self.iter_frames(clip), self.feature_config)

    def iter_frames(self, clip: AudioReader) -> Iterator[np.ndarray]:
        """Compute the frames of a clip in batches, (n, n_features); raises what `__call__` raises."""
        return self._frames(*self.preprocessed_blocks(clip), self.feature_config.storage_dtype)

    def preprocessed_blocks(self, clip: AudioReader) -> tuple[Iterator[np.ndarray], float]:
        """Read the samples from which a clip's frames are computed.

        Returns
        -------
        tuple
            Blocks of samples at `feature_config.sample_rate`, without the silent ends that the config trims,
            and the value that they are divided by.

        Raises
        ------
        AudioReadError
            If the clip cannot be decoded completely, or is not finite.
        """
        blocks, full_scale = clip.blocks(), clip.full_scale
        if self.n_passes == 2:
            envelope = _peak_envelope(blocks, self.feature_config.hop_length)
            blocks = _slice_stream(clip.blocks(), *_non_silent_range(envelope, self.feature_config))
            peak = envelope.max(initial=0)
            if self.feature_config.normalize == "peak" and peak > 0:
                full_scale = float(peak)
        return blocks, full_scale

    def iter_raw_frames(self, clip: AudioReader) -> Iterator[np.ndarray]:
        """Compute the frames of a recording in batches, as float32, without trimming and normalization."""
        return self._frames(clip.blocks(), clip.full_scale, "float32")

    def peak_envelope(self, clip: AudioReader) -> np.ndarray:
        """Compute the peak of each hop, where 1 is full scale: float32, (ceil(n_samples / hop_length),)."""
        return _peak_envelope(clip.blocks(), self.feature_config.hop_length) / np.float32(clip.full_scale)

    def frames_of_samples(self, samples: np.ndarray) -> np.ndarray:
        """Compute the frames of samples in [-1, 1], without trimming and normalization."""
        frames = self._frames([samples], 1.0, self.feature_config.storage_dtype)
        return _concatenate(frames, self.feature_config)

    def _frames(self, blocks: Iterable[np.ndarray], full_scale: float, dtype: str) -> Iterator[np.ndarray]:
        for windows in frame_stream(blocks, self.feature_config.frame_length, self.feature_config.hop_length):
            frames = self.transform(windows, full_scale).astype(dtype, copy=False)
            if not np.isfinite(frames).all():
                raise AudioReadError("not finite: its samples are too large")
            yield frames


def _concatenate(batches: Iterable[np.ndarray], feature_config: FeatureConfig) -> np.ndarray:
    frames = list(batches) or [np.empty((0, feature_config.n_features), feature_config.storage_dtype)]
    return frames[0] if len(frames) == 1 else np.concatenate(frames)


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


def _peak_envelope(blocks: Iterable[np.ndarray], hop: int) -> np.ndarray:
    """Compute the largest magnitude in each hop of samples, zero-padded: (ceil(n_samples / hop),)."""
    padded = frame_stream(chain(blocks, [np.zeros(hop - 1, np.int16)]), hop, hop)
    peaks = [np.maximum(hops.max(axis=1), -hops.min(axis=1).astype(np.float32)) for hops in padded]
    return np.concatenate([np.zeros(0, np.float32), *peaks])


def _non_silent_range(envelope: np.ndarray, feature_config: FeatureConfig) -> tuple[int, int]:
    """Find the first and the last sample between the silent ends. A silent clip is not trimmed."""
    threshold = (
        envelope.max(initial=0) * 10 ** (-feature_config.trim_db / 20) if feature_config.trim_db else 0
    )
    non_silent = np.flatnonzero(envelope >= threshold)
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
