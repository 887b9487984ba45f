"""Changes to examples that leave their label true, and mixtures of examples.

Every function takes a batch of examples, float32 (batch, frames, width), and a generator of random
numbers, and returns the changed batch; what it draws depends on the generator alone. The batch that it was
given is its own to change: memory is what takes time here.
"""

import math
from dataclasses import dataclass

import numpy as np

from dcase2018.features.config import FeatureConfig
from dcase2018.models.hparams import HParams
from dcase2018.utils.buffers import reusable_buffer

KNOTS = 4  # bands for which a change of loudness is drawn

Batch = tuple[np.ndarray, np.ndarray, np.ndarray]  # examples, targets, weights


@dataclass(frozen=True)
class Augmentation:
    """The changes that the hyperparameters ask for, one after the other."""

    hparams: HParams
    feature_config: FeatureConfig

    def __call__(
        self, x: np.ndarray, targets: np.ndarray, weights: np.ndarray, rng: np.random.Generator, mixing: bool
    ) -> Batch:
        """Change a batch; `mixing` allows mixtures."""
        asked = self.hparams
        if asked.time_shift:
            x = time_shift(x, rng, asked.time_shift)
        if asked.gain_db:
            x = gain(x, rng, asked.gain_db, self.feature_config)
        has_bands = self.feature_config.feature == "log_mel"
        if asked.freq_shift and has_bands:
            x = freq_shift(x, rng, asked.freq_shift)
        if asked.filter_augment_db and has_bands:
            x = filter_augment(x, rng, asked.filter_augment_db, self.feature_config)
        if asked.time_mask:
            x = mask(x, rng, 1, asked.time_mask)
        if asked.freq_mask:
            x = mask(x, rng, 2, asked.freq_mask)
        if asked.mixup_alpha and mixing:
            return mixup(x, targets, weights, rng, asked.mixup_alpha)
        return x, targets, weights


def time_shift(x: np.ndarray, rng: np.random.Generator, most: float) -> np.ndarray:
    """Roll each example in time by up to a share `most` of its length, either way."""
    n_frames = x.shape[1]
    reach = round(most * n_frames)
    shifts = rng.integers(-reach, reach + 1, len(x))
    places = (np.arange(n_frames) - shifts[:, None]) % n_frames
    return x[np.arange(len(x))[:, None], places]


def gain(
    x: np.ndarray, rng: np.random.Generator, most_db: float, feature_config: FeatureConfig
) -> np.ndarray:
    """Make each example louder or softer by up to `most_db`, as if its samples had been scaled."""
    factors = 10 ** (rng.uniform(-most_db, most_db, (len(x), 1, 1)) / 20)
    if feature_config.feature == "waveform":
        return (x * factors).astype(np.float32)
    mel = np.maximum(np.exp(x, dtype=np.float64) - feature_config.mel_log_offset, 0)
    return np.log(mel * factors + feature_config.mel_log_offset).astype(np.float32)


def freq_shift(x: np.ndarray, rng: np.random.Generator, most: float) -> np.ndarray:
    """Move each example along the bands by up to a share `most` of them, either way, as another pitch would.

    What is left free at one end gets the values of the band that stood there.
    """
    n_bands = x.shape[2]
    reach = round(most * n_bands)
    for example, shift in zip(x, rng.integers(-reach, reach + 1, len(x)), strict=True):
        places = np.clip(np.arange(n_bands) - shift, 0, n_bands - 1)
        example[:] = example[:, places]
    return x


def filter_augment(
    x: np.ndarray, rng: np.random.Generator, most_db: float, feature_config: FeatureConfig
) -> np.ndarray:
    """Make bands louder or softer by up to `most_db`, as other microphones and rooms do.

    The change is drawn for a few bands and goes straight from one to the next. It is added to the logarithms,
    which is exact far above the feature_config's `mel_log_offset`, and ends at silence.
    """
    drawn = rng.uniform(-most_db, most_db, (len(x), KNOTS))
    knots, bands = np.arange(KNOTS), np.linspace(0, KNOTS - 1, x.shape[2])
    decibels = drawn @ np.stack([np.interp(bands, knots, knot) for knot in np.eye(KNOTS)])  # (batch, bands)
    x += (decibels * (math.log(10) / 20)).astype(np.float32)[:, None]
    return np.maximum(x, np.float32(feature_config.silence_value), out=x)


def mask(x: np.ndarray, rng: np.random.Generator, axis: int, most: float) -> np.ndarray:
    """Cover a run of frames (axis 1) or bands (axis 2), up to a share `most`, with the example's mean."""
    size = x.shape[axis]
    lengths = rng.integers(0, round(most * size) + 1, len(x))
    starts = rng.integers(0, size - lengths + 1)
    means = np.einsum("eft->e", x) / x[0].size  # three times as quick as x.mean
    for run, start, length, mean in zip(x.swapaxes(1, axis), starts, lengths, means, strict=True):
        run[start : start + length] = mean
    return x


def mixup(
    x: np.ndarray, targets: np.ndarray, weights: np.ndarray, rng: np.random.Generator, alpha: float
) -> Batch:
    """Mix each example with another of the batch, targets and weights alike (Zhang et al., 2018).

    The share of the first is drawn from Beta(alpha, alpha), and is the larger one.
    """
    others = rng.permutation(len(x))
    share = rng.beta(alpha, alpha, len(x)).astype(np.float32)
    share = np.maximum(share, 1 - share)

    def mixed(values: np.ndarray) -> np.ndarray:
        own = share.reshape(-1, *[1] * (values.ndim - 1))
        other = np.take(values, others, axis=0, out=reusable_buffer(values.shape, values.dtype), mode="clip")
        other *= 1 - own
        values *= own
        values += other
        return values

    return mixed(x), mixed(targets), mixed(weights)
