"""Ensembles: runs that score the same clips together, each from the store of its own feature_config."""

import dataclasses
import logging
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from dcase2018.features.store import Store
from dcase2018.runs.run import OUT_OF_FOLD_CSV, RUN_FILES, Run
from dcase2018.utils.atomic import StrPath
from dcase2018.utils.errors import InputError, shorten_list

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class EnsembleMember:
    """A run of an ensemble, with the store of its feature_config."""

    run: Run
    store: Store


@dataclasses.dataclass(frozen=True)
class Ensemble:
    """Runs that score the same clips together: one, or several whose scores are averaged.

    Attributes
    ----------
    members
        Each with its `run` and its `store`.
    which
        The networks of this step, or `dcase2018.runs.run.BEST`; the trained ones, if None.
    """

    members: Sequence[EnsembleMember]
    checkpoint: int | str | None = None

    @classmethod
    def open(
        cls,
        runs: Sequence[StrPath],
        stores: Sequence[Store],
        checkpoint: int | str | None = None,
        **scoring: Any,
    ) -> "Ensemble":
        """Find for each run the store that was made by its feature_config. A folder of folds stands for its runs.

        Parameters
        ----------
        scoring
            Hyperparameters of scoring to use instead of the runs' own: inference_hop_seconds, clip_pooling. What
            is None stays theirs.

        Raises
        ------
        InputError
            If one is no run or has no such network, no store is of its feature_config, or the runs' classes differ.
        """
        return cls(
            [EnsembleMember(run, _store_of(run, stores)) for run in open_runs(runs, checkpoint, **scoring)],
            checkpoint,
        )

    @property
    def classes(self) -> Sequence[str]:
        """The classes that it tells apart, in the order of its scores."""
        return self.members[0].run.classes

    def validate_clips(self, fnames: Iterable[str]) -> None:
        """Look the clips up in the stores of all members, and tell of those that have no frames there.

        Raises
        ------
        InputError
            If a clip is not in a store.
        Dcase2018Error
            If a clip's frames are damaged.
        """
        fnames = list(fnames)
        for store in {id(member.store): member.store for member in self.members}.values():
            rows = store.rows_of(fnames)
            silent = rows[store.lengths[rows] == 0]
            if len(silent):
                names = [f"{store.fnames[row]} ({store.errors[row]})" for row in silent]
                log.warning(
                    "%s: without frames, so that they get the classes most frequent in training: %s",
                    store.path, shorten_list(names),
                )  # fmt: skip


def open_runs(runs: Sequence[StrPath], checkpoint: int | str | None = None, **scoring: Any) -> list[Run]:
    """Read runs that are to score together; parameters and what is raised are those of `Ensemble.open`."""
    given = {name: value for name, value in scoring.items() if value is not None}
    opened: list[Run] = []
    for path in chain.from_iterable(_fold_runs(Path(path)) for path in runs):
        run = Run.load(path)
        run.model_file(checkpoint)
        opened.append(dataclasses.replace(run, hparams=dataclasses.replace(run.hparams, **given)))
        check_classes(run.classes, path, opened[0].classes, opened[0].path)
    return opened


def check_classes(mine: Sequence[str], my_path: Path, theirs: Sequence[str], their_path: Path) -> None:
    """Raise `InputError`, naming those that differ, unless two taggers tell apart the same classes."""
    if list(mine) != list(theirs):
        odd = sorted(set(mine) ^ set(theirs)) or ["their order"]
        raise InputError(f"the classes of {my_path} are not those of {their_path}: {', '.join(odd)}")


def _store_of(run: Run, stores: Sequence[Store]) -> Store:
    fitting = [store for store in stores if store.feature_config == run.feature_config]
    if not fitting:
        stores[0].check_config(run.feature_config, f"the run {run.path}")
    return fitting[0]


def input_files(paths: Iterable[Path]) -> Iterator[Path]:
    """Walk what runs, or folders of folds, keep, whether it is there or not: files, and folders of them."""
    for path in paths:
        yield path / OUT_OF_FOLD_CSV
        for run in _fold_runs(path):
            yield from (run / name for name in ("run.json", *RUN_FILES))


def _fold_runs(path: Path) -> list[Path]:
    """The runs in a folder of folds; otherwise the path itself."""
    if (path / "run.json").exists():
        return [path]
    return sorted(folder.parent for folder in path.glob("fold-*/run.json")) or [path]
