"""Scores of a recording over time, and what a window of it is made to sound like: a clip.

A clip is scaled by its peak, loses its quiet ends, and is filled up if it is short. A recording is heard
through windows, and for each of them the seconds around it are the measure: their peak counts as 1 if the
recipe scales, and what lies far below it is quiet. If the recipe trims, quiet ends of the window are cut off
and it is filled up as a short clip is; of a window that is all quiet, the shares of the classes in training
are said. One loud event thus silences nothing but its own neighbourhood.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from dcase2018.batching.windows import filled_up
from dcase2018.features.config import Recipe
from dcase2018.utils.config import check, knob


@dataclass(frozen=True)
class OverTime:
    """How a recording is followed over time."""

    level_seconds: float = knob(10.0, "time whose peak a window is heard against", above=0, most=3600)
    floor_db: float = knob(35.0, "what is this far below that peak is quiet", above=0, most=200)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Timeline:
    """Scores of the windows of a recording.

    Attributes
    ----------
    starts
        When each window begins, in seconds, float64, (windows,).
    scores
        float32, (windows, classes).
    quiet
        Whether a window is too quiet to be heard, bool, (windows,): it has the scores of silence.
    window_seconds
        Length of a window.
    seconds
        Length of the recording.
    """

    starts: np.ndarray
    scores: np.ndarray
    quiet: np.ndarray
    window_seconds: float
    seconds: float

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def ends(self) -> np.ndarray:
        """When each window ends, in seconds, float64, (windows,)."""
        return np.minimum(self.starts + self.window_seconds, self.seconds)

    @cached_property
    def edges(self) -> np.ndarray:
        """Between which times each window speaks: float64, (windows + 1,).

        Each moment is told of by the window whose middle is nearest.
        """
        between = (self.starts[:-1] + self.starts[1:] + self.window_seconds) / 2
        return np.concatenate([[0.0], between, [self.seconds]]) if len(self) else np.zeros(1)

    def at(self, times: np.ndarray) -> np.ndarray:
        """Which window speaks at each of some times: int64, the shape of `times`."""
        return np.clip(np.searchsorted(self.edges, times, side="right") - 1, 0, len(self) - 1)


class Levels:
    """The level of a recording around each moment, and how its windows become examples.

    Parameters
    ----------
    envelope
        Peak of each hop of samples, (hops,), 1 being full scale.
    window
        Frames in a window.
    short
        What fills up a window whose quiet ends are cut: "pad" (silence) or "tile" (itself).
    """

    def __init__(
        self, envelope: np.ndarray, recipe: Recipe, window: int, short: str, settings: OverTime
    ) -> None:
        self.envelope, self.recipe, self.window, self.short = envelope, recipe, window, short
        self.half = max(1, round(settings.level_seconds / 2 * recipe.sample_rate / recipe.hop_length))
        self.floor = 10 ** (-settings.floor_db / 20)

    def heard(self, starts: np.ndarray, examples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Make examples of windows, and tell which are quiet: bool, (windows,).

        Parameters
        ----------
        starts
            First frame of each window, (windows,).
        examples
            Frames neither trimmed, scaled nor rounded, float32, (windows, window, recipe.width); fewer in the
            only window of a short recording. Examples are rounded as the store rounds.
        """
        levels = np.array([self._around(start) for start in starts], np.float32)
        if self.recipe.normalize == "peak":
            examples = scaled(examples, np.where(levels > 0, levels, 1), self.recipe)
        made = np.empty((len(starts), self.window, self.recipe.width), self.recipe.dtype)
        quiet = np.zeros(len(starts), bool)
        for i, (start, frames) in enumerate(zip(starts, examples, strict=True)):
            loud = np.flatnonzero(self.envelope[start : start + len(frames)] > levels[i] * self.floor)
            quiet[i] = not len(loud)
            if self.recipe.trim_db and len(loud):
                frames = frames[loud[0] : loud[-1] + 1]
            if len(frames) < self.window:
                frames = filled_up(frames, self.window, self.short, self.recipe)
            made[i] = frames
        return made.astype(np.float32, copy=False), quiet

    def _around(self, start: int) -> float:
        """Peak of the seconds around a window, and of the window itself."""
        middle = start + self.window // 2
        first, stop = min(start, middle - self.half), max(start + self.window, middle + self.half)
        return float(self.envelope[max(0, first) : stop].max(initial=0))


def scaled(examples: np.ndarray, levels: np.ndarray, recipe: Recipe) -> np.ndarray:
    """Examples as if the samples of each had been divided by its level: float32, the shape of `examples`."""
    factors = (1 / levels)[:, None, None]
    if recipe.feature == "waveform":
        return examples * factors
    offset = np.float32(recipe.mel_log_offset)
    return np.log(np.maximum(np.exp(examples) - offset, 0) * factors + offset)
