"""Keras callbacks of `dcase2018.training.fit`, one per purpose.

They share one `TrainingState`. `StepCallbacks` calls them in this order: `LabelRefinement`, `Validation`,
`HistoryLogger` (which updates the state), `Stopping`, `Checkpointing`.

An accelerator computes a step while Python prepares the next ones, so no callback may wait for each step.
With JAX, access to `self.model` waits, and copies all variables.
"""

import logging
import math
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pandas as pd

from dcase2018.batching.dataset import LabeledDataset
from dcase2018.batching.loader import BatchLoader
from dcase2018.data.labels import write_table
from dcase2018.evaluation.metrics import average_precision, cross_entropy
from dcase2018.inference.predictor import StorePredictor
from dcase2018.models.backend import keras
from dcase2018.models.losses import learning_rate_after
from dcase2018.runs.model_io import save_model
from dcase2018.runs.run import Run
from dcase2018.runs.tensorboard import TensorBoardWriter
from dcase2018.runs.training_state import EpochLog, StoppingCriteria, TrainingState
from dcase2018.training.experiment import Experiment
from dcase2018.training.label_refinement import refined_targets, score_training_clips
from dcase2018.utils.atomic import atomic_directory
from dcase2018.utils.errors import Dcase2018Error
from dcase2018.utils.progress import Progress
from dcase2018.utils.signals import StopFlag

log = logging.getLogger(__name__)

N_IN_FLIGHT = 2  # steps whose losses are not awaited yet, so that an accelerator always has work
LOG_EVERY_STEPS = 50
MAX_CHECKPOINTS = 30  # of a run in training, by default, besides the permanent ones
PERMANENT_EVERY_SECONDS = 15 * 60

Logs = dict[str, Any] | None


class StepCallbacks(keras.callbacks.CallbackList):
    """Callbacks whose logs of a step are tensors; Keras would wait for the step and convert them."""

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        for callback in self.callbacks:
            callback.on_train_batch_end(batch, logs)


def track_step_loss(model: keras.Model) -> None:
    """Make `loss` in the logs the loss of the last step, instead of the mean since the start of the epoch."""
    tracker = model.metrics[0]
    add = tracker.update_state

    def replace(*args: Any, **kwargs: Any) -> Any:
        tracker.reset_state()
        return add(*args, **kwargs)

    tracker.update_state = replace


class TrainingCallback(keras.callbacks.Callback):
    """Base class: a callback with the experiment and its training state."""

    def __init__(self, experiment: Experiment, state: TrainingState) -> None:
        super().__init__()
        self.experiment, self.run, self.state = experiment, experiment.run, state
        self.epoch_end = 0

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self.epoch_end = self.experiment.epoch_end(epoch + 1)

    @property
    def is_epoch_complete(self) -> bool:
        """Whether the current epoch has no more steps; Keras also ends an epoch when training stops."""
        return self.state.step == self.epoch_end

    def require(self, condition: bool, problem: str, step: int) -> None:
        """Raise an error about diverged training unless the condition holds."""
        if not condition:
            checkpoint = max(self.run.checkpoints, default=0)
            raise Dcase2018Error(
                f"{problem} at step {step}; the last checkpoint is of step {checkpoint}."
                " Train again with a lower learning rate: --hparams lr=... --overwrite"
            )


class LabelRefinement(TrainingCallback):
    """Replaces the loader's targets after each refinement step, and after a restart."""

    def __init__(
        self, experiment: Experiment, state: TrainingState, inference_model: keras.Model, loader: BatchLoader
    ) -> None:
        super().__init__(experiment, state)
        self.inference_model, self.loader = inference_model, loader
        self.last_refinement = 0

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        step = self.state.step
        latest = max((s for s in self.experiment.refinement_steps if s <= step), default=0)
        if latest == self.last_refinement:
            return
        if step == latest:
            checksum = score_training_clips(self.experiment, self.inference_model, step)
            self.state.refinement_checksums[step] = checksum
        targets = refined_targets(self.experiment, step, self.state.refinement_checksums)
        self.loader.set_soft_targets(self.experiment.make_targets(targets), len(self.run.classes))
        self.last_refinement = latest


