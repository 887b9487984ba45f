"""Settings of training: from a preset or an earlier run, changed by options, and checked against a store."""

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dcase2018.cli.common import Choice, combine_options
from dcase2018.features.config import FEATURE_CONFIGS, FeatureConfig, config_name
from dcase2018.models.hparams import MAX_EPOCHS, MODEL_NAMES, PRESETS, REQUIRED_FEATURE, Preset
from dcase2018.utils.config import apply_overrides, diff
from dcase2018.utils.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from dcase2018.features.store import Store
    from dcase2018.runs.run import Run

log = logging.getLogger("dcase2018")

DEFAULT_PRESET = "baseline"

preset_options = combine_options(
    click.option(
        "--preset",
        type=Choice(list(PRESETS)),
        help=f"Architecture, hyperparameters and epochs.  [default: {DEFAULT_PRESET}]",
    ),
    click.option("--model", type=Choice(MODEL_NAMES), help="Architecture.  [default: the preset's]"),
    click.option("--hparams", default="", metavar="LIST", help="Changes to the preset; see below."),
    click.option(
        "--epochs", type=click.IntRange(1, MAX_EPOCHS), help="Number of epochs.  [default: the preset's]"
    ),
    click.option("--any-features", is_flag=True, help="Accept features of another config than the preset's."),
)


@dataclass(frozen=True)
class BaseSettings:
    """Settings that options change.

    Attributes
    ----------
    name
        Origin of the settings, for messages: `preset compact`, or `the run runs/first`.
    preset
        Architecture, hyperparameters and epochs.
    feature_config
        Feature config that they are made for.
    run
        The run that is repeated, or None.
    """

    name: str
    preset: Preset
    feature_config: FeatureConfig
    run: "Run | None" = None

    @classmethod
    def find(cls, preset: str | None, config: Path | None = None) -> "BaseSettings":
        """Look up a preset, or read the settings of a run from its run.json.

        Raises
        ------
        InputError
            If both are given, or the file is not the run.json of a run.
        """
        if config is None:
            name = preset or DEFAULT_PRESET
            origin = f"preset {name}" if preset else f"preset {name}, the default,"
            return cls(origin, PRESETS[name], FEATURE_CONFIGS[PRESETS[name].features])
        if preset:
            raise InputError("--config and --preset exclude each other")
        from dcase2018.runs.run import Run

        if config.is_file() and config.name != "run.json":
            raise InputError(f"--config {config} is not the run.json of a run")
        run = Run.load(config.parent if config.is_file() else config)
        return cls(f"the run {run.path}", Preset(run.model, run.hparams, run.epochs), run.feature_config, run)

    def apply_options(self, model: str | None, hparams: str, epochs: int | None) -> Preset:
        """Return the settings with the changes of options."""
        misplaced = {
            field.name: f"it is fixed in the store; run dcase2018 extract --hparams {field.name}=..."
            for field in dataclasses.fields(FeatureConfig)
        }
        return dataclasses.replace(
            self.preset,
            model=model or self.preset.model,
            hparams=apply_overrides(self.preset.hparams, hparams, misplaced),
            epochs=epochs or self.preset.epochs,
        )

    def classes_of(self, labels: "pd.DataFrame") -> Sequence[str] | None:
        """Return the class order of the run that is repeated, if it has the classes of a label file."""
        from dcase2018.data.labels import class_names

        classes = self.run.classes if self.run else []
        return classes if set(classes) == set(class_names(labels)) else None

    def open_store(self, path: Path, model: str, any_features: bool) -> "Store":
        """Open a store, and check its features unless any are accepted."""
        from dcase2018.features.store import Store

        store = Store(path)
        if not any_features:
            self.check_features(store, model)
        return store

    def check_features(self, store: "Store", model: str) -> None:
        """Check that a store has the features that the settings are made for.

        A config that was changed by `extract --hparams` is deliberate: its differences are only logged.

        Raises
        ------
        InputError
            If the store has another config. The message has the lines that fix it.
        """
        required = REQUIRED_FEATURE.get(model, self.feature_config.feature)
        differences = diff(store.feature_config, self.feature_config)
        if not differences or required != self.feature_config.feature:
            return  # no store of the preset's features could be used with another --model
        actual = config_name(store.feature_config)
        if not self.run and not actual:
            log.warning("the features are not those of %s: %s", self.name, "; ".join(differences))
            return
        expected = config_name(self.feature_config)
        has = actual if actual and expected else "; ".join(differences)
        other = store.path.with_name(f"{store.path.stem}-{expected or 'new'}{store.path.suffix}")
        fitting = [f"--preset {name}" for name, preset in PRESETS.items() if preset.features == actual]
        raise InputError(
            f"{self.name} is made for {expected or 'other'} features, and {store.path} has {has}."
            " Either run\n"
            f"  dcase2018 extract AUDIO {other} {extract_options(self.feature_config)}\n"
            + (f"or choose settings for the features of {store.path}:\n" if fitting else "")
            + (f"  {' or '.join(fitting)}\n" if fitting else "")
            + "or train on them all the same:\n  --any-features"
        )


def log_repeated_run(run: "Run", repeated: "Run") -> None:
    """Log the command of the run that is repeated, and what differs from it."""
    command = repeated.provenance.get("command", "an unknown command")
    log.info("repeats the settings of %s, which was trained by:\n  %s", repeated.path, command)
    differences = run.differences(repeated)
    if differences:
        log.warning("what differs from %s: %s", repeated.path, "; ".join(differences))


def extract_options(config: FeatureConfig) -> str:
    """Return the options of `extract` that give a feature config, with as few changes as possible."""
    name, named = min(FEATURE_CONFIGS.items(), key=lambda item: len(diff(config, item[1])))
    changes = [
        f"{field.name}={getattr(config, field.name)}"
        for field in dataclasses.fields(config)
        if getattr(config, field.name) != getattr(named, field.name)
    ]
    return f"--features {name}" + (f" --hparams {','.join(changes)}" if changes else "")
