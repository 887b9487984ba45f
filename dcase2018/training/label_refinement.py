"""Doubts: unverified labels are weighed, on the way, against what the network hears.

A network that learns with mixtures, masks and a high rate learns what many clips agree on long before it
learns single wrong labels by heart (Arpit et al., "A closer look at memorization in deep networks", 2017). So
after a part of its training it tells most wrong labels, of the very clips that it learns from, and learns on
from what label and network together make likely.
"""

import logging
from pathlib import Path

import keras
import numpy as np

from dcase2018.data.labels import write_table
from dcase2018.inference.predictor import StorePredictor
from dcase2018.label_quality.noise_model import estimate_posterior, read_out_of_fold
from dcase2018.training.experiment import Experiment
from dcase2018.utils.errors import InputError

log = logging.getLogger(__name__)

AGAIN = "without it the training cannot go on as it began; begin anew with --force"


def refined_targets(experiment: Experiment, scoring: keras.Model, step: int) -> np.ndarray:
    """What is held to be true of each clip from a step on: float (clips, classes).

    It is the labels until the first doubt; then, of an unverified clip, how likely each class is. What the
    network said is kept in a file of the run, so that a training which goes on later is told the same.

    Parameters
    ----------
    scoring
        The network as it is after `step` steps, with its scores.

    Raises
    ------
    InputError
        If a file of what was heard is gone or damaged.
    """
    clips, run = experiment.training, experiment.run
    past = [doubt for doubt in experiment.refinement_steps if doubt <= step]
    if not past:
        return clips.y_true
    file = run.refinement_scores_path(past[-1])
    if step == past[-1]:
        log.info("doubts after step %d: listening to the training clips ...", step)
        write_table(file, StorePredictor(run, scoring, clips.store).table(clips).drop_duplicates("fname"))
    _, y_true, error = estimate_posterior(_read(file, experiment), clips.y_true, clips.verified)
    moved = ~clips.verified & (y_true.argmax(axis=1) != clips.y_true.argmax(axis=1))
    log.info(
        "doubts after step %d: about %.0f %% of unverified labels are wrong, and %d clips held for others",
        past[-1], 100 * error, moved.sum(),
    )  # fmt: skip
    return y_true


def _read(file: Path, experiment: Experiment) -> np.ndarray:
    """What the network said of each clip: (clips, classes)."""
    clips = experiment.training
    fnames = [clips.store.fnames[row] for row in clips.rows]
    try:
        said = read_out_of_fold(file).reindex(index=fnames, columns=clips.classes)
    except InputError as error:
        raise InputError(f"{error}; {AGAIN}") from None
    if said.isna().any(axis=None):
        raise InputError(f"{file} lacks clips or classes of this run; {AGAIN}")
    return said.to_numpy()
