"""Commands on runs: training, evaluation, prediction."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dcase2018.errors import InputError
from dcase2018.hparams import PRESETS, HParams
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
@click.option(
    "--preset",
    type=click.Choice(list(PRESETS)),
    default="baseline",
    show_default=True,
    help="Network, hyperparameters and epochs in one word.",
)
@click.option("--model", type=click.Choice(["cnn", "mlp"]), help="Network.  [default: the preset's]")
@click.option("--hparams", default="", metavar="LIST", help="Changes to the preset; see below.")
@click.option("--epochs", type=click.IntRange(1), help="Times to see all examples.  [default: the preset's]")
@click.option("--validation", type=INPUT, help="Score the clips of this label file after each epoch.")
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
    max_steps: int | None,
    max_minutes: float | None,
    patience: int | None,
    class_map_csv: Path | None,
    checkpoint_steps: int,
    seed: int,
    force: bool,
) -> None:
    """Train a network and write the folder RUN.

    It learns the clips of LABELS_CSV, whose features are in STORE. `model.keras` is written at the end,
    checkpoints, history.csv and TensorBoard's events/ on the way. The same command goes on with a training
    that was stopped, to the same weights as if it had not been; one that has ended is left as it is.
    """
    if patience and not validation:
        raise InputError("--patience waits for a better validation score; give --validation too")
    from dcase2018.dataset import class_names, read_class_map, read_labels
    from dcase2018.experiment import Experiment
    from dcase2018.state import Limits
    from dcase2018.store import Store

    elsewhere = {
        field.name: f"it is fixed in the store; run dcase2018 extract --hparams {field.name}=..."
        for field in dataclasses.fields(Recipe)
    }
    chosen = PRESETS[preset]
    chosen = dataclasses.replace(
        chosen,
        model=model or chosen.model,
        hparams=override(chosen.hparams, hparams, elsewhere),
        epochs=epochs or chosen.epochs,
    )
    classes = read_class_map(class_map_csv) if class_map_csv else None
    labels = read_labels(labels_csv, classes)
    held_out = read_labels(validation, classes or class_names(labels)) if validation else None
    experiment = Experiment.plan(run, chosen, Store(store), labels, held_out, classes, seed)
    limits = Limits(max_steps, max_minutes, patience)
    over = experiment.over(limits) if experiment.run.is_begun(force) else ""
    if over:
        os.utime(run / "model.keras")  # for make: it is up to date
        click.echo(f"{run}: nothing to do: {over}")
        return
    over = with_keras("dcase2018.training").fit(experiment, limits, checkpoint_steps, force)
    click.echo(f"{run}: trained {chosen.model}: {over}")


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