class Validation(TrainingCallback):
    """Adds the validation MAP@3 and the validation loss to the logs of each epoch."""

    def __init__(self, experiment: Experiment, state: TrainingState, inference_model: keras.Model) -> None:
        super().__init__(experiment, state)
        self.inference_model = inference_model

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        clips = self.experiment.validation
        if clips and self.is_epoch_complete and logs is not None:
            logs |= validation_scores(self.run, self.inference_model, clips)


class HistoryLogger(TrainingCallback):
    """Counts steps, adds a history row per epoch, and logs to TensorBoard and a progress bar.

    It is a context manager that opens and closes the event file and the progress bar.
    """

    def __init__(
        self,
        experiment: Experiment,
        state: TrainingState,
        on_epoch_end: Callable[[EpochLog], None] | None = None,
    ) -> None:
        super().__init__(experiment, state)
        self.epoch_hook = on_epoch_end
        self.seconds_before = state.seconds
        self._pending: deque[tuple[int, Any]] = deque()  # steps and their losses, as tensors

    def __enter__(self) -> "HistoryLogger":
        self.events = TensorBoardWriter(self.run.path / "events", self.state.step)
        self.progress = Progress("fit", self.experiment.total_steps, "steps", done=self.state.step)
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.close()
        self.events.close()

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        state = self.state
        state.step += 1
        state.seconds = self.seconds_before + self.progress.elapsed
        self._pending.append((state.step, (logs or {})["loss"]))
        self.collect_losses(N_IN_FLIGHT)

    def collect_losses(self, n_left: int = 0) -> None:
        """Wait for all steps but the last `n_left`, and log their losses."""
        while len(self._pending) > n_left:
            step, tensor = self._pending.popleft()
            loss = float(tensor)
            self.require(math.isfinite(loss), f"the loss is {loss}", step)
            self.state.loss_sum += loss
            self.state.n_losses += 1
            self._log_step(step, loss)

    def _log_step(self, step: int, loss: float) -> None:
        log.debug("step %d: loss %.4f", step, loss)
        n_examples = (self.progress.done + 1 - self.progress.first) * self.experiment.batch_size
        rate = n_examples / self.progress.elapsed
        self.progress.update(
            1, epoch=len(self.state.history) + 1, loss=f"{loss:.4f}", examples=f"{rate:.0f}/s"
        )
        if step == 1 or step % LOG_EVERY_STEPS == 0:
            self.events.write(step, loss=loss, learning_rate=self._learning_rate(step))

    def _learning_rate(self, step: int) -> float:
        experiment = self.experiment
        return learning_rate_after(step, self.run.hparams, experiment.steps_per_epoch, experiment.total_steps)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self.collect_losses()
        if not self.is_epoch_complete:
            return
        row = self._epoch_log(epoch + 1, {} if logs is None else logs)
        self.state.history.append(row)
        self.state.loss_sum, self.state.n_losses = 0.0, 0
        values = ", ".join(f"{name} {row[name]:.4f}" for name in ("loss", "map3") if name in row)
        log.info("epoch %d: %s", row["epoch"], values)
        if self.epoch_hook:
            self.epoch_hook(row)

    def _epoch_log(self, epoch: int, logs: dict[str, Any]) -> EpochLog:
        state = self.state
        validation: dict[str, float] = {
            name: logs[name] for name in ("map3", "validation_loss") if name in logs
        }
        self.events.write(state.step, **validation)
        state.seconds = self.seconds_before + self.progress.elapsed
        row = {
            "epoch": epoch,
            "step": state.step,
            "loss": state.loss_sum / state.n_losses,
            "learning_rate": self._learning_rate(state.step),
            **validation,
            "seconds": round(state.seconds, 2),
        }
        return cast(EpochLog, row)


