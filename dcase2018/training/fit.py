"""Training of one run with Keras.

Training that was interrupted or killed resumes from the last checkpoint and reaches bit-identical weights.
Batches are a function of (seed, epoch, index). A checkpoint holds model and optimizer, and `TrainingState`
holds all other state, such as that of random layers.
"""

import dataclasses
import errno
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager

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
from dcase2018.models.backend import keras
from dcase2018.models.losses import compile_model
from dcase2018.runs.model_io import load_model, save_model
from dcase2018.runs.run import Run
from dcase2018.runs.training_state import EpochLog, StoppingCriteria, TrainingState
from dcase2018.training.callbacks import (
    Checkpointing,
    HistoryLogger,
    LabelRefinement,
    StepCallbacks,
    Stopping,
    Validation,
    random_states,
    track_step_loss,
)
from dcase2018.training.experiment import Experiment, InitialWeights
from dcase2018.utils.atomic import atomic_path
from dcase2018.utils.config import check_number
from dcase2018.utils.errors import Dcase2018Error, InputError
from dcase2018.utils.signals import Interrupted, catch_stop_signals

log = logging.getLogger(__name__)

MAX_DEFAULT_JOBS = 8


def fit(
    experiment: Experiment,
    criteria: StoppingCriteria | None = None,
    save_every: int = 250,
    overwrite: bool = False,
    on_epoch_end: Callable[[EpochLog], None] | None = None,
    jobs: int | None = None,
    keep_checkpoints: int | None = None,
) -> str:
    """Train the model of an experiment, or resume training; a finished run is not retrained.

    Parameters
    ----------
    experiment
        See `Experiment.create`.
    criteria
        Criteria that stop training before the last epoch.
    save_every
        Steps between checkpoints. Each epoch ends with a checkpoint as well.
    overwrite
        Remove another run in the folder.
    on_epoch_end
        Called with the history row of each epoch. An exception that it raises ends training.
    jobs
        Threads that prepare batches. The result does not depend on it. If None, 1, or half of the cores, up
        to 8, with a GPU or TPU.
    keep_checkpoints
        Number of checkpoints to keep. If None, the last 30, and one per 15 minutes, are kept during training,
        and only the last one after it.

    Returns
    -------
    str
        Why training is finished, such as "all 5 epochs are done".

    Raises
    ------
    InputError
        If the folder holds something else, or a run that cannot resume, or an argument is out of range.
    Dcase2018Error
        If the loss is not finite, or another process trains this run.
    Interrupted
        If a signal stopped training after a step and its checkpoint.

    Examples
    --------
    >>> import dcase2018 as dc
    >>> store, labels = dc.Store("train.h5"), dc.read_labels("train.csv")  # doctest: +SKIP
    >>> experiment = dc.Experiment.create("runs/first", dc.PRESETS["quick"], store, labels)  # doctest: +SKIP
    >>> dc.fit(experiment, dc.StoppingCriteria(max_minutes=10))  # doctest: +SKIP
    'all 20 epochs are done'
    """
    criteria = criteria or StoppingCriteria()
    check_number("save_every", save_every, int, ge=1)
    for name, value in (("jobs", jobs), ("keep_checkpoints", keep_checkpoints)):
        if value is not None:
            check_number(name, value, int, ge=1)
    reason = experiment.stop_reason(criteria, overwrite)
    if reason:
        return reason
    if criteria.patience is not None and not experiment.validation:
        log.warning("%s: patience has no effect, because there is no validation clip", experiment.run.path)
    with experiment.run.lock(overwrite), catch_stop_signals() as stop:
        experiment.run.save_training_clips(experiment.training_clip_keys())
        if keep_checkpoints:
            experiment.run.delete_checkpoints(keep_checkpoints)  # frees space on a full disk
        state = experiment.run.state()
        model = _build_or_restore(experiment, state)
        track_step_loss(model)
        inference_model = with_activation(model, experiment.run.hparams.classifier)
        stopping = Stopping(experiment, state, criteria, stop)
        if not stopping.reason:
            loader = make_loader(experiment, jobs)
            with _explain_full_disk(experiment.run):
                train(
                    experiment, model, inference_model, stopping, loader,
                    save_every, on_epoch_end, keep_checkpoints,
                )  # fmt: skip
        if not stopping.reason:
            raise Interrupted(
                stop.signum, f"stopped after step {state.step}; run the same command again to resume"
            )
        experiment.run.delete_checkpoints(keep_checkpoints or 1)  # first, as it frees space for the model
        with _explain_full_disk(experiment.run):
            _save_final(experiment, inference_model, criteria)
    return stopping.reason


