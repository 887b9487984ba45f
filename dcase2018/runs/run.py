"""The run folder: everything that evaluation and prediction need beside a store.

run.json       preset, network, hyperparameters, recipe, classes, what it was made from and by
model.keras    the trained network; a run without it is unfinished
best.keras     the network of the epoch with the best validation score
history.csv    one row an epoch
checkpoints/   step-NNNNNNNN/: model.keras with its optimizer, and state.json; training goes on from the last
events/        for TensorBoard
"""

import dataclasses
import json
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pandas as pd

from dcase2018.features import Recipe
from dcase2018.foundation import (
    AnyPath,
    Count,
    InputError,
    Rule,
    differences,
    ensure_writable,
    from_dict,
    only_writer,
    published,
    published_text,
    read_object,
)
from dcase2018.networks import HParams
from dcase2018.runs.state import Row, State

if TYPE_CHECKING:
    import keras

FORMAT = 2
BEST = "best"  # a checkpoint by name


@dataclasses.dataclass(frozen=True)
class Run:
    """A run's folder and what its run.json says.

    Attributes
    ----------
    class_clips
        Training clips of each class, in the order of `classes`.
    training_data, validation_data
        Fingerprints of the clips learned from and scored on the way; "" without any.
    init_from
        Digest of the network that training began with; "" if it began with random weights.
    made
        Where the run comes from: command, versions, state of the source code.
    """

    path: Path
    model: str
    hparams: HParams
    recipe: Recipe
    classes: Sequence[str]
    class_clips: Sequence[Count]
    epochs: Annotated[int, Rule("times to see all examples", least=1)]
    seed: Count
    training_data: str
    validation_data: str
    init_from: str
    made: dict[str, Any]

    @classmethod
    def load(cls, path: AnyPath) -> "Run":
        """Read a run.

        Raises
        ------
        InputError
            If the folder holds no run, or one of another version.
        """
        path = Path(path)
        file = path / "run.json"
        try:
            values = read_object(file)
            if values.pop("format", None) != FORMAT:
                raise InputError(f"it is not of run format {FORMAT}")
            run = from_dict(cls, values, given={"path": path})
            if len(run.class_clips) != len(run.classes) or not sum(run.class_clips):
                raise InputError("class_clips must have clips, and a number for each of the classes")
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(f"{path} holds no run; dcase2018 fit makes one") from None
        except InputError as error:
            raise InputError(f"{file} is damaged or foreign: {error}; fit it again with --force") from None
        return run

    def save(self) -> None:
        """Write run.json."""
        values = dataclasses.asdict(self) | {"format": FORMAT}
        del values["path"]
        with published_text(self.path / "run.json") as file:
            file.write(json.dumps(values, indent=2) + "\n")

    @contextmanager
    def taken(self, force: bool = False) -> Iterator[None]:
        """Hold the folder for a training: a new one, or that in which this very run was begun.

        Parameters
        ----------
        force
            Remove another run that the folder holds, and begin anew.

        Raises
        ------
        InputError
            If it holds another run, naming the keys that differ, or something that is no run.
        Dcase2018Error
            If another process is training in it.
        """
        begun = self.is_begun(force)
        ensure_writable(self.path)
        with only_writer(self.path, self.path):
            if begun:
                dataclasses.replace(Run.load(self.path), epochs=self.epochs).save()
            else:
                self._clear()
                self.save()
            for partial in self.path.glob("checkpoints/.partial-*"):  # of a training that was killed
                shutil.rmtree(partial)
            yield

    def is_begun(self, force: bool = False) -> bool:
        """Whether the folder holds this very run; raises what `taken` raises if it holds something else."""
        if not self.path.exists() or (self.path.is_dir() and not any(self.path.iterdir())):
            return False
        if not (self.path / "run.json").is_file():
            raise InputError(f"{self.path} exists and is no run; name another folder")
        try:
            differing = self._differences(Run.load(self.path))
        except InputError:
            if force:
                return False
            raise
        if differing and not force:
            raise InputError(
                f"{self.path} holds another run ({'; '.join(differing)});"
                " name another folder, or replace it with --force"
            )
        return not differing

    def _differences(self, held: "Run") -> list[str]:
        """Say in what this run differs from the one that its folder holds, as `name=mine, not theirs`."""
        names = ["model", "seed", "training_data", "validation_data", "init_from"]
        if self.hparams.schedule != "constant" or self.hparams.verified_stretch:
            names.append("epochs")  # learning rate or examples depend on it
        differing = [
            f"{name}={getattr(self, name)}, not {getattr(held, name)}"
            for name in names
            if getattr(self, name) != getattr(held, name)
        ]
        if list(self.classes) != list(held.classes):
            differing.append("the classes or their order")
        return differing + differences(self.hparams, held.hparams) + differences(self.recipe, held.recipe)

    def _clear(self) -> None:
        for name in ("run.json", "model.keras", "best.keras", "history.csv", "history.png"):
            (self.path / name).unlink(missing_ok=True)
        for name in ("checkpoints", "events"):
            shutil.rmtree(self.path / name, ignore_errors=True)

    @property
    def example_shape(self) -> tuple[int, int]:
        """Frames in an example, and values in a frame."""
        return self.hparams.example_window(self.recipe), self.recipe.width

    @property
    def prior(self) -> np.ndarray:
        """Share of each class in the training clips: the scores of a clip without frames."""
        return np.asarray(self.class_clips, np.float32) / sum(self.class_clips)

    def checkpoint(self, step: int) -> Path:
        """Folder of the checkpoint after `step` steps."""
        return self.path / "checkpoints" / f"step-{step:08d}"

    @property
    def checkpoints(self) -> list[int]:
        """Steps of the checkpoints there are, ascending."""
        names = (path.name.removeprefix("step-") for path in self.path.glob("checkpoints/step-*"))
        return sorted(int(name) for name in names if name.isdecimal())

    def state(self) -> State:
        """Read where training stands: the state of the last checkpoint, or that before the first step."""
        steps = self.checkpoints
        return State.load(self.checkpoint(steps[-1]), steps[-1]) if steps else State()

    def history(self) -> pd.DataFrame:
        """Read history.csv, a `Row` an epoch; there are none before the first is complete.

        Raises
        ------
        InputError
            If it is damaged.
        """
        table = self.path / "history.csv"
        if not table.exists():
            return pd.DataFrame()
        try:
            return pd.DataFrame([from_dict(Row, row) for row in pd.read_csv(table).to_dict("records")])
        except ValueError as error:
            raise InputError(f"{table} is damaged: {str(error).strip()}") from None

    def model_file(self, which: int | str | None = None) -> Path:
        """Find the file of the trained network, that of a checkpoint (a step), or that of `BEST`.

        Raises
        ------
        InputError
            If it is not there.
        """
        path = self.path / "model.keras"
        if which is not None:
            path = self.path / "best.keras" if which == BEST else self.checkpoint(int(which)) / "model.keras"
        if not path.is_file():
            raise InputError(f"{path} does not exist; {self._what_exists(which)}")
        return path

    def load_model(self, which: int | str | None = None) -> "keras.Model":
        """Load the trained network, that of a checkpoint, or that of `BEST`, to score with.

        Raises
        ------
        InputError
            If it is not there, or is no Keras model of plain layers.
        """
        return load_model(self.model_file(which), compiled=False)

    def _what_exists(self, which: int | str | None) -> str:
        if which == BEST:
            return "dcase2018 fit writes it where it has --validation"
        if not self.checkpoints:
            return "finish the run with dcase2018 fit"
        return f"--checkpoint takes the steps {', '.join(map(str, self.checkpoints))}"


def save_model(model: "keras.Model", path: Path) -> None:
    """Write a network as a `.keras` file, whole or not at all."""
    with published(path) as partial:
        model.save(partial)


def load_model(path: Path, compiled: bool) -> "keras.Model":
    """Load a network, with its optimizer if `compiled`.

    Raises
    ------
    InputError
        If it is no Keras model of plain layers.
    """
    import keras

    try:
        return keras.saving.load_model(path, compile=compiled, safe_mode=True)
    except (ValueError, TypeError, KeyError, OSError, zipfile.BadZipFile) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"{path} is refused: it is no model of plain layers ({reason})") from None
