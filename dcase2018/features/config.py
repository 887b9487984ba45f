"""The feature_config of a feature: what turns samples into frames, and the arithmetic of both.

A feature_config is frozen, holds what makes the features and nothing else, and is written into every store.
It knows no audio library, so that training can read it without one. Conventions: seconds and hertz
outside, samples and bins inside; Python's `round` takes halves to the even number, as the reference
does, so that 25 ms at 44.1 kHz are 1102 samples.
"""

import math
from dataclasses import dataclass

from dcase2018.utils.config import setting, validate
from dcase2018.utils.errors import InputError


@dataclass(frozen=True)
class FeatureConfig:
    """Frames of a clip; the defaults are those of the DCASE 2018 Task 2 baseline."""

    feature: str = setting("log_mel", "what a frame holds", choices=("log_mel", "waveform"))
    sample_rate: int = setting(44100, "samples a second; other clips are resampled", ge=1000, le=192000)
    trim_db: float = setting(0.0, "cut ends this far below the peak; 0 cuts nothing", ge=0, le=200)
    normalize: str = setting("none", "scale a clip to a peak of 1", choices=("none", "peak"))
    stft_window_seconds: float = setting(0.025, "length of a Hann window", gt=0, le=1)
    stft_hop_seconds: float = setting(0.010, "time from one frame to the next", gt=0, le=1)
    mel_bands: int = setting(64, "number of mel bands", ge=1, le=1024)
    mel_min_hz: float = setting(125.0, "lower edge of the lowest band", ge=0)
    mel_max_hz: float = setting(7500.0, "upper edge of the highest band", gt=0)
    mel_log_offset: float = setting(0.001, "added to a band before the logarithm", gt=0)
    storage_dtype: str = setting("float32", "how the store keeps a value", choices=("float32", "float16"))

    def __post_init__(self) -> None:
        validate(self)
        if not self.mel_min_hz < self.mel_max_hz <= self.sample_rate / 2:
            raise InputError(
                f"mel_min_hz={self.mel_min_hz:g} and mel_max_hz={self.mel_max_hz:g} are not allowed:"
                f" mel_min_hz < mel_max_hz <= {self.sample_rate / 2:g} (half the sample rate)"
            )
        if not 1 <= self.hop_length <= self.win_length:
            raise InputError(
                f"stft_hop_seconds={self.stft_hop_seconds:g} is not allowed: a hop is at least one sample,"
                f" and at most a window (stft_window_seconds={self.stft_window_seconds:g})"
            )

    @property
    def win_length(self) -> int:
        """Samples in a window of the short-time Fourier transform."""
        return round(self.sample_rate * self.stft_window_seconds)

    @property
    def hop_length(self) -> int:
        """Samples from one frame's start to the next's."""
        return round(self.sample_rate * self.stft_hop_seconds)

    @property
    def n_fft(self) -> int:
        """Length of the Fourier transform: the power of two that holds a window."""
        return 1 << (self.win_length - 1).bit_length()

    @property
    def frame_length(self) -> int:
        """Samples that a frame is made from."""
        return self.hop_length if self.feature == "waveform" else self.win_length

    @property
    def n_features(self) -> int:
        """Values in a frame: mel bands, or samples."""
        return self.hop_length if self.feature == "waveform" else self.mel_bands

    @property
    def silence_value(self) -> float:
        """The value of digital silence."""
        return 0.0 if self.feature == "waveform" else math.log(self.mel_log_offset)

    def n_frames(self, n_samples: int) -> int:
        """Frames of so many samples: whole ones only, but one for a clip that is shorter than that."""
        if n_samples == 0:
            return 0
        return 1 + max(0, n_samples - self.frame_length) // self.hop_length


FEATURE_CONFIGS = {
    # The reference to the letter.
    "baseline": FeatureConfig(),
    # The whole range that matters to hi-hats and tambourines, at half the disk space a band.
    "logmel96": FeatureConfig(
        trim_db=60, normalize="peak", mel_bands=96, mel_min_hz=40, mel_max_hz=16000, storage_dtype="float16"
    ),
    # What YAMNet has learned from.
    "yamnet": FeatureConfig(sample_rate=16000),
    # The samples themselves, 10 ms a row, for networks on raw audio.
    "waveform16k": FeatureConfig(
        feature="waveform", sample_rate=16000, trim_db=60, normalize="peak", storage_dtype="float16"
    ),
}
