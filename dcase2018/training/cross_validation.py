"""Cross-validation: a run a fold, and every clip scored by the network that has not learned it."""

import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from dcase2018.batching.dataset import LabeledDataset
from dcase2018.data.labels import class_names, multi_hot, verified_mask, write_table
from dcase2018.evaluation.metrics import average_precision
from dcase2018.features.store import Store
from dcase2018.inference.predictor import StorePredictor
from dcase2018.models.hparams import Preset
from dcase2018.runs.run import OUT_OF_FOLD_CSV, clear_run
from dcase2018.runs.training_state import StoppingCriteria
from dcase2018.training.experiment import Experiment
from dcase2018.utils.errors import InputError
from dcase2018.utils.parallel import InlineExecutor, run_tasks

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fold:
    """The training of one fold's network, and all clips that it does not learn from."""

    experiment: Experiment
    held_out: LabeledDataset


def plan_folds(
    path: Path,
    number: np.ndarray,
    preset: Preset,
    store: Store,
    labels: pd.DataFrame,
    classes: Sequence[str] | None = None,
    seed: int = 0,
) -> list[Fold]:
    """Plan a run for each fold, which learns the clips of all others.

    A fold's network is scored on the way by the fold's verified clips, if there are any. Its run is
    `path`/fold-N, N from 1.

    Parameters
    ----------
    number
        Fold of each clip, from 0 (see `dcase2018.corpus.folds` and `folds_from_column`), int, (clips,).

    Raises
    ------
    InputError
        If a clip is not in the store.
    """
    classes = list(classes or class_names(labels))
    planned = []
    for fold in range(max(number) + 1):
        held_out, learned = labels[number == fold], labels[number != fold]
        checked = held_out[verified_mask(held_out)]
        experiment = Experiment.create(
            path / f"fold-{fold + 1}",
            preset, store, learned, checked if len(checked) else None, classes, seed,
        )  # fmt: skip
        planned.append(Fold(experiment, LabeledDataset.from_labels(store, held_out, classes)))
    return planned


def remove_stale_folds(path: Path, planned: Sequence[Fold], force: bool) -> None:
    """Remove what a folder has of other folds, which would join the ensemble.

    Raises
    ------
    InputError
        If it has something of others, and not `force`.
    """
    own = [fold.experiment.run.path for fold in planned]
    others = [file.parent for file in path.glob("fold-*/run.json") if file.parent not in own]
    if others and not force:
        raise InputError(
            f"{others[0]} is none of these {len(own)} folds, and would join their ensemble;"
            " name another folder, or replace it with --force"
        )
    for other in others:
        clear_run(other)
        (other / "run.json").unlink()
        if not any(other.iterdir()):
            other.rmdir()
    begun = [fold.experiment.run.matches_existing(force) for fold in planned]
    if not all(begun):
        (path / OUT_OF_FOLD_CSV).unlink(missing_ok=True)


def fit_folds(
    chosen: Iterable[Fold],
    limits: StoppingCriteria,
    save_every: int,
    force: bool,
    workers: int,
    executors: Sequence[Executor] = (InlineExecutor(),),
) -> None:
    """Train the networks of some folds, as many at a time as there are places.

    The networks do not depend on the places. See `dcase2018.training.fit.fit` for the rest.
    """
    tasks = (partial(_train, fold.experiment, limits, save_every, force, workers) for fold in chosen)
    for path, over in run_tasks(tasks, executors):
        log.info("%s: %s", path, over)


def _train(
    experiment: Experiment, limits: StoppingCriteria, save_every: int, force: bool, workers: int
) -> tuple[Path, str]:
    from dcase2018.training.fit import fit  # Keras is loaded where a network learns, and nowhere else

    return experiment.run.path, fit(experiment, limits, save_every, force, workers=workers)


def save_out_of_fold(path: Path, planned: Sequence[Fold], executors: Sequence[Executor]) -> float | None:
    """Keep the scores of `out_of_fold` in the folder of folds, and tell that of `verified_map3`."""
    table = out_of_fold(planned, executors)
    write_table(path / OUT_OF_FOLD_CSV, table)
    return verified_map3(table)


def out_of_fold(chosen: Sequence[Fold], executors: Sequence[Executor] = (InlineExecutor(),)) -> pd.DataFrame:
    """Score every clip by the network of its fold.

    Returns
    -------
    DataFrame
        A row a clip, sorted by `fname`: its columns are `fname`, `labels` (parted by commas), `verified`,
        and a class each.
    """
    parts = run_tasks((partial(_score, fold) for fold in chosen), executors)
    return pd.concat(parts, ignore_index=True).sort_values("fname", ignore_index=True)


def _score(fold: Fold) -> pd.DataFrame:
    run, clips = fold.experiment.run, fold.held_out
    return StorePredictor(run, run.load_for_inference(), clips.store).table(clips)


def verified_map3(table: pd.DataFrame) -> float | None:
    """MAP@3 of the verified clips in a table of `out_of_fold`; None without any."""
    rows = table[table["verified"]]
    if not len(rows):
        return None
    classes = list(table.columns[3:])
    return float(average_precision(rows[classes].to_numpy(float), multi_hot(rows, classes)).mean())
