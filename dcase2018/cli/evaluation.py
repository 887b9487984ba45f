"""Commands that evaluate trained runs and submissions."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dcase2018.cli.clips import check_clips, select_stored
from dcase2018.cli.common import (
    FILE,
    FOLDER,
    INPUT,
    REPLACED,
    Command,
    check_output,
    combine_options,
    exit_if_skipped,
    extra_store_option,
    jobs_option,
    missing_option,
    print_line,
    scoring_options,
    single_file_option,
)
from dcase2018.cli.keras_setup import load_keras
from dcase2018.utils.errors import InputError

if TYPE_CHECKING:
    from dcase2018.evaluation.evaluate import Evaluation
    from dcase2018.inference.ensemble import Ensemble

optional_inputs = combine_options(
    click.argument("store", type=INPUT, metavar="STORE", required=False),
    click.argument("labels_csv", metavar="LABELS", type=INPUT, required=False),
    click.argument("runs", metavar="RUN...", type=FOLDER, nargs=-1),
)
held_out_options = combine_options(
    click.option(
        "--out-of-fold",
        type=FOLDER,
        metavar="FOLDS",
        help="Use the out-of-fold scores of this folder of folds, and its labels.",
    ),
    click.option("--allow-trained", is_flag=True, help="Score clips that RUN was trained on."),
)
table_option = click.option(
    "-o", "--output", type=FILE, metavar="TABLE", help="Write the score table to this .csv or .json."
)


def _open_ensemble(
    runs: Sequence[Path], stores: Sequence[Path], checkpoint: int | str | None, scoring: dict[str, object]
) -> "Ensemble":
    from dcase2018.features.store import Store
    from dcase2018.inference.ensemble import Ensemble

    return Ensemble.open(runs, [Store(path) for path in stores], checkpoint, **scoring)


def _check_table_output(output: Path | None, *inputs: Path) -> None:
    """Check before the work that a score table can be written (see `check_output`)."""
    if output and output.suffix not in (".csv", ".json"):
        raise InputError(f"--output {output} must end in .csv or .json")
    check_output(output, *inputs)


def _require(context: click.Context, *names: str) -> None:
    """Raise a usage error that names the first missing argument of a command."""
    for param in context.command.params:
        if param.name in names and not context.params[param.name]:
            raise click.MissingParameter(ctx=context, param=param)


def _check_out_of_fold(context: click.Context, *excluded: str) -> None:
    """Raise an error for arguments and options that out-of-fold scores do not need."""
    for param in context.command.params:
        if param.name in excluded and context.params[param.name]:
            name = param.metavar if isinstance(param, click.Argument) else param.opts[0]
            raise InputError(f"--out-of-fold uses the scores and labels of its folder: omit {name}")


SCORING_NAMES = ("checkpoint", "inference_hop_seconds", "clip_pooling", "more_stores", "allow_trained")


@click.command(
    cls=Command,
    epilog="Examples:\n  dcase2018 evaluate features/test.h5 data/test_post_competition.csv runs/first\n"
    "  dcase2018 evaluate --out-of-fold runs/folds",
)
@optional_inputs
@held_out_options
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
    out_of_fold: Path | None,
    allow_trained: bool,
    output: Path | None,
    clips_csv: Path | None,
    skip_missing: bool,
    checkpoint: int | str | None,
    more_stores: tuple[Path, ...],
    **scoring: object,
) -> None:
    """Print the scores of RUN on LABELS: MAP@3, accuracy, precision, recall, F1 and mAP.

    STORE has the features of the clips. Several runs, or the folds in a folder, are evaluated as one
    ensemble, by the mean of their scores. Clips that a run was trained on are refused. With
    --out-of-fold, each clip is scored by the model that was not trained on it; STORE, LABELS and RUN are
    then omitted, and the scores of each fold are also printed.

    MAP@3 and accuracy have a 95 % confidence interval over the choice of clips. Overall precision, recall, F1
    and mAP are means over the classes. For clips with several labels, mAP and lwlrap are printed instead.
    Clips whose usage is Ignored are skipped. Public and Private clips are also evaluated separately; the
    scores of their classes are in the table of --output. With -v the scores of each clip are printed.
    """
    from dcase2018.inference.ensemble import input_files

    if out_of_fold:
        _check_out_of_fold(ctx, "store", "labels_csv", "runs", "skip_missing", *SCORING_NAMES)
    else:
        _require(ctx, "store", "labels_csv", "runs")
    inputs = (labels_csv, store, *more_stores, *input_files((*runs, *filter(None, [out_of_fold]))))
    _check_table_output(output, *inputs)
    check_output(clips_csv, *inputs, output)
    if out_of_fold:
        _print_out_of_fold(out_of_fold, output, clips_csv)
        return
    from dcase2018.data.labels import read_labels

    ensemble = _open_ensemble(runs, (store, *more_stores), checkpoint, scoring)
    labels = read_labels(labels_csv, ensemble.classes)
    skipped: dict[str, str] = {}
    if skip_missing:
        labels = select_stored(labels, ensemble, skipped)
    check_clips(ensemble, labels, allow_trained)
    load_keras()
    from dcase2018.evaluation.evaluate import evaluate

    _print_scores(evaluate(ensemble, labels, allow_trained), output, clips_csv)
    exit_if_skipped(ctx, skipped)


def _print_scores(evaluation: "Evaluation", output: Path | None, clips_csv: Path | None) -> None:
    from dcase2018.data.labels import write_table
    from dcase2018.evaluation.confidence_intervals import score_table
    from dcase2018.evaluation.evaluate import format_table, write_score_table
    from dcase2018.utils.atomic import written_together

    table = score_table(evaluation)
    print_line(format_table(table))
    with written_together():
        if clips_csv:
            write_table(clips_csv, evaluation.clips)
        if output:
            write_score_table(output, table)


def _print_out_of_fold(folder: Path, output: Path | None, clips_csv: Path | None) -> None:
    from dcase2018.evaluation.out_of_fold import OutOfFold, format_folds

    out_of_fold = OutOfFold.load(folder)
    _print_scores(out_of_fold.evaluation, output, clips_csv)
    print_line(f"\n{format_folds(out_of_fold)}")


def _check_calibrate(scores_csv: Path | None, scoring: dict[str, object]) -> None:
    if not scores_csv:
        raise InputError("--calibrate requires --scores-output")
    if any(scoring.values()):
        raise InputError("--calibrate requires the run's own settings: omit --hop-seconds and --pooling")


@click.command(
    cls=Command, epilog="Example:\n  dcase2018 predict features/test.h5 runs/first -o submission.csv"
)
@click.argument("store", type=INPUT)
@click.argument("runs", metavar="RUN...", type=FOLDER, nargs=-1, required=True)
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
@missing_option("no features in STORE")
@scoring_options
@extra_store_option
@click.pass_context
def predict(
    ctx: click.Context,
    /,
    store: Path,
    runs: tuple[Path, ...],
    submission_csv: Path,
    sample_csv: Path | None,
    scores_csv: Path | None,
    calibrate: bool,
    skip_missing: bool,
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
    import pandas as pd

    from dcase2018.data.labels import read_fnames
    from dcase2018.features.store import Store

    ensemble = _open_ensemble(runs, (store, *more_stores), checkpoint, scoring)
    fnames = read_fnames(sample_csv) if sample_csv else sorted(Store(store).fnames)
    skipped: dict[str, str] = {}
    if skip_missing:
        clips = pd.DataFrame({"fname": fnames}, dtype=object)
        fnames = list(select_stored(clips, ensemble, skipped)["fname"])
    ensemble.validate_clips(fnames)  # before the slow import of Keras
    if calibrate:
        from dcase2018.evaluation.calibration import load_calibration

        load_calibration(ensemble)
    load_keras()
    from dcase2018.evaluation import calibration
    from dcase2018.evaluation.submission import write_scores, write_submission
    from dcase2018.inference.predictor import predict
    from dcase2018.utils.atomic import written_together

    scores = predict(ensemble, fnames)
    with written_together():
        if scores_csv:
            write_scores(scores_csv, calibration.calibrate(ensemble, scores) if calibrate else scores)
        write_submission(submission_csv, scores[ensemble.reported_classes])
    print_line(f"{submission_csv}: {len(fnames)} clips")
    exit_if_skipped(ctx, skipped)


@click.command(
    cls=Command,
    epilog="Examples:\n"
    "  dcase2018 report features/test.h5 data/test_post_competition.csv runs/first \\\n"
    "      -o report --audio data/audio_test\n"
    "  dcase2018 report features/train.h5 --out-of-fold runs/folds -o report",
)
@optional_inputs
@held_out_options
@click.option(
    "-o", "--output", type=REPLACED, metavar="FOLDER", required=True, help="Report folder to write."
)
@single_file_option
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
    out_of_fold: Path | None,
    allow_trained: bool,
    output: Path,
    single_file: bool,
    audio: Path | None,
    skip_missing: bool,
    jobs: int | None,
    checkpoint: int | str | None,
    more_stores: tuple[Path, ...],
    **scoring: object,
) -> None:
    """Write an HTML report of RUN on LABELS.

    FOLDER gets index.html, which opens offline: MAP@3 and accuracy with intervals, scores by class,
    confusions, spectrograms, calibration, and training curves. All numbers are also in report.json and CSV
    files. An existing report is replaced. With --audio, all clips can be played, up to three hours of
    excerpts. With --single-file, FOLDER is an HTML file, such as report.html, that has everything in it and
    can be mailed. It has at most 15 minutes of audio. STORE, LABELS and RUN are as for evaluate. With
    --out-of-fold, STORE has the features of the clips, and LABELS and RUN are omitted.
    """
    if single_file:
        check_output(output, *filter(None, (store, labels_csv, *more_stores, *runs, out_of_fold)))
    from dcase2018.data.labels import read_labels
    from dcase2018.reporting.writer import check_report, report

    if out_of_fold:
        _require(ctx, "store")
        _check_out_of_fold(ctx, "labels_csv", "runs", *SCORING_NAMES)
        exit_if_skipped(
            ctx, _report_out_of_fold(out_of_fold, store, output, audio, skip_missing, jobs or -1, single_file)
        )
        return
    _require(ctx, "store", "labels_csv", "runs")
    ensemble = _open_ensemble(runs, (store, *more_stores), checkpoint, scoring)
    labels = read_labels(labels_csv, ensemble.classes)
    skipped: dict[str, str] = {}
    if skip_missing:
        labels = select_stored(labels, ensemble, skipped)
    skipped |= check_report(output, labels, audio, skip_missing, single_file)
    check_clips(ensemble, labels, allow_trained)
    load_keras()
    page = report(ensemble, labels, output, audio, jobs or -1, allow_trained, str(labels_csv), single_file)
    print_line(str(page))
    exit_if_skipped(ctx, skipped)


def _report_out_of_fold(
    folds: Path,
    store: Path,
    output: Path,
    audio: Path | None,
    skip_missing: bool,
    jobs: int,
    single_file: bool,
) -> dict[str, str]:
    """Write the report, print its path, and return the reason for each clip without audio."""
    from dcase2018.evaluation.out_of_fold import OutOfFold
    from dcase2018.reporting.writer import check_report, report_out_of_fold

    held_out = OutOfFold.load(folds)
    ensemble = _open_ensemble([folds], [store], None, {})
    without_audio = check_report(output, held_out.labels, audio, skip_missing, single_file)
    ensemble.validate_clips(held_out.labels["fname"])
    load_keras()
    print_line(str(report_out_of_fold(ensemble, held_out, output, audio, jobs, str(folds), single_file)))
    return without_audio


@click.command(
    cls=Command, epilog="Example:\n  dcase2018 score submission.csv data/test_post_competition.csv"
)
@click.argument("submission", type=INPUT)
@click.argument("labels_csv", metavar="LABELS", type=INPUT)
@table_option
@click.option(
    "--class-map", "class_map_csv", type=INPUT, help="Classes, in order.  [default: those of LABELS]"
)
def score(submission: Path, labels_csv: Path, output: Path | None, class_map_csv: Path | None) -> None:
    """Print the scores of a Kaggle SUBMISSION on LABELS: MAP@3, accuracy, precision, recall and F1.

    The submission may come from any program. It has one to three labels per clip, separated by single spaces;
    all errors of the file are reported at once. The table is that of evaluate, without mAP, which needs the
    scores of all classes. Accuracy, precision, recall and F1 count the first label.
    """
    _check_table_output(output, submission, labels_csv)
    from dcase2018.data.labels import read_class_map
    from dcase2018.evaluation.confidence_intervals import score_table
    from dcase2018.evaluation.evaluate import format_table, write_score_table
    from dcase2018.evaluation.submission import score

    classes = read_class_map(class_map_csv) if class_map_csv else None
    table = score_table(score(submission, labels_csv, classes))
    print_line(format_table(table))
    if output:
        write_score_table(output, table)
