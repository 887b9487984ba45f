"""The command that makes feature stores; it never loads Keras."""

import dataclasses
from pathlib import Path

import click

from dcase2018.cli.common import (
    EXIT_SKIPPED,
    FILE,
    FOLDER,
    INPUT,
    Command,
    hparams_help,
    jobs_option,
    print_line,
)
from dcase2018.features.config import FEATURE_CONFIGS, FeatureConfig
from dcase2018.models.hparams import HParams
from dcase2018.utils.config import apply_overrides


@click.command(
    cls=Command,
    epilog="Example:\n  dcase2018 extract data/audio_train features/train.h5 --hparams mel_bands=96\n\n"
    + hparams_help(FeatureConfig),
)
@click.argument("audio_dir", type=FOLDER)
@click.argument("store", type=FILE)
@click.option(
    "--features",
    "feature_config",
    type=click.Choice(list(FEATURE_CONFIGS)),
    default="baseline",
    show_default=True,
    help="What features to compute.",
)
@click.option("--hparams", default="", metavar="LIST", help="Changes to the feature_config; see below.")
@click.option(
    "--labels",
    type=INPUT,
    help="Extract the clips of this CSV, in its order.  [default: all, in order of name]",
)
@jobs_option("Number of processes")
@click.option("--strict", is_flag=True, help="Stop at the first clip that cannot be used.")
@click.option("--force", is_flag=True, help="Leave out clips that STORE holds and AUDIO_DIR does not.")
@click.option(
    "--dask", "dask_address", metavar="ADDRESS", help="Work on this Dask cluster, such as tcp://head:8786."
)
@click.pass_context
def extract(
    context: click.Context,
    audio_dir: Path,
    store: Path,
    feature_config: str,
    hparams: str,
    labels: Path | None,
    jobs: int | None,
    strict: bool,
    force: bool,
    dask_address: str | None,
) -> None:
    """Write the features of AUDIO_DIR to STORE.

    They are log mel frames of each clip, in one HDF5 file.

    A run that was stopped goes on where it was; clips that were added or changed since are computed
    anew. Clips that cannot be used are listed, and the exit code is then 3.
    """
    elsewhere = dict.fromkeys(
        (field.name for field in dataclasses.fields(HParams)),
        "it belongs to training; give it to dcase2018 fit",
    )
    full_recipe = apply_overrides(FEATURE_CONFIGS[feature_config], hparams, elsewhere)
    from dcase2018.features.extraction import extract

    names = None
    if labels:
        from dcase2018.data.labels import read_fnames

        names = read_fnames(labels)
    summary = extract(audio_dir, store, full_recipe, names, jobs or -1, strict, dask_address, force)
    print_line(f"{store}: {summary.clips} clips, {summary.computed} of them computed now")
    if summary.converted:
        print_line(f"mixed to mono or resampled: {summary.converted}")
    if summary.empty:
        print_line(f"without samples: {', '.join(summary.empty)}")
    for fname, reason in summary.set_aside.items():
        print_line(f"set aside: {fname}: {reason}")
    if summary.set_aside:
        context.exit(EXIT_SKIPPED)
