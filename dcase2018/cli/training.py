"""The command that trains: fit."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dcase2018.cli.clips import select_available
from dcase2018.cli.common import (
    EXISTING,
    INPUT,
    OUTPUT_FOLDER,
    Checkpoint,
    Command,
    FiniteFloat,
    combine_options,
    exit_if_skipped,
    group_options,
    hparams_help,
    is_given,
    keras_initializer,
    missing_option,
    print_line,
    seed_option,
)
from dcase2018.cli.keras_setup import load_keras
from dcase2018.cli.settings import BaseSettings, log_repeated_run, preset_options
from dcase2018.models.hparams import HParams, Preset
from dcase2018.utils.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from dcase2018.features.store import Store
    from dcase2018.runs.training_state import StoppingCriteria
    from dcase2018.training.cross_validation import Fold
    from dcase2018.training.experiment import Experiment

data_arguments = combine_options(
    click.argument("store", type=INPUT), click.argument("labels_csv", metavar="LABELS", type=INPUT)
)
initial_options = combine_options(
    click.option(
        "--pretrained",
        type=EXISTING,
        metavar="RUN|YAMNET.H5",
        help="Initialize the layers that fit from another run, or from the YAMNet weights.",
    ),
    click.option(
        "--pretrained-checkpoint",
        type=Checkpoint(),
        help="Checkpoint of that run: a step, or the best epoch.  [default: the final model]",
    ),
)
fold_options = combine_options(
    click.option("--folds", type=click.IntRange(2, 100), help="Train on this number of stratified folds."),
    click.option("--fold-column", metavar="COLUMN", help="Train on the folds of this column of LABELS."),
    click.option("--fold", type=click.IntRange(1), help="Train this fold only."),
)
max_minutes_option = click.option(
    "--max-minutes", type=FiniteFloat(0, min_open=True), help="Stop training after this time."
)
stopping_options = combine_options(
    click.option("--max-steps", type=click.IntRange(1), help="Stop training after this number of steps."),
    max_minutes_option,
    click.option(
        "--patience",
        type=click.IntRange(1),
        metavar="EPOCHS",
        help="Stop after this many epochs without a higher validation MAP@3; keep the best model.",
    ),
)
runtime_options = combine_options(
    click.option(
        "--save-every",
        default=250,
        show_default=True,
        type=click.IntRange(1),
        help="Steps between checkpoints, besides those at the end of epochs.",
    ),
    click.option(
        "--keep-checkpoints",
        type=click.IntRange(1),
        metavar="N",
        help="Keep the last N checkpoints.  [default: 30 and one per 15 minutes; the last"
        " one when training is finished]",
    ),
    click.option(
        "-j",
        "--jobs",
        type=click.IntRange(1, 64),
        help="Threads that prepare batches; the result does not depend on it."
        "  [default: 1; with a GPU or TPU half of the cores, up to 8]",
    ),
)


def dask_option(unit: str) -> Any:
    """Return the option `--dask` of a command that trains one `unit` per worker."""
    meaning = f"Train on this Dask cluster, one {unit} per worker."
    return click.option("--dask", "dask_address", metavar="ADDRESS", help=meaning)


@dataclasses.dataclass(frozen=True)
class FitOptions:
    """Options of `dcase2018 fit`."""

    preset: str | None
    config: Path | None
    model: str | None
    hparams: str
    epochs: int | None
    any_features: bool
    validation: Path | None
    pretrained: Path | None
    pretrained_checkpoint: int | str | None
    folds: int | None
    fold_column: str | None
    fold: int | None
    group_column: str | None
    group_pattern: str | None
    max_steps: int | None
    max_minutes: float | None
    patience: int | None
    class_map: Path | None
    background: tuple[str, ...]
    save_every: int
    keep_checkpoints: int | None
    jobs: int | None
    dask_address: str | None
    seed: int
    skip_missing: bool
    overwrite: bool

    @property
    def in_folds(self) -> bool:
        return bool(self.folds or self.fold_column)

    def criteria(self) -> "StoppingCriteria":
        from dcase2018.runs.training_state import StoppingCriteria

        return StoppingCriteria(self.max_steps, self.max_minutes, self.patience)

    def classes(self) -> Sequence[str] | None:
        from dcase2018.data.labels import read_class_map

        return read_class_map(self.class_map) if self.class_map else None

    def validate(self) -> None:
        """Raise if options contradict each other."""
        if self.pretrained_checkpoint is not None and not self.pretrained:
            raise InputError("--pretrained-checkpoint requires --pretrained RUN")
        if self.folds and self.fold_column:
            raise InputError("--folds and --fold-column exclude each other")
        if self.in_folds and (self.validation or self.pretrained):
            raise InputError("--folds and --fold-column do not allow --validation or --pretrained")
        if self.fold and not self.in_folds:
            raise InputError("--fold requires --folds or --fold-column")
        if self.dask_address and not self.in_folds:
            raise InputError("--dask requires --folds or --fold-column")
        if (self.group_column or self.group_pattern) and not (self.validation or self.in_folds):
            raise InputError("--groups and --groups-from require --folds, --fold-column or --validation")
        if self.patience and not (self.validation or self.in_folds):
            raise InputError("--patience requires --validation, --folds or --fold-column")


@click.command(
    cls=Command,
    epilog="Example:\n  dcase2018 fit features/train.h5 data/train.csv runs/first --hparams lr=1e-3\n\n"
    + hparams_help(HParams),
)
@data_arguments
@click.argument("run", type=OUTPUT_FOLDER)
@preset_options
@click.option(
    "--config",
    type=EXISTING,
    metavar="RUN/run.json",
    help="Repeat the settings of this run; other options change them.",
)
@click.option("--validation", type=INPUT, help="Compute MAP@3 on this label file after each epoch.")
@initial_options
@fold_options
@group_options
@stopping_options
@click.option("--class-map", type=INPUT, help="Class order.  [default: the sorted classes of LABELS]")
@click.option(
    "--background",
    metavar="CLASS",
    multiple=True,
    help="Train this class, but never report it as a tag or an event; repeatable.",
)
@runtime_options
@dask_option("fold")
@seed_option
@missing_option("no features in STORE")
@click.option("--overwrite", is_flag=True, help="Remove another run in RUN.")
@click.pass_context
def fit(ctx: click.Context, /, store: Path, labels_csv: Path, run: Path, **values: Any) -> None:
    """Train a model on the clips of LABELS, whose features are in STORE.

    The folder RUN gets model.keras at the end, and checkpoints, history.csv and TensorBoard events/ during
    training. The same command resumes interrupted training with identical results, and leaves a finished run
    as it is.

    With --folds or --fold-column, RUN gets one run per fold and out_of_fold.csv. The scores of each fold, and
    their mean and standard deviation, are printed at the end.

    --config repeats model, hyperparameters, epochs and seed. STORE, LABELS, --validation, --pretrained
    and options that stop training are given again; what differs from the earlier run is logged.
    """
    options = FitOptions(**values)
    options.validate()
    base = BaseSettings.find(options.preset, options.config)
    if base.run and not is_given(ctx, "seed"):
        options = dataclasses.replace(options, seed=base.run.seed)
    preset = base.apply_options(options.model, options.hparams, options.epochs)
    from dcase2018.data.labels import read_labels

    features = base.open_store(store, preset.model, options.any_features)
    classes = options.classes()
    skipped: dict[str, str] = {}
    labels = read_labels(labels_csv, classes, allow_duplicates=not options.in_folds)
    if options.skip_missing:
        labels = select_available(labels, features.rows, store, skipped)
    classes = classes or base.classes_of(labels)
    if options.in_folds:
        print_line(_fit_folds(_plan_folds(features, labels, classes, run, preset, options), run, options))
    else:
        experiment = _create_experiment(features, labels, classes, run, preset, options, skipped)
        if base.run:
            log_repeated_run(experiment.run, base.run)
        print_line(_fit_run(experiment, options))
    exit_if_skipped(ctx, skipped)


def _fit_run(experiment: "Experiment", options: FitOptions) -> str:
    """Train one run, and return a summary."""
    run, criteria = experiment.run.path, options.criteria()
    reason = experiment.stop_reason(criteria, options.overwrite)
    if reason:
        os.utime(run / "model.keras")  # make compares modification times
        return f"{run}: nothing to do: {reason}"
    load_keras()
    from dcase2018.training.fit import fit

    reason = fit(
        experiment, criteria, options.save_every, options.overwrite,
        jobs=options.jobs, keep_checkpoints=options.keep_checkpoints,
    )  # fmt: skip
    return f"{run}: trained {experiment.run.model}: {reason}"


def _create_experiment(
    store: "Store",
    labels: "pd.DataFrame",
    classes: Sequence[str] | None,
    run: Path,
    preset: Preset,
    options: FitOptions,
    skipped: dict[str, str],
) -> "Experiment":
    from dcase2018.data.labels import class_names, read_labels
    from dcase2018.training.experiment import Experiment, InitialWeights

    path = options.validation
    validation = read_labels(path, classes or class_names(labels)) if path else None
    if validation is not None and options.skip_missing:
        validation = select_available(validation, store.rows, store.path, skipped)
    if validation is not None:
        check_validation(labels, validation, store, options.group_column, options.group_pattern)
    pretrained = options.pretrained
    initial = InitialWeights.find(pretrained, options.pretrained_checkpoint) if pretrained else None
    return Experiment.create(
        run, preset, store, labels, validation, classes, options.seed, initial, options.background
    )


def check_validation(
    labels: "pd.DataFrame",
    validation: "pd.DataFrame",
    store: "Store",
    group_column: str | None,
    group_pattern: str | None,
) -> None:
    """Report clips that share their sound in training and validation, and refuse shared groups."""
    from dcase2018.data.groups import read_groups
    from dcase2018.training.shared_clips import warn_of_shared_validation

    groups = [read_groups(table, group_column, group_pattern) for table in (labels, validation)]
    pair = None if groups[0] is None or groups[1] is None else (groups[0], groups[1])
    warn_of_shared_validation(labels, validation, store, pair)


def _plan_folds(
    store: "Store",
    labels: "pd.DataFrame",
    classes: Sequence[str] | None,
    run: Path,
    preset: Preset,
    options: FitOptions,
) -> "list[Fold]":
    from dcase2018.data.groups import read_groups
    from dcase2018.data.splits import folds_from_column
    from dcase2018.training.shared_clips import assign_folds, warn_of_shared_folds

    groups = read_groups(labels, options.group_column, options.group_pattern)
    if options.fold_column:
        fold_of_clip = folds_from_column(labels, options.fold_column)
        warn_of_shared_folds(labels, store, fold_of_clip, groups)
    else:
        fold_of_clip = assign_folds(labels, store, options.folds or 0, options.seed, groups)
    n_folds = fold_of_clip.max() + 1
    if options.fold and options.fold > n_folds:
        raise InputError(f"--fold {options.fold} does not exist; there are {n_folds} folds")
    from dcase2018.training.cross_validation import plan_folds

    return plan_folds(run, fold_of_clip, preset, store, labels, classes, options.seed, options.background)


def _fit_folds(folds: "Sequence[Fold]", run: Path, options: FitOptions) -> str:
    """Train all folds, or the one of `--fold`, and return a summary."""
    from dcase2018.evaluation.out_of_fold import format_folds
    from dcase2018.training.cross_validation import fit_folds, remove_stale_folds, save_out_of_fold
    from dcase2018.utils.parallel import open_workers

    remove_stale_folds(run, folds, options.overwrite)
    selected = folds[options.fold - 1 : options.fold] if options.fold else folds
    with open_workers(len(selected), keras_initializer(), options.dask_address) as workers:
        fit_folds(
            selected, options.criteria(), options.save_every, options.overwrite, options.jobs,
            workers, options.keep_checkpoints,
        )  # fmt: skip
        if options.fold:
            return f"{run}: trained fold {options.fold} of {len(folds)}"
        return f"{run}: {len(folds)} folds\n{format_folds(save_out_of_fold(run, folds, workers))}"
