"""Training: a network learns from the examples of labelled clips, and a run folder keeps it.

A training that was stopped, in order or by force, goes on from its last checkpoint to the very weights
that it would have reached undisturbed: a batch is a function of its number, a checkpoint's network has its
optimizer, and all else that changes on the way (random layers, what is counted) is in its `State`.
"""

import dataclasses
import logging
import math
import shutil
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from dcase2018.augment import Augmentation
from dcase2018.batches import Batches
from dcase2018.clips import LabelledClips
from dcase2018.dataset import write_table
from dcase2018.errors import Dcase2018Error, InputError
from dcase2018.events import Events
from dcase2018.experiment import Experiment, Initial
from dcase2018.metrics import average_precision
from dcase2018.models import build, load_yamnet, take_over
from dcase2018.objective import compile_model
from dcase2018.prediction import Tagger
from dcase2018.progress import Progress
from dcase2018.publish import published, published_folder
from dcase2018.run import Run, load_model, save_model
from dcase2018.signals import StoppedError, Wish, wish_to_end
from dcase2018.state import Limits, State

log = logging.getLogger(__name__)

SUMMARY_STEPS = 50
CHECKPOINTS_KEPT = 30
LASTING_SECONDS = 15 * 60  # from one checkpoint that is kept for good to the next


def fit(
    experiment: Experiment,
    limits: Limits | None = None,
    checkpoint_steps: int = 250,
    force: bool = False,
    after_epoch: Callable[[dict[str, float]], None] | None = None,
) -> str:
    """Train the network of an experiment and write its run; go on where an earlier call stopped.

    Parameters
    ----------
    limits
        What ends the training before its last epoch.
    checkpoint_steps
        Steps from one checkpoint to the next; each epoch ends with one too.
    force
        Remove another run that the folder holds.
    after_epoch
        Is given each epoch's row of the history; what it raises ends the training.

    Returns
    -------
    str
        Why training is over.

    Raises
    ------
    InputError
        If the folder holds another run, or something that is no run.
    Dcase2018Error
        If the loss becomes NaN or infinite, or another process is training this run; the checkpoints
        are kept.
    StoppedError
        If a signal came; the step was finished and the state is kept.
    """
    limits = limits or Limits()
    run = experiment.run
    with run.taken(force), wish_to_end() as wish:
        state = run.state()
        model = _model(experiment, state)
        trainer = Trainer(experiment, state, limits, checkpoint_steps, wish, after_epoch)
        if not trainer.over:
            _learn(experiment, model, trainer)
        if not trainer.over:
            message = f"stopped after step {state.step}; run the same command again to go on"
            raise StoppedError(wish.number, message)
        _publish(run, model, limits)
    return trainer.over


def _model(experiment: Experiment, state: State) -> keras.Model:
    """Build the network, or load it as the last checkpoint has it."""
    run = experiment.run
    share_work_among_devices()
    keras.utils.set_random_seed(run.seed)
    if state.step:
        log.info("%s: going on after step %d", run.path, state.step)
        model = load_model(run.checkpoint(state.step) / "model.keras", compiled=True)
        for variable, seed in zip(_seeds(model), state.seeds, strict=True):
            variable.assign(np.array(seed, np.uint32))
        return model
    made = run.made | {"backend": keras.backend.backend()}
    dataclasses.replace(run, made=made).save()
    statistics = experiment.training.statistics() if run.hparams.standardize == "bands" else None
    model = build(run.model, run.example_shape, len(run.classes), run.hparams, statistics)
    if experiment.initial:
        _begin_with(model, run, experiment.initial)
    if run.hparams.freeze == "features":
        for layer in model.layers[:-1]:
            layer.trainable = False
    compile_model(model, run.hparams, experiment.epoch_steps, experiment.total_steps)
    return model


def _begin_with(model: keras.Model, run: Run, initial: Initial) -> None:
    path = initial.path
    source = load_yamnet(path) if path.suffix == ".h5" else load_model(path, compiled=False)
    taken = take_over(model, source, classifier=list(run.classes) == list(initial.classes))
    if not taken:
        raise InputError(f"{path} has no layer that fits the network; give the --model that it is of")
    log.info("%d layers begin as those of %s: %s", len(taken), path, ", ".join(taken))


def _seeds(model: keras.Model) -> list[keras.Variable]:
    """Find the states of a network's random layers."""
    others = {id(variable) for variable in (*model.weights, *model.metrics_variables)}
    return [variable for variable in model.variables if id(variable) not in others]


def share_work_among_devices() -> None:
    """Part each batch among the accelerators, if there are several and the backend knows how."""
    if keras.backend.backend() == "jax" and len(keras.distribution.list_devices()) > 1:
        keras.distribution.set_distribution(keras.distribution.DataParallel())


def _learn(experiment: Experiment, model: keras.Model, trainer: "Trainer") -> None:
    """Take the steps that are left, as one call of Keras' `fit` in which `Trainer` marks the epochs."""
    run = experiment.run
    log.info(
        "%s: %d clips, %d examples, %.0f steps an epoch, %d weights",
        run.path, len(experiment.training), len(experiment.examples), experiment.epoch_steps,
        model.count_params(),
    )  # fmt: skip
    batches = Batches(
        experiment.examples,
        experiment.epochs,
        Augmentation(run.hparams, run.recipe),
        experiment.targets,
        experiment.weights,
        experiment.batch_size,
        first=trainer.state.step,
    )
    steps = experiment.total_steps - trainer.state.step
    with trainer:
        model.fit(batches, steps_per_epoch=steps, shuffle=False, verbose=0, callbacks=[trainer])


