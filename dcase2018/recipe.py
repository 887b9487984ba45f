"""The recipe of a feature: what turns samples into frames, and the arithmetic of both.

A recipe is frozen, holds what makes the features and nothing else, and is written into every store.
It knows no audio library, so that training can read it without one. Conventions: seconds and hertz
outside, samples and bins inside; Python's `round` takes halves to the even number, as the reference
does, so that 25 ms at 44.1 kHz are 1102 samples.
"""

import math
from dataclasses import dataclass

from dcase2018.errors import InputError
from dcase2018.settings import check, knob


@dataclass(frozen=True)
class Recipe:
    """Log mel frames as the DCASE 2018 Task 2 baseline defines them."""

    sample_rate: int = knob(44100, "samples a second; other clips are resampled", least=1000)
    stft_window_seconds: float = knob(0.025, "length of a Hann window", above=0, most=1)
    stft_hop_seconds: float = knob(0.010, "time from one window to the next", above=0, most=1)
    mel_bands: int = knob(64, "number of mel bands", least=1, most=1024)
    mel_min_hz: float = knob(125.0, "lower edge of the lowest band", least=0)
    mel_max_hz: float = knob(7500.0, "upper edge of the highest band", above=0)
    mel_log_offset: float = knob(0.001, "added to a band before the logarithm", above=0)

    def __post_init__(self) -> None:
        check(self)
        if not self.mel_min_hz < self.mel_max_hz <= self.sample_rate / 2:
            raise InputError(
                f"mel_min_hz={self.mel_min_hz:g} and mel_max_hz={self.mel_max_hz:g} are not allowed:"
                f" mel_min_hz < mel_max_hz <= {self.sample_rate / 2:g} (half the sample rate)"
            )
        for name in ("stft_window_seconds", "stft_hop_seconds"):
            if round(self.sample_rate * getattr(self, name)) < 1:
                raise InputError(f"{name}={getattr(self, name)} is shorter than a sample")

    @property
    def window_length(self) -> int:
        """Samples in a window."""
        return round(self.sample_rate * self.stft_window_seconds)

    @property
    def hop_length(self) -> int:
        """Samples from one frame's start to the next's."""
        return round(self.sample_rate * self.stft_hop_seconds)

    @property
    def n_fft(self) -> int:
        """Length of the Fourier transform: the power of two that holds a window."""
        return 1 << (self.window_length - 1).bit_length()

    @property
    def silence(self) -> float:
        """The value of every band of digital silence."""
        return math.log(self.mel_log_offset)

    def n_frames(self, n_samples: int) -> int:
        """Frames of a clip: whole windows only; a clip shorter than one is padded to one."""
        if n_samples == 0:
            return 0
        return 1 + max(0, n_samples - self.window_length) // self.hop_length


RECIPES = {"baseline": Recipe()}
