"""`--hparams name=value,...`: names, defaults, errors."""

import dataclasses
import re

import pytest

from dcase2018.features.config import FEATURE_CONFIGS, FeatureConfig
from dcase2018.models.hparams import PRESETS, HParams
from dcase2018.utils.config import apply_overrides
from dcase2018.utils.errors import InputError

REFERENCE = {
    "stft_window_seconds": 0.025, "stft_hop_seconds": 0.010, "mel_bands": 64, "mel_min_hz": 125,
    "mel_max_hz": 7500, "mel_log_offset": 0.001, "example_window_seconds": 0.250,
    "example_hop_seconds": 0.125, "batch_size": 64, "nl": 2, "nh": 256, "weights_init_stddev": 1e-3,
    "lr": 1e-4, "adam_eps": 1e-8, "classifier": "softmax",
}  # fmt: skip


def test_baseline_has_the_defaults_of_the_reference() -> None:
    values = dataclasses.asdict(FEATURE_CONFIGS["baseline"]) | dataclasses.asdict(PRESETS["baseline"].hparams)
    assert {name: values[name] for name in REFERENCE} == REFERENCE
    assert PRESETS["baseline"].model == "cnn"


def test_example_has_25_frames_and_a_hop_of_12() -> None:
    assert HParams().example_frames(FeatureConfig()) == 25
    assert HParams().hop_frames(FeatureConfig()) == 12


@pytest.mark.parametrize(
    ("features", "speed_change", "n_frames"),
    [("logmel96", 0, 160), ("logmel96", 0.3, 208), ("logmel96", 0.301, 209), ("waveform16k", 0.3, 160)],
)
def test_crops_are_long_enough_for_the_greatest_speed(
    features: str, speed_change: float, n_frames: int
) -> None:
    hparams = HParams(example_window_seconds=1.6, speed_change=speed_change)
    assert hparams.crop_frames(FEATURE_CONFIGS[features]) == n_frames


def test_overrides_have_the_type_of_the_field() -> None:
    changed = apply_overrides(HParams(), " batch_size=32, lr=0.01,classifier=logistic,")
    assert changed == HParams(batch_size=32, lr=0.01, classifier="logistic")
    assert apply_overrides(HParams(), "") == HParams()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lrate=1", "'lrate' is unknown; known here: example_window_seconds, "),
        ("lr", "'lr' is not name=value"),
        ("lr=fast", "lr=fast is not a number: it must be > 0 and <= 10"),
        ("lr=nan", "lr=nan is not allowed: it must be > 0 and <= 10"),
        ("lr=-1", "lr=-1.0 is not allowed"),
        ("batch_size=6.5", "batch_size=6.5 is not a whole number: it must be >= 1 and <= 65536"),
        ("batch_size=0", "batch_size=0 is not allowed"),
        ("classifier=svm", "classifier=svm is not allowed: it must be one of softmax, logistic"),
        ("lr=1,lr=2", "lr is given twice"),
        ("mel_bands=32", "mel_bands does not belong here: ask extract"),
    ],
)
def test_errors_name_the_value_and_the_constraint(text: str, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        apply_overrides(HParams(), text, {"mel_bands": "ask extract"})
