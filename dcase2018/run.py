"""The run folder: everything that evaluation and prediction need beside a store.

run.json       preset, network, hyperparameters, recipe, classes, what it was made from and by
model.keras    the trained network; a run without it is unfinished
history.csv    one row an epoch
checkpoints/   step-NNNNNNNN.keras
events/        for TensorBoard
"""

import dataclasses
import json
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dcase2018.errors import InputError
from dcase2018.hparams import HParams
from dcase2018.publish import published, published_text
from dcase2018.recipe import Recipe
from dcase2018.settings import from_dict
from dcase2018.store import Store

if TYPE_CHECKING:
    import keras

FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Run:
    """A run's folder and what its run.json says.

    Attributes
    ----------
    class_clips
        Training clips of each class, in the order of `classes`.
    made
        Where the run comes from: command, seed, versions.
    """

    path: Path
    model: str
    hparams: HParams
    recipe: Recipe
    classes: Sequence[str]
    class_clips: Sequence[int]
    epochs: int
    made: dict[str, Any]

    @classmethod
    def load(cls, path: Path) -> "Run":
        """Read a run.

        Raises
        ------
        InputError
            If the folder holds no run, or one of another version.
        """
        try:
            values = json.loads((path / "run.json").read_text("utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(f"{path} holds no run; dcase2018 fit makes one") from None
        except ValueError as error:
            raise InputError(f"{path / 'run.json'} is damaged: {error}") from None
        if values.pop("format", None) != FORMAT:
            raise InputError(f"{path / 'run.json'} is not of run format {FORMAT}; fit it again")
        values["hparams"] = from_dict(HParams, values["hparams"])
        values["recipe"] = from_dict(Recipe, values["recipe"])
        return cls(path, **values)

    def save(self) -> None:
        """Write run.json."""
        values = dataclasses.asdict(self) | {"format": FORMAT}
        del values["path"]
        with published_text(self.path / "run.json") as file:
            file.write(json.dumps(values, indent=2) + "\n")

    @property
    def example_geometry(self) -> tuple[int, int]:
        """Frames in an example, and from one example's start to the next's."""
        return self.hparams.example_window(self.recipe), self.hparams.example_hop(self.recipe)

    @property
    def example_shape(self) -> tuple[int, int]:
        """Frames in an example, and values in a frame."""
        return self.example_geometry[0], self.recipe.width

    @property
    def prior(self) -> np.ndarray:
        """Share of each class in the training clips: the scores of a clip without frames."""
        return np.asarray(self.class_clips, np.float32) / sum(self.class_clips)

    def check_store(self, store: Store) -> None:
        """Raise `InputError`, naming the keys that differ, unless the store is of the run's recipe."""
        store.check_recipe(self.recipe, f"the run {self.path}")

    def checkpoint(self, step: int) -> Path:
        """Where the network after `step` steps is kept."""
        return self.path / "checkpoints" / f"step-{step:08d}.keras"

    def model_file(self, step: int | None = None) -> Path:
        """Find the file of the trained network, or that of a checkpoint.

        Raises
        ------
        InputError
            If it is not there.
        """
        path = self.path / "model.keras" if step is None else self.checkpoint(step)
        if not path.is_file():
            raise InputError(f"{path} does not exist; {self._what_exists()}")
        return path

    def load_model(self, step: int | None = None) -> "keras.Model":
        """Load the trained network, or that of a checkpoint.

        Raises
        ------
        InputError
            If it is not there, or is no Keras model of plain layers.
        """
        import keras

        path = self.model_file(step)
        try:
            return keras.saving.load_model(path, compile=False, safe_mode=True)
        except (ValueError, TypeError, KeyError, OSError, zipfile.BadZipFile) as error:
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"{path} is refused: it is no model of plain layers ({reason})") from None

    def _what_exists(self) -> str:
        steps = sorted(self.path.glob("checkpoints/step-*.keras"))
        if not steps:
            return "finish the run with dcase2018 fit"
        return f"--checkpoint takes the steps {', '.join(str(int(p.stem[5:])) for p in steps)}"


def open_ensemble(paths: Sequence[Path], store: Store, step: int | None = None) -> list[Run]:
    """Read the runs that shall score a store together.

    Raises
    ------
    InputError
        If one is no run or has no network (of that step), the store is of another recipe than a run's,
        or the runs' classes differ.
    """
    runs = [Run.load(path) for path in paths]
    for run in runs:
        run.check_store(store)
        run.model_file(step)
        if list(run.classes) != list(runs[0].classes):
            odd = sorted(set(run.classes) ^ set(runs[0].classes)) or ["their order"]
            raise InputError(f"the classes of {run.path} are not those of {paths[0]}: {', '.join(odd)}")
    return runs


def save_model(model: "keras.Model", path: Path) -> None:
    """Write a network as a `.keras` file, whole or not at all."""
    path.parent.mkdir(exist_ok=True)
    with published(path) as partial:
        model.save(partial)
