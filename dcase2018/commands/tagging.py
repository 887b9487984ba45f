"""Commands on runs: training, evaluation, prediction."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dcase2018.errors import InputError
from dcase2018.hparams import MODEL_NAMES, PRESETS, HParams, Preset
from dcase2018.program import (
    FILE,
    FOLDER,
    FOLDER_TO_MAKE,
    INPUT,
    Command,
    hparams_help,
    keep_apart,
    seed_option,
    with_keras,
)
from dcase2018.recipe import Recipe
from dcase2018.settings import override

if TYPE_CHECKING:
    from dcase2018.prediction import Tagger
    from dcase2018.run import Member


def preset_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options of all commands that train."""
    for option in (
        click.option(
            "--epochs", type=click.IntRange(1), help="Times to see all examples.  [default: the preset's]"
        ),
        click.option("--hparams", default="", metavar="LIST", help="Changes to the preset; see below."),
        click.option("--model", type=click.Choice(MODEL_NAMES), help="Network.  [default: the preset's]"),
        click.option(
            "--preset",
            type=click.Choice(list(PRESETS)),
            default="baseline",
            show_default=True,
            help="Network, hyperparameters and epochs in one word.",
        ),
    ):
        command = option(command)
    return command


def _choose(preset: str, model: str | None, hparams: str, epochs: int | None) -> Preset:
    """Apply the options to the preset."""
    elsewhere = {
        field.name: f"it is fixed in the store; run dcase2018 extract --hparams {field.name}=..."
        for field in dataclasses.fields(Recipe)
    }
    chosen = PRESETS[preset]
    return Preset(
        model or chosen.model, override(chosen.hparams, hparams, elsewhere), epochs or chosen.epochs
    )


class Checkpoint(click.ParamType):
    """A step, or the word for the best epoch."""

    name = "STEP|best"

    def convert(
        self, value: Any, parameter: click.Parameter | None, context: click.Context | None
    ) -> int | str:
        return value if value == "best" else click.INT.convert(value, parameter, context)


def scoring_options(command: Callable[..., None]) -> Callable[..., None]:
    """Options of all commands that score clips."""
    for option in (
        click.option(
            "--mean",
            "score_mean",
            type=click.Choice(["arithmetic", "geometric"]),
            help="Mean over a clip's examples.  [default: the run's score_mean]",
        ),
        click.option(
            "--hop",
            "score_hop_seconds",
            type=click.FloatRange(0, 60, min_open=True),
            metavar="SECONDS",
            help="From one example to the next.  [default: the run's score_hop_seconds]",
        ),
        click.option(
            "--store",
            "more_stores",
            type=INPUT,
            multiple=True,
            help="Another store of the same clips, for runs of another recipe.",
        ),
        click.option(
            "--checkpoint",
            type=Checkpoint(),
            help="Use the networks of this step, or of the best epoch.  [default: the trained ones]",
        ),
    ):
        command = option(command)
    return command


def _load_taggers(
    ensemble: Sequence["Member"],
    fnames: Sequence[str],
    checkpoint: int | str | None,
    scoring: dict[str, object],
) -> list["Tagger"]:
    """Load the networks of an ensemble, if every member's store has all clips; `scoring` as given."""
    for member in ensemble:
        member.store.find(fnames)  # so that a missing clip is named before the wait for Keras
    given = {name: value for name, value in scoring.items() if value is not None}
    return with_keras("dcase2018.prediction").load_taggers(ensemble, checkpoint, **given)


