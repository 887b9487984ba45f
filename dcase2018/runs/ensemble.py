"""Ensembles: runs that score the same clips together, each from the store of its own recipe."""

import dataclasses
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from dcase2018.features import Store
from dcase2018.foundation import InputError
from dcase2018.runs.run import Run


@dataclasses.dataclass(frozen=True)
class Member:
    """A run of an ensemble, with the store of its recipe."""

    run: Run
    store: Store


def open_ensemble(
    paths: Sequence[Path], stores: Sequence[Store], which: int | str | None = None
) -> list[Member]:
    """Read the runs that shall score the same clips together, each from the store of its own recipe.

    A folder of folds stands for the runs in it.

    Raises
    ------
    InputError
        If one is no run or has no such network, no store is of its recipe, or the runs' classes differ.
    """
    members: list[Member] = []
    for path in chain.from_iterable(map(_fold_runs, paths)):
        run = Run.load(path)
        run.model_file(which)
        fitting = [store for store in stores if store.recipe == run.recipe]
        if not fitting:
            stores[0].check_recipe(run.recipe, f"the run {path}")
        members.append(Member(run, fitting[0]))
        first = members[0].run
        if list(run.classes) != list(first.classes):
            odd = sorted(set(run.classes) ^ set(first.classes)) or ["their order"]
            raise InputError(f"the classes of {path} are not those of {first.path}: {', '.join(odd)}")
    return members


def _fold_runs(path: Path) -> list[Path]:
    """The runs in a folder of folds; otherwise the path itself."""
    if (path / "run.json").exists():
        return [path]
    return sorted(folder.parent for folder in path.glob("fold-*/run.json")) or [path]
