"""The command that compares two systems."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dcase2018.cli.clips import check_clips, select_available, select_stored
from dcase2018.cli.common import (
    EXISTING,
    FILE,
    FOLDER,
    INPUT,
    REPLACED,
    Command,
    InputPath,
    check_output,
    exit_if_skipped,
    extra_store_option,
    missing_option,
    print_line,
    seed_option,
    single_file_option,
)
from dcase2018.cli.keras_setup import load_keras
from dcase2018.utils.atomic import write_json
from dcase2018.utils.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from dcase2018.evaluation.evaluate import Evaluation
    from dcase2018.features.store import Store
    from dcase2018.inference.ensemble import Ensemble

    Systems = dict[Path, Ensemble | pd.DataFrame]  # opened runs, and scores from files

NO_STORE = Path("-")


@click.command(
    cls=Command,
    epilog="Examples:\n"
    "  dcase2018 compare features/test.h5 data/test_post_competition.csv runs/first runs/second\n"
    "  dcase2018 compare - data/test_post_competition.csv first-scores.csv second-scores.csv",
)
@click.argument("store", type=InputPath(exists=True, dir_okay=False, path_type=Path, allow_dash=True))
@click.argument("labels_csv", metavar="LABELS", type=INPUT)
@click.argument("a", type=EXISTING)
@click.argument("b", type=EXISTING)
@click.option("--a-seed", "a_seeds", type=EXISTING, multiple=True, help="A, trained with another seed.")
@click.option("--b-seed", "b_seeds", type=EXISTING, multiple=True, help="B, trained with another seed.")
@extra_store_option
@click.option("-o", "--output", type=FILE, metavar="FILE", help="Write all results to this .json.")
@click.option(
    "--report",
    "report_path",
    type=REPLACED,
    metavar="FOLDER",
    help="Write a report of A and B side by side.",
)
@single_file_option
@click.option("--audio", type=FOLDER, help="Folder of the clips, to add audio players to the report.")
@click.option("--allow-trained", is_flag=True, help="Score clips that a run was trained on.")
@missing_option("no features in STORE, no scores in a file, or no file in --audio")
@seed_option
@click.pass_context
def compare(
    ctx: click.Context,
    store: Path,
    labels_csv: Path,
    a: Path,
    b: Path,
    a_seeds: tuple[Path, ...],
    b_seeds: tuple[Path, ...],
    more_stores: tuple[Path, ...],
    output: Path | None,
    report_path: Path | None,
    single_file: bool,
    audio: Path | None,
    allow_trained: bool,
    skip_missing: bool,
    seed: int,
) -> None:
    """Compare systems A and B on the clips of LABELS.

    A and B are runs, folders of folds, or score files of predict --scores-output. STORE has the features, or
    is - if only score files are compared. The difference of MAP@3 has a 95 % confidence interval and a
    p-value over the choice of clips. With several seeds, systems are compared by their means, and the
    intervals over seeds, and over clips and seeds, are also printed.
    """
    if output and output.suffix != ".json":
        raise InputError(f"--output {output} must end in .json")
    if not report_path and (audio or single_file):
        raise InputError(f"{'--audio' if audio else '--single-file'} requires --report")
    stores = (store, *more_stores) if store != NO_STORE else more_stores
    paths = ((a, *a_seeds), (b, *b_seeds))
    _check_paths(paths, output, (labels_csv, *stores))
    if single_file:
        _check_paths(paths, report_path, (labels_csv, *stores))
    from dcase2018.data.labels import read_labels
    from dcase2018.evaluation.significance import compare, format_comparison
    from dcase2018.reporting.writer import check_report, report_comparison

    systems = _open_systems([*paths[0], *paths[1]], stores)
    labels = read_labels(labels_csv, _common_classes(systems))
    skipped: dict[str, str] = {}
    if skip_missing:
        labels = _select_scored(labels, systems, skipped)
    ensembles = _require_runs(systems, a, b) if report_path else []
    if report_path:
        skipped |= check_report(report_path, labels, audio, skip_missing, single_file)
    evaluations = _evaluate(systems, labels, allow_trained)
    a_runs, b_runs = ([evaluations[path] for path in system] for system in paths)
    comparison = compare(a_runs, b_runs, seed)
    print_line(format_comparison(comparison))
    _print_training_clips(evaluations)
    if output:
        write_json(output, comparison)
    if report_path:
        evaluated = list(zip(ensembles, (evaluations[a], evaluations[b]), strict=True))
        page = report_comparison(evaluated, comparison, report_path, audio, -1, str(labels_csv), single_file)
        print_line(str(page))
    exit_if_skipped(ctx, skipped)


def _print_training_clips(evaluations: "Mapping[Path, Evaluation]") -> None:
    """Print how many of the clips each system was trained on."""
    for path, evaluation in evaluations.items():
        is_trained = evaluation.is_training_clip
        if is_trained is not None:
            print_line(f"training clips of {path}: {is_trained.sum()} of {len(is_trained)}")


def _check_paths(paths: Sequence[Sequence[Path]], output: Path | None, inputs: Sequence[Path]) -> None:
    """Check that no run is listed twice, and that the output can be written."""
    from dcase2018.inference.ensemble import input_files

    all_paths = [path for system in paths for path in system]
    files = [path for path in all_paths if path.is_file()]
    check_output(output, *inputs, *files, *input_files(set(all_paths) - set(files)))
    for system in paths:
        duplicates = [path for path in system if system.count(path) > 1]
        if duplicates:
            raise InputError(f"{duplicates[0]} is listed twice; --a-seed and --b-seed take other runs")


def _open_systems(paths: Sequence[Path], stores: Sequence[Path]) -> "Systems":
    from dcase2018.features.store import Store

    opened_stores = [Store(path) for path in stores]
    return {path: _open_system(path, opened_stores) for path in paths}


def _open_system(path: Path, stores: "Sequence[Store]") -> "Ensemble | pd.DataFrame":
    """Open a run or a folder of folds, or read a score file."""
    from dcase2018.evaluation.submission import read_scores
    from dcase2018.inference.ensemble import Ensemble

    if path.is_file():
        return read_scores(path)
    if not stores:
        raise InputError(f"{path} is a run; give the STORE of the clips instead of -")
    return Ensemble.open([path], stores)


def _require_runs(systems: "Systems", *paths: Path) -> "list[Ensemble]":
    """Return the opened runs, or raise `InputError` for a score file."""
    from dcase2018.inference.ensemble import Ensemble

    ensembles = []
    for path in paths:
        system = systems[path]
        if not isinstance(system, Ensemble):
            raise InputError(f"--report requires runs, and {path} is a score file; give the run")
        ensembles.append(system)
    return ensembles


def _common_classes(systems: "Systems") -> list[str]:
    """Return the classes of the systems, or raise `InputError` if they differ."""
    from dcase2018.inference.ensemble import Ensemble, check_classes

    classes = {
        path: list(system.classes if isinstance(system, Ensemble) else system.columns)
        for path, system in systems.items()
    }
    (first_path, first_classes), *others = classes.items()
    for path, names in others:
        check_classes(names, path, first_classes, first_path)
    return first_classes


def _select_scored(labels: "pd.DataFrame", systems: "Systems", skipped: dict[str, str]) -> "pd.DataFrame":
    """Drop the clips that a store or a score file lacks, and add them to `skipped`."""
    from dcase2018.inference.ensemble import Ensemble

    for path, system in systems.items():
        if isinstance(system, Ensemble):
            labels = select_stored(labels, system, skipped)
        else:
            labels = select_available(labels, system.index, path, skipped)
    return labels


def _evaluate(systems: "Systems", labels: "pd.DataFrame", allow_trained: bool) -> "dict[Path, Evaluation]":
    from dcase2018.evaluation.evaluate import evaluate
    from dcase2018.evaluation.submission import evaluate_scores
    from dcase2018.inference.ensemble import Ensemble

    ensembles = [system for system in systems.values() if isinstance(system, Ensemble)]
    for ensemble in ensembles:
        check_clips(ensemble, labels, allow_trained)
    if ensembles:
        load_keras()
    return {
        path: evaluate(system, labels, allow_trained)
        if isinstance(system, Ensemble)
        else evaluate_scores(system, labels, path)
        for path, system in systems.items()
    }