@click.command(
    cls=Command,
    epilog="Example:\n  dcase2018 fit features/train.h5 data/train.csv runs/first --hparams batch_size=32\n\n"
    + hparams_help(HParams),
)
@click.argument("store", type=INPUT)
@click.argument("labels_csv", type=INPUT)
@click.argument("run", type=FOLDER_TO_MAKE)
@preset_options
@click.option("--validation", type=INPUT, help="Score the clips of this label file after each epoch.")
@click.option(
    "--init-from",
    "initial",
    type=FOLDER,
    metavar="RUN",
    help="Begin with the layers of another run that fit; the classes may be others.",
)
@click.option("--folds", type=click.IntRange(2), help="Train a network for each of so many folds.")
@click.option("--fold", type=click.IntRange(1), help="Of --folds, train this one alone.")
@click.option("--max-steps", type=click.IntRange(1), help="Stop after this many steps.")
@click.option("--max-minutes", type=click.FloatRange(0, min_open=True), help="Stop after so long.")
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
    "--checkpoint-steps",
    default=250,
    show_default=True,
    type=click.IntRange(1),
    help="Steps from one checkpoint to the next, beside those at epochs' ends; the last 30 are kept.",
)
@click.option("--scheduler", metavar="ADDRESS", help="Train the folds on this Dask cluster.")
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
    folds: int | None,
    fold: int | None,
    max_steps: int | None,
    max_minutes: float | None,
    patience: int | None,
    class_map_csv: Path | None,
    checkpoint_steps: int,
    scheduler: str | None,
    seed: int,
    force: bool,
) -> None:
    """Train a network and write the folder RUN.

    It learns the clips of LABELS_CSV, whose features are in STORE. `model.keras` is written at the end,
    checkpoints, history.csv and TensorBoard's events/ on the way. The same command goes on with a training
    that was stopped, to the same weights as if it had not been; one that has ended is left as it is.
    """
    _check_choice(validation, initial, folds, fold, patience, scheduler)
    from dcase2018.dataset import class_names, read_class_map, read_labels, write_table
    from dcase2018.experiment import Experiment
    from dcase2018.parallel import workers
    from dcase2018.run import Run
    from dcase2018.state import Limits
    from dcase2018.store import Store

    chosen = _choose(preset, model, hparams, epochs)
    classes = read_class_map(class_map_csv) if class_map_csv else None
    labels = read_labels(labels_csv, classes)
    held_out = read_labels(validation, classes or class_names(labels)) if validation else None
    limits = Limits(max_steps, max_minutes, patience)
    if folds:
        modules = with_keras("dcase2018.folds")
        planned = modules.plan_folds(run, folds, chosen, Store(store), labels, classes, seed)
        with workers(1, scheduler) as pool:
            modules.fit_folds(
                planned[fold - 1 : fold] if fold else planned, limits, checkpoint_steps, force, pool
            )
        if not fold:
            table = modules.out_of_fold(planned)
            write_table(run / "out_of_fold.csv", table)
            score = modules.verified_score(table)
            click.echo(f"{run}: {folds} folds, MAP@3 {score:.4f} on clips not learned from, verified ones")
        return
    model_file = Run.load(initial).model_file() if initial else None
    experiment = Experiment.plan(run, chosen, Store(store), labels, held_out, classes, seed, model_file)
    over = experiment.over(limits) if experiment.run.is_begun(force) else ""
    if over:
        os.utime(run / "model.keras")  # for make: it is up to date
        click.echo(f"{run}: nothing to do: {over}")
        return
    over = with_keras("dcase2018.training").fit(experiment, limits, checkpoint_steps, force)
    click.echo(f"{run}: trained {chosen.model}: {over}")


def _check_choice(
    validation: Path | None,
    initial: Path | None,
    folds: int | None,
    fold: int | None,
    patience: int | None,
    scheduler: str | None,
) -> None:
    """Refuse options that do not go together."""
    if folds and (validation or initial):
        raise InputError("--folds holds clips out by itself; leave --validation and --init-from away")
    if (fold or scheduler) and not folds:
        raise InputError(f"{'--fold' if fold else '--scheduler'} needs --folds")
    if fold and folds and fold > folds:
        raise InputError(f"--fold {fold} is not among the {folds} folds")
    if patience and not (validation or folds):
        raise InputError("--patience waits for a better validation score; give --validation too")


