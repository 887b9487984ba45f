"""A training that is planned: everything but the network, checked before Keras is loaded."""

import importlib.metadata
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from dcase2018.clips import LabelledClips
from dcase2018.dataset import class_names
from dcase2018.hparams import Preset
from dcase2018.run import Run
from dcase2018.state import Limits
from dcase2018.store import Store
from dcase2018.windows import Windows

LIBRARIES = ("dcase2018", "keras", "tensorflow", "jax", "torch", "numpy", "h5py")


@dataclass(frozen=True)
class Experiment:
    """A run, the clips to learn from, and others to score after each epoch."""

    run: Run
    training: LabelledClips
    validation: LabelledClips | None

    @classmethod
    def plan(
        cls,
        path: Path,
        preset: Preset,
        store: Store,
        labels: pd.DataFrame,
        validation: pd.DataFrame | None = None,
        classes: Sequence[str] | None = None,
        seed: int = 0,
    ) -> "Experiment":
        """Plan a run.

        Parameters
        ----------
        path
            Folder of the run.
        labels, validation
            Clips of the store to learn from, and others to score after each epoch (see `read_labels`).
        classes
            Order of the classes; those of `labels`, ascending, if None.

        Raises
        ------
        InputError
            If a clip is not in the store, or none has frames.
        """
        classes = list(classes or class_names(labels))
        training = LabelledClips.find(store, labels, classes).audible()
        held_out = None if validation is None else LabelledClips.find(store, validation, classes)
        run = Run(
            path=path,
            model=preset.model,
            hparams=preset.hparams,
            recipe=store.recipe,
            classes=classes,
            class_clips=np.bincount(training.truth, minlength=len(classes)).tolist(),
            epochs=preset.epochs,
            seed=seed,
            training_data=training.fingerprint(),
            validation_data=held_out.fingerprint() if held_out else "",
            made=origin() | {"store": str(store.path)},
        )
        return cls(run, training, held_out)

    @cached_property
    def windows(self) -> Windows:
        """All examples to learn from."""
        return Windows(self.training.store, self.training.rows, *self.run.example_geometry)

    @property
    def batch_size(self) -> int:
        """Examples a step: those of the hyperparameters, or all if there are fewer."""
        return min(self.run.hparams.batch_size, len(self.windows))

    @property
    def epoch_steps(self) -> float:
        """Steps in which every example is seen once; a batch may end one epoch and begin the next."""
        return len(self.windows) / self.batch_size

    @property
    def total_steps(self) -> int:
        """Steps of the whole training."""
        return self.run.epochs * len(self.windows) // self.batch_size

    def epoch_end(self, epoch: int) -> int:
        """Step after which so many epochs are complete, but for what does not fill a batch."""
        return epoch * len(self.windows) // self.batch_size

    def over(self, limits: Limits) -> str:
        """Say why nothing is left to do; "" if something is."""
        finished = (self.run.path / "model.keras").is_file()
        return self.run.state().end(self.total_steps, limits) if finished else ""


def origin() -> dict[str, object]:
    """Tell what makes a run: the command, the versions at work, and the state of the source code."""
    return {
        "command": shlex.join(sys.argv),
        "versions": {"python": sys.version.split()[0]} | dict(_versions()),
        "source": _source(),
    }


def _versions() -> list[tuple[str, str]]:
    found = []
    for name in LIBRARIES:
        try:
            found.append((name, importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _source() -> str:
    """Commit that this package is checked out at, with `-dirty` if it was changed; "" if it is installed."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return ""
    git = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""