def _publish(run: Run, model: keras.Model, limits: Limits) -> None:
    """Write the trained network: that of the best epoch, if training waited for a better one."""
    if limits.patience is None or not (run.path / "best.keras").exists():
        save_model(model, run.path / "model.keras")
        return
    with published(run.path / "model.keras") as partial:
        shutil.copyfile(run.path / "best.keras", partial)


class Trainer(keras.callbacks.Callback):
    """What happens between two steps: counting, telling, scoring, keeping, and stopping."""

    def __init__(
        self,
        experiment: Experiment,
        state: State,
        limits: Limits,
        checkpoint_steps: int,
        wish: Wish,
        after_epoch: Callable[[dict[str, float]], None] | None,
    ) -> None:
        super().__init__()
        self.experiment, self.run, self.state = experiment, experiment.run, state
        self.limits, self.checkpoint_steps = limits, checkpoint_steps
        self.wish, self.after_epoch = wish, after_epoch
        self.seconds_before = state.seconds
        self.next_epoch_end = experiment.epoch_end(len(state.history) + 1)

    def __enter__(self) -> "Trainer":
        self.events = Events(self.run.path / "events", self.state.step)
        self.progress = Progress("fit", self.experiment.total_steps, "steps", done=self.state.step)
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.close()
        self.events.close()

    @property
    def over(self) -> str:
        """Why training is over; "" if it is not."""
        return self.state.end(self.experiment.total_steps, self.limits)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        state = self.state
        loss = float((logs or {})["loss"])
        self.model.reset_metrics()  # so that the next loss is of its own step alone
        self._check(math.isfinite(loss), f"the loss became {loss}")
        state.step += 1
        state.loss_sum += loss
        state.loss_steps += 1
        state.seconds = self.seconds_before + self.progress.elapsed
        self._tell(loss)
        if state.step == self.next_epoch_end:
            self._end_epoch()
        stop = bool(self.wish.number or self.over)
        if stop or state.step == self.epoch_start or state.step % self.checkpoint_steps == 0:
            self._checkpoint()
        if stop:
            self.model.stop_training = True

    @property
    def epoch_start(self) -> int:
        """Step with which the epoch in progress began."""
        return self.experiment.epoch_end(len(self.state.history))

    def _tell(self, loss: float) -> None:
        step = self.state.step
        log.debug("step %d: loss %.4f", step, loss)
        examples = (self.progress.done + 1 - self.progress.first) * self.experiment.batch_size
        rate = examples / self.progress.elapsed
        self.progress.update(
            1, epoch=len(self.state.history) + 1, loss=f"{loss:.4f}", examples=f"{rate:.0f}/s"
        )
        if step % SUMMARY_STEPS == 0:
            self.events.scalar("loss", loss, step)
            self.events.scalar("learning_rate", self._learning_rate(), step)

    def _learning_rate(self) -> float:
        return float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))

    def _end_epoch(self) -> None:
        """Score the network, and add a row to the history."""
        state = self.state
        row: dict[str, float] = {"epoch": len(state.history) + 1, "step": state.step}
        row["loss"] = state.loss_sum / state.loss_steps
        row["learning_rate"] = self._learning_rate()
        if self.experiment.validation:
            row["val_map3"] = score(self.run, self.model, self.experiment.validation)
            self.events.scalar("val_map3", row["val_map3"], state.step)
        state.seconds = self.seconds_before + self.progress.elapsed
        row["seconds"] = round(state.seconds, 2)
        state.history.append(row)
        state.loss_sum, state.loss_steps = 0.0, 0
        self.next_epoch_end = self.experiment.epoch_end(len(state.history) + 1)
        if state.best is row:
            save_model(self.model, self.run.path / "best.keras")
        figures = ", ".join(f"{name} {row[name]:.4f}" for name in ("loss", "val_map3") if name in row)
        log.info("epoch %d: %s", row["epoch"], figures)
        if self.after_epoch:
            self.after_epoch(row)

    def _checkpoint(self) -> None:
        """Keep the network, its optimizer and the state, and let old checkpoints go."""
        state, run = self.state, self.run
        sound = all(np.isfinite(keras.ops.convert_to_numpy(weight)).all() for weight in self.model.weights)
        self._check(sound, "weights became NaN or infinite")
        if state.seconds - max(state.lasting.values(), default=0) >= LASTING_SECONDS:
            state.lasting[state.step] = state.seconds
        state.seeds = [keras.ops.convert_to_numpy(seed).tolist() for seed in _seeds(self.model)]
        (run.path / "checkpoints").mkdir(exist_ok=True)
        with published_folder(run.checkpoint(state.step)) as folder:
            self.model.save(folder / "model.keras")
            state.save(folder)
        if state.history:
            write_table(run.path / "history.csv", pd.DataFrame(state.history))
        self.events.flush()
        passing = [step for step in run.checkpoints if step not in state.lasting]
        for step in passing[:-CHECKPOINTS_KEPT]:
            _remove(run.checkpoint(step))

    def _check(self, sound: bool, what: str) -> None:
        if sound:
            return
        kept = self.run.checkpoints
        raise Dcase2018Error(
            f"{what} at step {self.state.step + 1}; the state after step {kept[-1] if kept else 0} is kept."
            " Begin anew with a smaller rate: --hparams lr=... --force"
        )


def score(run: Run, model: keras.Model, clips: LabelledClips) -> float:
    """MAP@3 of a network on labelled clips."""
    scores = Tagger(run, model, clips.store).scores(clips.rows)
    return float(average_precision(scores, clips.truth).mean())


def _remove(checkpoint: Path) -> None:
    """Remove a checkpoint so that a half-removed one is never taken for a whole one."""
    gone = checkpoint.with_name(f".partial-{checkpoint.name}")
    checkpoint.rename(gone)
    shutil.rmtree(gone)
