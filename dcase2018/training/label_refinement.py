"""Label refinement during training: unverified labels become soft targets.

With mixup, masking and a high learning rate, a network fits patterns that many clips share long before it
memorizes single wrong labels (Arpit et al., "A closer look at memorization in deep networks", 2017). Its
predictions on the training clips therefore reveal most label errors. Refinement combines predictions and
given labels to class posteriors, and training continues with these as targets.

The target of a clip sums to 1 minus its probability of none of the classes. With mixup, a clip of none of the
classes therefore has a small share in the mixed target. The sum of the mixed target is a factor of the
example's weight.
"""

import logging
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from dcase2018.data.labels import write_table
from dcase2018.evaluation.out_of_fold import read_out_of_fold
from dcase2018.inference.predictor import StorePredictor
from dcase2018.label_quality.noise_model import estimate_posterior
from dcase2018.models.backend import keras
from dcase2018.training.experiment import Experiment
from dcase2018.utils.errors import InputError

log = logging.getLogger(__name__)

MSG_RESTART = "training cannot resume without it; train again with --overwrite"


def score_training_clips(experiment: Experiment, inference_model: keras.Model, step: int) -> int:
    """Write the model's predictions on the training clips after `step` steps to a file of the run.

    Returns
    -------
    int
        CRC-32 of the file.
    """
    clips, run = experiment.training, experiment.run
    log.info("label refinement after step %d: predicting the training clips ...", step)
    table = StorePredictor(run, inference_model, clips.store).table(clips)
    path = run.refinement_scores_path(step)
    write_table(path, table.drop_duplicates("fname"))
    return zlib.crc32(path.read_bytes())


def refined_targets(experiment: Experiment, step: int, checksums: Mapping[int, int]) -> np.ndarray:
    """Return the targets of the training clips at a step: float, (clips, classes).

    They are the given labels before the first refinement. Afterwards, the target of an unverified clip is
    the class posterior, from the predictions that `score_training_clips` wrote. It sums to 1 minus the
    probability of none of the classes.

    Parameters
    ----------
    checksums
        CRC-32 of each file of predictions, by step.

    Raises
    ------
    InputError
        If a file of predictions is missing, damaged or incomplete.
    """
    clips = experiment.training
    done_steps = [refinement for refinement in experiment.refinement_steps if refinement <= step]
    if not done_steps:
        return clips.y_true
    path = experiment.run.refinement_scores_path(done_steps[-1])
    scores = _read_scores(path, experiment)
    if zlib.crc32(path.read_bytes()) != checksums.get(done_steps[-1]):
        raise InputError(f"{path} was changed: its checksum is wrong; {MSG_RESTART}")
    estimate = estimate_posterior(
        np.array(clips.classes), scores, clips.y_true.argmax(axis=1), clips.verified
    )
    log.info(
        "label refinement after step %d: about %.0f %% of unverified labels are wrong"
        " (%.0f %% of none of the classes), %d targets changed",
        done_steps[-1], 100 * estimate.noise_rate, 100 * estimate.none_rate,
        estimate.has_other_class.sum(),
    )  # fmt: skip
    return estimate.posterior


def _read_scores(path: Path, experiment: Experiment) -> np.ndarray:
    """Read the predictions on the training clips: float, (clips, classes)."""
    clips = experiment.training
    fnames = [clips.store.fnames[row] for row in clips.rows]
    try:
        scores = read_out_of_fold(path).reindex(index=fnames, columns=clips.classes)
    except InputError as error:
        raise InputError(f"{error}; {MSG_RESTART}") from None
    if scores.isna().any(axis=None):
        raise InputError(f"{path} lacks clips or classes of this run; {MSG_RESTART}")
    return scores.to_numpy()
