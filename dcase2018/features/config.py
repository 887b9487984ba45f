"""Feature configs: what is computed from audio, and the arithmetic of samples and frames.

A config holds what determines the features and nothing else. It is stored in every feature store. This module
imports no audio library, so that training can read a config without one. Fields are in seconds and hertz,
properties in samples. Python's `round` rounds halves to even, as the reference does: 25 ms at 44.1 kHz are
1102 samples.
"""

import math
from dataclasses import dataclass

from dcase2018.utils.config import NamedItems, setting, short_repr, validate
from dcase2018.utils.errors import InputError


@dataclass(frozen=True)
class FeatureConfig:
    """Definition of the frames of a clip. The defaults are those of the DCASE 2018 Task 2 baseline.

    Raises
    ------
    InputError
        If a field is out of range, or two fields contradict each other.

    Examples
    --------
    >>> config = FeatureConfig(mel_bands=96, mel_max_hz=16000)
    >>> config.hop_length, config.n_frames(44100)
    (441, 98)
    """

    feature: str = setting("log_mel", "content of a frame", choices=("log_mel", "waveform"))
    sample_rate: int = setting(44100, "sample rate in Hz; other clips are resampled", ge=1000, le=192000)
    trim_db: float = setting(0.0, "trim ends this far below the peak; 0 trims nothing", ge=0, le=200)
    normalize: str = setting("none", "peak: scale each clip to a peak of 1", choices=("none", "peak"))
    stft_window_seconds: float = setting(0.025, "length of the Hann window", gt=0, le=1)
    stft_hop_seconds: float = setting(0.010, "time between two frames", gt=0, le=1)
    mel_bands: int = setting(64, "number of mel bands", ge=1, le=1024)
    mel_min_hz: float = setting(125.0, "lower edge of the lowest band", ge=0)
    mel_max_hz: float = setting(7500.0, "upper edge of the highest band", gt=0)
    mel_log_offset: float = setting(0.001, "added to a band before the logarithm", gt=0)
    storage_dtype: str = setting("float32", "dtype of the stored frames", choices=("float32", "float16"))

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

    def __repr__(self) -> str:
        return short_repr(self)

    @property
    def win_length(self) -> int:
        """Window length of the short-time Fourier transform in samples."""
        return round(self.sample_rate * self.stft_window_seconds)

    @property
    def hop_length(self) -> int:
        """Distance between the starts of two frames in samples."""
        return round(self.sample_rate * self.stft_hop_seconds)

    @property
    def frame_hop_seconds(self) -> float:
        """Time between two frames: `stft_hop_seconds`, rounded to whole samples."""
        return self.hop_length / self.sample_rate

    @property
    def n_fft(self) -> int:
        """Length of the Fourier transform: the smallest power of two that is at least `win_length`."""
        return 1 << (self.win_length - 1).bit_length()

    @property
    def frame_length(self) -> int:
        """Number of samples that a frame is computed from."""
        return self.hop_length if self.feature == "waveform" else self.win_length

    @property
    def n_features(self) -> int:
        """Number of values in a frame: mel bands, or samples."""
        return self.hop_length if self.feature == "waveform" else self.mel_bands

    @property
    def silence_value(self) -> float:
        """Value of a frame of digital silence."""
        return 0.0 if self.feature == "waveform" else math.log(self.mel_log_offset)

    @property
    def depends_on_levels(self) -> bool:
        """Whether frames depend on the levels of the whole clip. Its constant offset is then removed."""
        return self.trim_db > 0 or self.normalize == "peak"

    def n_frames(self, n_samples: int) -> int:
        """Compute the number of frames: all complete ones, or 1 for a shorter clip that is not empty."""
        if n_samples == 0:
            return 0
        return 1 + max(0, n_samples - self.frame_length) // self.hop_length


FEATURE_CONFIGS = NamedItems(
    {
        # Exactly the reference.
        "baseline": FeatureConfig(),
        # The frequency range of hi-hats and tambourines, at half the disk space per band. Trimming and offset
        # remove the noise floor, which is a property of the source.
        "logmel96": FeatureConfig(
            trim_db=40,
            normalize="peak",
            mel_bands=96,
            mel_min_hz=40,
            mel_max_hz=16000,
            mel_log_offset=1.0,
            storage_dtype="float16",
        ),
        # The input of YAMNet.
        "yamnet": FeatureConfig(sample_rate=16000),
        # Samples, 10 ms per row, for networks on raw audio.
        "waveform16k": FeatureConfig(
            feature="waveform", sample_rate=16000, trim_db=60, normalize="peak", storage_dtype="float16"
        ),
    }
)


def config_name(config: FeatureConfig) -> str:
    """Return the name of a feature config in `FEATURE_CONFIGS`; "" if it has none."""
    return next((name for name, named in FEATURE_CONFIGS.items() if named == config), "")
