"""Augmentation: random changes of examples that keep their labels, and mixup.

Every function takes a batch of examples, float32 (batch, frames, width), and a NumPy generator, and returns
the changed batch. The result depends on the generator alone. The input may be overwritten, because
allocating memory takes most of the time here.
"""

import math
from dataclasses import dataclass

import numpy as np

from dcase2018.features.config import FeatureConfig
from dcase2018.features.levels import scale_frames
from dcase2018.models.hparams import HParams
from dcase2018.utils.buffers import reusable_buffer

N_CONTROL_POINTS = 4  # bands for which `filter_augment` draws a gain

MEL_FACTOR, MEL_BREAK_HZ = 2595 / math.log(10), 700.0  # of the mel scale of HTK

CHUNK = 8  # examples that `speed_change` computes at a time, which fit into the cache

Batch = tuple[np.ndarray, np.ndarray, np.ndarray]  # examples, targets, sample weights


@dataclass(frozen=True)
class Augmentation:
    """The augmentations that the hyperparameters select, in a fixed order."""

    hparams: HParams
    feature_config: FeatureConfig

    def __call__(
        self,
        x: np.ndarray,
        targets: np.ndarray,
        weights: np.ndarray,
        rng: np.random.Generator,
        allow_mixup: bool,
    ) -> Batch:
        """Augment a batch."""
        hp = self.hparams
        has_bands = self.feature_config.feature == "log_mel"
        if hp.speed_change and has_bands:
            n_frames = hp.example_frames(self.feature_config)
            x = speed_change(x, rng, hp.speed_change, self.feature_config, n_frames)
        if hp.time_shift:
            x = time_shift(x, rng, hp.time_shift)
        if hp.gain_db:
            x = gain(x, rng, hp.gain_db, self.feature_config)
        if hp.filter_augment_db and has_bands:
            x = filter_augment(x, rng, hp.filter_augment_db, self.feature_config)
        if hp.time_mask:
            x = spec_mask(x, rng, 1, hp.time_mask)
        if hp.freq_mask:
            x = spec_mask(x, rng, 2, hp.freq_mask)
        if hp.mixup_alpha and allow_mixup:
            return mixup(x, targets, weights, rng, hp.mixup_alpha)
        return x, targets, weights


def time_shift(x: np.ndarray, rng: np.random.Generator, max_fraction: float) -> np.ndarray:
    """Roll each example in time by at most `max_fraction` of its length, in either direction."""
    n_frames = x.shape[1]
    max_shift = round(max_fraction * n_frames)
    shifts = rng.integers(-max_shift, max_shift + 1, len(x))
    frames = (np.arange(n_frames) - shifts[:, None]) % n_frames
    return x[np.arange(len(x))[:, None], frames]


def gain(x: np.ndarray, rng: np.random.Generator, max_db: float, feature_config: FeatureConfig) -> np.ndarray:
    """Change the level of each example by at most `max_db`, as if its samples were scaled."""
    factors = 10 ** (rng.uniform(-max_db, max_db, len(x)) / 20)
    return scale_frames(x, factors.astype(np.float32), feature_config)


def speed_change(
    x: np.ndarray,
    rng: np.random.Generator,
    max_fraction: float,
    feature_config: FeatureConfig,
    n_frames: int,
) -> np.ndarray:
    """Play a random part of each example up to `max_fraction` faster, or slower by the same factor.

    This changes duration and pitch together, as if the samples were resampled. All frequencies are multiplied
    by the speed, so the shift along the bands depends on the frequency. Values between frames and between
    bands are interpolated. Bands without a source repeat the value of the edge band.

    Parameters
    ----------
    x : ndarray
        Longer examples: `crop_frames` of the hyperparameters.
    n_frames
        Frames of the result.
    """
    speeds = (1 + max_fraction) ** rng.uniform(-1, 1, len(x))
    starts = rng.uniform(0, x.shape[1] - 1 - (n_frames - 1) * speeds)
    source_frames = starts[:, None] + np.arange(n_frames) * speeds[:, None]
    source_bands = _source_bands(feature_config, speeds)
    changed = np.empty((len(x), n_frames, x.shape[2]), np.float32)
    for start in range(0, len(x), CHUNK):
        part = slice(start, start + CHUNK)
        by_frame = _interpolate(x[part], source_frames[part])
        by_band = _interpolate(np.ascontiguousarray(by_frame.swapaxes(1, 2)), source_bands[part])
        changed[part] = by_band.swapaxes(1, 2)
    return changed


