"""Ensembles: runs whose scores are averaged, each with a store of its feature config."""

import dataclasses
import logging
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from dcase2018.features.store import Store
from dcase2018.runs.run import OUT_OF_FOLD_CSV, RUN_FILES, Run, reported_classes
from dcase2018.runs.training_clips import ClipKey
from dcase2018.utils.atomic import StrPath
from dcase2018.utils.errors import InputError, shorten_list
from dcase2018.utils.input_files import as_paths

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class EnsembleMember:
    """A run and a store of its feature config."""

    run: Run
    store: Store


@dataclasses.dataclass(frozen=True)
class Ensemble:
    """One run, or several runs whose scores are averaged.

    Runs with the same `clip_pooling` are averaged by that mean, and others by the arithmetic mean.

    Attributes
    ----------
    members
        The runs with their stores.
    checkpoint
        Step of the checkpoint to load, or "best". Default: the trained networks.

    Examples
    --------
    >>> from dcase2018 import Ensemble, Store
    >>> ensemble = Ensemble.open(["runs/first", "runs/second"], Store("features/test.h5"))
    """

    members: Sequence[EnsembleMember]
    checkpoint: int | str | None = None

    def __post_init__(self) -> None:
        if not self.members:
            raise InputError("an ensemble needs at least one run")

    def __repr__(self) -> str:
        paths = shorten_list([str(member.run.path) for member in self.members])
        return f"<Ensemble of {paths}: {len(self.classes)} classes>"

    @classmethod
    def open(
        cls,
        runs: StrPath | Sequence[StrPath],
        stores: Store | Sequence[Store],
        checkpoint: int | str | None = None,
        **hparams: Any,
    ) -> "Ensemble":
        """Read runs, and select for each the store with its feature config.

        Parameters
        ----------
        runs
            One run folder or several. A folder of folds counts as its runs.
        stores
            One store or several, of the same clips.
        hparams
            Hyperparameters that replace those of the runs: `inference_hop_seconds`, `clip_pooling`. None
            keeps the runs' own value.

        Raises
        ------
        InputError
            If `runs` or `stores` is empty, a folder is not a run or lacks the checkpoint, no
            store has a run's feature config, or the classes of the runs differ.
        """
        stores = [stores] if isinstance(stores, Store) else stores
        if not stores:
            raise InputError("stores is empty; give one Store or more")
        opened = open_runs(runs, checkpoint, **hparams)
        return cls([EnsembleMember(run, _matching_store(run, stores)) for run in opened], checkpoint)

    @property
    def classes(self) -> Sequence[str]:
        """Class names, in the order of the scores."""
        return self.members[0].run.classes

    @property
    def reported_classes(self) -> list[str]:
        """Classes that are no background class of any member."""
        return hide_classes([member.run for member in self.members])

    def validate_clips(self, fnames: Iterable[str]) -> None:
        """Check that the stores of all members have the clips, and warn about those that get no scores.

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
            unusable = rows[(store.lengths[rows] == 0) | store.is_silent[rows]]
            if len(unusable):
                names = [f"{store.fnames[row]} ({store.errors[row] or 'silent'})" for row in unusable]
                log.warning(
                    "%s: silent clips and clips without frames get the classes most frequent in training: %s",
                    store.path, shorten_list(names),
                )  # fmt: skip

    def find_training_clips(self, fnames: Sequence[str]) -> np.ndarray:
        """Find the clips that the network of a member was trained on: bool, (clips,).

        A clip is identified by its name and the CRC-32 of its frames.

        Raises
        ------
        InputError
            If a clip is not in a store, or a run does not list its training clips.
        """
        is_trained = np.zeros(len(fnames), bool)
        for member in self.members:
            training_clips = member.run.training_clips()
            is_trained |= [key in training_clips for key in _clip_keys(member.store, fnames)]
        return is_trained

    def warn_of_namesakes(self, fnames: Sequence[str]) -> None:
        """Warn about clips that have the name of a training clip but other frames.

        They are clips of another corpus, or new versions of training clips. Errors are those of
        `find_training_clips`.
        """
        namesakes: set[str] = set()
        for member in self.members:
            training_clips = member.run.training_clips()
            names = {fname for fname, _ in training_clips}
            keys = _clip_keys(member.store, fnames)
            namesakes |= {key[0] for key in keys if key[0] in names and key not in training_clips}
        if namesakes:
            log.warning(
                "%d clips have the name of a training clip but other frames, and are scored as new clips: %s",
                len(namesakes), shorten_list(sorted(namesakes)),
            )  # fmt: skip


def _clip_keys(store: Store, fnames: Sequence[str]) -> list[ClipKey]:
    return list(zip(fnames, store.crc32[store.rows_of(fnames)].tolist(), strict=True))


def open_runs(
    runs: StrPath | Sequence[StrPath], checkpoint: int | str | None = None, **hparams: Any
) -> list[Run]:
    """Read the runs of an ensemble; parameters and errors are those of `Ensemble.open`."""
    paths = as_paths(runs, "runs")
    overrides = {name: value for name, value in hparams.items() if value is not None}
    opened: list[Run] = []
    for path in chain.from_iterable(map(_expand_fold_dirs, paths)):
        run = Run.load(path)
        run.model_file(checkpoint)
        opened.append(dataclasses.replace(run, hparams=dataclasses.replace(run.hparams, **overrides)))
        check_classes(run.classes, path, opened[0].classes, opened[0].path)
    return opened


def hide_classes(runs: Sequence[Run], hide: Collection[str] = ()) -> list[str]:
    """Return the classes of an ensemble without the background classes of its runs and those of `hide`.

    Raises
    ------
    InputError
        If a hidden class does not exist, or no class remains.
    """
    background = {name for run in runs for name in run.background_classes}
    return reported_classes(runs[0].classes, background.union(hide), "--hide")


def check_classes(classes: Sequence[str], path: Path, expected: Sequence[str], expected_path: Path) -> None:
    """Raise `InputError` that names the differences, unless two runs have the same classes in one order."""
    if list(classes) != list(expected):
        differences = sorted(set(classes) ^ set(expected)) or ["their order"]
        raise InputError(f"the classes of {path} are not those of {expected_path}: {', '.join(differences)}")


def _matching_store(run: Run, stores: Sequence[Store]) -> Store:
    matching = [store for store in stores if store.feature_config == run.feature_config]
    if not matching:
        stores[0].check_config(run.feature_config, f"the run {run.path}")
    return matching[0]


def input_files(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield the paths of all files and folders that runs, or folders of folds, may contain."""
    for path in paths:
        yield path / OUT_OF_FOLD_CSV
        for run in _expand_fold_dirs(path):
            yield from (run / name for name in ("run.json", *RUN_FILES))


def _expand_fold_dirs(path: Path) -> list[Path]:
    """Return the runs in a folder of folds, or the path itself if it is a run."""
    if (path / "run.json").exists():
        return [path]
    return sorted(folder.parent for folder in path.glob("fold-*/run.json")) or [path]
