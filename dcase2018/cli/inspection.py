"""Commands that describe a store or a run."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dcase2018.cli.common import EXISTING, FOLDER, Choice, Command, print_line
from dcase2018.cli.keras_setup import load_keras
from dcase2018.features.config import FEATURE_CONFIGS
from dcase2018.models.hparams import PRESETS
from dcase2018.utils.errors import InputError

if TYPE_CHECKING:
    from dcase2018.runs.run import Run


@click.command(
    cls=Command,
    epilog="Examples:\n  dcase2018 info features/train.h5\n  dcase2018 info runs/first\n"
    "  dcase2018 info --preset compact",
)
@click.argument("store_or_run", type=EXISTING, required=False)
@click.option(
    "--preset",
    type=Choice(list(PRESETS)),
    help="Describe this preset, or compare the run with it.  [default: the preset nearest to the run]",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object.")
@click.option("--verify", is_flag=True, help="Read the whole store and compare its checksums.")
def info(store_or_run: Path | None, preset: str | None, as_json: bool, verify: bool) -> None:
    """Describe STORE_OR_RUN, or a preset.

    For a store: its clips and feature config. For a run: its model, number of weights, multiply-accumulates
    (MACs), progress and settings; those that differ from the preset are marked. For a preset: all its
    settings.
    """
    is_store = bool(store_or_run and not store_or_run.is_dir())
    if verify and not is_store:
        raise InputError(f"--verify checks a store, and {store_or_run or 'a preset'} is none; name a store")
    if preset and is_store:
        raise InputError(f"--preset is compared with a run, and {store_or_run} is a store; name a run")
    if not store_or_run and not preset:
        raise InputError("name a store or a run, or give --preset")
    values = _describe(store_or_run, preset)
    if verify and store_or_run:
        from dcase2018.features.store import Store

        Store(store_or_run).verify()
        values["verified"] = "all checksums match"
    print_line(json.dumps(values, indent=2) if as_json else "\n".join(format_description(values)))


def _describe(store_or_run: Path | None, preset: str | None) -> dict[str, Any]:
    if not store_or_run:
        return describe_preset(preset or "")
    return describe_run(store_or_run, preset) if store_or_run.is_dir() else describe_store(store_or_run)


def describe_store(path: Path) -> dict[str, Any]:
    """Return the content of a store, as JSON values."""
    from dcase2018.features.store import Store

    store = Store(path)
    clips = list(zip(store.fnames, store.errors, store.lengths.tolist(), strict=True))
    return {
        "store": str(path),
        "created_by": store.created_by,
        "bytes": path.stat().st_size,
        "n_clips": len(store),
        "n_frames": int(store.lengths.sum()),
        "seconds": float(store.lengths.sum() * store.feature_config.frame_hop_seconds),
        "feature_config": dataclasses.asdict(store.feature_config),
        "failed": {fname: error for fname, error, length in clips if error and not length},
        "warnings": {fname: error for fname, error, length in clips if error and length},
    }


def describe_preset(name: str) -> dict[str, Any]:
    """Return the settings of a preset, as JSON values."""
    preset = PRESETS[name]
    return {
        "preset": name,
        "model": preset.model,
        "epochs": preset.epochs,
        "features": preset.features,
        "corrects_labels": preset.corrects_labels,
        "hparams": dataclasses.asdict(preset.hparams),
        "feature_config": dataclasses.asdict(FEATURE_CONFIGS[preset.features]),
    }


def describe_run(path: Path, preset: str | None = None) -> dict[str, Any]:
    """Return size, progress and settings of a run, and what the preset has instead, as JSON values."""
    from dcase2018.reporting.system_facts import changed_settings, nearest_preset
    from dcase2018.runs.run import Run

    run = Run.load(path)
    state = run.state()
    preset = preset or nearest_preset(run)
    values = dataclasses.asdict(run) | {"run": str(path)}
    del values["path"]
    return values | {
        "n_epochs_done": len(state.history),
        "n_steps_done": state.step,
        "seconds": state.seconds,
        "best": state.best,
        **_size(run),
        "preset": preset,
        "preset_has": {name: other for name, (_, other) in changed_settings(run, PRESETS[preset]).items()},
    }


def _size(run: "Run") -> dict[str, float]:
    """Return the number of weights and of multiply-accumulates (MACs) of a run's model."""
    model_file = run.model_file(run.checkpoints[-1] if run.checkpoints else None)
    load_keras()
    from dcase2018.models.architectures import count_kernel_weights, count_macs

    model = run.load_checkpoint(model_file)
    hop_seconds = run.hparams.inference_hop_frames(run.feature_config) * run.feature_config.frame_hop_seconds
    macs = count_macs(model)
    return {
        "n_weights": model.count_params(),
        "n_kernel_weights": count_kernel_weights(model),
        "macs_per_example": macs,
        "macs_per_second": macs / hop_seconds,
    }