def _source_bands(feature_config: FeatureConfig, speeds: np.ndarray) -> np.ndarray:
    """Compute which band a speed moves to each band, as fractional indices: (len(speeds), n_bands)."""
    n_bands = feature_config.mel_bands
    low, high = _hz_to_mel(np.array([feature_config.mel_min_hz, feature_config.mel_max_hz]))
    width = (high - low) / (n_bands + 1)  # between the centers of two bands
    centers_hz = MEL_BREAK_HZ * np.expm1((low + width * np.arange(1, n_bands + 1)) / MEL_FACTOR)
    bands = (_hz_to_mel(centers_hz / speeds[:, None]) - low) / width - 1
    return np.clip(bands, 0, n_bands - 1)


def _hz_to_mel(hz: np.ndarray) -> np.ndarray:
    """Convert frequencies to the mel scale of the bands, that of HTK."""
    return MEL_FACTOR * np.log1p(hz / MEL_BREAK_HZ)


def _interpolate(x: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Interpolate linearly along the second axis.

    Parameters
    ----------
    x : ndarray, float32, (batch, rows, width)
    positions : ndarray, (batch, n)
        Fractional row indices of each example.

    Returns
    -------
    ndarray
        float32, (batch, n, width).
    """
    lower = np.minimum(positions.astype(int), x.shape[1] - 2)
    upper_share = (positions - lower).astype(np.float32)[..., None]
    rows, index = x.reshape(-1, x.shape[2]), lower + x.shape[1] * np.arange(len(x))[:, None]
    values = np.take(rows, index, axis=0)
    values *= 1 - upper_share
    upper = np.take(rows, index + 1, axis=0, out=reusable_buffer(values.shape, values.dtype), mode="clip")
    upper *= upper_share
    values += upper
    return values


def filter_augment(
    x: np.ndarray, rng: np.random.Generator, max_db: float, feature_config: FeatureConfig
) -> np.ndarray:
    """Apply a random gain curve over the bands, at most `max_db`, which imitates microphones and rooms.

    The curve is linear in decibels between a few control points (Nam et al., "FilterAugment", 2022). It is
    added to the log mel values. That is exact far above `mel_log_offset`. The result is at least the
    silence value.
    """
    gains = rng.uniform(-max_db, max_db, (len(x), N_CONTROL_POINTS))
    points, bands = np.arange(N_CONTROL_POINTS), np.linspace(0, N_CONTROL_POINTS - 1, x.shape[2])
    basis = np.stack([np.interp(bands, points, unit) for unit in np.eye(N_CONTROL_POINTS)])
    curves_db = gains @ basis  # (batch, bands)
    x += (curves_db * (math.log(10) / 20)).astype(np.float32)[:, None]
    return np.maximum(x, np.float32(feature_config.silence_value), out=x)


def spec_mask(x: np.ndarray, rng: np.random.Generator, axis: int, max_fraction: float) -> np.ndarray:
    """Replace a block of frames (axis 1) or bands (axis 2) by the example's mean (SpecAugment).

    The block covers at most `max_fraction` of the axis (Park et al., 2019).
    """
    size = x.shape[axis]
    lengths = rng.integers(0, round(max_fraction * size) + 1, len(x))
    starts = rng.integers(0, size - lengths + 1)
    means = np.einsum("eft->e", x) / x[0].size  # three times as fast as x.mean
    for example, start, length, mean in zip(x.swapaxes(1, axis), starts, lengths, means, strict=True):
        example[start : start + length] = mean
    return x


def mixup(
    x: np.ndarray, targets: np.ndarray, weights: np.ndarray, rng: np.random.Generator, alpha: float
) -> Batch:
    """Mix each example, its target and its weight with another one of the batch (Zhang et al., 2018).

    The mixing coefficient is drawn from Beta(alpha, alpha), and the larger side is the example itself.
    """
    partners = rng.permutation(len(x))
    coefficients = rng.beta(alpha, alpha, len(x)).astype(np.float32)
    coefficients = np.maximum(coefficients, 1 - coefficients)

    def mix(values: np.ndarray) -> np.ndarray:
        lam = coefficients.reshape(-1, *[1] * (values.ndim - 1))
        mixed = np.take(
            values, partners, axis=0, out=reusable_buffer(values.shape, values.dtype), mode="clip"
        )
        mixed *= 1 - lam
        values *= lam
        values += mixed
        return values

    return mix(x), mix(targets), mix(weights)
