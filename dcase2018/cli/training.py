"""Commands that train: fit and tune."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

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
    keras_initializer,
    missing_option,
    print_line,
    seed_option,
    select_available,
)
from dcase2018.cli.keras_setup import load_keras
from dcase2018.features.config import FeatureConfig
from dcase2018.models.hparams import MAX_EPOCHS, MODEL_NAMES, PRESETS, HParams, Preset
from dcase2018.utils.config import apply_overrides
from dcase2018.utils.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from dcase2018.features.store import Store
    from dcase2018.runs.training_state import StoppingCriteria
    from dcase2018.training.cross_validation import Fold
    from dcase2018.training.experiment import Experiment

data_arguments = combine_options(
    click.argument("store", type=INPUT), click.argument("labels_csv", type=INPUT)
)
preset_options = combine_options(
    click.option(
        "--preset",
        type=click.Choice(list(PRESETS)),
        default="baseline",
        show_default=True,
        help="Architecture, hyperparameters and epochs.",
    ),
    click.option("--model", type=click.Choice(MODEL_NAMES), help="Architecture.  [default: the preset's]"),
    click.option("--hparams", default="", metavar="LIST", help="Changes to the preset; see below."),
    click.option(
        "--epochs", type=click.IntRange(1, MAX_EPOCHS), help="Number of epochs.  [default: the preset's]"
    ),
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
    click.option("--fold-column", metavar="COLUMN", help="Train on the folds of this column of LABELS_CSV."),
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
        help="Keep the last N checkpoints.  [default: 30, and the last one when training is finished]",
    ),
    click.option(
        "-j",
        "--jobs",
        default=1,
        show_default=True,
        type=click.IntRange(1, 64),
        help="Threads that prepare batches; the result does not depend on it.",
    ),
)


def dask_option(unit: str) -> Any:
    """Return the option `--dask` of a command that trains one `unit` per worker."""
    meaning = f"Train on this Dask cluster, one {unit} per worker."
    return click.option("--dask", "dask_address", metavar="ADDRESS", help=meaning)


def _apply_options(preset: str, model: str | None, hparams: str, epochs: int | None) -> Preset:
    """Apply the options to a preset."""
    misplaced = {
        field.name: f"it is fixed in the store; run dcase2018 extract --hparams {field.name}=..."
        for field in dataclasses.fields(FeatureConfig)
    }
    base = PRESETS[preset]
    return dataclasses.replace(
        base,
        model=model or base.model,
        hparams=apply_overrides(base.hparams, hparams, misplaced),
        epochs=epochs or base.epochs,
    )


@dataclasses.dataclass(frozen=True)
class FitOptions:
    """Options of `dcase2018 fit`."""

    preset: str
    model: str | None
    hparams: str
    epochs: int | None
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
    jobs: int
    dask_address: str | None
    seed: int
    skip_missing: bool
    overwrite: bool

    @property
    def in_folds(self) -> bool:
        return bool(self.folds or self.fold_column)

    def apply_to_preset(self) -> Preset:
        return _apply_options(self.preset, self.model, self.hparams, self.epochs)

    def criteria(self) -> "StoppingCriteria":
        from dcase2018.runs.training_state import StoppingCriteria

        return StoppingCriteria(self.max_steps, self.max_minutes, self.patience)

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
            raise InputError("--patience requires --validation")


@click.command(
    cls=Command,
    epilog="Example:\n  dcase2018 fit features/train.h5 data/train.csv runs/first --hparams batch_size=32\n\n"
    + hparams_help(HParams),
)
@data_arguments
@click.argument("run", type=OUTPUT_FOLDER)
@preset_options
@click.option("--validation", type=INPUT, help="Compute MAP@3 on this label file after each epoch.")
@initial_options
@fold_options
@group_options
@stopping_options
@click.option("--class-map", type=INPUT, help="Class order.  [default: the sorted classes of LABELS_CSV]")
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
    """Train a model on the clips of LABELS_CSV, whose features are in STORE.

    The folder RUN gets model.keras at the end, and checkpoints, history.csv and TensorBoard events/ during
    training. The same command resumes interrupted training with identical results, and leaves a finished run
    as it is.

    With --folds or --fold-column, RUN gets one run per fold and out_of_fold.csv. The scores of each fold, and
    their mean and standard deviation, are printed at the end.
    """
    options = FitOptions(**values)
    options.validate()
    preset = options.apply_to_preset()
    from dcase2018.data.labels import read_class_map, read_labels

    classes = read_class_map(options.class_map) if options.class_map else None
    skipped: dict[str, str] = {}
    labels = read_labels(labels_csv, classes, allow_duplicates=not options.in_folds)
    if options.skip_missing:
        from dcase2018.features.store import Store

        labels = select_available(labels, Store(store).rows, store, skipped)
    if options.in_folds:
        print_line(_fit_folds(_plan_folds(store, labels, classes, run, preset, options), run, options))
    else:
        experiment = _create_experiment(store, labels, classes, run, preset, options, skipped)
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
    store: Path,
    labels: "pd.DataFrame",
    classes: Sequence[str] | None,
    run: Path,
    preset: Preset,
    options: FitOptions,
    skipped: dict[str, str],
) -> "Experiment":
    from dcase2018.data.labels import class_names, read_labels
    from dcase2018.features.store import Store
    from dcase2018.training.experiment import Experiment, InitialWeights

    path = options.validation
    validation = read_labels(path, classes or class_names(labels)) if path else None
    features = Store(store)
    if validation is not None and options.skip_missing:
        validation = select_available(validation, features.rows, store, skipped)
    if validation is not None:
        _check_validation(labels, validation, features, options.group_column, options.group_pattern)
    pretrained = options.pretrained
    initial = InitialWeights.find(pretrained, options.pretrained_checkpoint) if pretrained else None
    return Experiment.create(
        run, preset, features, labels, validation, classes, options.seed, initial, options.background
    )


def _check_validation(
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
    store: Path,
    labels: "pd.DataFrame",
    classes: Sequence[str] | None,
    run: Path,
    preset: Preset,
    options: FitOptions,
) -> "list[Fold]":
    from dcase2018.data.groups import read_groups
    from dcase2018.data.splits import folds_from_column
    from dcase2018.features.store import Store
    from dcase2018.training.shared_clips import assign_folds, warn_of_shared_folds

    features = Store(store)
    groups = read_groups(labels, options.group_column, options.group_pattern)
    if options.fold_column:
        fold_of_clip = folds_from_column(labels, options.fold_column)
        warn_of_shared_folds(labels, features, fold_of_clip, groups)
    else:
        fold_of_clip = assign_folds(labels, features, options.folds or 0, options.seed, groups)
    n_folds = fold_of_clip.max() + 1
    if options.fold and options.fold > n_folds:
        raise InputError(f"--fold {options.fold} does not exist; there are {n_folds} folds")
    from dcase2018.training.cross_validation import plan_folds

    return plan_folds(run, fold_of_clip, preset, features, labels, classes, options.seed, options.background)


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
def tune(
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
    **preset_values: Any,
) -> None:
    """Search hyperparameters by validation MAP@3; the folder STUDY gets one run per trial.

    Trials train on the clips of LABELS_CSV, whose features are in STORE. A trial below the median of the
    others is pruned. The same command resumes an interrupted study, and a higher --trials extends it.
    """
    from dcase2018.data.labels import class_names, read_labels
    from dcase2018.features.store import Store
    from dcase2018.runs.training_state import StoppingCriteria
    from dcase2018.training.tuning import tune
    from dcase2018.utils.parallel import open_workers

    preset = _apply_options(**preset_values)
    labels = read_labels(labels_csv)
    validation_labels = read_labels(validation, class_names(labels))
    features = Store(store)
    _check_validation(labels, validation_labels, features, group_column, group_pattern)

    criteria = StoppingCriteria(max_minutes=max_minutes)
    workers = open_workers(n_trials, keras_initializer(quiet=True), dask_address)
    score, best = tune(
        study, search_space, preset, features, labels, validation_labels, n_trials, criteria, seed, workers
    )
    print_line(f"{study}: best validation MAP@3 {score:.4f} with --hparams {best}")
