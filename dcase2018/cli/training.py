"""Commands that train."""

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dcase2018.cli.common import (
    EXISTING,
    INPUT,
    OUTPUT_FOLDER,
    Checkpoint,
    Command,
    FiniteFloat,
    combine_options,
    hparams_help,
    keras_initializer,
    print_line,
    seed_option,
)
from dcase2018.cli.keras_setup import load_keras
from dcase2018.features.config import FeatureConfig
from dcase2018.models.hparams import MAX_EPOCHS, MODEL_NAMES, PRESETS, HParams, Preset
from dcase2018.utils.config import apply_overrides
from dcase2018.utils.errors import InputError

if TYPE_CHECKING:
    from dcase2018.runs.training_state import StoppingCriteria
    from dcase2018.training.cross_validation import Fold


preset_options = combine_options(
    click.option(
        "--preset",
        type=click.Choice(list(PRESETS)),
        default="baseline",
        show_default=True,
        help="Network, hyperparameters and epochs in one word.",
    ),
    click.option("--model", type=click.Choice(MODEL_NAMES), help="Network.  [default: the preset's]"),
    click.option("--hparams", default="", metavar="LIST", help="Changes to the preset; see below."),
    click.option(
        "--epochs",
        type=click.IntRange(1, MAX_EPOCHS),
        help="Times to see all examples.  [default: the preset's]",
    ),
)


def _choose(preset: str, model: str | None, hparams: str, epochs: int | None) -> Preset:
    """Apply the options to the preset."""
    elsewhere = {
        field.name: f"it is fixed in the store; run dcase2018 extract --hparams {field.name}=..."
        for field in dataclasses.fields(FeatureConfig)
    }
    chosen = PRESETS[preset]
    return Preset(
        model or chosen.model, apply_overrides(chosen.hparams, hparams, elsewhere), epochs or chosen.epochs
    )


