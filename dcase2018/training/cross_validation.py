"""Cross-validation: a run a fold, and every clip scored by the network that has not learned it."""

import logging
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from dcase2018.batching.dataset import LabelledClips
from dcase2018.data.labels import class_names, class_truth, verified, write_table
from dcase2018.evaluation.metrics import average_precision
from dcase2018.features.store import Store
from dcase2018.inference.predictor import Tagger
from dcase2018.models.hparams import Preset
from dcase2018.runs.run import OUT_OF_FOLD, clear_run
from dcase2018.runs.training_state import Limits
from dcase2018.training.experiment import Experiment
from dcase2018.utils.errors import InputError
from dcase2018.utils.parallel import Here, results

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Fold:
    """The training of one fold's network, and all clips that it does not learn from."""

    experiment: Experiment
    held_out: LabelledClips


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
        Fold of each clip, from 0 (see `dcase2018.corpus.folds` and `named_folds`), int, (clips,).

    Raises
    ------
    InputError
        If a clip is not in the store.
    """
    classes = list(classes or class_names(labels))
    planned = []
    for fold in range(max(number) + 1):
        held_out, learned = labels[number == fold], labels[number != fold]
        checked = held_out[verified(held_out)]
        experiment = Experiment.plan(
            path / f"fold-{fold + 1}",
            preset, store, learned, checked if len(checked) else None, classes, seed,
        )  # fmt: skip
        planned.append(Fold(experiment, LabelledClips.find(store, held_out, classes)))
    return planned


def make_way(path: Path, planned: Sequence[Fold], force: bool) -> None:
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
    begun = [fold.experiment.run.is_begun(force) for fold in planned]
    if not all(begun):
        (path / OUT_OF_FOLD).unlink(missing_ok=True)


def fit_folds(
    chosen: Iterable[Fold],
    limits: Limits,
    checkpoint_steps: int,
    force: bool,
    workers: int,
    places: Sequence[Executor] = (Here(),),
) -> None:
    """Train the networks of some folds, as many at a time as there are places.

    The networks do not depend on the places. See `dcase2018.training.fit.fit` for the rest.
    """
    tasks = (partial(_train, fold.experiment, limits, checkpoint_steps, force, workers) for fold in chosen)
    for path, over in results(tasks, places):
        log.info("%s: %s", path, over)


def _train(
    experiment: Experiment, limits: Limits, checkpoint_steps: int, force: bool, workers: int
) -> tuple[Path, str]:
    from dcase2018.training.fit import fit  # Keras is loaded where a network learns, and nowhere else

    return experiment.run.path, fit(experiment, limits, checkpoint_steps, force, workers=workers)


def keep_out_of_fold(path: Path, planned: Sequence[Fold], places: Sequence[Executor]) -> float | None:
    """Keep the scores of `out_of_fold` in the folder of folds, and tell that of `verified_score`."""
    table = out_of_fold(planned, places)
    write_table(path / OUT_OF_FOLD, table)
    return verified_score(table)


def out_of_fold(chosen: Sequence[Fold], places: Sequence[Executor] = (Here(),)) -> pd.DataFrame:
    """Score every clip by the network of its fold.

    Returns
    -------
    DataFrame
        A row a clip, sorted by `fname`: its columns are `fname`, `labels` (parted by commas), `verified`,
        and a class each.
    """
    parts = results((partial(_score, fold) for fold in chosen), places)
    return pd.concat(parts, ignore_index=True).sort_values("fname", ignore_index=True)


def _score(fold: Fold) -> pd.DataFrame:
    run, clips = fold.experiment.run, fold.held_out
    return Tagger(run, run.load_model(), clips.store).table(clips)


def verified_score(table: pd.DataFrame) -> float | None:
    """MAP@3 of the verified clips in a table of `out_of_fold`; None without any."""
    rows = table[table["verified"]]
    if not len(rows):
        return None
    classes = list(table.columns[3:])
    return float(average_precision(rows[classes].to_numpy(float), class_truth(rows, classes)).mean())
