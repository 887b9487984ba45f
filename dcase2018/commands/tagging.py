"""Commands on runs: training, evaluation, prediction."""

import dataclasses
from pathlib import Path

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

checkpoint_option = click.option(
    "--checkpoint", type=int, metavar="STEP", help="Use the networks of this step.  [default: the last]"
)


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
    help="Steps from one checkpoint to the next; the last 30 are kept.",
)
@seed_option
@click.option("--force", is_flag=True, help="Replace the run that RUN holds.")
def fit(
    store: Path,
    labels_csv: Path,
    run: Path,
    preset: str,
    model: str | None,
    hparams: str,
    epochs: int | None,
    validation: Path | None,
    class_map_csv: Path | None,
    checkpoint_steps: int,
    seed: int,
    force: bool,
) -> None:
    """Train a network and write the folder RUN.

    It learns the clips of LABELS_CSV, whose features are in STORE. `model.keras` is written at the end,
    the checkpoints, history.csv and TensorBoard's events/ on the way.
    """
    from dcase2018.dataset import class_names, read_class_map, read_labels
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
    _check_run_folder(run, force)
    classes = read_class_map(class_map_csv) if class_map_csv else None
    labels = read_labels(labels_csv, classes)
    classes = classes or class_names(labels)
    held_out = read_labels(validation, classes) if validation else None
    opened = Store(store)
    made = {"preset": preset, "store": str(store), "labels": str(labels_csv)}
    with_keras("dcase2018.training").fit(
        opened, labels, run, chosen, held_out, classes, seed, checkpoint_steps, made
    )
    click.echo(f"{run}: trained {chosen.model} for {chosen.epochs} epochs")


def _check_run_folder(run: Path, force: bool) -> None:
    """Refuse a folder that something else would be lost from."""
    if not run.exists() or (run.is_dir() and not any(run.iterdir())):
        return
    if not (run / "run.json").is_file():
        raise InputError(f"{run} exists and is no run; name another folder")
    if not force:
        raise InputError(f"{run} holds a run already; name another folder, or replace it with --force")


@click.command(
    cls=Command,
    epilog="Example:\n  dcase2018 evaluate features/test.h5 data/test_post_competition.csv runs/first",
)
@click.argument("store", type=INPUT)
@click.argument("labels_csv", type=INPUT)
@click.argument("runs", type=FOLDER, nargs=-1, required=True)
@click.option("--output", type=FILE, help="Write the table to this .csv or .json too.")
@checkpoint_option
def evaluate(
    store: Path, labels_csv: Path, runs: tuple[Path, ...], output: Path | None, checkpoint: int | None
) -> None:
    """Print MAP@3 of RUNS by class and overall.

    The clips are those of LABELS_CSV, their features in STORE. Several runs are scored as one ensemble,
    by the mean of their scores. Rows whose usage is Ignored do not count; Public and Private ones are
    also scored apart.
    """
    if output and output.suffix not in (".csv", ".json"):
        raise InputError(f"--output {output} must end in .csv or .json")
    keep_apart(output, labels_csv)
    from dcase2018.dataset import read_labels
    from dcase2018.run import open_ensemble
    from dcase2018.store import Store

    opened = Store(store)
    ensemble = open_ensemble(runs, opened, checkpoint)
    labels = read_labels(labels_csv, ensemble[0].classes)
    opened.find(labels["fname"])  # so that a missing clip is named before the wait for Keras
    taggers = with_keras("dcase2018.prediction").load_taggers(ensemble, checkpoint)
    from dcase2018.evaluation import evaluate, render, write_evaluation

    table = evaluate(opened, labels, taggers)
    click.echo(render(table))
    if output:
        write_evaluation(output, table)


@click.command(cls=Command, epilog="Example:\n  dcase2018 predict features/test.h5 submission.csv runs/first")
@click.argument("store", type=INPUT)
@click.argument("submission_csv", type=FILE)
@click.argument("runs", type=FOLDER, nargs=-1, required=True)
@click.option("--sample", type=INPUT, help="Answer for the clips of this CSV, in its order.")
@click.option("--scores", "scores_csv", type=FILE, help="Write all scores here, a column a class.")
@checkpoint_option
def predict(
    store: Path,
    submission_csv: Path,
    runs: tuple[Path, ...],
    sample: Path | None,
    scores_csv: Path | None,
    checkpoint: int | None,
) -> None:
    """Write a Kaggle submission by RUNS.

    SUBMISSION_CSV gets the top three classes of every clip in STORE, by the mean of the runs' scores. The
    rows are in order of name. A clip without samples gets the classes most frequent in training.
    """
    keep_apart(submission_csv, sample, store)
    keep_apart(scores_csv, sample, store, submission_csv)
    from dcase2018.dataset import read_names
    from dcase2018.run import open_ensemble
    from dcase2018.store import Store

    opened = Store(store)
    ensemble = open_ensemble(runs, opened, checkpoint)
    fnames = read_names(sample) if sample else sorted(opened.fnames)
    rows = opened.find(fnames)
    prediction = with_keras("dcase2018.prediction")
    scores = prediction.predict(prediction.load_taggers(ensemble, checkpoint), opened, rows)
    from dcase2018.submission import write_scores, write_submission

    write_submission(submission_csv, fnames, scores, ensemble[0].classes)
    if scores_csv:
        write_scores(scores_csv, fnames, scores, ensemble[0].classes)
    click.echo(f"{submission_csv}: {len(fnames)} clips")
