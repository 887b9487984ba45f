"""The command that compares taggers."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dcase2018.foundation import InputError
from dcase2018.loading import load_keras
from dcase2018.program import EXISTING, FILE, INPUT, Command, check_output, say, seed_option

if TYPE_CHECKING:
    import pandas as pd

    from dcase2018.features import Store
    from dcase2018.runs import Ensemble
    from dcase2018.scoring import Evaluation

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
@click.option("--with-a", type=EXISTING, multiple=True, help="A, trained with another seed.")
@click.option("--with-b", type=EXISTING, multiple=True, help="B, trained with another seed.")
@click.option(
    "--store",
    "more_stores",
    type=INPUT,
    multiple=True,
    help="Another store of the same clips, for runs of another recipe.",
)
@click.option("--output", type=FILE, help="Write all that is told to this .json too.")
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
    seed: int,
) -> None:
    """Tell whether B is better than A on the clips of LABELS_CSV.

    A and B are runs, folders of folds, or files of predict --scores; STORE has the features, and is - where
    only files are compared. The difference of MAP@3 has a 95 % interval and a p-value: what other clips
    would have given. Several seeds a side are compared by their means, and what other seeds would have
    given is told apart.
    """
    if output and output.suffix != ".json":
        raise InputError(f"--output {output} must end in .json")
    stores = (store, *more_stores) if store != NO_STORE else more_stores
    sides = (a, *with_a), (b, *with_b)
    from dcase2018.runs import run_files

    named = [*sides[0], *sides[1]]
    files = [path for path in named if path.is_file()]
    check_output(output, labels_csv, *stores, *files, *run_files(set(named) - set(files)))
    from dcase2018.reporting import compare, render_comparison, write_comparison

    before, after = _evaluate(sides, labels_csv, stores)
    told = compare(before, after, seed)
    say(render_comparison(told))
    if output:
        write_comparison(output, told)


def _evaluate(
    sides: Sequence[Sequence[Path]], labels_csv: Path, stores: Sequence[Path]
) -> "list[list[Evaluation]]":
    """Evaluate what stands on each side."""
    from dcase2018.corpus import read_labels
    from dcase2018.features import Store
    from dcase2018.runs import Ensemble

    if any(len(set(side)) < len(side) for side in sides):
        raise InputError("a run that is given twice is no other seed")
    found = [Store(path) for path in stores]
    opened = {path: _open(path, found) for side in sides for path in side}
    labels = read_labels(labels_csv, _common_classes(opened))
    ensembles = [tagger for tagger in opened.values() if isinstance(tagger, Ensemble)]
    for ensemble in ensembles:
        ensemble.check_clips(labels["fname"])  # before the wait for Keras
    if ensembles:
        load_keras()
    from dcase2018.scoring import evaluate, evaluate_scores

    evaluated = {
        path: evaluate(tagger, labels) if isinstance(tagger, Ensemble) else evaluate_scores(tagger, labels)
        for path, tagger in opened.items()
    }
    return [[evaluated[path] for path in side] for side in sides]


def _open(path: Path, stores: "Sequence[Store]") -> "Ensemble | pd.DataFrame":
    """Open a run or a folder of folds, or read a file of scores."""
    from dcase2018.runs import Ensemble
    from dcase2018.scoring import read_predictions

    if path.is_file():
        return read_predictions(path)
    if not stores:
        raise InputError(f"{path} is a folder; to score a run, give the STORE of the clips instead of -")
    return Ensemble.open([path], stores)


def _common_classes(opened: "dict[Path, Ensemble | pd.DataFrame]") -> list[str]:
    """The classes that all tell apart, which must be the same."""
    from dcase2018.runs import Ensemble

    classes = {
        path: list(tagger.classes if isinstance(tagger, Ensemble) else tagger.columns)
        for path, tagger in opened.items()
    }
    first = next(iter(classes))
    for path, others in classes.items():
        if others != classes[first]:
            odd = sorted(set(others) ^ set(classes[first])) or ["their order"]
            raise InputError(f"the classes of {path} are not those of {first}: {', '.join(odd)}")
    return classes[first]
