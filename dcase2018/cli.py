"""The command line: each command parses, calls the library and prints.

What a command needs is imported inside it, so that `--help` and the feature commands never wait for
Keras. Results go to standard output, progress and errors to standard error.
"""

import dataclasses
import os
from pathlib import Path

import click

from dcase2018.errors import InputError
from dcase2018.hparams import PRESETS, HParams
from dcase2018.program import Program, hparams_help, with_keras
from dcase2018.recipe import RECIPES, Recipe
from dcase2018.settings import override

SET_ASIDE = 3  # exit code: done, but some clips could not be used

CSV = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(exists=True, file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)
OUT = click.Path(path_type=Path)


seed_option = click.option("--seed", default=0, show_default=True, help="Seed of all that is drawn.")
checkpoint_option = click.option(
    "--checkpoint", type=int, metavar="STEP", help="Use the networks of this step.  [default: the last]"
)


@click.group(
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(package_name="dcase2018")
def main() -> None:
    """Tag sounds: DCASE 2018 Task 2, from a folder of clips to a ranked submission.

    Two halves meet at one file. `extract` computes the features of every clip once and writes them to
    a store; `fit`, `evaluate` and `predict` stream from it.
    """


@main.command(epilog="Example:\n  dcase2018 synthesize data/demo")
@click.argument("data", type=OUT)
@click.option("--train-per-class", default=12, show_default=True, type=click.IntRange(1), help="Clips.")
@click.option("--test-per-class", default=4, show_default=True, type=click.IntRange(1), help="Clips.")
@seed_option
def synthesize(data: Path, train_per_class: int, test_per_class: int, seed: int) -> None:
    """Make a small 41-class corpus in the folder DATA.

    It has Kaggle's layout: audio_train/, audio_test/, train.csv and sample_submission.csv, and the truth
    of the test clips in test_post_competition.csv. The same seed gives the same bytes.
    """
    from dcase2018.synthetic import synthesize

    synthesize(data, train_per_class, test_per_class, seed)


@main.command(epilog="Example:\n  dcase2018 download data/fsdkaggle2018")
@click.argument("data", type=OUT)
@click.option("--mirror", metavar="URL", help="Where the archives are.  [default: Zenodo's record 2552860]")
def download(data: Path, mirror: str | None) -> None:
    """Fetch FSDKaggle2018 into the folder DATA.

    Archives are checked, unpacked and removed; folders that are there already are skipped. It takes
    about 10 GB while it works.
    """
    from dcase2018.download import ZENODO, download

    fetched = download(data, mirror or ZENODO)
    click.echo(f"{data}: fetched {', '.join(fetched) or 'nothing, all is there'}")


@main.command(epilog="Example:\n  dcase2018 class-map data/train.csv class_map.csv")
@click.argument("train_csv", type=CSV)
@click.argument("class_map_csv", type=FILE)
def class_map(train_csv: Path, class_map_csv: Path) -> None:
    """Write the classes of TRAIN_CSV to CLASS_MAP_CSV.

    Its rows are class_index,class_name, in ascending order of name, from 0, without a header.
    """
    from dcase2018.dataset import class_names, read_labels, write_class_map

    classes = class_names(read_labels(train_csv))
    write_class_map(class_map_csv, classes)
    click.echo(f"{class_map_csv}: {len(classes)} classes")


@main.command(
    epilog="Examples:\n"
    "  dcase2018 split data/train.csv splits               splits/train.csv, splits/validation.csv\n"
    "  dcase2018 split data/train.csv splits --folds 5     splits/fold-1/train.csv, ..."
)
@click.argument("train_csv", type=CSV)
@click.argument("out_dir", type=OUT)
@click.option(
    "--fraction",
    default=0.1,
    show_default=True,
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    help="Share of the clips to hold out.",
)
@click.option("--folds", "n_folds", type=click.IntRange(2), help="Make this many folds instead.")
@seed_option
def split(train_csv: Path, out_dir: Path, fraction: float, n_folds: int | None, seed: int) -> None:
    """Part TRAIN_CSV into OUT_DIR's train.csv and validation.csv.

    Each label's verified and unverified clips are parted in the same proportion. Headers and all
    columns are kept, and every row is in exactly one part (one fold's validation.csv).
    """
    from dcase2018.dataset import folds, hold_out, read_labels, write_table

    labels = read_labels(train_csv)
    if n_folds is None:
        parts = {out_dir: hold_out(labels, fraction, seed)}
    else:
        fold = folds(labels, n_folds, seed)
        parts = {out_dir / f"fold-{number + 1}": fold == number for number in range(n_folds)}
    for folder, held_out in parts.items():
        write_table(folder / "train.csv", labels[~held_out])
        write_table(folder / "validation.csv", labels[held_out])
        click.echo(f"{folder}: {(~held_out).sum()} to train, {held_out.sum()} to validate")


@main.command(
    epilog="Example:\n  dcase2018 extract data/audio_train features/train.h5 --hparams mel_bands=96\n\n"
    + hparams_help(Recipe),
)
@click.argument("audio_dir", type=FOLDER)
@click.argument("store", type=FILE)
@click.option(
    "--recipe",
    type=click.Choice(list(RECIPES)),
    default="baseline",
    show_default=True,
    help="What features to compute.",
)
@click.option("--hparams", default="", metavar="LIST", help="Changes to the recipe; see below.")
@click.option(
    "--labels",
    type=CSV,
    help="Extract the clips of this CSV, in its order.  [default: all, in order of name]",
)
@click.option(
    "-j",
    "--jobs",
    default=lambda: len(os.sched_getaffinity(0)),
    show_default="all cores",
    type=click.IntRange(1),
    help="Number of processes.",
)
@click.option("--strict", is_flag=True, help="Stop at the first clip that cannot be used.")
@click.option("--scheduler", metavar="ADDRESS", help="Work on this Dask cluster, such as tcp://head:8786.")
@click.pass_context
def extract(
    context: click.Context,
    audio_dir: Path,
    store: Path,
    recipe: str,
    hparams: str,
    labels: Path | None,
    jobs: int,
    strict: bool,
    scheduler: str | None,
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
    full_recipe = override(RECIPES[recipe], hparams, elsewhere)
    from dcase2018.extraction import extract

    names = None
    if labels:
        from dcase2018.dataset import read_names

        names = read_names(labels)
    summary = extract(audio_dir, store, full_recipe, names, jobs, strict, scheduler)
    click.echo(f"{store}: {summary.clips} clips, {summary.computed} of them computed now")
    if summary.converted:
        click.echo(f"mixed to mono or resampled: {summary.converted}")
    if summary.empty:
        click.echo(f"without samples: {', '.join(summary.empty)}")
    for fname, reason in summary.set_aside.items():
        click.echo(f"set aside: {fname}: {reason}")
    if summary.set_aside:
        context.exit(SET_ASIDE)


@main.command(epilog="Example:\n  dcase2018 info features/train.h5")
@click.argument("store", type=CSV)
@click.option("--verify", is_flag=True, help="Read everything and compare all checksums.")
def info(store: Path, verify: bool) -> None:
    """Tell what is in a STORE."""
    from dcase2018.store import Store

    opened = Store(store)
    seconds = opened.lengths.sum() * opened.recipe.stft_hop_seconds
    click.echo(f"{store}: written by {opened.writer}, {store.stat().st_size / 1e6:.1f} MB")
    click.echo(f"clips    {len(opened)} with {opened.lengths.sum()} frames ({seconds / 3600:.2f} h)")
    for name, value in dataclasses.asdict(opened.recipe).items():
        click.echo(f"recipe   {name} = {value}")
    for fname, problem in zip(opened.fnames, opened.problems, strict=True):
        if problem:
            click.echo(f"problem  {fname}: {problem}")
    if verify:
        opened.verify()
        click.echo("verified all checksums hold")


@main.command(
    epilog="Example:\n  dcase2018 fit features/train.h5 data/train.csv runs/first --hparams batch_size=32\n\n"
    + hparams_help(HParams),
)
@click.argument("store", type=CSV)
@click.argument("labels_csv", type=CSV)
@click.argument("run", type=OUT)
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
@click.option("--validation", type=CSV, help="Score the clips of this label file after each epoch.")
@click.option(
    "--class-map", "class_map_csv", type=CSV, help="Classes and their order.  [default: those of LABELS_CSV]"
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


@main.command(
    epilog="Example:\n  dcase2018 evaluate features/test.h5 data/test_post_competition.csv runs/first"
)
@click.argument("store", type=CSV)
@click.argument("labels_csv", type=CSV)
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
    from dcase2018.dataset import read_labels
    from dcase2018.run import open_ensemble
    from dcase2018.store import Store

    opened = Store(store)
    ensemble = open_ensemble(runs, opened, checkpoint)
    labels = read_labels(labels_csv, ensemble[0].classes)
    opened.find(labels["fname"])
    taggers = with_keras("dcase2018.prediction").load_taggers(ensemble, checkpoint)
    from dcase2018.evaluation import evaluate, render, write_evaluation

    table = evaluate(opened, labels, taggers)
    click.echo(render(table))
    if output:
        write_evaluation(output, table)


@main.command(epilog="Example:\n  dcase2018 predict features/test.h5 submission.csv runs/first")
@click.argument("store", type=CSV)
@click.argument("submission_csv", type=FILE)
@click.argument("runs", type=FOLDER, nargs=-1, required=True)
@click.option("--sample", type=CSV, help="Answer for the clips of this sample_submission.csv, in its order.")
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