def format_description(values: dict[str, Any]) -> Iterator[str]:
    """Format a description for the terminal."""
    if "store" in values:
        yield from _store_lines(values)
    elif "run" in values:
        yield from _run_lines(values)
    else:
        correction = ", on corrected labels" * values["corrects_labels"]
        yield (
            f"preset {values['preset']}: {values['model']}, {values['epochs']} epochs"
            f" on {values['features']} features{correction}"
        )
    for title, name in (("hparams", "hparams"), ("features", "feature_config")):
        for field, value in values.get(name, {}).items():
            yield f"{title:8} {field} = {value}{_mark(values, field)}"
    yield from (f"failed   {fname}: {error}" for fname, error in values.get("failed", {}).items())
    yield from (f"warning  {fname}: {warning}" for fname, warning in values.get("warnings", {}).items())
    if "verified" in values:
        yield f"verified {values['verified']}"


def _store_lines(values: dict[str, Any]) -> Iterator[str]:
    yield f"{values['store']}: written by {values['created_by']}, {values['bytes'] / 1e6:.1f} MB"
    yield f"clips    {values['n_clips']} with {values['n_frames']} frames ({values['seconds'] / 3600:.2f} h)"


def _run_lines(values: dict[str, Any]) -> Iterator[str]:
    yield (
        f"{values['run']}: {values['model']}, {values['n_epochs_done']} of {values['epochs']} epochs,"
        f" {values['n_steps_done']} steps in {values['seconds']:.0f} s"
    )
    if values["best"]:
        yield f"best     validation MAP@3 {values['best']['map3']:.4f} in epoch {values['best']['epoch']}"
    yield f"weights  {values['n_weights']:,}, of which {values['n_kernel_weights']:,} in kernels"
    per_example, per_second = values["macs_per_example"] / 1e6, values["macs_per_second"] / 1e6
    yield f"MACs     {per_example:.1f}M per example, {per_second:.1f}M per second of audio"
    yield f"classes  {len(values['classes'])} with {sum(values['class_counts'])} labels of training clips"
    if values["background_classes"]:
        yield f"         not reported: {', '.join(values['background_classes'])}"
    n_changed = len(values["preset_has"])
    yield f"preset   {values['preset']}, with {n_changed or 'no'} other setting{'s' * (n_changed != 1)}"
    yield from (
        f"setting  {name} = {values[name]}{_mark(values, name)}"
        for name in ("model", "epochs")
        if name in values["preset_has"]
    )


def _mark(values: dict[str, Any], name: str) -> str:
    """Return the mark of a setting that differs from the preset."""
    other = values.get("preset_has", {})
    return f"  <- {values['preset']}: {other[name]}" if name in other else ""


@click.command(cls=Command, epilog="Example:\n  dcase2018 plot runs/first")
@click.argument("run", type=FOLDER)
def plot(run: Path) -> None:
    """Plot the history of RUN to history.png in it: loss, validation MAP@3 and learning rate by epoch."""
    from dcase2018.reporting.history_plot import plot_history
    from dcase2018.runs.run import Run

    print_line(str(plot_history(Run.load(run))))