@click.command(
    cls=Command,
    epilog="Example:\n  dcase2018 tune train.h5 splits/train.csv studies/first --validation"
    ' splits/validation.csv \\\n      --preset compact --epochs 20 --search "lr=1e-4:1e-2,mixup=0:0.5"',
)
@click.argument("store", type=INPUT)
@click.argument("labels_csv", type=INPUT)
@click.argument("study", type=FOLDER_TO_MAKE)
@click.option("--validation", type=INPUT, required=True, help="Score the clips of this label file.")
@click.option(
    "--search",
    required=True,
    metavar="LIST",
    help="What to search: name=low:high or name=this|that, parted by commas.",
)
@click.option("--trials", default=20, show_default=True, type=click.IntRange(1), help="Trainings in all.")
@preset_options
@click.option("--max-minutes", type=click.FloatRange(0, min_open=True), help="Stop a training after so long.")
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
    seed: int,
) -> None:
    """Search hyperparameters by validation MAP@3, and keep all trainings in the folder STUDY.

    The trainings learn the clips of LABELS_CSV, whose features are in STORE; one that does worse than
    most is broken off. The same command goes on with a study that was stopped; more --trials add to it.
    """
    chosen = _choose(preset, model, hparams, epochs)
    from dcase2018.dataset import class_names, read_labels
    from dcase2018.experiment import Experiment
    from dcase2018.state import Limits
    from dcase2018.store import Store

    labels = read_labels(labels_csv)
    held_out = read_labels(validation, class_names(labels))
    opened = Store(store)

    def plan(run: Path, settings: HParams) -> Experiment:
        trial = dataclasses.replace(chosen, hparams=settings)
        return Experiment.plan(run, trial, opened, labels, held_out, seed=seed)

    plan(study / "trial", chosen.hparams)  # what is wrong with the data is said before the wait for Keras
    try:
        tuning = with_keras("dcase2018.tuning")
    except ImportError:
        raise InputError("tune needs Optuna; pip install 'dcase2018[tune]'") from None
    space = tuning.parse_search(search)
    limits = Limits(max_minutes=max_minutes)
    score, best = tuning.tune(study, space, chosen.hparams, plan, trials, limits, seed)
    click.echo(f"{study}: best validation MAP@3 {score:.4f} with --hparams {best}")


@click.command(
    cls=Command,
    epilog="Example:\n  dcase2018 evaluate features/test.h5 data/test_post_competition.csv runs/first",
)
@click.argument("store", type=INPUT)
@click.argument("labels_csv", type=INPUT)
@click.argument("runs", type=FOLDER, nargs=-1, required=True)
@click.option("--output", type=FILE, help="Write the table to this .csv or .json too.")
@scoring_options
def evaluate(
    store: Path,
    labels_csv: Path,
    runs: tuple[Path, ...],
    output: Path | None,
    checkpoint: int | str | None,
    more_stores: tuple[Path, ...],
    **scoring: object,
) -> None:
    """Print MAP@3 of RUNS by class and overall.

    The clips are those of LABELS_CSV, their features in STORE. Several runs are scored as one ensemble,
    by the mean of their scores. Rows whose usage is Ignored do not count; Public and Private ones are
    also scored apart.
    """
    if output and output.suffix not in (".csv", ".json"):
        raise InputError(f"--output {output} must end in .csv or .json")
    keep_apart(output, labels_csv, store, *more_stores)
    from dcase2018.dataset import read_labels
    from dcase2018.run import open_ensemble
    from dcase2018.store import Store

    ensemble = open_ensemble(runs, [Store(path) for path in (store, *more_stores)], checkpoint)
    labels = read_labels(labels_csv, ensemble[0].run.classes)
    taggers = _load_taggers(ensemble, labels["fname"], checkpoint, scoring)
    from dcase2018.evaluation import evaluate, render, write_evaluation

    table = evaluate(labels, taggers)
    click.echo(render(table))
    if output:
        write_evaluation(output, table)