class Stopping(TrainingCallback):
    """Stops training on a stopping criterion or a signal."""

    def __init__(
        self, experiment: Experiment, state: TrainingState, criteria: StoppingCriteria, stop: StopFlag
    ) -> None:
        super().__init__(experiment, state)
        self.criteria, self.stop = criteria, stop
        self.has_stopped = False

    @property
    def reason(self) -> str:
        """Why training is finished; "" if it is not."""
        return self.state.stop_reason(self.experiment.total_steps, self.criteria)

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        self._stop_if_needed()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        self._stop_if_needed()

    def _stop_if_needed(self) -> None:
        if self.stop.signum or self.reason:
            self.has_stopped = self.model.stop_training = True


class Checkpointing(TrainingCallback):
    """Saves model, optimizer, state and history every `save_every` steps, at epoch ends and at a stop.

    It deletes old checkpoints. If `n_kept` is None, the last `MAX_CHECKPOINTS` and the permanent ones stay.
    """

    def __init__(
        self,
        experiment: Experiment,
        state: TrainingState,
        inference_model: keras.Model,
        logger: HistoryLogger,
        stopping: Stopping,
        save_every: int,
        n_kept: int | None,
    ) -> None:
        super().__init__(experiment, state)
        self.inference_model, self.logger, self.stopping = inference_model, logger, stopping
        self.save_every, self.n_kept = save_every, n_kept

    def on_train_batch_end(self, batch: int, logs: Logs = None) -> None:
        is_due = self.stopping.has_stopped or self.state.step % self.save_every == 0
        if is_due and not self.is_epoch_complete:  # `on_epoch_end` saves a complete epoch
            self._save()

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if self.is_epoch_complete:
            if self.state.best is self.state.history[-1]:
                save_model(self.inference_model, self.run.path / "best.keras")
            self._save()

    def _save(self) -> None:
        self.logger.collect_losses()
        model, state, run = self.model, self.state, self.run
        is_finite = all(np.isfinite(keras.ops.convert_to_numpy(weight)).all() for weight in model.weights)
        self.require(is_finite, "a weight is NaN or infinite", state.step)
        last_permanent = max(state.permanent_checkpoints.values(), default=0)
        if self.n_kept is None and state.seconds - last_permanent >= PERMANENT_EVERY_SECONDS:
            state.permanent_checkpoints[state.step] = state.seconds
        state.rng_states = [keras.ops.convert_to_numpy(seed).tolist() for seed in random_states(model)]
        if state.history:  # before the checkpoint, after which training may be finished
            write_table(run.path / "history.csv", pd.DataFrame(state.history))
        (run.path / "checkpoints").mkdir(exist_ok=True)
        with atomic_directory(run.checkpoint_dir(state.step)) as folder:
            model.save(folder / "model.keras")
            state.save(folder)
        permanent = state.permanent_checkpoints if self.n_kept is None else ()
        run.delete_checkpoints(self.n_kept or MAX_CHECKPOINTS, permanent)


def random_states(model: keras.Model) -> list[keras.Variable]:
    """Return the state variables of a model's random layers."""
    saved = {id(variable) for variable in (*model.weights, *model.metrics_variables)}
    return [variable for variable in model.variables if id(variable) not in saved]


def validation_scores(run: Run, model: keras.Model, clips: LabeledDataset) -> dict[str, float]:
    """Compute the MAP@3 of a model on labelled clips, as `map3`, and its `validation_loss`.

    The loss is the mean cross-entropy of the clips' scores, as in `cross_entropy`.
    """
    scores = StorePredictor(run, model, clips.store).scores(clips.rows)
    is_single_label = run.hparams.classifier == "softmax"
    return {
        "map3": float(average_precision(scores, clips.y_true).mean()),
        "validation_loss": cross_entropy(scores, clips.y_true, is_single_label),
    }
