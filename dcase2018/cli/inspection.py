"""Commands that describe a store or a run."""

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dcase2018.cli.common import EXISTING, FOLDER, Command, print_line
from dcase2018.cli.keras_setup import load_keras
from dcase2018.utils.errors import InputError

if TYPE_CHECKING:
    from dcase2018.runs.run import Run


@click.command(
    cls=Command, epilog="Example:\n  dcase2018 info features/train.h5\n  dcase2018 info runs/first"
)
@click.argument("store_or_run", type=EXISTING)
@click.option("--verify", is_flag=True, help="Read the whole store and compare its checksums.")
def info(store_or_run: Path, verify: bool) -> None:
    """Describe STORE_OR_RUN.

    For a store: its clips and feature config. For a run: its model, size, work, progress and settings.
    """
    if not store_or_run.is_dir():
        _describe_store(store_or_run, verify)
    elif verify:
        raise InputError(f"--verify checks a store, and {store_or_run} is a folder; name a store")
    else:
        _describe_run(store_or_run)


def _describe_store(path: Path, verify: bool) -> None:
    from dcase2018.features.store import Store

    store = Store(path)
    n_frames = store.lengths.sum()
    hours = n_frames * store.feature_config.stft_hop_seconds / 3600
    print_line(f"{path}: written by {store.created_by}, {path.stat().st_size / 1e6:.1f} MB")
    print_line(f"clips    {len(store)} with {n_frames} frames ({hours:.2f} h)")
    _print_fields("features", store.feature_config)
    for fname, error, length in zip(store.fnames, store.errors, store.lengths, strict=True):
        if error:
            print_line(f"{'warning ' if length else 'failed  '} {fname}: {error}")
    if verify:
        store.verify()
        print_line("verified all checksums match")


def _describe_run(path: Path) -> None:
    from dcase2018.runs.run import Run

    run = Run.load(path)
    state = run.state()
    print_line(
        f"{path}: {run.model}, {len(state.history)} of {run.epochs} epochs,"
        f" {state.step} steps in {state.seconds:.0f} s"
    )
    if state.best:
        print_line(f"best     validation MAP@3 {state.best['map3']:.4f} in epoch {state.best['epoch']}")
    _print_size(run)
    print_line(f"classes  {len(run.classes)} with {sum(run.class_counts)} labels of training clips")
    if run.background_classes:
        print_line(f"         not reported: {', '.join(run.background_classes)}")
    _print_fields("hparams", run.hparams)
    _print_fields("features", run.feature_config)


def _print_size(run: "Run") -> None:
    """Print the number of weights and of multiply-accumulates (MACs) of a run's model."""
    model_file = run.model_file(run.checkpoints[-1] if run.checkpoints else None)
    load_keras()
    from dcase2018.models.architectures import count_kernel_weights, count_macs

    model = run.load_checkpoint(model_file)
    hop_seconds = run.hparams.inference_hop_frames(run.feature_config) * run.feature_config.stft_hop_seconds
    macs = count_macs(model)
    print_line(f"weights  {model.count_params():,}, of which {count_kernel_weights(model):,} in kernels")
    print_line(f"MACs     {macs / 1e6:.1f}M per example, {macs / hop_seconds / 1e6:.1f}M per second of audio")


def _print_fields(title: str, config: object) -> None:
    for name, value in dataclasses.asdict(config).items():  # type: ignore[call-overload]
        print_line(f"{title:8} {name} = {value}")


@click.command(cls=Command, epilog="Example:\n  dcase2018 plot runs/first")
@click.argument("run", type=FOLDER)
def plot(run: Path) -> None:
    """Plot the history of RUN to history.png in it: loss, validation MAP@3 and learning rate by epoch."""
    from dcase2018.reporting.history_plot import plot_history
    from dcase2018.runs.run import Run

    print_line(str(plot_history(Run.load(run))))
