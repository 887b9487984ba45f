"""Corrections of channels that cancel each other and of float samples beyond full scale.

The reader reads such a file twice: first to find its corrections, then to apply them.

- Channels in antiphase cancel each other in their mean. Where they do, the loudest channel is used alone.
- Float samples have no full scale. Isolated samples far beyond 1 are errors and are limited. A file that is
  generally far beyond 1 stores integers as floats and is divided by their full scale.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from dcase2018.data.audio_errors import AudioReadError

MAX_LEVEL = 4.0  # times full scale: headroom of float samples, 12 dB
ISOLATED = 0.001  # of the samples: at most this many are errors
INTEGER_LEVEL = 256.0  # samples that are generally louder are integers
INTEGER_BITS = (16, 24, 32)

# The power of the mean, relative to that of the mean of independent channels: -36 dB. Of two channels, one
# the inverse of the other times 0.98, it is -37 dB.
CANCELLATION = 10**-3.6

# Samples by the exponent of their magnitude, which is below 2**exponent.
MIN_EXPONENT, MAX_EXPONENT = -150, 129


@dataclass
class Corrections:
    """Corrections of the samples of a file.

    Attributes
    ----------
    channel_of
        Index of the channel to use alone, by number of channels. Other channels are averaged.
    full_scale
        Divide samples by this value.
    limit
        Samples beyond this value, after the division, are set to full scale.
    notes
        What is unusual about the file.
    """

    channel_of: dict[int, int] = field(default_factory=dict)
    full_scale: float = 1.0
    limit: float = MAX_LEVEL
    notes: list[str] = field(default_factory=list)


def find_corrections(blocks: Iterable[np.ndarray], is_float: bool) -> Corrections:
    """Find the corrections of a file from all its samples.

    Parameters
    ----------
    blocks
        The samples of the file: float32, (n_samples, n_channels).
    is_float
        Whether the file stores floats.

    Raises
    ------
    AudioReadError
        If the samples are generally too large for integers of 32 bits.
    """
    products: dict[int, np.ndarray] = {}  # of each pair of channels, by number of channels: (n, n)
    counts = np.zeros(MAX_EXPONENT - MIN_EXPONENT, np.int64)
    for block in blocks:
        n_channels = block.shape[1]
        if is_float:
            counts += _count_by_exponent(block)
        if n_channels > 1:
            samples = np.clip(block, -MAX_LEVEL, MAX_LEVEL) if is_float else block
            products.setdefault(n_channels, np.zeros((n_channels, n_channels)))
            products[n_channels] += samples.T @ samples
    corrections = _float_corrections(counts) if is_float else Corrections()
    for n_channels, sums in products.items():
        powers = sums.diagonal()
        if sums.sum() < CANCELLATION * powers.sum():  # the powers of the mean and of independent channels
            loudest = int(np.argmax(powers >= 0.98 * powers.max()))
            corrections.channel_of[n_channels] = loudest
            corrections.notes.append(f"the channels cancel each other; channel {loudest + 1} is used alone")
    return corrections


def _count_by_exponent(block: np.ndarray) -> np.ndarray:
    """Count the samples in [2**(e - 1), 2**e) for each exponent e, without NaN and infinite samples."""
    exponents = np.frexp(block[np.isfinite(block)])[1]
    return np.bincount(exponents - MIN_EXPONENT, minlength=MAX_EXPONENT - MIN_EXPONENT)


def _float_corrections(counts: np.ndarray) -> Corrections:
    """Decide on the full scale of a file from the number of its samples by exponent."""
    n_louder = counts.sum() - np.cumsum(counts)
    index = int(np.argmax(n_louder <= ISOLATED * counts.sum()))
    level = 2.0 ** (index + MIN_EXPONENT)  # nearly all samples are below
    if level <= MAX_LEVEL:
        return Corrections()
    if level <= INTEGER_LEVEL:
        note = f"the float samples reach {level:g} times full scale"
        return Corrections(limit=16 * level, notes=[note])
    bits = next((bits for bits in INTEGER_BITS if level <= 2.0 ** (bits - 1)), None)
    if bits is None:
        raise AudioReadError(f"damaged: the samples reach {level:g} times full scale, which is not audio")
    full_scale = 2.0 ** (bits - 1)
    return Corrections(full_scale=full_scale, notes=[f"the float samples are divided by {full_scale:g}"])
