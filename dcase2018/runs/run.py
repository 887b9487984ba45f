"""The run folder: everything that evaluation and prediction need beside a store.

run.json          preset, network, hyperparameters, feature_config, classes, what it was made from and by
model.keras       the trained network; a run without it is unfinished
best.keras        the network of the epoch with the best validation score
calibration.json  the temperature of model.keras, if there are verified validation clips
history.csv       one row an epoch
checkpoints/      step-NNNNNNNN/: model.keras with its optimizer, state.json; training goes on from the last
label_refinement/         step-NNNNNNNN.csv: what the network said of the training clips when labels were doubted
events/           for TensorBoard
"""

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from dcase2018.features.config import FeatureConfig
from dcase2018.models.hparams import MAX_EPOCHS, HParams
from dcase2018.runs.model_io import is_complete, load_model, shapes
from dcase2018.runs.training_state import EpochLog, TrainingState, read_history
from dcase2018.utils.atomic import (
    StrPath,
    ensure_writable,
    exclusive_lock,
    remove,
    remove_leftovers,
    write_json,
)
from dcase2018.utils.config import Constraint, NonNegativeInt, diff, from_dict, read_json_object
from dcase2018.utils.errors import InputError

if TYPE_CHECKING:
    import keras

FORMAT = 3
CALIBRATION = "calibration.json"
BEST_CHECKPOINT = "best"  # a checkpoint by name

# What a run has in its folder beside run.json, and what a folder of folds has beside runs.
RUN_FILES = (
    "model.keras", "best.keras", CALIBRATION, "history.csv", "history.png", "checkpoints", "label_refinement", "events"
)  # fmt: skip
OUT_OF_FOLD_CSV = "out_of_fold.csv"


