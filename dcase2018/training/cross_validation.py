"""Cross-validation: one run per fold, and out-of-fold scores of every clip."""

import logging
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from dcase2018.batching.dataset import LabeledDataset
from dcase2018.data.labels import class_names, verified_mask, write_table
from dcase2018.evaluation.out_of_fold import OutOfFold
from dcase2018.features.store import Store
from dcase2018.inference.predictor import StorePredictor
from dcase2018.models.hparams import Preset
from dcase2018.runs.run import OUT_OF_FOLD_CSV, clear_run
from dcase2018.runs.training_state import StoppingCriteria
from dcase2018.training.experiment import Experiment
from dcase2018.utils.errors import InputError
from dcase2018.utils.parallel import INLINE, Submit, run_tasks

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fold:
    """The experiment of one fold, and all clips that it does not train on."""

    experiment: Experiment
    held_out: LabeledDataset


def plan_folds(
    path: Path,
    fold_of_clip: np.ndarray,
    preset: Preset,
    store: Store,
    labels: pd.DataFrame,
    classes: Sequence[str] | None = None,
    seed: int = 0,
    background: Collection[str] = (),
) -> list[Fold]:
    """Create an experiment per fold, which trains on the clips of all other folds.

    The verified clips of a fold, if any, are its validation clips. The run folders are `path`/fold-N, with N
    from 1.

    Parameters
    ----------
    path
        Folder of the run folders.
    fold_of_clip
        Fold of each clip, from 0, int, (clips,); see `stratified_folds` and `folds_from_column`.
    preset, store, labels, classes, seed, background
        See `Experiment.create`.

    Raises
    ------
    InputError
        If a clip is not in the store.
    """
    classes = list(classes or class_names(labels))
    folds = []
    for index in range(max(fold_of_clip) + 1):
        held_out, training = labels[fold_of_clip == index], labels[fold_of_clip != index]
        verified = held_out[verified_mask(held_out)]
        experiment = Experiment.create(
            path / f"fold-{index + 1}",
            preset, store, training, verified if len(verified) else None, classes, seed,
            background=background,
        )  # fmt: skip
        folds.append(Fold(experiment, LabeledDataset.from_labels(store, held_out, classes)))
    return folds


def remove_stale_folds(path: Path, folds: Sequence[Fold], overwrite: bool) -> None:
    """Remove runs of other folds from a folder, which would otherwise become part of the ensemble.

    Raises
    ------
    InputError
        If there are runs of other folds, unless `overwrite`.
    """
    paths = [fold.experiment.run.path for fold in folds]
    stale = [file.parent for file in path.glob("fold-*/run.json") if file.parent not in paths]
    if stale and not overwrite:
        raise InputError(
            f"{stale[0]} is not one of these {len(folds)} folds and would be part of their ensemble;"
            " name another folder, or replace it with --overwrite"
        )
    for folder in stale:
        clear_run(folder)
        (folder / "run.json").unlink()
        if not any(folder.iterdir()):
            folder.rmdir()
    matches = [fold.experiment.run.matches_existing(overwrite) for fold in folds]  # each may raise
    if not all(matches):
        (path / OUT_OF_FOLD_CSV).unlink(missing_ok=True)


def fit_folds(
    folds: Iterable[Fold],
    criteria: StoppingCriteria,
    save_every: int,
    overwrite: bool,
    jobs: int | None,
    workers: Sequence[Submit] = INLINE,
    keep_checkpoints: int | None = None,
) -> None:
    """Train the models of folds, one at a time per worker; see `dcase2018.training.fit.fit`."""
    options = (criteria, save_every, overwrite, jobs, keep_checkpoints)
    tasks = (partial(_train_fold, fold.experiment, *options) for fold in folds)
    for path, reason in run_tasks(tasks, workers):
        log.info("%s: %s", path, reason)


def _train_fold(
    experiment: Experiment,
    criteria: StoppingCriteria,
    save_every: int,
    overwrite: bool,
    jobs: int | None,
    keep_checkpoints: int | None,
) -> tuple[Path, str]:
    from dcase2018.training.fit import fit  # imports Keras, only in the process that trains

    reason = fit(experiment, criteria, save_every, overwrite, jobs=jobs, keep_checkpoints=keep_checkpoints)
    return experiment.run.path, reason


def save_out_of_fold(path: Path, folds: Sequence[Fold], workers: Sequence[Submit]) -> OutOfFold:
    """Write out-of-fold scores to a file in the folder of folds, and return them."""
    table = out_of_fold(folds, workers)
    write_table(path / OUT_OF_FOLD_CSV, table)
    return OutOfFold.from_table(table)


def out_of_fold(folds: Sequence[Fold], workers: Sequence[Submit] = INLINE) -> pd.DataFrame:
    """Score every clip with the model of its fold.

    Returns
    -------
    DataFrame
        One row per clip, sorted by `fname`, with columns `fname`, `labels` (separated by commas),
        `verified`, `fold` (from 1) and one per class.
    """
    tasks = (partial(_score_fold, fold, number) for number, fold in enumerate(folds, 1))
    tables = run_tasks(tasks, workers)
    return pd.concat(tables, ignore_index=True).sort_values("fname", ignore_index=True)


def _score_fold(fold: Fold, number: int) -> pd.DataFrame:
    run, clips = fold.experiment.run, fold.held_out
    table = StorePredictor(run, run.load_for_inference(), clips.store).table(clips)
    table.insert(3, "fold", number)
    return table
