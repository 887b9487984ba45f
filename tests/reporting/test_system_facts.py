"""Names of presets and feature configs, from the settings of a run."""

from dataclasses import replace
from pathlib import Path

import pytest

from dcase2018.features.config import FEATURE_CONFIGS, FeatureConfig
from dcase2018.models.hparams import PRESETS
from dcase2018.reporting.system_facts import preset_name, system_facts
from dcase2018.runs.run import Run


def make_run(preset: str, epochs: int | None = None, **hparams: object) -> Run:
    settings = PRESETS[preset]
    return Run(
        Path("run"), settings.model, replace(settings.hparams, **hparams), FEATURE_CONFIGS[settings.features],
        ["a"], [1], [], epochs or settings.epochs, 0, "", "", "", {},
    )  # fmt: skip


@pytest.mark.parametrize("name", sorted(PRESETS.keys() - {"compact-clean"}))
def test_a_run_of_a_preset_has_its_name(name: str) -> None:
    assert preset_name(make_run(name)) == name


def test_changed_settings_are_named_or_counted() -> None:
    assert preset_name(make_run("large", 3, lr=0.5)) == "large, with epochs=3, lr=0.5"
    changed = make_run("large", 3, lr=0.5, dropout=0.1, mixup_alpha=0.0)
    assert preset_name(changed) == "large, with 4 other settings"
    other_features = replace(make_run("quick"), feature_config=FeatureConfig(mel_bands=80))
    assert preset_name(other_features) == "quick, with mel_bands=80"


def test_a_feature_config_without_a_name_is_custom() -> None:
    custom = replace(make_run("quick"), feature_config=FeatureConfig(sample_rate=22050))
    assert system_facts([make_run("large"), custom])["feature_config"] == "logmel96; custom"


def test_a_value_that_runs_share_is_listed_once() -> None:
    facts = system_facts([make_run("quick"), make_run("large"), make_run("quick")])
    assert facts == {"model": "mlp; vgg", "preset": "quick; large", "feature_config": "baseline; logmel96"}
