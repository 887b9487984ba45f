"""Commands that tell or show what is in a store or a run."""

import dataclasses
from pathlib import Path

import click

from dcase2018.cli.common import EXISTING, FOLDER, Command, print_line
from dcase2018.cli.keras_setup import load_keras
from dcase2018.utils.errors import InputError


@click.command(
    cls=Command, epilog="Example:\n  dcase2018 info features/train.h5\n  dcase2018 info runs/first"
)
@click.argument("store_or_run", type=EXISTING)
@click.option("--verify", is_flag=True, help="Read all of a store and compare its checksums.")
def info(store_or_run: Path, verify: bool) -> None:
    """Tell what is in STORE_OR_RUN: clips and feature_config, or network, size and progress."""
    if not store_or_run.is_dir():
        _tell_store(store_or_run, verify)
    elif verify:
        raise InputError(f"--verify reads the checksums of a store, and {store_or_run} is a folder")
    else:
        _tell_run(store_or_run)


def _tell_store(path: Path, verify: bool) -> None:
    from dcase2018.features.store import Store

    store = Store(path)
    seconds = store.lengths.sum() * store.feature_config.stft_hop_seconds
    print_line(f"{path}: written by {store.writer}, {path.stat().st_size / 1e6:.1f} MB")
    print_line(f"clips    {len(store)} with {store.lengths.sum()} frames ({seconds / 3600:.2f} h)")
    _tell_settings("feature_config", store.feature_config)
    for fname, problem in zip(store.fnames, store.errors, strict=True):
        if problem:
            print_line(f"problem  {fname}: {problem}")
    if verify:
        store.verify()
        print_line("verified all checksums hold")


def _tell_run(path: Path) -> None:
    from dcase2018.runs.run import Run

    run = Run.load(path)
    state = run.state()
    print_line(
        f"{path}: {run.model}, {len(state.history)} of {run.epochs} epochs,"
        f" {state.step} steps in {state.seconds:.0f} s"
    )
    if state.best:
        print_line(f"best     validation MAP@3 {state.best['map3']:.4f} in epoch {state.best['epoch']}")
    model = run.model_file(run.checkpoints[-1] if run.checkpoints else None)
    load_keras()
    from dcase2018.models.architectures import count_kernel_weights, count_macs

    network = run.load_checkpoint(model)
    hop = run.hparams.inference_hop_frames(run.feature_config) * run.feature_config.stft_hop_seconds
    products = count_macs(network)
    print_line(f"weights  {network.count_params():,}, of which {count_kernel_weights(network):,} multiply")
    print_line(
        f"work     {products / 1e6:.1f}M multiplies an example, {products / hop / 1e6:.1f}M a second of audio"
    )
    print_line(f"classes  {len(run.classes)} with {sum(run.class_counts)} labels of training clips")
    _tell_settings("hparams", run.hparams)
    _tell_settings("feature_config", run.feature_config)


def _tell_settings(title: str, settings: object) -> None:
    for name, value in dataclasses.asdict(settings).items():  # type: ignore[call-overload]
        print_line(f"{title:8} {name} = {value}")


@click.command(cls=Command, epilog="Example:\n  dcase2018 plot runs/first")
@click.argument("run", type=FOLDER)
def plot(run: Path) -> None:
    """Draw the history of RUN as history.png in it: loss, validation MAP@3 and learning rate by epoch."""
    from dcase2018.report.history_plot import plot_history
    from dcase2018.runs.run import Run

    print_line(str(plot_history(Run.load(run))))
