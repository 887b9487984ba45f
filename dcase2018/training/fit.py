"""Training: a network learns from the examples of labelled clips, and a run folder keeps it.

A training that was stopped, in order or by force, goes on from its last checkpoint to the very weights
that it would have reached undisturbed: a batch is a function of its number, a checkpoint's network has its
optimizer, and all else that changes on the way (random layers, what is counted) is in its `State`.
"""

import dataclasses
import logging
import os
import shutil
from collections.abc import Callable

import keras
import numpy as np

from dcase2018.batching.augmentation import Augmentation
from dcase2018.batching.dataset import LabeledDataset
from dcase2018.batching.loader import BatchLoader
from dcase2018.evaluation.calibration import (
    Calibration,
    apply_temperature,
    calibration_error,
    fit_temperature,
)
from dcase2018.inference.predictor import StorePredictor
from dcase2018.models.architectures import (
    build,
    estimate_step_memory,
    load_yamnet,
    transfer_weights,
    with_activation,
)
from dcase2018.models.losses import compile_model
from dcase2018.runs.model_io import load_model, save_model
from dcase2018.runs.run import Run
from dcase2018.runs.training_state import EpochLog, StoppingCriteria, TrainingState
from dcase2018.training.callbacks import TrainingCallback, random_states
from dcase2018.training.experiment import Experiment, InitialWeights
from dcase2018.training.label_refinement import refined_targets
from dcase2018.utils.atomic import atomic_path
from dcase2018.utils.errors import InputError
from dcase2018.utils.signals import Interrupted, catch_stop_signals

log = logging.getLogger(__name__)


def fit(
    experiment: Experiment,
    limits: StoppingCriteria | None = None,
    save_every: int = 250,
    force: bool = False,
    after_epoch: Callable[[EpochLog], None] | None = None,
    workers: int = 1,
) -> str:
    """Train the network of an experiment and write its run; go on where an earlier call stopped.

    A run that is over is left as it is.

    Parameters
    ----------
    experiment
        See `Experiment.create`.
    limits
        What ends the training before its last epoch.
    checkpoint_steps
        Steps from one checkpoint to the next; each epoch ends with one too.
    force
        Remove another run that the folder holds.
    after_epoch
        Is given each epoch's row of the history; what it raises ends the training.
    workers
        Threads that prepare batches side by side; what they prepare does not depend on their number.

    Returns
    -------
    str
        Why training is over.

    Raises
    ------
    InputError
        If the folder holds another run or something that is no run, or a finished one that cannot go on.
    Dcase2018Error
        If the loss becomes NaN or infinite, or another process is training this run; the checkpoints
        are kept.
    Interrupted
        If a signal came; the step was finished and the state is kept.
    """
    limits = limits or StoppingCriteria()
    run = experiment.run
    over = experiment.stop_reason(limits, force)
    if over:
        return over
    with run.lock(force), catch_stop_signals() as stop_flag:
        state = run.state()
        model = _model(experiment, state)
        scoring = with_activation(model, run.hparams.classifier)
        trainer = TrainingCallback(experiment, state, scoring, limits, save_every, stop_flag, after_epoch)
        if not trainer.over:
            _learn(experiment, model, trainer, workers)
        if not trainer.over:
            message = f"stopped after step {state.step}; run the same command again to go on"
            raise Interrupted(stop_flag.signum, message)
        _publish(experiment, scoring, limits)
    return trainer.over


def _model(experiment: Experiment, state: TrainingState) -> keras.Model:
    """Build the network that learns, or load it as the last checkpoint has it."""
    run = experiment.run
    share_work_among_devices()
    keras.utils.set_random_seed(run.seed)
    if state.step:
        log.info("%s: going on after step %d", run.path, state.step)
        model = run.load_checkpoint(run.checkpoint_dir(state.step) / "model.keras", compiled=True)
        for variable, seed in zip(random_states(model), state.rng_states, strict=True):
            variable.assign(np.array(seed, np.uint32))
        return model
    made = run.provenance | {"backend": keras.backend.backend()}
    dataclasses.replace(run, provenance=made).save()
    statistics = experiment.training.feature_stats() if run.hparams.normalization == "per_band" else None
    model = build(run.model, run.example_shape, len(run.classes), run.hparams, statistics)
    if experiment.initial:
        _begin_with(model, run, experiment.initial)
    if run.hparams.freeze == "backbone":
        for layer in model.layers[:-1]:
            layer.trainable = False
    compile_model(model, run.hparams, experiment.epoch_steps, experiment.total_steps)
    return model


