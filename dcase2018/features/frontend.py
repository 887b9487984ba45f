"""A feature_config at work: an open clip to frames, whatever the feature_config's feature, trimming and scale.

Clips are read in blocks, so that memory does not grow with them but for their frames. A feature_config that trims
or scales by the peak surveys the clip first, and reads it a second time.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain

import numpy as np

from dcase2018.data.audio import AudioReader, AudioReadError
from dcase2018.features.config import FeatureConfig
from dcase2018.features.logmel import LogMel

# Windows of samples (n_frames, frame_length) and what counts as 1 in them, to frames (n_frames, width).
Transform = Callable[[np.ndarray, float], np.ndarray]


def waveform(windows: np.ndarray, full_scale: float) -> np.ndarray:
    """The samples themselves, float32 in [-1, 1]."""
    return windows / np.float32(full_scale)


class FrontEnd:
    """Call it with a clip to get its frames. It travels between processes."""

    def __init__(self, feature_config: FeatureConfig) -> None:
        self.feature_config = feature_config
        self.transform: Transform = (
            waveform if feature_config.feature == "waveform" else LogMel(feature_config)
        )

    @property
    def n_passes(self) -> int:
        """How often a clip is read: twice where its peak has to be known first."""
        return 2 if self.feature_config.trim_db or self.feature_config.normalize == "peak" else 1

    def __call__(self, clip: AudioReader) -> np.ndarray:
        """Compute the frames of a clip: (n_frames, feature_config.n_features), of the feature_config's dtype.

        Raises
        ------
        AudioReadError
            If the clip cannot be decoded to its end, or it or its frames are not finite.
        """
        return _joined(self.iter_frames(clip), self.feature_config)

    def iter_frames(self, clip: AudioReader) -> Iterator[np.ndarray]:
        """Compute the frames of a clip some at a time, (some, feature_config.n_features); raises what a call raises."""
        return self._frames(*self.preprocessed_blocks(clip), self.feature_config.storage_dtype)

    def preprocessed_blocks(self, clip: AudioReader) -> tuple[Iterator[np.ndarray], float]:
        """Samples that a clip's frames are made from, block by block, and what counts as 1 in them.

        They are at `feature_config.sample_rate`, without the quiet ends that the feature_config cuts.

        Raises
        ------
        AudioReadError
            If the clip cannot be decoded to its end, or is not finite.
        """
        blocks, full_scale = clip.blocks(), clip.full_scale
        if self.n_passes == 2:
            envelope = _envelope(blocks, self.feature_config.hop_length)
            blocks = _cut(clip.blocks(), *_loud_part(envelope, self.feature_config))
            peak = envelope.max(initial=0)
            if self.feature_config.normalize == "peak" and peak > 0:
                full_scale = float(peak)
        return blocks, full_scale

    def iter_raw_frames(self, clip: AudioReader) -> Iterator[np.ndarray]:
        """Compute the frames of a recording some at a time, float32, neither trimmed, scaled nor rounded."""
        return self._frames(clip.blocks(), clip.full_scale, "float32")

    def peak_envelope(self, clip: AudioReader) -> np.ndarray:
        """Peak of each hop of a recording, 1 being full scale: float32, (ceil(n_samples / hop_length),)."""
        return _envelope(clip.blocks(), self.feature_config.hop_length) / np.float32(clip.full_scale)

    def frames_of_samples(self, samples: np.ndarray) -> np.ndarray:
        """Frames of samples in memory, neither trimmed nor scaled."""
        return _joined(self._frames([samples], 1.0, self.feature_config.storage_dtype), self.feature_config)

    def _frames(self, blocks: Iterable[np.ndarray], full_scale: float, dtype: str) -> Iterator[np.ndarray]:
        for windows in framed(blocks, self.feature_config.frame_length, self.feature_config.hop_length):
            frames = self.transform(windows, full_scale).astype(dtype, copy=False)
            if not np.isfinite(frames).all():
                raise AudioReadError("not finite: its samples are too large")
            yield frames


def _joined(pieces: Iterable[np.ndarray], feature_config: FeatureConfig) -> np.ndarray:
    frames = list(pieces) or [np.empty((0, feature_config.n_features), feature_config.storage_dtype)]
    return frames[0] if len(frames) == 1 else np.concatenate(frames)


def framed(blocks: Iterable[np.ndarray], length: int, hop: int) -> Iterator[np.ndarray]:
    """Cut a stream of samples into windows: views of (some, length), `hop` samples apart.

    Windows are whole; but samples too few for one are padded to one with zeros.
    """
    rest = np.zeros(0, np.int16)
    shorter_than_one = True
    for block in blocks:
        samples = np.concatenate([rest, block]) if len(rest) else block
        count = max(0, (len(samples) - length) // hop + 1)
        if count:
            shorter_than_one = False
            yield np.lib.stride_tricks.sliding_window_view(samples, length)[: count * hop : hop]
        rest = samples[count * hop :]
    if shorter_than_one and len(rest):
        yield np.pad(rest, (0, length - len(rest)))[None]


def _envelope(blocks: Iterable[np.ndarray], hop: int) -> np.ndarray:
    """Largest magnitude in each hop of samples, the last one padded: (ceil(n_samples / hop),)."""
    whole = framed(chain(blocks, [np.zeros(hop - 1, np.int16)]), hop, hop)
    maxima = [np.maximum(some.max(axis=1), -some.min(axis=1).astype(np.float32)) for some in whole]
    return np.concatenate([np.zeros(0, np.float32), *maxima])


def _loud_part(envelope: np.ndarray, feature_config: FeatureConfig) -> tuple[int, int]:
    """First and last sample of what is left when quiet ends are cut; silence is left whole."""
    threshold = (
        envelope.max(initial=0) * 10 ** (-feature_config.trim_db / 20) if feature_config.trim_db else 0
    )
    loud = np.flatnonzero(envelope >= threshold)
    if not len(loud):
        return 0, 0
    return int(loud[0]) * feature_config.hop_length, int(loud[-1] + 1) * feature_config.hop_length


def _cut(blocks: Iterable[np.ndarray], start: int, stop: int) -> Iterator[np.ndarray]:
    """Cut a stream of samples to those from `start` to `stop`."""
    position = 0
    for block in blocks:
        part = block[max(0, start - position) : max(0, stop - position)]
        position += len(block)
        if len(part):
            yield part
