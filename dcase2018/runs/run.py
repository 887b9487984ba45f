"""The run folder: everything that evaluation and prediction need beside a store.

run.json          preset, network, hyperparameters, recipe, classes, what it was made from and by
model.keras       the trained network; a run without it is unfinished
best.keras        the network of the epoch with the best validation score
calibration.json  the temperature of model.keras, if there are verified validation clips
history.csv       one row an epoch
checkpoints/      step-NNNNNNNN/: model.keras with its optimizer, state.json; training goes on from the last
heard/            step-NNNNNNNN.csv: what the network said of the training clips when labels were doubted
events/           for TensorBoard
"""

import dataclasses
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from dcase2018.features.config import Recipe
from dcase2018.models.hparams import MOST_EPOCHS, HParams
from dcase2018.runs.model_io import is_whole, load_model, shapes
from dcase2018.runs.training_state import Row, State, read_history
from dcase2018.utils.atomic import AnyPath, ensure_writable, only_writer, publish_json, remove
from dcase2018.utils.config import Count, Rule, differences, from_dict, read_object
from dcase2018.utils.errors import InputError

if TYPE_CHECKING:
    import keras

FORMAT = 2
CALIBRATION = "calibration.json"
BEST = "best"  # a checkpoint by name

# What a run has in its folder beside run.json, and what a folder of folds has beside runs.
CONTENTS = (
    "model.keras", "best.keras", CALIBRATION, "history.csv", "history.png", "checkpoints", "heard", "events"
)  # fmt: skip
OUT_OF_FOLD = "out_of_fold.csv"


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
    epochs: Annotated[int, Rule("times to see all examples", least=1, most=MOST_EPOCHS)]
    seed: Annotated[int, Rule("seed of all that is drawn", least=0, most=2**32 - 1)]
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
        publish_json(self.path / "run.json", values)

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
        begun = self.is_begun(force) and not self.is_stripped
        ensure_writable(self.path)
        with only_writer(self.path, self.path):
            if begun:
                dataclasses.replace(Run.load(self.path), epochs=self.epochs).save()
            else:
                clear_run(self.path)
                self.save()
            for partial in self.path.glob("checkpoints/.partial-*"):  # of a training that was killed
                shutil.rmtree(partial)
            yield

    def is_begun(self, force: bool = False) -> bool:
        """Whether the folder holds this very run; raises what `taken` raises if it holds something else."""
        if not self.path.exists() or (self.path.is_dir() and not any(self.path.glob("[!.]*"))):
            return False  # but for what a writer left that was killed
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

    @property
    def is_finished(self) -> bool:
        """Whether the trained network is there, whole."""
        return is_whole(self.path / "model.keras")

    @property
    def is_stripped(self) -> bool:
        """Whether it was finished and its checkpoints were deleted, so that it cannot go on."""
        return (self.path / "model.keras").exists() and not self.checkpoints

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

    def heard(self, step: int) -> Path:
        """File of what the network said of the training clips after `step` steps."""
        return self.path / "heard" / f"step-{step:08d}.csv"

    @property
    def checkpoints(self) -> list[int]:
        """Steps of the checkpoints there are, ascending."""
        names = (path.name.removeprefix("step-") for path in self.path.glob("checkpoints/step-*"))
        return sorted(int(name) for name in names if name.isdecimal())

    def state(self) -> State:
        """Read where training stands: the state of the last checkpoint, or that before the first step.

        Of a run whose checkpoints were deleted, it is what the history tells.
        """
        steps = self.checkpoints
        if steps:
            return State.load(self.checkpoint(steps[-1]), steps[-1])
        return State.told(self.history()) if self.is_stripped else State()

    def history(self) -> list[Row]:
        """Read history.csv; without it, no epoch is complete.

        Raises
        ------
        InputError
            If it is damaged.
        """
        table = self.path / "history.csv"
        return read_history(table) if table.exists() else []

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
            If it is not there, or is not this run's.
        """
        from dcase2018.models.architectures import scorer

        return scorer(self.read_network(self.model_file(which)), self.hparams.classifier)

    def read_network(self, path: Path, compiled: bool = False) -> "keras.Model":
        """Load a network of this run, with its optimizer if `compiled`.

        Raises
        ------
        InputError
            If the file is damaged, no Keras model of plain layers, or has not the run's input and classes.
        """
        model = load_model(path, compiled)
        found, wanted = shapes(model), [self.example_shape, (len(self.classes),)]
        if found != wanted:
            raise InputError(
                f"{path} is refused: it is of another run, from {found[:1]} to {found[1:]};"
                f" this one is from {wanted[:1]} to {wanted[1:]}"
            )
        return model

    def _what_exists(self, which: int | str | None) -> str:
        if which == BEST:
            return "dcase2018 fit writes it where it has --validation"
        if not self.checkpoints:
            return "finish the run with dcase2018 fit"
        return f"--checkpoint takes the steps {', '.join(map(str, self.checkpoints))}"


def clear_run(path: Path) -> None:
    """Remove what a run has in its folder but run.json, by which the folder is known to hold one."""
    for name in CONTENTS:
        remove(path / name)
