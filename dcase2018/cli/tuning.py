"""The command that searches hyperparameters: tune."""

from pathlib import Path
from typing import Any

import click

from dcase2018.cli.clips import select_available
from dcase2018.cli.common import (
    INPUT,
    OUTPUT_FOLDER,
    Command,
    exit_if_skipped,
    group_options,
    keras_initializer,
    missing_option,
    print_line,
    seed_option,
)
from dcase2018.cli.settings import BaseSettings, preset_options
from dcase2018.cli.training import check_validation, dask_option, data_arguments, max_minutes_option


@click.command(
    cls=Command,
    epilog="Example:\n  dcase2018 tune train.h5 splits/train.csv studies/first --validation"
    " splits/validation.csv \\\n      --preset compact --epochs 20"
    ' --search-space "lr=1e-4:1e-2,mixup_alpha=0:0.5"',
)
@data_arguments
@click.argument("study", type=OUTPUT_FOLDER)
@click.option("--validation", type=INPUT, required=True, help="Compute MAP@3 on this label file.")
@group_options
@click.option(
    "--search-space",
    required=True,
    metavar="LIST",
    help="Ranges and choices: name=low:high or name=this|that, separated by commas.",
)
@click.option(
    "--trials", "n_trials", default=20, show_default=True, type=click.IntRange(1), help="Number of trials."
)
@preset_options
@max_minutes_option
@dask_option("trial")
@seed_option
@missing_option("no features in STORE")
@click.pass_context
def tune(
    ctx: click.Context,
    /,
    store: Path,
    labels_csv: Path,
    study: Path,
    validation: Path,
    group_column: str | None,
    group_pattern: str | None,
    search_space: str,
    n_trials: int,
    max_minutes: float | None,
    dask_address: str | None,
    seed: int,
    skip_missing: bool,
    preset: str | None,
    any_features: bool,
    **changes: Any,
) -> None:
    """Search hyperparameters by validation MAP@3; the folder STUDY gets one run per trial.

    Trials train on the clips of LABELS, whose features are in STORE. A trial below the median of the
    others is pruned. The same command resumes an interrupted study, and a higher --trials extends it.
    """
    from dcase2018.data.labels import class_names, read_labels
    from dcase2018.runs.training_state import StoppingCriteria
    from dcase2018.training.tuning import tune
    from dcase2018.utils.parallel import open_workers

    base = BaseSettings.find(preset)
    settings = base.apply_options(**changes)
    features = base.open_store(store, settings.model, any_features)
    labels = read_labels(labels_csv)
    validation_labels = read_labels(validation, class_names(labels))
    skipped: dict[str, str] = {}
    if skip_missing:
        labels = select_available(labels, features.rows, store, skipped)
        validation_labels = select_available(validation_labels, features.rows, store, skipped)
    check_validation(labels, validation_labels, features, group_column, group_pattern)
    criteria = StoppingCriteria(max_minutes=max_minutes)
    workers = open_workers(n_trials, keras_initializer(quiet=True), dask_address)
    score, best = tune(
        study, search_space, settings, features, labels, validation_labels, n_trials, criteria, seed, workers
    )
    print_line(f"{study}: best validation MAP@3 {score:.4f}, with")
    print_line(f"--hparams {best}")
    exit_if_skipped(ctx, skipped)