@contextmanager
def _explain_full_disk(run: Run) -> Iterator[None]:
    """Add to the error of a full disk what may be deleted."""
    try:
        yield
    except OSError as error:
        old = run.checkpoints[:-1]
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        size = sum(file.stat().st_size for step in old for file in run.checkpoint_dir(step).iterdir())
        remedy = (
            f"all checkpoints in {run.path / 'checkpoints'} but step-{run.checkpoints[-1]:08d} may be deleted"
            f" ({size / 1e6:.0f} MB); the same command with --keep-checkpoints 1 does it and resumes"
            if old
            else "free space, and run the same command again to resume"
        )
        raise Dcase2018Error(f"{error.filename or run.path}: {error.strerror}; {remedy}") from None


def _build_or_restore(experiment: Experiment, state: TrainingState) -> keras.Model:
    """Build the model, or load it from the last checkpoint."""
    run = experiment.run
    enable_data_parallel()
    keras.utils.set_random_seed(run.seed)
    if state.step:
        log.info("%s: resuming after step %d", run.path, state.step)
        model = run.load_checkpoint(run.checkpoint_dir(state.step) / "model.keras", compiled=True)
        for variable, seed in zip(random_states(model), state.rng_states, strict=True):
            variable.assign(np.array(seed, np.uint32))
        return model
    provenance = run.provenance | {"backend": keras.backend.backend()}
    dataclasses.replace(run, provenance=provenance).save()
    stats = experiment.training.feature_stats() if run.hparams.normalization == "per_band" else None
    model = build(run.model, run.example_shape, len(run.classes), run.hparams, stats)
    if experiment.initial:
        _init_weights(model, run, experiment.initial)
    if run.hparams.freeze == "backbone":
        for layer in model.layers[:-1]:
            layer.trainable = False
    compile_model(model, run.hparams, experiment.steps_per_epoch, experiment.total_steps)
    return model


def _init_weights(model: keras.Model, run: Run, initial: InitialWeights) -> None:
    path = initial.path
    source = load_yamnet(path) if path.suffix == ".h5" else load_model(path, compiled=False)
    layers = transfer_weights(model, source, classifier=list(run.classes) == list(initial.classes))
    if not layers:
        raise InputError(f"{path} has no layer that fits --model {run.model}; use the --model of that file")
    log.info("%d layers initialized from %s: %s", len(layers), path, ", ".join(layers))


def enable_data_parallel() -> None:
    """Divide each batch among several devices, if the backend supports it."""
    if keras.backend.backend() == "jax" and len(keras.distribution.list_devices()) > 1:
        keras.distribution.set_distribution(keras.distribution.DataParallel())


def train(
    experiment: Experiment,
    model: keras.Model,
    inference_model: keras.Model,
    stopping: Stopping,
    loader: BatchLoader,
    save_every: int,
    on_epoch_end: Callable[[EpochLog], None] | None = None,
    keep_checkpoints: int | None = None,
) -> None:
    """Train until a stop; Keras needs one `fit` call for each series of epochs of one length."""
    _log_size(experiment, model)
    state = stopping.state

    def select_epoch(epoch: int, logs: object = None) -> None:
        loader.set_epoch(epoch, state.step - experiment.epoch_end(epoch))

    with HistoryLogger(experiment, state, on_epoch_end) as logger:
        parts = [
            keras.callbacks.LambdaCallback(on_epoch_begin=select_epoch),
            LabelRefinement(experiment, state, inference_model, loader),
            Validation(experiment, state, inference_model),
            logger,
            stopping,
            Checkpointing(experiment, state, inference_model, logger, stopping, save_every, keep_checkpoints),
        ]
        callbacks = StepCallbacks(parts, add_history=True, model=model)  # Keras reads `model.history`
        while not (stopping.reason or stopping.stop.signum):
            epoch = len(state.history)
            select_epoch(epoch)
            model.fit(
                loader,
                initial_epoch=epoch,
                epochs=_last_of_same_length(experiment, state),
                callbacks=callbacks,
                shuffle=False,
                verbose=0,
            )


