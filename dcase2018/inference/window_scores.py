"""Scores of a recording over time, and what a window of it is made to sound like: a clip.

A clip is scaled by its peak, loses its quiet ends, and is filled up if it is short. A recording is heard
through windows, and for each of them the seconds around it are the measure: their peak counts as 1 if the
feature_config scales, and what lies far below it is quiet. If the feature_config trims, quiet ends of the window are cut off
and it is filled up as a short clip is; of a window that is all quiet, the shares of the classes in training
are said. One loud event thus silences nothing but its own neighbourhood.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dcase2018.batching.windows import pad_or_tile
from dcase2018.features.config import FeatureConfig
from dcase2018.utils.config import setting, validate


@dataclass(frozen=True)
class LevelConfig:
    """How a recording is followed over time."""

    peak_context_seconds: float = setting(10.0, "time whose peak a window is heard against", gt=0, le=3600)
    silence_threshold_db: float = setting(35.0, "what is this far below that peak is quiet", gt=0, le=200)

    def __post_init__(self) -> None:
        validate(self)


@dataclass(frozen=True)
class WindowScores:
    """Scores of the windows of a recording.

    Attributes
    ----------
    starts
        When each window begins, in seconds, float64, (windows,).
    scores
        float32, (windows, classes).
    is_silent
        Whether a window is too quiet to be heard, bool, (windows,): it has the scores of silence.
    window_seconds
        Length of a window.
    seconds
        Length of the recording.
    """

    starts: np.ndarray
    scores: np.ndarray
    is_silent: np.ndarray
    window_seconds: float
    seconds: float

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def ends(self) -> np.ndarray:
        """When each window ends, in seconds, float64, (windows,)."""
        return np.minimum(self.starts + self.window_seconds, self.seconds)

    @cached_property
    def boundaries(self) -> np.ndarray:
        """Between which times each window speaks: float64, (windows + 1,).

        Each moment is told of by the window whose middle is nearest.
        """
        between = (self.starts[:-1] + self.starts[1:] + self.window_seconds) / 2
        return np.concatenate([[0.0], between, [self.seconds]]) if len(self) else np.zeros(1)

    def index_at(self, times: np.ndarray) -> np.ndarray:
        """Which window speaks at each of some times: int64, the shape of `times`."""
        return np.clip(np.searchsorted(self.boundaries, times, side="right") - 1, 0, len(self) - 1)


class LevelNormalizer:
    """The level of a recording around each moment, and how its windows become examples.

    Parameters
    ----------
    envelope
        Peak of each hop of samples, (hops,), 1 being full scale.
    window
        Frames in a window.
    short
        What fills up a window whose quiet ends are cut: "constant" (silence) or "wrap" (itself).
    """

    def __init__(
        self,
        envelope: np.ndarray,
        feature_config: FeatureConfig,
        window: int,
        pad_mode: str,
        settings: LevelConfig,
    ) -> None:
        self.envelope, self.feature_config, self.window, self.pad_mode = (
            envelope,
            feature_config,
            window,
            pad_mode,
        )
        self.half = max(
            1,
            round(settings.peak_context_seconds / 2 * feature_config.sample_rate / feature_config.hop_length),
        )
        self.floor = 10 ** (-settings.silence_threshold_db / 20)

    def normalize(self, starts: np.ndarray, examples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Make examples of windows, and tell which are quiet: bool, (windows,).

        Parameters
        ----------
        starts
            First frame of each window, (windows,).
        examples
            Frames neither trimmed, scaled nor rounded, float32, (windows, window, feature_config.n_features); fewer in the
            only window of a short recording. Examples are rounded as the store rounds.
        """
        levels = np.array([self._around(start) for start in starts], np.float32)
        if self.feature_config.normalize == "peak":
            examples = scaled(examples, np.where(levels > 0, levels, 1), self.feature_config)
        made = np.empty(
            (len(starts), self.window, self.feature_config.n_features), self.feature_config.storage_dtype
        )
        quiet = np.zeros(len(starts), bool)
        for i, (start, frames) in enumerate(zip(starts, examples, strict=True)):
            loud = np.flatnonzero(self.envelope[start : start + len(frames)] > levels[i] * self.floor)
            quiet[i] = not len(loud)
            if self.feature_config.trim_db and len(loud):
                frames = frames[loud[0] : loud[-1] + 1]
            if len(frames) < self.window:
                frames = pad_or_tile(frames, self.window, self.pad_mode, self.feature_config)
            made[i] = frames
        return made.astype(np.float32, copy=False), quiet

    def _around(self, start: int) -> float:
        """Peak of the seconds around a window, and of the window itself."""
        middle = start + self.window // 2
        first, stop = min(start, middle - self.half), max(start + self.window, middle + self.half)
        return float(self.envelope[max(0, first) : stop].max(initial=0))


def scaled(examples: np.ndarray, levels: np.ndarray, feature_config: FeatureConfig) -> np.ndarray:
    """Examples as if the samples of each had been divided by its level: float32, the shape of `examples`."""
    factors = (1 / levels)[:, None, None]
    if feature_config.feature == "waveform":
        return examples * factors
    offset = np.float32(feature_config.mel_log_offset)
    return np.log(np.maximum(np.exp(examples) - offset, 0) * factors + offset)
