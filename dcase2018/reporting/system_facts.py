"""The facts in the head of a report: corpus, model, preset, feature config and date."""

import dataclasses
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from dcase2018.features.config import FEATURE_CONFIGS, FeatureConfig
from dcase2018.models.hparams import PRESETS, Preset
from dcase2018.runs.run import Run

MAX_NAMED_SETTINGS = 3  # changed settings of a preset that are named; more are counted


def system_facts(runs: Iterable[Run]) -> dict[str, str]:
    """Describe the runs of a system: `model`, `preset` and `feature_config`, each value once."""
    runs = list(runs)
    columns = {
        "model": [run.model for run in runs],
        "preset": [preset_name(run) for run in runs],
        "feature_config": [feature_config_name(run.feature_config) for run in runs],
    }
    return {name: "; ".join(dict.fromkeys(values)) for name, values in columns.items()}


def preset_name(run: Run) -> str:
    """Name the preset that a run was trained with, and the settings that differ from it.

    A run does not store its preset. This is the first preset of its model with the fewest differences.
    """
    candidates = {name: preset for name, preset in PRESETS.items() if preset.model == run.model}
    if not candidates:
        return "none"
    differences = {name: _differences(run, preset) for name, preset in candidates.items()}
    name = min(differences, key=lambda name: len(differences[name]))
    changed = [f"{setting}={value}" for setting, value in differences[name].items()]
    if not changed:
        return name
    if len(changed) > MAX_NAMED_SETTINGS:
        return f"{name}, with {len(changed)} other settings"
    return f"{name}, with {', '.join(changed)}"


def _differences(run: Run, preset: Preset) -> Mapping[str, Any]:
    """Settings of a run that differ from a preset, by name."""
    values = dataclasses.asdict(run.hparams) | {"epochs": run.epochs}
    expected = dataclasses.asdict(preset.hparams) | {"epochs": preset.epochs}
    return {name: value for name, value in values.items() if value != expected[name]}


def feature_config_name(feature_config: FeatureConfig) -> str:
    """Name a feature config; one that is not in `FEATURE_CONFIGS` is `custom`."""
    names = [name for name, config in FEATURE_CONFIGS.items() if config == feature_config]
    return names[0] if names else "custom"


def report_date() -> str:
    """Return the current date in UTC, as in 2018-11-20."""
    return datetime.now(UTC).date().isoformat()