def _last_of_same_length(experiment: Experiment, state: TrainingState) -> int:
    """Return the end of the series of epochs with equally many steps left.

    The series is the rest of an interrupted epoch, the epochs before the final phase, or those of it.
    """
    epoch, start = len(state.history), experiment.sampler.final_phase_start
    if state.step > experiment.epoch_end(epoch):
        return epoch + 1
    return start if epoch < start else experiment.run.epochs


def default_jobs() -> int:
    """Return 1 if the CPU trains, which needs all cores; half of the cores, up to 8, if a GPU or TPU does."""
    if keras.backend.backend() == "torch":  # Keras cannot list its devices
        return 1
    is_cpu = keras.distribution.list_devices()[0].startswith("cpu")
    return 1 if is_cpu else max(1, min(MAX_DEFAULT_JOBS, (os.cpu_count() or 1) // 2))


def make_loader(experiment: Experiment, jobs: int | None) -> BatchLoader:
    run = experiment.run
    return BatchLoader(
        experiment.examples,
        experiment.sampler,
        Augmentation(run.hparams, run.feature_config),
        experiment.make_targets(experiment.training.y_true),
        experiment.sample_weights,
        n_workers=jobs or default_jobs(),
    )


def _log_size(experiment: Experiment, model: keras.Model) -> None:
    batch_size = experiment.batch_size
    _warn_memory(estimate_step_memory(model, batch_size), batch_size)
    log.info(
        "%s: %d clips, %d examples,\n  %d steps per epoch, %d weights",
        experiment.run.path, len(experiment.training), len(experiment.examples), experiment.steps_per_epoch,
        model.count_params(),
    )  # fmt: skip


def _warn_memory(step_memory: int, batch_size: int) -> None:
    """Warn if a step probably needs more memory than the machine has."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if step_memory > memory:
        log.warning(
            "a step of %d examples needs an estimated %.0f GB of memory, and this machine has %.0f GB;"
            " use a smaller batch_size or example_window_seconds",
            batch_size, step_memory / 1e9, memory / 1e9,
        )  # fmt: skip


def _save_final(experiment: Experiment, model: keras.Model, criteria: StoppingCriteria) -> None:
    """Write model.keras, and its calibration on the verified validation clips.

    With `patience`, the model of the best epoch is written.
    """
    run = experiment.run
    best = run.path / "best.keras"
    keep_best = criteria.patience is not None and best.exists()
    clips = experiment.validation
    if clips and clips.verified.any():  # wrong labels would make the model look overconfident
        final_model = load_model(best, compiled=False) if keep_best else model
        _calibrate(run, final_model, clips.select(clips.verified))
    if not keep_best:
        save_model(model, run.path / "model.keras")
        return
    with atomic_path(run.path / "model.keras") as temporary:
        shutil.copyfile(best, temporary)


def _calibrate(run: Run, model: keras.Model, clips: LabeledDataset) -> None:
    """Fit the temperature on validation clips and write calibration.json.

    A temperature that increases the calibration error of these clips is replaced by 1.
    """
    scores = StorePredictor(run, model, clips.store).scores(clips.rows)
    is_single_label = run.hparams.classifier == "softmax"
    temperature = fit_temperature(scores, clips.y_true, is_single_label)
    calibrated = apply_temperature(scores, temperature, is_single_label)
    before, after = (calibration_error(values, clips.y_true) for values in (scores, calibrated))
    if after > before:
        log.info(
            "calibration: the temperature stays 1, because %.2f would increase the expected calibration error"
            " from %.4f to %.4f",
            temperature, before, after,
        )  # fmt: skip
        temperature, after = 1.0, before
    else:
        message = "calibration: temperature %.2f, expected calibration error %.4f -> %.4f"
        log.info(message, temperature, before, after)
    Calibration(temperature, len(clips), before, after).save(run.path)
