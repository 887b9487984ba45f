"""Commands that evaluate trained runs and submissions."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dcase2018.cli.common import (
    FILE,
    FOLDER,
    INPUT,
    REPLACED_FOLDER,
    Command,
    check_output,
    exit_if_skipped,
    extra_store_option,
    jobs_option,
    missing_option,
    print_line,
    scoring_options,
    select_available,
)
from dcase2018.cli.keras_setup import load_keras
from dcase2018.utils.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from dcase2018.inference.ensemble import Ensemble

store_argument = click.argument("store", type=INPUT)
labels_argument = click.argument("labels_csv", metavar="LABELS", type=INPUT)
runs_argument = click.argument("runs", metavar="RUN...", type=FOLDER, nargs=-1, required=True)
table_option = click.option(
    "-o", "--output", type=FILE, metavar="TABLE", help="Write the score table to this .csv or .json."
)


def _open_ensemble(
    runs: Sequence[Path], stores: Sequence[Path], checkpoint: int | str | None, scoring: dict[str, object]
) -> "Ensemble":
    from dcase2018.features.store import Store
    from dcase2018.inference.ensemble import Ensemble

    return Ensemble.open(runs, [Store(path) for path in stores], checkpoint, **scoring)


def _select_stored(labels: "pd.DataFrame", ensemble: "Ensemble", skipped: dict[str, str]) -> "pd.DataFrame":
    """Drop the clips that a store of the ensemble lacks, and add them to `skipped`."""
    for member in ensemble.members:
        labels = select_available(labels, member.store.rows, member.store.path, skipped)
    return labels


def _check_table_output(output: Path | None, *inputs: Path) -> None:
    """Check before the work that a score table can be written (see `check_output`)."""
    if output and output.suffix not in (".csv", ".json"):
        raise InputError(f"--output {output} must end in .csv or .json")
    check_output(output, *inputs)


@click.command(
    cls=Command,
    epilog="Example:\n  dcase2018 evaluate features/test.h5 data/test_post_competition.csv runs/first",
)
@store_argument
@labels_argument
@runs_argument
@table_option
@click.option(
    "--clips-output",
    "clips_csv",
    type=FILE,
    metavar="CLIPS",
    help="Write label, top three and AP@3 of each clip to this CSV.",
)
@missing_option("no features in STORE")
@scoring_options
@extra_store_option
@click.pass_context
def evaluate(
    ctx: click.Context,
    /,
    store: Path,
    labels_csv: Path,
    runs: tuple[Path, ...],
    output: Path | None,
    clips_csv: Path | None,
    skip_missing: bool,
    checkpoint: int | str | None,
    more_stores: tuple[Path, ...],
    **scoring: object,
) -> None:
    """Print MAP@3 of RUN on LABELS, by class and overall.

    STORE has the features of the clips. Several runs, or the folds in a folder, are evaluated as one
    ensemble, by the mean of their scores. MAP@3 has a 95 % confidence interval over the choice of clips.
    For clips with several labels, mAP and lwlrap are also printed.
    Clips whose usage is Ignored are skipped. Public and Private clips are also evaluated separately; their
    intervals are in the table of --output. With -v the scores of each clip are printed.
    """
    from dcase2018.inference.ensemble import input_files

    inputs = (labels_csv, store, *more_stores, *input_files(runs))
    _check_table_output(output, *inputs)
    check_output(clips_csv, *inputs, output)
    from dcase2018.data.labels import read_labels, write_table

    ensemble = _open_ensemble(runs, (store, *more_stores), checkpoint, scoring)
    labels = read_labels(labels_csv, ensemble.classes)
    skipped: dict[str, str] = {}
    if skip_missing:
        labels = _select_stored(labels, ensemble, skipped)
    ensemble.validate_clips(labels["fname"])  # before the slow import of Keras
    load_keras()
    from dcase2018.evaluation.confidence_intervals import score_table
    from dcase2018.evaluation.evaluate import evaluate, format_table, write_score_table
    from dcase2018.utils.atomic import written_together

    evaluation = evaluate(ensemble, labels)
    table = score_table(evaluation)
    print_line(format_table(table))
    with written_together():
        if clips_csv:
            write_table(clips_csv, evaluation.clips)
        if output:
            write_score_table(output, table)
    exit_if_skipped(ctx, skipped)


def _check_calibrate(scores_csv: Path | None, scoring: dict[str, object]) -> None:
    if not scores_csv:
        raise InputError("--calibrate requires --scores-output")
    if any(scoring.values()):
        raise InputError("--calibrate requires the run's own settings: omit --hop-seconds and --pooling")


@click.command(
    cls=Command, epilog="Example:\n  dcase2018 predict features/test.h5 runs/first -o submission.csv"
)
@store_argument
@runs_argument
@click.option(
    "-o",
    "--output",
    "submission_csv",
    type=FILE,
    metavar="SUBMISSION",
    required=True,
    help="Submission to write.",
)
@click.option(
    "--sample-submission", "sample_csv", type=INPUT, help="Predict the clips of this CSV, in its order."
)
@click.option(
    "--scores-output",
    "scores_csv",
    type=FILE,
    metavar="SCORES",
    help="Write all scores to this CSV, one column per class.",
)
@click.option("--calibrate", is_flag=True, help="Calibrate the scores of --scores-output.")
@scoring_options
@extra_store_option
def predict(
    store: Path,
    runs: tuple[Path, ...],
    submission_csv: Path,
    sample_csv: Path | None,
    scores_csv: Path | None,
    calibrate: bool,
    checkpoint: int | str | None,
    more_stores: tuple[Path, ...],
    **scoring: object,
) -> None:
    """Predict the clips in STORE with RUN and write a Kaggle submission.

    SUBMISSION gets the top three classes of every clip, in order of file name. Several runs, or the folds in
    a folder, are averaged. A silent clip, or one without samples, gets the most frequent classes of the
    training set. SUBMISSION leaves out the classes of fit --background; SCORES has all classes.
    --calibrate scales the scores by the temperature that fit found on the verified validation clips; it
    changes no ranking.
    """
    from dcase2018.inference.ensemble import input_files

    inputs = (sample_csv, store, *more_stores, *input_files(runs))
    check_output(submission_csv, *inputs)
    check_output(scores_csv, *inputs, submission_csv)
    if calibrate:
        _check_calibrate(scores_csv, scoring)
    from dcase2018.data.labels import read_fnames
    from dcase2018.features.store import Store

    ensemble = _open_ensemble(runs, (store, *more_stores), checkpoint, scoring)
    fnames = read_fnames(sample_csv) if sample_csv else sorted(Store(store).fnames)
    ensemble.validate_clips(fnames)  # before the slow import of Keras
    if calibrate:
        from dcase2018.evaluation.calibration import load_calibration

        load_calibration(ensemble)
    load_keras()
    from dcase2018.evaluation.calibration import calibrate_scores
    from dcase2018.evaluation.submission import write_scores, write_submission
    from dcase2018.inference.predictor import predict
    from dcase2018.utils.atomic import written_together

    scores = predict(ensemble, fnames)
    with written_together():
        if scores_csv:
            write_scores(scores_csv, calibrate_scores(ensemble, scores) if calibrate else scores)
        write_submission(submission_csv, scores[ensemble.reported_classes])
    print_line(f"{submission_csv}: {len(fnames)} clips")


@click.command(
    cls=Command,
    epilog="Example:\n"
    "  dcase2018 report features/test.h5 data/test_post_competition.csv runs/first \\\n"
    "      -o report --audio data/audio_test",
)
@store_argument
@labels_argument
@runs_argument
@click.option(
    "-o", "--output", type=REPLACED_FOLDER, metavar="FOLDER", required=True, help="Report folder to write."
)
@click.option("--audio", type=FOLDER, help="Folder of the clips, to add audio players.")
@missing_option("no features in STORE or no file in --audio")
@jobs_option("Processes that plot the clips")
@scoring_options
@extra_store_option
@click.pass_context
def report(
    ctx: click.Context,
    /,
    store: Path,
    labels_csv: Path,
    runs: tuple[Path, ...],
    output: Path,
    audio: Path | None,
    skip_missing: bool,
    jobs: int | None,
    checkpoint: int | str | None,
    more_stores: tuple[Path, ...],
    **scoring: object,
) -> None:
    """Write an HTML report of RUN on LABELS.

    FOLDER gets index.html, which opens offline: MAP@3 with its interval, scores by class, confusions,
    spectrograms and audio of selected clips, calibration, and training curves. All numbers are also in
    report.json and CSV files. An existing report is replaced. STORE, LABELS and RUN are as for evaluate.
    """
    from dcase2018.data.labels import read_labels
    from dcase2018.reporting.writer import check_report

    ensemble = _open_ensemble(runs, (store, *more_stores), checkpoint, scoring)
    labels = read_labels(labels_csv, ensemble.classes)
    skipped: dict[str, str] = {}
    if skip_missing:
        labels = _select_stored(labels, ensemble, skipped)
    skipped |= check_report(output, labels, audio, skip_missing)
    ensemble.validate_clips(labels["fname"])  # before the slow import of Keras
    load_keras()
    from dcase2018.evaluation.evaluate import evaluate
    from dcase2018.reporting.writer import report_systems

    evaluated = [(ensemble, evaluate(ensemble, labels))]
    print_line(str(report_systems(evaluated, output, audio, jobs or -1)))
    exit_if_skipped(ctx, skipped)


@click.command(
    cls=Command, epilog="Example:\n  dcase2018 score submission.csv data/test_post_competition.csv"
)
@click.argument("submission", type=INPUT)
@labels_argument
@table_option
@click.option(
    "--class-map", "class_map_csv", type=INPUT, help="Classes, in order.  [default: those of LABELS]"
)
def score(submission: Path, labels_csv: Path, output: Path | None, class_map_csv: Path | None) -> None:
    """Print MAP@3 of a Kaggle SUBMISSION on LABELS, by class and overall.

    The submission may come from any program. It has one to three labels per clip, separated by single spaces;
    all errors of the file are reported at once. The table is that of evaluate.
    """
    _check_table_output(output, submission, labels_csv)
    from dcase2018.data.labels import read_class_map
    from dcase2018.evaluation.confidence_intervals import score_table
    from dcase2018.evaluation.evaluate import format_table, write_score_table
    from dcase2018.evaluation.submission import evaluate_submission

    classes = read_class_map(class_map_csv) if class_map_csv else None
    table = score_table(evaluate_submission(submission, labels_csv, classes))
    table = table.drop(columns=["map", "lwlrap"], errors="ignore")  # they need all scores, not three ranks
    print_line(format_table(table))
    if output:
        write_score_table(output, table)