@click.command(
    cls=Command,
    epilog="Example:\n  dcase2018 fit features/train.h5 data/train.csv runs/first --hparams batch_size=32\n\n"
    + hparams_help(HParams),
)
@click.argument("store", type=INPUT)
@click.argument("labels_csv", type=INPUT)
@click.argument("run", type=OUTPUT_FOLDER)
@preset_options
@click.option("--validation", type=INPUT, help="Score the clips of this label file after each epoch.")
@click.option(
    "--pretrained",
    "initial",
    type=EXISTING,
    metavar="RUN|YAMNET.H5",
    help="Begin with the layers that fit of another run, or of YAMNet's weights; the classes may be others.",
)
@click.option(
    "--pretrained-checkpoint",
    type=Checkpoint(),
    help="Of that run, the network of this step, or of the best epoch.  [default: the trained one]",
)
@click.option("--folds", type=click.IntRange(2, 100), help="Train a network for each of so many folds.")
@click.option("--fold-column", metavar="COLUMN", help="Take the folds that this column of LABELS_CSV names.")
@click.option("--fold", type=click.IntRange(1), help="Of the folds, train this one alone.")
@click.option("--max-steps", type=click.IntRange(1), help="Stop after this many steps.")
@click.option("--max-minutes", type=FiniteFloat(0, min_open=True), help="Stop after so long.")
@click.option(
    "--patience",
    type=click.IntRange(1),
    metavar="EPOCHS",
    help="Stop when validation has not risen for so long, and keep the best epoch's network.",
)
@click.option(
    "--class-map",
    "class_map_csv",
    type=INPUT,
    help="Classes, in order.  [default: those of LABELS_CSV]",
)
@click.option(
    "--save-every",
    default=250,
    show_default=True,
    type=click.IntRange(1),
    help="Steps from one checkpoint to the next, beside those at epochs' ends; the last 30 are kept.",
)
@click.option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(1, 64),
    help="Threads that prepare batches; the network does not depend on their number.",
)
@click.option(
    "--dask", "dask_address", metavar="ADDRESS", help="Train the folds on this Dask cluster, a fold a worker."
)
@seed_option
@click.option("--force", is_flag=True, help="Remove another run that RUN holds.")
def fit(
    store: Path,
    labels_csv: Path,
    run: Path,
    preset: str,
    model: str | None,
    hparams: str,
    epochs: int | None,
    validation: Path | None,
    initial: Path | None,
    pretrained_checkpoint: int | str | None,
    folds: int | None,
    fold_column: str | None,
    fold: int | None,
    max_steps: int | None,
    max_minutes: float | None,
    patience: int | None,
    class_map_csv: Path | None,
    save_every: int,
    workers: int,
    dask_address: str | None,
    seed: int,
    force: bool,
) -> None:
    """Train a network and write the folder RUN.

    It learns the clips of LABELS_CSV, whose features are in STORE. `model.keras` is written at the end,
    checkpoints, history.csv and TensorBoard's events/ on the way. The same command goes on with a training
    that was stopped, to the same weights as if it had not been; one that has ended is left as it is.
    """
    in_folds = bool(folds or fold_column)
    _check_choice(
        validation, initial, pretrained_checkpoint, folds, fold_column, fold, patience, dask_address
    )
    from dcase2018.data.labels import class_names, read_class_map, read_labels
    from dcase2018.data.splits import folds_from_column, stratified_folds
    from dcase2018.features.store import Store
    from dcase2018.runs.training_state import StoppingCriteria
    from dcase2018.training.experiment import Experiment, InitialWeights

    chosen = _choose(preset, model, hparams, epochs)
    classes = read_class_map(class_map_csv) if class_map_csv else None
    labels = read_labels(labels_csv, classes, allow_duplicates=not in_folds)
    held_out = read_labels(validation, classes or class_names(labels)) if validation else None
    limits = StoppingCriteria(max_steps, max_minutes, patience)
    if in_folds:
        number = (
            folds_from_column(labels, fold_column)
            if fold_column
            else stratified_folds(labels, folds or 0, seed)
        )
        if fold and fold > number.max() + 1:
            raise InputError(f"--fold {fold} is not among the {number.max() + 1} folds")
        from dcase2018.training.cross_validation import plan_folds

        planned = plan_folds(run, number, chosen, Store(store), labels, classes, seed)
        print_line(_fit_folds(run, planned, fold, dask_address, limits, save_every, force, workers))
        return
    begin = InitialWeights.find(initial, pretrained_checkpoint) if initial else None
    experiment = Experiment.create(run, chosen, Store(store), labels, held_out, classes, seed, begin)
    over = experiment.stop_reason(limits, force)
    if over:
        os.utime(run / "model.keras")  # for make: it is up to date
        print_line(f"{run}: nothing to do: {over}")
        return
    load_keras()
    from dcase2018.training.fit import fit

    over = fit(experiment, limits, save_every, force, workers=workers)
    print_line(f"{run}: trained {chosen.model}: {over}")


def _fit_folds(
    path: Path,
    planned: Sequence["Fold"],
    only: int | None,
    dask_address: str | None,
    limits: "StoppingCriteria",
    save_every: int,
    force: bool,
    workers: int,
) -> str:
    """Train all planned folds, or `only` one; say how well they do."""
    from dcase2018.training.cross_validation import fit_folds, remove_stale_folds, save_out_of_fold
    from dcase2018.utils.parallel import make_executors

    remove_stale_folds(path, planned, force)
    chosen = planned[only - 1 : only] if only else planned
    with make_executors(len(chosen), keras_initializer(), dask_address) as executors:
        fit_folds(chosen, limits, save_every, force, workers, executors)
        if only:
            return f"{path}: trained fold {only} of {len(planned)}"
        score = save_out_of_fold(path, planned, executors)
    told = "no clip is verified" if score is None else f"out-of-fold MAP@3 of verified clips {score:.4f}"
    return f"{path}: {len(planned)} folds; {told}"


