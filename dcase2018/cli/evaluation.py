"""Commands that score clips by trained runs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dcase2018.cli.common import (
    FILE,
    FOLDER,
    INPUT,
    OUTPUT_FOLDER,
    Command,
    check_output,
    extra_store_option,
    jobs_option,
    print_line,
    scoring_options,
)
from dcase2018.cli.keras_setup import load_keras
from dcase2018.utils.errors import InputError

if TYPE_CHECKING:
    from dcase2018.inference.ensemble import Ensemble


def _open_ensemble(
    runs: Sequence[Path], stores: Sequence[Path], checkpoint: int | str | None, scoring: dict[str, object]
) -> "Ensemble":
    """Open the runs and stores that a command names."""
    from dcase2018.features.store import Store
    from dcase2018.inference.ensemble import Ensemble

    return Ensemble.open(runs, [Store(path) for path in stores], checkpoint, **scoring)


def _check_table(output: Path | None, *inputs: Path) -> None:
    """See to it that a table can be written (see `check_output`)."""
    if output and output.suffix not in (".csv", ".json"):
        raise InputError(f"--output {output} must end in .csv or .json")
    check_output(output, *inputs)


table_option = click.option("--output", type=FILE, help="Write the table to this .csv or .json too.")


@click.command(
    cls=Command,
    epilog="Example:\n  dcase2018 evaluate features/test.h5 data/test_post_competition.csv runs/first",
)
@click.argument("store", type=INPUT)
@click.argument("labels_csv", type=INPUT)
@click.argument("runs", type=FOLDER, nargs=-1, required=True)
@table_option
@click.option(
    "--clips-output", "clips_csv", type=FILE, help="Write truth, top three and score of each clip here."
)
@scoring_options
@extra_store_option
def evaluate(
    store: Path,
    labels_csv: Path,
    runs: tuple[Path, ...],
    output: Path | None,
    clips_csv: Path | None,
    checkpoint: int | str | None,
    more_stores: tuple[Path, ...],
    **scoring: object,
) -> None:
    """Print MAP@3 of RUNS by class and overall, and mAP and lwlrap of clips with several labels.

    Beside MAP@3 stands its 95 % interval: what other clips would have given. The clips are those of
    LABELS_CSV, their features in STORE. Several runs, or the folds in a folder, are scored as one ensemble,
    by the mean of their scores. Rows whose usage is Ignored do not count; Public and Private ones are also
    scored apart. With -v each clip is told as it is scored.
    """
    from dcase2018.inference.ensemble import input_files

    read = (labels_csv, store, *more_stores, *input_files(runs))
    _check_table(output, *read)
    check_output(clips_csv, *read, output)
    from dcase2018.data.labels import read_labels, write_table

    ensemble = _open_ensemble(runs, (store, *more_stores), checkpoint, scoring)
    labels = read_labels(labels_csv, ensemble.classes)
    ensemble.validate_clips(labels["fname"])  # before the wait for Keras
    load_keras()
    from dcase2018.evaluation.confidence_intervals import intervals
    from dcase2018.evaluation.evaluate import evaluate, format_table, write_evaluation

    evaluation = evaluate(ensemble, labels)
    table = intervals(evaluation)
    print_line(format_table(table))
    if output:
        write_evaluation(output, table)
    if clips_csv:
        write_table(clips_csv, evaluation.clips)


@click.command(cls=Command, epilog="Example:\n  dcase2018 predict features/test.h5 submission.csv runs/first")
@click.argument("store", type=INPUT)
@click.argument("submission_csv", type=FILE)
@click.argument("runs", type=FOLDER, nargs=-1, required=True)
@click.option(
    "--sample-submission", "sample", type=INPUT, help="Answer for the clips of this CSV, in its order."
)
@click.option("--scores-output", "scores_csv", type=FILE, help="Write all scores here, a column a class.")
@click.option("--calibrate", is_flag=True, help="Have --scores-output tell how many such clips are right.")
@scoring_options
@extra_store_option
def predict(
    store: Path,
    submission_csv: Path,
    runs: tuple[Path, ...],
    sample: Path | None,
    scores_csv: Path | None,
    calibrate: bool,
    checkpoint: int | str | None,
    more_stores: tuple[Path, ...],
    **scoring: object,
) -> None:
    """Write a Kaggle submission by RUNS.

    SUBMISSION_CSV gets the top three classes of every clip in STORE, by the mean of the runs' scores (or
    of the folds in a folder). The rows are in order of name. A clip without samples gets the classes most
    frequent in training. Scores that are --calibrated, by the validation clips of the training, say what
    share of such clips is right; no rank changes.
    """
    from dcase2018.inference.ensemble import input_files

    read = (sample, store, *more_stores, *input_files(runs))
    check_output(submission_csv, *read)
    check_output(scores_csv, *read, submission_csv)
    if calibrate and (not scores_csv or any(scoring.values())):
        raise InputError(
            "--calibrate needs --scores-output, and the run's own way of scoring: no --hop-seconds, no --pooling"
        )
    from dcase2018.data.labels import read_fnames
    from dcase2018.features.store import Store

    ensemble = _open_ensemble(runs, (store, *more_stores), checkpoint, scoring)
    fnames = read_fnames(sample) if sample else sorted(Store(store).fnames)
    ensemble.validate_clips(fnames)  # before the wait for Keras
    if calibrate:
        from dcase2018.evaluation.calibration import load_calibration

        load_calibration(ensemble)
    load_keras()
    from dcase2018.evaluation.calibration import calibrate_scores
    from dcase2018.evaluation.submission import write_scores, write_submission
    from dcase2018.inference.predictor import predict

    scores = predict(ensemble, fnames)
    write_submission(submission_csv, scores)
    if scores_csv:
        write_scores(scores_csv, calibrate_scores(ensemble, scores) if calibrate else scores)
    print_line(f"{submission_csv}: {len(fnames)} clips")


@click.command(
    cls=Command,
    epilog="Example:\n"
    "  dcase2018 report features/test.h5 data/test_post_competition.csv runs/first \\\n"
    "      --output report --audio data/audio_test",
)
@click.argument("store", type=INPUT)
@click.argument("labels_csv", type=INPUT)
@click.argument("runs", type=FOLDER, nargs=-1, required=True)
@click.option("--output", type=OUTPUT_FOLDER, required=True, help="The folder to make.")
@click.option("--audio", type=FOLDER, help="Take the sound of the clips that are shown from this folder.")
@jobs_option("Number of processes that draw")
@scoring_options
@extra_store_option
def report(
    store: Path,
    labels_csv: Path,
    runs: tuple[Path, ...],
    output: Path,
    audio: Path | None,
    jobs: int | None,
    checkpoint: int | str | None,
    more_stores: tuple[Path, ...],
    **scoring: object,
) -> None:
    """Make a page that shows what RUNS do with the clips of LABELS_CSV.

    The folder of --output gets index.html, which opens offline: MAP@3 with its interval, classes,
    confusions, clips to look at and listen to, calibration, and the training. All numbers are in its
    report.json and CSVs. A report that stands there is replaced. STORE, LABELS_CSV and RUNS are as for
    evaluate.
    """
    from dcase2018.data.labels import read_labels
    from dcase2018.report.writer import check_report

    ensemble = _open_ensemble(runs, (store, *more_stores), checkpoint, scoring)
    labels = read_labels(labels_csv, ensemble.classes)
    check_report(output, labels, audio)
    ensemble.validate_clips(labels["fname"])  # before the wait for Keras
    load_keras()
    from dcase2018.report.writer import report

    print_line(str(report(ensemble, labels, output, audio, jobs or -1)))


@click.command(
    cls=Command, epilog="Example:\n  dcase2018 score submission.csv data/test_post_competition.csv"
)
@click.argument("submission", type=INPUT)
@click.argument("labels_csv", type=INPUT)
@table_option
@click.option(
    "--class-map", "class_map_csv", type=INPUT, help="Classes, in order.  [default: those of LABELS_CSV]"
)
def score(submission: Path, labels_csv: Path, output: Path | None, class_map_csv: Path | None) -> None:
    """Print MAP@3 of a Kaggle SUBMISSION, whatever program wrote it, by class and overall.

    The truth is that of LABELS_CSV. The table is as that of evaluate, and so are the rows that count. One to
    three labels a clip are parted by single spaces. All that is wrong with the file is told at once.
    """
    _check_table(output, submission, labels_csv)
    from dcase2018.data.labels import read_class_map
    from dcase2018.evaluation.confidence_intervals import intervals
    from dcase2018.evaluation.evaluate import format_table, write_evaluation
    from dcase2018.evaluation.submission import evaluate_submission

    classes = read_class_map(class_map_csv) if class_map_csv else None
    table = intervals(evaluate_submission(submission, labels_csv, classes))
    table = table.drop(columns=[name for name in table if name.endswith(("mAP", "lwlrap"))])  # of scores
    print_line(format_table(table))
    if output:
        write_evaluation(output, table)
