"""What happens between two steps of a training: counting, telling, scoring, keeping, and stopping."""

import logging
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import cast

import keras
import numpy as np
import pandas as pd

from dcase2018.batching.dataset import LabeledDataset
from dcase2018.data.labels import write_table
from dcase2018.evaluation.metrics import average_precision
from dcase2018.inference.predictor import StorePredictor
from dcase2018.runs.model_io import save_model
from dcase2018.runs.run import Run
from dcase2018.runs.tensorboard import TensorBoardWriter
from dcase2018.runs.training_state import EpochLog, StoppingCriteria, TrainingState
from dcase2018.training.experiment import Experiment
from dcase2018.utils.atomic import atomic_directory, temporary_path
from dcase2018.utils.errors import Dcase2018Error
from dcase2018.utils.progress import Progress
from dcase2018.utils.signals import StopFlag

log = logging.getLogger(__name__)

SUMMARY_STEPS = 50
CHECKPOINTS_KEPT = 30
LASTING_SECONDS = 15 * 60  # from one checkpoint that is kept for good to the next


class TrainingCallback(keras.callbacks.Callback):
    """What happens between two steps: counting, telling, scoring, keeping, and stopping."""

    def __init__(
        self,
        experiment: Experiment,
        state: TrainingState,
        scoring: keras.Model,
        limits: StoppingCriteria,
        save_every: int,
        stop_flag: StopFlag,
        after_epoch: Callable[[EpochLog], None] | None,
    ) -> None:
        super().__init__()
        self.experiment, self.run, self.state = experiment, experiment.run, state
        self.scoring = scoring  # the layers that learn, with the activation behind them
        self.limits, self.save_every = limits, save_every
        self.stop_flag, self.after_epoch = stop_flag, after_epoch
        self.seconds_before = state.seconds
        self.next_epoch_end = experiment.epoch_end(len(state.history) + 1)

    def __enter__(self) -> "TrainingCallback":
        self.events = TensorBoardWriter(self.run.path / "events", self.state.step)
        self.progress = Progress("fit", self.experiment.total_steps, "steps", done=self.state.step)
        return self

    def __exit__(self, *error: object) -> None:
        self.progress.close()
        self.events.close()

    @property
    def over(self) -> str:
        """Why training is over; "" if it is not."""
        return self.state.stop_reason(self.experiment.total_steps, self.limits)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        state = self.state
        loss = float((logs or {})["loss"])
        self.model.reset_metrics()  # so that the next loss is of its own step alone
        self._check(math.isfinite(loss), f"the loss became {loss}")
        state.step += 1
        state.loss_sum += loss
        state.n_losses += 1
        state.seconds = self.seconds_before + self.progress.elapsed
        self._tell(loss)
        while 0 < self.next_epoch_end <= state.step:  # several, where a batch is longer than an epoch
            self._end_epoch()
        stop = bool(self.stop_flag.signum or self.over)
        if stop or state.step == self.epoch_start or state.step % self.save_every == 0:
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
        if step == 1 or step % SUMMARY_STEPS == 0:
            self.events.scalar("loss", loss, step)
            self.events.scalar("learning_rate", self._learning_rate(), step)

    def _learning_rate(self) -> float:
        return float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))

    def _end_epoch(self) -> None:
        """Add a row to the history; the row before it says the same if both epochs end with one step."""
        state = self.state
        row = self._row() if state.n_losses else state.history[-1]
        row = cast(EpochLog, {**row, "epoch": len(state.history) + 1})
        state.history.append(row)
        state.loss_sum, state.n_losses = 0.0, 0
        self.next_epoch_end = self.experiment.epoch_end(len(state.history) + 1)
        if state.best is row:
            save_model(self.scoring, self.run.path / "best.keras")
        figures = ", ".join(f"{name} {row[name]:.4f}" for name in ("loss", "val_map3") if name in row)
        log.info("epoch %d: %s", row["epoch"], figures)
        if self.after_epoch:
            self.after_epoch(row)

    def _row(self) -> dict[str, float]:
        """Score the network, and say how the steps since the last epoch went."""
        state = self.state
        loss, rate = state.loss_sum / state.n_losses, self._learning_rate()
        row = {"epoch": 0, "step": state.step, "loss": loss, "learning_rate": rate}
        if self.experiment.validation:
            row["val_map3"] = score(self.run, self.scoring, self.experiment.validation)
            self.events.scalar("val_map3", row["val_map3"], state.step)
        state.seconds = self.seconds_before + self.progress.elapsed
        return row | {"seconds": round(state.seconds, 2)}

    def _checkpoint(self) -> None:
        """Keep the network, its optimizer and the state, and let old checkpoints go."""
        state, run = self.state, self.run
        sound = all(np.isfinite(keras.ops.convert_to_numpy(weight)).all() for weight in self.model.weights)
        self._check(sound, "weights became NaN or infinite")
        if state.seconds - max(state.permanent_checkpoints.values(), default=0) >= LASTING_SECONDS:
            state.permanent_checkpoints[state.step] = state.seconds
        state.rng_states = [keras.ops.convert_to_numpy(seed).tolist() for seed in random_states(self.model)]
        (run.path / "checkpoints").mkdir(exist_ok=True)
        with atomic_directory(run.checkpoint_dir(state.step)) as folder:
            self.model.save(folder / "model.keras")
            state.save(folder)
        if state.history:
            write_table(run.path / "history.csv", pd.DataFrame(state.history))
        self.events.flush()
        passing = [step for step in run.checkpoints if step not in state.permanent_checkpoints]
        for step in passing[:-CHECKPOINTS_KEPT]:
            _remove(run.checkpoint_dir(step))

    def _check(self, sound: bool, what: str) -> None:
        if sound:
            return
        kept = self.run.checkpoints
        raise Dcase2018Error(
            f"{what} at step {self.state.step + 1}; the state after step {kept[-1] if kept else 0} is kept."
            " Begin anew with a smaller rate: --hparams lr=... --force"
        )


def random_states(model: keras.Model) -> list[keras.Variable]:
    """Find the states of a network's random layers."""
    others = {id(variable) for variable in (*model.weights, *model.metrics_variables)}
    return [variable for variable in model.variables if id(variable) not in others]


def score(run: Run, model: keras.Model, clips: LabeledDataset) -> float:
    """MAP@3 of a network on labelled clips."""
    scores = StorePredictor(run, model, clips.store).scores(clips.rows)
    return float(average_precision(scores, clips.y_true).mean())


def _remove(checkpoint: Path) -> None:
    """Remove a checkpoint so that a half-removed one is never taken for a whole one."""
    gone = temporary_path(checkpoint)
    checkpoint.rename(gone)
    shutil.rmtree(gone)
