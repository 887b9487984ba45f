"""The command that compares taggers."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dcase2018.cli.common import (
    EXISTING,
    FILE,
    FOLDER,
    INPUT,
    OUTPUT_FOLDER,
    Command,
    check_output,
    extra_store_option,
    print_line,
    seed_option,
)
from dcase2018.cli.keras_setup import load_keras
from dcase2018.utils.atomic import write_json
from dcase2018.utils.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from dcase2018.evaluation.evaluate import Evaluation
    from dcase2018.features.store import Store
    from dcase2018.inference.ensemble import Ensemble

    Opened = dict[Path, Ensemble | pd.DataFrame]

NO_STORE = Path("-")


@click.command(
    cls=Command,
    epilog="Examples:\n"
    "  dcase2018 compare features/test.h5 data/test_post_competition.csv runs/first runs/second\n"
    "  dcase2018 compare - data/test_post_competition.csv first-scores.csv second-scores.csv",
)
@click.argument("store", type=click.Path(exists=True, dir_okay=False, path_type=Path, allow_dash=True))
@click.argument("labels_csv", type=INPUT)
@click.argument("a", type=EXISTING)
@click.argument("b", type=EXISTING)
@click.option("--a-seed", "with_a", type=EXISTING, multiple=True, help="A, trained with another seed.")
@click.option("--b-seed", "with_b", type=EXISTING, multiple=True, help="B, trained with another seed.")
@extra_store_option
@click.option("--output", type=FILE, help="Write all that is told to this .json too.")
@click.option(
    "--report",
    "report_folder",
    type=OUTPUT_FOLDER,
    help="Make a page of A and B side by side here, as report does.",
)
@click.option("--audio", type=FOLDER, help="Take the sound of that page's clips from this folder.")
@seed_option
def compare(
    store: Path,
    labels_csv: Path,
    a: Path,
    b: Path,
    with_a: tuple[Path, ...],
    with_b: tuple[Path, ...],
    more_stores: tuple[Path, ...],
    output: Path | None,
    report_folder: Path | None,
    audio: Path | None,
    seed: int,
) -> None:
    """Tell whether B is better than A on the clips of LABELS_CSV.

    A and B are runs, folders of folds, or files of predict --scores-output; STORE has the features, and is - where
    only files are compared. The difference of MAP@3 has a 95 % interval and a p-value: what other clips
    would have given. Several seeds a side are compared by their means, and what other seeds would have
    given is told apart.
    """
    if output and output.suffix != ".json":
        raise InputError(f"--output {output} must end in .json")
    stores = (store, *more_stores) if store != NO_STORE else more_stores
    sides = (a, *with_a), (b, *with_b)
    from dcase2018.inference.ensemble import input_files

    named = [*sides[0], *sides[1]]
    files = [path for path in named if path.is_file()]
    check_output(output, labels_csv, *stores, *files, *input_files(set(named) - set(files)))
    if audio and not report_folder:
        raise InputError("--audio is for the page of --report; give that too")
    from dcase2018.data.labels import read_labels
    from dcase2018.evaluation.significance import compare, render_comparison
    from dcase2018.report.writer import check_report, report_sides

    opened = _open_sides(sides, stores)
    labels = read_labels(labels_csv, _common_classes(opened))
    shown = _shown(opened, a, b) if report_folder else []
    if report_folder:
        check_report(report_folder, labels, audio)
    evaluated = _evaluate(opened, labels)
    before, after = ([evaluated[path] for path in side] for side in sides)
    told = compare(before, after, seed)
    print_line(render_comparison(told))
    if output:
        write_json(output, told)
    if report_folder:
        both = list(zip(shown, (evaluated[a], evaluated[b]), strict=True))
        print_line(str(report_sides(both, report_folder, audio)))


def _open_sides(sides: Sequence[Sequence[Path]], stores: Sequence[Path]) -> "Opened":
    """Open what stands on each side."""
    from dcase2018.features.store import Store

    if any(len(set(side)) < len(side) for side in sides):
        raise InputError("a run that is given twice is no other seed")
    found = [Store(path) for path in stores]
    return {path: _open(path, found) for side in sides for path in side}


def _evaluate(opened: "Opened", labels: "pd.DataFrame") -> "dict[Path, Evaluation]":
    from dcase2018.inference.ensemble import Ensemble

    ensembles = [tagger for tagger in opened.values() if isinstance(tagger, Ensemble)]
    for ensemble in ensembles:
        ensemble.validate_clips(labels["fname"])  # before the wait for Keras
    if ensembles:
        load_keras()
    from dcase2018.evaluation.evaluate import evaluate
    from dcase2018.evaluation.submission import evaluate_scores

    return {
        path: evaluate(tagger, labels) if isinstance(tagger, Ensemble) else evaluate_scores(tagger, labels)
        for path, tagger in opened.items()
    }


def _shown(opened: "Opened", *paths: Path) -> "list[Ensemble]":
    """The taggers that a page can show, with the frames that they hear."""
    from dcase2018.inference.ensemble import Ensemble

    taggers = [opened[path] for path in paths]
    for path, tagger in zip(paths, taggers, strict=True):
        if not isinstance(tagger, Ensemble):
            raise InputError(f"--report shows what runs hear, and {path} is a file of scores; give the run")
    return taggers  # type: ignore[return-value]


def _open(path: Path, stores: "Sequence[Store]") -> "Ensemble | pd.DataFrame":
    """Open a run or a folder of folds, or read a file of scores."""
    from dcase2018.evaluation.submission import read_scores
    from dcase2018.inference.ensemble import Ensemble

    if path.is_file():
        return read_scores(path)
    if not stores:
        raise InputError(f"{path} is a folder; to score a run, give the STORE of the clips instead of -")
    return Ensemble.open([path], stores)


def _common_classes(opened: "Opened") -> list[str]:
    """The classes that all tell apart, which must be the same."""
    from dcase2018.inference.ensemble import Ensemble, check_classes

    classes = {
        path: list(tagger.classes if isinstance(tagger, Ensemble) else tagger.columns)
        for path, tagger in opened.items()
    }
    (first, common), *others = classes.items()
    for path, names in others:
        check_classes(names, path, common, first)
    return common