def _begin_with(model: keras.Model, run: Run, initial: InitialWeights) -> None:
    path = initial.path
    source = load_yamnet(path) if path.suffix == ".h5" else load_model(path, compiled=False)
    taken = transfer_weights(model, source, classifier=list(run.classes) == list(initial.classes))
    if not taken:
        raise InputError(f"{path} has no layer that fits the network; give the --model that it is of")
    log.info("%d layers begin as those of %s: %s", len(taken), path, ", ".join(taken))


def share_work_among_devices() -> None:
    """Part each batch among the accelerators, if there are several and the backend knows how."""
    if keras.backend.backend() == "jax" and len(keras.distribution.list_devices()) > 1:
        keras.distribution.set_distribution(keras.distribution.DataParallel())


def _learn(experiment: Experiment, model: keras.Model, trainer: TrainingCallback, workers: int) -> None:
    """Take the steps that are left: a call of Keras' `fit` from doubt to doubt; `Trainer` marks epochs."""
    run = experiment.run
    _tell_of_memory(estimate_step_memory(model, experiment.batch_size), experiment.batch_size)
    log.info(
        "%s: %d clips, %d examples, %.0f steps an epoch, %d weights",
        run.path, len(experiment.training), len(experiment.examples), experiment.epoch_steps,
        model.count_params(),
    )  # fmt: skip
    with trainer:
        for end in [*experiment.refinement_steps, experiment.total_steps]:
            step = trainer.state.step
            if step >= end or trainer.over or trainer.stop_flag.signum:
                continue
            batches = BatchLoader(
                experiment.examples,
                experiment.epochs,
                Augmentation(run.hparams, run.feature_config),
                experiment.targets(refined_targets(experiment, trainer.scoring, step)),
                experiment.weights,
                experiment.batch_size,
                start_batch=step,
                workers=workers,
            )
            model.fit(batches, steps_per_epoch=end - step, shuffle=False, verbose=0, callbacks=[trainer])


def _tell_of_memory(needed: int, examples: int) -> None:
    """Warn of a training that the system is likely to end."""
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > there:
        log.warning(
            "a step of %d examples needs an estimated %.0f GB of memory, and this machine has %.0f GB;"
            " try a smaller batch_size or example_window_seconds",
            examples, needed / 1e9, there / 1e9,
        )  # fmt: skip


def _publish(experiment: Experiment, model: keras.Model, limits: StoppingCriteria) -> None:
    """Write the trained network, and its calibration by the verified validation clips, if there are any.

    It is that of the best epoch, if training waited for a better one.
    """
    run = experiment.run
    best = run.path / "best.keras"
    waited = limits.patience is not None and best.exists()
    clips = experiment.validation
    if clips and clips.verified.any():  # a wrong label makes a network look too sure
        network = load_model(best, compiled=False) if waited else model
        _calibrate(run, network, clips.select(clips.verified))
    if not waited:
        save_model(model, run.path / "model.keras")
        return
    with atomic_path(run.path / "model.keras") as partial:
        shutil.copyfile(best, partial)


def _calibrate(run: Run, model: keras.Model, clips: LabeledDataset) -> None:
    """Find the temperature of a network by clips that it has not learned, and keep it."""
    scores = StorePredictor(run, model, clips.store).scores(clips.rows)
    exclusive = run.hparams.classifier == "softmax"
    temperature = fit_temperature(scores, clips.y_true, exclusive)
    cooled = apply_temperature(scores, temperature, exclusive)
    errors = [calibration_error(each, clips.y_true) for each in (scores, cooled)]
    Calibration(temperature, len(clips), *errors).save(run.path)
    log.info("calibration: temperature %.2f, expected calibration error %.4f -> %.4f", temperature, *errors)