@click.command(cls=Command, epilog="Example:\n  dcase2018 predict features/test.h5 submission.csv runs/first")
@click.argument("store", type=INPUT)
@click.argument("submission_csv", type=FILE)
@click.argument("runs", type=FOLDER, nargs=-1, required=True)
@click.option("--sample", type=INPUT, help="Answer for the clips of this CSV, in its order.")
@click.option("--scores", "scores_csv", type=FILE, help="Write all scores here, a column a class.")
@scoring_options
def predict(
    store: Path,
    submission_csv: Path,
    runs: tuple[Path, ...],
    sample: Path | None,
    scores_csv: Path | None,
    checkpoint: int | str | None,
    more_stores: tuple[Path, ...],
    **scoring: object,
) -> None:
    """Write a Kaggle submission by RUNS.

    SUBMISSION_CSV gets the top three classes of every clip in STORE, by the mean of the runs' scores. The
    rows are in order of name. A clip without samples gets the classes most frequent in training.
    """
    keep_apart(submission_csv, sample, store, *more_stores)
    keep_apart(scores_csv, sample, store, *more_stores, submission_csv)
    from dcase2018.dataset import read_names
    from dcase2018.run import open_ensemble
    from dcase2018.store import Store

    stores = [Store(path) for path in (store, *more_stores)]
    ensemble = open_ensemble(runs, stores, checkpoint)
    fnames = read_names(sample) if sample else sorted(stores[0].fnames)
    taggers = _load_taggers(ensemble, fnames, checkpoint, scoring)
    from dcase2018.prediction import predict
    from dcase2018.submission import write_scores, write_submission

    scores = predict(taggers, fnames)
    classes = taggers[0].run.classes
    write_submission(submission_csv, fnames, scores, classes)
    if scores_csv:
        write_scores(scores_csv, fnames, scores, classes)
    click.echo(f"{submission_csv}: {len(fnames)} clips")


@click.command(cls=Command, epilog="Example:\n  dcase2018 plot runs/first")
@click.argument("run", type=FOLDER)
def plot(run: Path) -> None:
    """Draw the history of RUN as history.png in it: loss, validation MAP@3 and learning rate by epoch."""
    from dcase2018.plot import plot_history
    from dcase2018.run import Run

    click.echo(plot_history(Run.load(run)))


@click.command(
    cls=Command,
    epilog="Example:\n"
    "  dcase2018 fit train.h5 train.csv runs/folds --folds 5\n"
    "  dcase2018 relabel train.csv runs/folds/out_of_fold.csv relabelled.csv",
)
@click.argument("labels_csv", type=INPUT)
@click.argument("scores_csv", type=INPUT)
@click.argument("new_labels_csv", type=FILE)
@click.option(
    "--confidence",
    default=0.7,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Score from which on the networks are believed.",
)
def relabel(labels_csv: Path, scores_csv: Path, new_labels_csv: Path, confidence: float) -> None:
    """Propose corrected labels for the unverified clips of LABELS_CSV.

    SCORES_CSV has the scores of networks that have not learned the clips that they score, as fit --folds
    writes them. NEW_LABELS_CSV gets all clips, some with another label; NEW_LABELS_CSV with the suffix
    .changes.csv lists those, with the scores of both labels. LABELS_CSV stays as it is.
    """
    changes_csv = new_labels_csv.with_suffix(".changes.csv")
    keep_apart(new_labels_csv, labels_csv, scores_csv)
    keep_apart(changes_csv, labels_csv, scores_csv)
    from dcase2018.dataset import read_labels, write_table
    from dcase2018.relabelling import read_scores, relabel

    proposal = relabel(read_labels(labels_csv), read_scores(scores_csv), confidence)
    write_table(new_labels_csv, proposal.labels)
    write_table(changes_csv, proposal.changes)
    click.echo(f"{new_labels_csv}: {len(proposal.changes)} of {len(proposal.labels)} labels are changed")
