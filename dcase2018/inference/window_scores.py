"""Scores of clips and of windows, and the normalization that makes a window of a recording like a clip.

The front end scales a clip by its peak, trims its silent ends, and pads it if it is short. A recording is
processed in windows, and the reference of a window is the peak of the seconds around it. That peak counts
as 1 if the feature config scales, and frames far below it are silent. If the feature config trims, the silent
ends of the window are trimmed, and the window is padded like a short clip. A window is silent if all its
frames are, or if it is silent as a clip (see `features.levels`). It then gets the class frequencies of the
training set. One loud event thus affects only its neighbourhood.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dcase2018.batching.windows import pad_or_tile
from dcase2018.features.config import FeatureConfig
from dcase2018.features.levels import HopLevels, scale_frames
from dcase2018.utils.config import setting, validate


@dataclass(frozen=True)
class LevelConfig:
    """Settings of the level normalization of a recording.

    Examples
    --------
    >>> from dcase2018 import AudioTagger, LevelConfig
    >>> tagger = AudioTagger.open(["runs/first"])
    >>> tagger.window_scores("night.flac", LevelConfig(silence_threshold_db=50))
    """

    peak_context_seconds: float = setting(10.0, "duration around a window whose peak is 0 dB", gt=0, le=3600)
    silence_threshold_db: float = setting(35.0, "frames this far below that peak are silent", gt=0, le=200)

    def __post_init__(self) -> None:
        validate(self)


@dataclass(frozen=True)
class ClipScores:
    """Scores of a clip.

    Attributes
    ----------
    scores
        float64, (classes,).
    is_silent
        Whether the clip is silent. Its scores are then the class frequencies of the training set.
    """

    scores: np.ndarray
    is_silent: bool


@dataclass(frozen=True)
class WindowScores:
    """Scores of the windows of a recording.

    Attributes
    ----------
    starts
        Start of each window in seconds, float64, (windows,).
    scores
        float32, (windows, classes).
    is_silent
        Whether a window is silent, bool, (windows,). Its scores are then the class frequencies of the
        training set.
    window_seconds
        Length of a window.
    seconds
        Length of the recording.
    file_sample_rate
        Sample rate of the recording's file in Hz.

    Examples
    --------
    >>> from dcase2018 import AudioTagger
    >>> window_scores = AudioTagger.open(["runs/first"]).window_scores("night.flac")
    >>> window_scores.scores[window_scores.index_at([12.5])]
    """

    starts: np.ndarray
    scores: np.ndarray
    is_silent: np.ndarray
    window_seconds: float
    seconds: float
    file_sample_rate: float

    def __repr__(self) -> str:
        n_windows, n_classes = self.scores.shape
        return f"<WindowScores: {n_windows} windows in {self.seconds:.1f} s, {n_classes} classes>"

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def ends(self) -> np.ndarray:
        """End of each window in seconds, float64, (windows,)."""
        return np.minimum(self.starts + self.window_seconds, self.seconds)

    @cached_property
    def boundaries(self) -> np.ndarray:
        """Times between which each window has the nearest center, in seconds: float64, (windows + 1,)."""
        between = (self.starts[:-1] + self.starts[1:] + self.window_seconds) / 2
        return np.concatenate([[0.0], between, [self.seconds]]) if len(self) else np.zeros(1)

    def index_at(self, times: np.ndarray) -> np.ndarray:
        """Return the index of the window with the nearest center: int64, the shape of `times`."""
        return np.clip(np.searchsorted(self.boundaries, times, side="right") - 1, 0, len(self) - 1)


class LevelNormalizer:
    """Makes the windows of a recording like clips, relative to the peak of the seconds around each.

    Parameters
    ----------
    levels
        Levels of the hops of the recording; full scale is 1.
    window
        Frames in a window.
    pad_mode
        Padding of a window whose silent ends are trimmed: "constant" (silence) or "wrap" (repeated).
    """

    def __init__(
        self,
        levels: HopLevels,
        feature_config: FeatureConfig,
        window: int,
        pad_mode: str,
        level_config: LevelConfig,
    ) -> None:
        self.levels, self.feature_config = levels, feature_config
        self.window, self.pad_mode = window, pad_mode
        half_context = level_config.peak_context_seconds / 2 * feature_config.sample_rate
        self.half_context = max(1, round(half_context / feature_config.hop_length))  # in frames
        self.hops_per_frame = -(-feature_config.frame_length // feature_config.hop_length)
        self.silence_ratio = 10 ** (-level_config.silence_threshold_db / 20)

    def normalize(self, starts: np.ndarray, examples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scale, trim and pad windows.

        Parameters
        ----------
        starts
            First frame of each window, (windows,).
        examples
            Frames, neither trimmed, scaled nor rounded, float32, (windows, window, n_features). The only
            window of a short recording has fewer frames.

        Returns
        -------
        normalized : ndarray
            float32, (windows, window, n_features), rounded to the storage dtype.
        is_silent : ndarray
            bool, (windows,).
        """
        config = self.feature_config
        peaks = np.array([self._local_peak(start) for start in starts], np.float32)
        if config.normalize == "peak":
            examples = scale_frames(examples.copy(), 1 / np.where(peaks > 0, peaks, 1), config)
        normalized = np.empty((len(starts), self.window, config.n_features), config.storage_dtype)
        is_silent = np.zeros(len(starts), bool)
        for i, (start, frames) in enumerate(zip(starts, examples, strict=True)):
            loud = np.flatnonzero(
                self.levels.peaks[start : start + len(frames)] > peaks[i] * self.silence_ratio
            )
            last_hop = start + len(frames) - 1 + self.hops_per_frame
            is_silent[i] = not len(loud) or self.levels.is_silent[start:last_hop].all()
            if config.trim_db and len(loud):
                frames = frames[loud[0] : loud[-1] + 1]
            if len(frames) < self.window:
                frames = pad_or_tile(frames, self.window, self.pad_mode, config)
            normalized[i] = frames
        return normalized.astype(np.float32, copy=False), is_silent

    def _local_peak(self, start: int) -> float:
        """Return the peak of a window and of the seconds around its center."""
        center = start + self.window // 2
        first = min(start, center - self.half_context)
        stop = max(start + self.window, center + self.half_context)
        return float(self.levels.peaks[max(0, first) : stop].max(initial=0))
