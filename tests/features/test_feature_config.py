"""Feature configs: frame arithmetic and validation."""

import dataclasses
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcase2018.features.config import FeatureConfig
from dcase2018.utils.config import diff, from_dict
from dcase2018.utils.errors import InputError


def test_the_baseline_has_the_numbers_of_the_reference() -> None:
    feature_config = FeatureConfig()
    assert (feature_config.win_length, feature_config.hop_length, feature_config.n_fft) == (1102, 441, 2048)
    assert feature_config.silence_value == math.log(0.001)


@pytest.mark.parametrize(
    ("n_samples", "n_frames"), [(0, 0), (1, 1), (1102, 1), (1542, 1), (1543, 2), (44100, 98)]
)
def test_number_of_frames_of_a_clip(n_samples: int, n_frames: int) -> None:
    assert FeatureConfig().n_frames(n_samples) == n_frames


@given(
    sample_rate=st.integers(8000, 96000),
    window=st.floats(0.002, 0.2),
    hop=st.floats(0.001, 0.1),
    n_samples=st.integers(0, 10**7),
)
def test_the_frames_are_all_that_fit_into_a_clip(
    sample_rate: int, window: float, hop: float, n_samples: int
) -> None:
    feature_config = FeatureConfig(
        sample_rate=sample_rate,
        stft_window_seconds=max(window, hop),
        stft_hop_seconds=hop,
        mel_max_hz=4000,
    )
    n = feature_config.n_frames(n_samples)
    assert feature_config.n_fft // 2 < feature_config.win_length <= feature_config.n_fft
    if n_samples >= feature_config.win_length:
        end = (n - 1) * feature_config.hop_length + feature_config.win_length
        assert end <= n_samples < end + feature_config.hop_length
    else:
        assert n == (n_samples > 0)


@given(
    st.builds(
        FeatureConfig,
        mel_bands=st.integers(1, 1024),
        mel_min_hz=st.floats(0, 1000),
        mel_log_offset=st.floats(1e-9, 1),
    )
)
def test_a_config_round_trips_through_a_dict(feature_config: FeatureConfig) -> None:
    assert from_dict(FeatureConfig, dataclasses.asdict(feature_config)) == feature_config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mel_bands": 0}, "mel_bands=0 is not allowed: it must be >= 1 and <= 1024"),
        ({"mel_log_offset": math.nan}, "mel_log_offset=nan"),
        ({"mel_max_hz": 30000}, "half the sample rate"),
        ({"mel_min_hz": 8000}, "mel_min_hz < mel_max_hz"),
        ({"stft_hop_seconds": 1e-6}, "stft_hop_seconds=1e-06 is not allowed: a hop is at least one"),
        ({"stft_hop_seconds": 0.03}, "at most a window (stft_window_seconds=0.025)"),
    ],
)
def test_contradictory_configs_are_refused(values: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        FeatureConfig(**values)  # type: ignore[arg-type]


def test_diff_names_both_values() -> None:
    assert diff(FeatureConfig(mel_bands=96), FeatureConfig()) == ["mel_bands=96, not 64"]


def test_a_dict_of_another_version_is_refused() -> None:
    values = dataclasses.asdict(FeatureConfig()) | {"colour": "red"}
    with pytest.raises(InputError, match="another version of dcase2018: colour"):
        from_dict(FeatureConfig, values)
