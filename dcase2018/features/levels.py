"""Levels of samples, measured without their constant offset: the peak of each hop, and silence.

Many recorders add a constant offset (DC). It is no sound, so it counts neither in peaks, nor in the level at
which silence begins. A hop is silent if the standard deviation of its samples is below `SILENCE_LEVEL`, and a
clip if all its hops are. Results do not depend on the sizes of the blocks.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from dcase2018.features.config import FeatureConfig

SILENCE_DBFS = -80.0  # below the noise of 13 bits
SILENCE_LEVEL = 10 ** (SILENCE_DBFS / 20)  # standard deviation; full scale is 1

SIGNIFICANCE = 3.0  # standard errors, from which an offset differs from 0
MEDIAN_SPREAD = 40  # the standard error is estimated from 1 of so many values on either side of the median

CHECKED_HOPS = 64  # per step of the search for a hop that is not silent


class HopLevels(NamedTuple):
    """Levels of the hops of a clip; the last hop may have fewer samples.

    Attributes
    ----------
    offset
        Constant offset of the samples, in units of the samples or of the full scale.
    peaks
        Largest distance from the offset in each hop, float32, (hops,).
    is_silent
        Whether each hop is silent, bool, (hops,).
    """

    offset: float
    peaks: np.ndarray
    is_silent: np.ndarray

    def scaled(self, full_scale: float) -> "HopLevels":
        """Return levels in units of the full scale."""
        return self._replace(offset=self.offset / full_scale, peaks=self.peaks / np.float32(full_scale))


def _split(samples: np.ndarray, hop_length: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the complete hops, (n, hop_length), and the samples that remain."""
    n_samples = len(samples) - len(samples) % hop_length
    return samples[:n_samples].reshape(-1, hop_length), samples[n_samples:]


def iter_hops(blocks: Iterable[np.ndarray], hop_length: int) -> Iterator[np.ndarray]:
    """Cut a stream of samples into hops.

    Yields
    ------
    ndarray
        (n, hop_length); at last the rest of the samples, if any, as one shorter hop.
    """
    carry = np.zeros(0, np.int16)
    for block in blocks:
        hops, carry = _split(np.concatenate([carry, block]) if len(carry) else block, hop_length)
        yield hops
    if len(carry):
        yield carry[None]


def measure_levels(blocks: Iterable[np.ndarray], hop_length: int, full_scale: float) -> HopLevels:
    """Measure the levels of a stream of samples, in units of the samples.

    The offset is the median of the means of all hops. It is that of the silent hops, if there are some,
    unlike the mean of the clip, which one asymmetric sound shifts.

    Parameters
    ----------
    blocks
        Consecutive samples, in blocks of any size.
    full_scale
        Amplitude in `blocks` that is scaled to 1.
    """
    threshold = SILENCE_LEVEL * full_scale
    parts = [_hop_statistics(np.zeros((0, hop_length)), threshold)]
    parts += (_hop_statistics(hops, threshold) for hops in iter_hops(blocks, hop_length))
    means, is_silent, highest, lowest = (np.concatenate(values) for values in zip(*parts, strict=True))
    offset = _significant_median(means)
    return HopLevels(float(offset), np.maximum(highest - offset, offset - lowest), is_silent)


def _significant_median(means: np.ndarray) -> np.float32:
    """Return the median of the means of hops, or 0 if it may be 0 by chance.

    That is so within three standard errors of 0. The standard error of a median is 1 / (2 f sqrt(n)), where
    the density f is estimated from the values around the median. Clips without an offset, whose hops have
    means around 0, are thus left exactly as they are.
    """
    n = len(means)
    if n < 2:  # one hop does not differ from a part of a wave
        return np.float32(0)
    middle, distance = (n - 1) // 2, n // MEDIAN_SPREAD + 1
    low, high = max(middle - distance, 0), min(middle + distance, n - 1)
    values = np.partition(means, [low, middle, high])
    margin = (values[high] - values[low]) * np.float32(SIGNIFICANCE * n**0.5 / (2 * max(high - low, 1)))
    return values[middle] if abs(values[middle]) > margin else np.float32(0)


def _hop_statistics(
    hops: np.ndarray, threshold: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return the mean of each hop, whether it is silent, and its maximum and minimum."""
    means, deviations = _mean_and_deviation(hops)
    highest, lowest = (values.astype(np.float32) for values in (hops.max(axis=1), hops.min(axis=1)))
    return means, deviations < threshold, highest, lowest


def _mean_and_deviation(hops: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean and the standard deviation of each hop, float32, computed in float64."""
    samples = hops.astype(np.float64)
    means = samples.mean(axis=1, keepdims=True)
    samples -= means
    deviations = np.sqrt(np.einsum("ij,ij->i", samples, samples) / samples.shape[1])
    return means[:, 0].astype(np.float32), deviations.astype(np.float32)


def remove_offset(blocks: Iterable[np.ndarray], offset: float) -> Iterator[np.ndarray]:
    """Subtract a constant offset from samples; without one, the samples are unchanged."""
    for block in blocks:
        yield block.astype(np.float32) - np.float32(offset) if offset else block


class SilenceDetector:
    """Measures whether a stream of samples is silent, while another function reads the stream.

    The measurement ends at the first hop that is not silent, so it takes little time for most clips.

    Parameters
    ----------
    full_scale
        See `measure_levels`.

    Attributes
    ----------
    is_silent : bool
        Whether all hops are silent, once the stream was read. A stream without samples is silent.
    """

    def __init__(self, hop_length: int, full_scale: float) -> None:
        self.hop_length, self.threshold = hop_length, SILENCE_LEVEL * full_scale
        self.is_silent = True

    def watch(self, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Yield the blocks unchanged."""
        carry = np.zeros(0, np.int16)
        for block in blocks:
            if self.is_silent:
                samples = np.concatenate([carry, block]) if len(carry) else block
                hops, carry = _split(samples, self.hop_length)
                self.is_silent = self._are_silent(hops)
            yield block
        if self.is_silent and len(carry):
            self.is_silent = self._are_silent(carry[None])

    def _are_silent(self, hops: np.ndarray) -> bool:
        steps = (hops[start : start + CHECKED_HOPS] for start in range(0, len(hops), CHECKED_HOPS))
        return all((_mean_and_deviation(step)[1] < self.threshold).all() for step in steps)


def scale_frames(x: np.ndarray, factors: np.ndarray, feature_config: FeatureConfig) -> np.ndarray:
    """Change frames in place to those of scaled samples.

    Parameters
    ----------
    x : ndarray, float32, (batch, n_frames, n_features)
    factors : ndarray, float32, (batch,)
        Factor of the samples of each example.

    Returns
    -------
    ndarray
        `x` itself.
    """
    factors = factors[:, None, None]
    if feature_config.feature == "waveform":
        return np.multiply(x, factors, out=x)
    offset = np.float32(feature_config.mel_log_offset)
    np.exp(x, out=x)
    x -= offset
    np.maximum(x, 0, out=x)
    x *= factors
    x += offset
    return np.log(x, out=x)
