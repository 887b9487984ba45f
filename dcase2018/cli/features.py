"""The command `extract`. It never imports Keras."""

import dataclasses
from pathlib import Path

import click

from dcase2018.cli.common import (
    EXIT_SKIPPED,
    FILE,
    FOLDER,
    INPUT,
    Choice,
    Command,
    exit_if_skipped,
    hparams_help,
    jobs_option,
    missing_option,
    print_line,
)
from dcase2018.features.config import FEATURE_CONFIGS, FeatureConfig
from dcase2018.models.hparams import HParams
from dcase2018.utils.config import apply_overrides
from dcase2018.utils.errors import InputError

MAX_WARNINGS = 10  # that are printed; all are in a file beside the store


@click.command(
    cls=Command,
    epilog="Example:\n  dcase2018 extract data/audio_train features/train.h5 --hparams mel_bands=96\n\n"
    + hparams_help(FeatureConfig),
)
@click.argument("audio_dir", metavar="AUDIO", type=FOLDER)
@click.argument("store", type=FILE)
@click.option(
    "--features",
    "features",
    type=Choice(list(FEATURE_CONFIGS)),
    default="baseline",
    show_default=True,
    help="Feature config to start from.",
)
@click.option("--hparams", default="", metavar="LIST", help="Changes to the feature config; see below.")
@click.option(
    "--labels",
    type=INPUT,
    help="Extract the clips of this CSV, in its order.  [default: all, in order of name]",
)
@missing_option("no file in AUDIO")
@jobs_option("Number of processes")
@click.option("--strict", is_flag=True, help="Stop at the first clip that cannot be read completely.")
@click.option("--prune", is_flag=True, help="Drop clips of STORE that AUDIO or --labels lacks.")
@click.option(
    "--dask", "dask_address", metavar="ADDRESS", help="Compute on this Dask cluster, such as tcp://head:8786."
)
@click.pass_context
def extract(
    ctx: click.Context,
    audio_dir: Path,
    store: Path,
    features: str,
    hparams: str,
    labels: Path | None,
    skip_missing: bool,
    jobs: int | None,
    strict: bool,
    prune: bool,
    dask_address: str | None,
) -> None:
    """Write the features of the clips in AUDIO to STORE.

    STORE is one HDF5 file with the frames of each clip.

    An interrupted run resumes when the same command is run again. On an existing STORE, only new and changed
    clips are computed. Clips that cannot be read are skipped, clips that end early are used up to there, and
    both are listed. The exit code is then 3.
    """
    if jobs and dask_address:
        raise InputError("--jobs and --dask exclude each other: the cluster has its own number of workers")
    misplaced = dict.fromkeys(
        (field.name for field in dataclasses.fields(HParams)),
        "it belongs to training; pass it to dcase2018 fit",
    )
    feature_config = apply_overrides(FEATURE_CONFIGS[features], hparams, misplaced)
    from dcase2018.data.audio_errors import is_incomplete
    from dcase2018.features.extraction import extract, warnings_csv

    names = None
    if labels:
        from dcase2018.data.labels import read_fnames

        names = read_fnames(labels)
    summary = extract(
        audio_dir, store, feature_config, names, jobs or -1, strict, dask_address, prune, skip_missing
    )
    print_line(f"{store}: {summary.clips} clips, {summary.computed} computed by this run")
    if summary.converted:
        print_line(f"mixed to mono or resampled: {summary.converted}")
    if summary.empty:
        print_line(f"without samples: {', '.join(summary.empty)}")
    if summary.silent:
        print_line(f"silent: {', '.join(summary.silent)}")
    for fname, warning in list(summary.warnings.items())[:MAX_WARNINGS]:
        print_line(f"warning: {fname}: {warning}")
    if len(summary.warnings) > MAX_WARNINGS:
        print_line(f"clips with warnings: {len(summary.warnings)}, listed in {warnings_csv(store)}")
    exit_if_skipped(ctx, summary.failed)
    if any(map(is_incomplete, summary.warnings.values())):
        ctx.exit(EXIT_SKIPPED)
