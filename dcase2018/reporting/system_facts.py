"""What describes a run in a few words: model, nearest preset and feature config; and the date."""

import dataclasses
from collections.abc import Iterable
from datetime import UTC, datetime

from dcase2018.features.config import FEATURE_CONFIGS, FeatureConfig, config_name
from dcase2018.models.hparams import PRESETS, HParams, Preset
from dcase2018.runs.run import Run

MAX_NAMED_SETTINGS = 3  # changed settings of a preset that are named; more are counted


def system_facts(runs: Iterable[Run]) -> dict[str, str]:
    """Describe the runs of a system: `model`, `preset` and `feature_config`, each value once."""
    runs = list(runs)
    columns = {
        "model": [run.model for run in runs],
        "preset": [preset_name(run) for run in runs],
        "feature_config": [config_name(run.feature_config) or "custom" for run in runs],
    }
    return {name: "; ".join(dict.fromkeys(values)) for name, values in columns.items()}


def preset_name(run: Run) -> str:
    """Name the preset nearest to a run, which does not store its preset, and the settings that differ."""
    name = nearest_preset(run)
    changed = changed_settings(run, PRESETS[name])
    if len(changed) > MAX_NAMED_SETTINGS:
        return f"{name}, with {len(changed)} other settings"
    settings = ", ".join(f"{setting}={value}" for setting, (value, _) in changed.items())
    return f"{name}, with {settings}" if settings else name


def nearest_preset(run: Run) -> str:
    """Return the preset with the fewest settings that differ from those of a run."""
    return min(PRESETS, key=lambda name: len(changed_settings(run, PRESETS[name])))


def changed_settings(run: Run, preset: Preset) -> dict[str, tuple[object, object]]:
    """Return the settings of a run that differ from a preset: the values of both, by name."""
    values = _settings(run.model, run.epochs, run.hparams, run.feature_config)
    others = _settings(preset.model, preset.epochs, preset.hparams, FEATURE_CONFIGS[preset.features])
    return {name: (value, others[name]) for name, value in values.items() if value != others[name]}


def _settings(model: str, epochs: int, *configs: HParams | FeatureConfig) -> dict[str, object]:
    values: dict[str, object] = {"model": model, "epochs": epochs}
    for config in configs:
        values |= dataclasses.asdict(config)
    return values


def report_date() -> str:
    """Return the current date in UTC, as in 2018-11-20."""
    return datetime.now(UTC).date().isoformat()