def _check_choice(
    validation: Path | None,
    initial: Path | None,
    pretrained_checkpoint: int | str | None,
    folds: int | None,
    fold_column: str | None,
    fold: int | None,
    patience: int | None,
    dask_address: str | None,
) -> None:
    """Refuse options that do not go together."""
    if pretrained_checkpoint is not None and not initial:
        raise InputError("--pretrained-checkpoint is one of the run that --pretrained names; give that too")
    if folds and fold_column:
        raise InputError(
            "--folds deals clips into folds, and --fold-column takes those of a column; give one"
        )
    if (folds or fold_column) and (validation or initial):
        raise InputError("folds hold clips out by themselves; leave --validation and --pretrained away")
    if (fold or dask_address) and not (folds or fold_column):
        raise InputError(f"{'--fold' if fold else '--dask'} needs --folds or --fold-column")
    if patience and not (validation or folds or fold_column):
        raise InputError("--patience waits for a better validation score; give --validation too")


@click.command(
    cls=Command,
    epilog="Example:\n  dcase2018 tune train.h5 splits/train.csv studies/first --validation"
    ' splits/validation.csv \\\n      --preset compact --epochs 20 --search-space "lr=1e-4:1e-2,mixup_alpha=0:0.5"',
)
@click.argument("store", type=INPUT)
@click.argument("labels_csv", type=INPUT)
@click.argument("study", type=OUTPUT_FOLDER)
@click.option("--validation", type=INPUT, required=True, help="Score the clips of this label file.")
@click.option(
    "--search-space",
    "search",
    required=True,
    metavar="LIST",
    help="What to search: name=low:high or name=this|that, parted by commas.",
)
@click.option("--trials", default=20, show_default=True, type=click.IntRange(1), help="Trainings in all.")
@preset_options
@click.option("--max-minutes", type=FiniteFloat(0, min_open=True), help="Stop a training after so long.")
@click.option(
    "--dask", "dask_address", metavar="ADDRESS", help="Train on this Dask cluster, a trial a worker."
)
@seed_option
def tune(
    store: Path,
    labels_csv: Path,
    study: Path,
    validation: Path,
    search: str,
    trials: int,
    preset: str,
    model: str | None,
    hparams: str,
    epochs: int | None,
    max_minutes: float | None,
    dask_address: str | None,
    seed: int,
) -> None:
    """Search hyperparameters by validation MAP@3, and keep all trainings in the folder STUDY.

    The trainings learn the clips of LABELS_CSV, whose features are in STORE; one that does worse than
    most is broken off. The same command goes on with a study that was stopped; more --trials add to it.
    """
    chosen = _choose(preset, model, hparams, epochs)
    from dcase2018.data.labels import class_names, read_labels
    from dcase2018.features.store import Store
    from dcase2018.runs.training_state import StoppingCriteria
    from dcase2018.training.experiment import Experiment
    from dcase2018.utils.parallel import make_executors

    labels = read_labels(labels_csv)
    held_out = read_labels(validation, class_names(labels))
    opened = Store(store)

    def plan(run: Path, settings: HParams) -> Experiment:
        trial = dataclasses.replace(chosen, hparams=settings)
        return Experiment.create(run, trial, opened, labels, held_out, seed=seed)

    plan(study / "trial", chosen.hparams)  # what is wrong with the data is said before the wait for Keras
    try:
        from dcase2018.training.tuning import parse_search, tune
    except ImportError:
        raise InputError("tune needs Optuna; pip install 'dcase2018[tune]'") from None
    space = parse_search(search)
    limits = StoppingCriteria(max_minutes=max_minutes)
    executors = make_executors(trials, keras_initializer(quiet=True), dask_address)
    score, best = tune(study, space, chosen.hparams, plan, trials, limits, seed, executors)
    print_line(f"{study}: best validation MAP@3 {score:.4f} with --hparams {best}")
