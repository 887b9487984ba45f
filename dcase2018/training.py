"""Training: a network learns from the examples of labelled clips, and a run folder keeps it."""

import importlib.metadata
import logging
import math
import os
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import pandas as pd

from dcase2018.batches import Batches, Windows
from dcase2018.dataset import class_indices, class_names, write_table
from dcase2018.errors import Dcase2018Error, InputError
from dcase2018.hparams import Preset
from dcase2018.metrics import average_precision
from dcase2018.models import build
from dcase2018.prediction import Tagger
from dcase2018.progress import Progress
from dcase2018.publish import ensure_writable
from dcase2018.run import Run, save_model
from dcase2018.store import Store

log = logging.getLogger(__name__)

SUMMARY_STEPS = 50
CHECKPOINTS_KEPT = 30
LASTING_SECONDS = 15 * 60  # from one checkpoint that is kept for good to the next


def fit(
    store: Store,
    labels: pd.DataFrame,
    path: Path,
    preset: Preset,
    validation: pd.DataFrame | None = None,
    classes: Sequence[str] | None = None,
    seed: int = 0,
    checkpoint_steps: int = 250,
    made: dict[str, object] | None = None,
) -> Run:
    """Train a network and write its run.

    Parameters
    ----------
    labels, validation
        Clips of the store to learn from, and others to score after each epoch (see `read_labels`).
    path
        Folder of the run; what it held is removed.
    preset
        The network, its hyperparameters and the number of epochs.
    classes
        Order of the classes; those of `labels`, ascending, if None.
    made
        What else run.json shall tell of the run's origin.

    Raises
    ------
    InputError
        If a clip is not in the store, or none has frames.
    Dcase2018Error
        If the loss becomes NaN or infinite; the checkpoints are kept.
    """
    classes = list(classes or class_names(labels))
    rows, truth = _learnable(store, labels, classes)
    run = Run(
        path=path,
        model=preset.model,
        hparams=preset.hparams,
        recipe=store.recipe,
        classes=classes,
        class_clips=np.bincount(truth, minlength=len(classes)).tolist(),
        epochs=preset.epochs,
        made={"seed": seed, "versions": _versions()} | (made or {}),
    )
    windows = Windows(store, rows, *run.example_geometry)
    targets = np.eye(len(classes), dtype=np.float32)[truth]
    batches = Batches(windows, targets, preset.hparams.batch_size, seed)

    keras.utils.set_random_seed(seed)
    model = build(preset.model, run.example_shape, len(classes), preset.hparams)
    _begin(run)
    log.info(
        "%s: %d clips, %d examples, %d steps an epoch, %d weights",
        path, len(rows), len(windows), batches.steps, model.count_params(),
    )  # fmt: skip
    validator = None if validation is None else Validator(run, model, store, validation)
    with Progress("fit", preset.epochs * batches.steps, "steps") as progress:
        model.fit(
            batches,
            steps_per_epoch=batches.steps,
            epochs=preset.epochs,
            shuffle=False,
            verbose=0,
            callbacks=[Journal(run, progress, checkpoint_steps, validator)],
        )
    save_model(model, path / "model.keras")
    return run


def _learnable(store: Store, labels: pd.DataFrame, classes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Rows in the store and class indices of the labelled clips that have frames."""
    rows = store.find(labels["fname"])
    truth = class_indices(labels, classes)
    heard = store.lengths[rows] > 0
    if not heard.any():
        raise InputError(f"none of the labelled clips has frames in {store.path}")
    if not heard.all():
        log.warning("%d labelled clips have no frames and are left out", (~heard).sum())
    return rows[heard], truth[heard]


def _versions() -> dict[str, str]:
    names = ("dcase2018", "keras", keras.backend.backend(), "numpy", "h5py")
    return {name: importlib.metadata.version(name) for name in names}


def _begin(run: Run) -> None:
    """Clear the run's folder of an earlier run, and write what is known before training."""
    ensure_writable(run.path)
    for name in ("model.keras", "run.json", "history.csv"):
        (run.path / name).unlink(missing_ok=True)
    for name in ("checkpoints", "events"):
        shutil.rmtree(run.path / name, ignore_errors=True)
    run.save()


class Validator:
    """Clip-level MAP@3 of the network in training on clips that it does not learn from."""

    def __init__(self, run: Run, model: keras.Model, store: Store, labels: pd.DataFrame) -> None:
        self.tagger = Tagger(run, model)
        self.store = store
        self.rows = store.find(labels["fname"])
        self.truth = class_indices(labels, run.classes)

    def __call__(self) -> float:
        scores = self.tagger.scores(self.store, self.rows)
        return float(average_precision(scores, self.truth).mean())


class Journal(keras.callbacks.Callback):
    """What training tells while it goes on: progress, TensorBoard events, checkpoints and history."""

    def __init__(
        self, run: Run, progress: Progress, checkpoint_steps: int, validator: Validator | None
    ) -> None:
        super().__init__()
        self.run, self.progress, self.validator = run, progress, validator
        self.checkpoint_steps = checkpoint_steps
        self.events = Events(run.path / "events")
        self.step = 0
        self.epoch_losses: list[float] = []
        self.history: list[dict[str, float]] = []
        self.lasting: dict[Path, float] = {}  # checkpoints kept for good, and when they were made

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        loss = float((logs or {})["loss"])
        self.model.reset_metrics()  # so that the next loss is of its own step alone
        self.step += 1
        self.epoch_losses.append(loss)
        log.debug("step %d: loss %.4f", self.step, loss)
        if not math.isfinite(loss):
            raise Dcase2018Error(
                f"the loss became {loss} at step {self.step}; try a smaller lr."
                f" The checkpoints in {self.run.path} are kept"
            )
        self.progress.update(1, epoch=len(self.history) + 1, loss=f"{loss:.4f}")
        if self.step % SUMMARY_STEPS == 0:
            self.events.scalar("loss", loss, self.step)
        if self.step % self.checkpoint_steps == 0:
            self._checkpoint()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        row: dict[str, float] = {"epoch": epoch + 1, "step": self.step}
        row["loss"] = float(np.mean(self.epoch_losses))
        if self.validator:
            row["val_map3"] = self.validator()
            self.events.scalar("val_map3", row["val_map3"], self.step)
        row["seconds"] = round(self.progress.elapsed, 2)
        self.epoch_losses.clear()
        self.history.append(row)
        write_table(self.run.path / "history.csv", pd.DataFrame(self.history))
        figures = ", ".join(f"{name} {row[name]:.4f}" for name in ("loss", "val_map3") if name in row)
        log.info("epoch %d: %s", epoch + 1, figures)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        self.events.close()

    def _checkpoint(self) -> None:
        path, now = self.run.checkpoint(self.step), self.progress.elapsed
        save_model(self.model, path)
        if now - max(self.lasting.values(), default=0) >= LASTING_SECONDS:
            self.lasting[path] = now
        passing = sorted(set(path.parent.glob("step-*.keras")) - self.lasting.keys())
        for old in passing[:-CHECKPOINTS_KEPT]:
            old.unlink()


class Events:
    """Scalars for TensorBoard, on any backend."""

    def __init__(self, folder: Path) -> None:
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        self.writer = EventFileWriter(os.fspath(folder))

    def scalar(self, name: str, value: float, step: int) -> None:
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        summary = Summary(value=[Summary.Value(tag=name, simple_value=value)])
        self.writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))

    def close(self) -> None:
        self.writer.close()