@dataclasses.dataclass(frozen=True)
class Run:
    """A run's folder and what its run.json says.

    Attributes
    ----------
    class_counts
        Training clips of each class, in the order of `classes`.
    training_fingerprint, validation_fingerprint
        Fingerprints of the clips learned from and scored on the way; "" without any.
    pretrained_fingerprint
        Digest of the network that training began with; "" if it began with random weights.
    provenance
        Where the run comes from: command, versions, state of the source code.
    """

    path: Path
    model: str
    hparams: HParams
    feature_config: FeatureConfig
    classes: Sequence[str]
    class_counts: Sequence[NonNegativeInt]
    epochs: Annotated[int, Constraint("times to see all examples", ge=1, le=MAX_EPOCHS)]
    seed: Annotated[int, Constraint("seed of all that is drawn", ge=0, le=2**32 - 1)]
    training_fingerprint: str
    validation_fingerprint: str
    pretrained_fingerprint: str
    provenance: dict[str, Any]

    @classmethod
    def load(cls, path: StrPath) -> "Run":
        """Read a run.

        Raises
        ------
        InputError
            If the folder holds no run, or one of another version.
        """
        path = Path(path)
        file = path / "run.json"
        try:
            values = read_json_object(file)
            if values.pop("format", None) != FORMAT:
                raise InputError(f"it is not of run format {FORMAT}")
            run = from_dict(cls, values, {"path": path})
            if len(run.class_counts) != len(run.classes) or not sum(run.class_counts):
                raise InputError("class_counts must have clips, and a number for each of the classes")
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(f"{path} holds no run; dcase2018 fit makes one") from None
        except InputError as error:
            raise InputError(f"{file} is damaged or foreign: {error}; fit it again with --force") from None
        return run

    def save(self) -> None:
        """Write run.json."""
        values = dataclasses.asdict(self) | {"format": FORMAT}
        del values["path"]
        write_json(self.path / "run.json", values)

    @contextmanager
    def lock(self, force: bool = False) -> Iterator[None]:
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
        begun = self.matches_existing(force) and not self.has_no_checkpoints
        ensure_writable(self.path)
        with exclusive_lock(self.path, self.path):
            if begun:
                dataclasses.replace(Run.load(self.path), epochs=self.epochs).save()
            else:
                clear_run(self.path)
                self.save()
            remove_leftovers(self.path / "*")
            remove_leftovers(self.path / "checkpoints" / "*")
            yield

    def matches_existing(self, force: bool = False) -> bool:
        """Whether the folder holds this very run; raises what `lock` raises if it holds something else."""
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
        names = ["model", "seed", "training_fingerprint", "validation_fingerprint", "pretrained_fingerprint"]
        if self.hparams.lr_schedule != "constant" or self.hparams.verified_finetune_fraction:
            names.append("epochs")  # learning rate or examples depend on it
        differing = [
            f"{name}={getattr(self, name)}, not {getattr(held, name)}"
            for name in names
            if getattr(self, name) != getattr(held, name)
        ]
        if list(self.classes) != list(held.classes):
            differing.append("the classes or their order")
        return differing + diff(self.hparams, held.hparams) + diff(self.feature_config, held.feature_config)

    @property
    def is_finished(self) -> bool:
        """Whether the trained network is there, whole."""
        return is_complete(self.path / "model.keras")

    @property
    def has_no_checkpoints(self) -> bool:
        """Whether it was finished and its checkpoints were deleted, so that it cannot go on."""
        return (self.path / "model.keras").exists() and not self.checkpoints

    @property
    def example_shape(self) -> tuple[int, int]:
        """Frames in an example, and values in a frame."""
        return self.hparams.example_frames(self.feature_config), self.feature_config.n_features

    @property
    def prior(self) -> np.ndarray:
        """Share of each class in the training clips: the scores of a clip without frames."""
        return np.asarray(self.class_counts, np.float32) / sum(self.class_counts)

    def checkpoint_dir(self, step: int) -> Path:
        """Folder of the checkpoint after `step` steps."""
        return self.path / "checkpoints" / f"step-{step:08d}"

    def refinement_scores_path(self, step: int) -> Path:
        """File of what the network said of the training clips after `step` steps."""
        return self.path / "label_refinement" / f"step-{step:08d}.csv"

    @property
    def checkpoints(self) -> list[int]:
        """Steps of the checkpoints there are, ascending."""
        names = (path.name.removeprefix("step-") for path in self.path.glob("checkpoints/step-*"))
        return sorted(int(name) for name in names if name.isdecimal())

    def state(self) -> TrainingState:
        """Read where training stands: the state of the last checkpoint, or that before the first step.

        Of a run whose checkpoints were deleted, it is what the history tells.
        """
        steps = self.checkpoints
        if steps:
            return TrainingState.load(self.checkpoint_dir(steps[-1]), steps[-1])
        return TrainingState.from_history(self.history()) if self.has_no_checkpoints else TrainingState()

    def history(self) -> list[EpochLog]:
        """Read history.csv; without it, no epoch is complete.

        Raises
        ------
        InputError
            If it is damaged.
        """
        table = self.path / "history.csv"
        return read_history(table) if table.exists() else []

    def model_file(self, checkpoint: int | str | None = None) -> Path:
        """Find the file of the trained network, that of a checkpoint (a step), or that of `BEST`.

        Raises
        ------
        InputError
            If it is not there.
        """
        path = self.path / "model.keras"
        if checkpoint is not None:
            path = (
                self.path / "best.keras"
                if checkpoint == BEST_CHECKPOINT
                else self.checkpoint_dir(int(checkpoint)) / "model.keras"
            )
        if not path.is_file():
            raise InputError(f"{path} does not exist; {self._what_exists(checkpoint)}")
        return path

    def load_for_inference(self, checkpoint: int | str | None = None) -> "keras.Model":
        """Load the trained network, that of a checkpoint, or that of `BEST`, to score with.

        Raises
        ------
        InputError
            If it is not there, or is not this run's.
        """
        from dcase2018.models.architectures import with_activation

        return with_activation(self.load_checkpoint(self.model_file(checkpoint)), self.hparams.classifier)

    def load_checkpoint(self, path: Path, compiled: bool = False) -> "keras.Model":
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

    def _what_exists(self, checkpoint: int | str | None) -> str:
        if checkpoint == BEST_CHECKPOINT:
            return "dcase2018 fit writes it where it has --validation"
        if not self.checkpoints:
            return "finish the run with dcase2018 fit"
        return f"--checkpoint takes the steps {', '.join(map(str, self.checkpoints))}"


def clear_run(path: Path) -> None:
    """Remove what a run has in its folder but run.json, by which the folder is known to hold one."""
    for name in RUN_FILES:
        remove(path / name)
