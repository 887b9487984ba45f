"""The run folder: all that evaluation and prediction need beside a store.

run.json           model, hyperparameters, feature config, classes, data fingerprints, provenance
model.keras        the trained model; a run without it is unfinished
best.keras         the model of the epoch with the highest validation MAP@3
calibration.json   temperature of model.keras, if there are verified validation clips
training_clips.csv names of the training clips, and the CRC-32 of their frames
history.csv        one row per epoch
checkpoints/       step-NNNNNNNN/: model.keras with its optimizer, state.json; training resumes from the last
label_refinement/  step-NNNNNNNN.csv: predictions on the training clips, from which targets were refined
events/            TensorBoard summaries
"""

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np

from dcase2018.features.config import FeatureConfig
from dcase2018.models.hparams import MAX_EPOCHS, HParams
from dcase2018.runs.model_io import is_complete, load_model, shapes
from dcase2018.runs.provenance import INPUTS, input_difference
from dcase2018.runs.training_clips import ClipKey, read_training_clips, write_training_clips
from dcase2018.runs.training_state import EpochLog, TrainingState, read_history
from dcase2018.utils.atomic import (
    StrPath,
    ensure_writable,
    remove,
    remove_leftovers,
    temporary_path,
    write_json,
)
from dcase2018.utils.config import (
    Constraint,
    NonNegativeInt,
    check_number,
    diff,
    from_dict,
    read_json_object,
)
from dcase2018.utils.errors import InputError, check_classes_exist, shorten_list
from dcase2018.utils.locks import exclusive_lock

if TYPE_CHECKING:
    from dcase2018.models.backend import keras

FORMAT = 3
CALIBRATION = "calibration.json"
TRAINING_CLIPS_CSV = "training_clips.csv"
BEST_CHECKPOINT = "best"  # a checkpoint by name
MAX_DIFFERENCES = 8  # in a message

# Names in a run folder beside run.json, and the file in a folder of folds.
RUN_FILES = (
    "model.keras", "best.keras", CALIBRATION, TRAINING_CLIPS_CSV, "history.csv", "history.png",
    "checkpoints", "label_refinement", "events",
)  # fmt: skip
OUT_OF_FOLD_CSV = "out_of_fold.csv"


@dataclasses.dataclass(frozen=True)
class Run:
    """A run folder and the content of its run.json.

    Attributes
    ----------
    path
        Folder of the run.
    model
        Name of the architecture.
    hparams
        Hyperparameters.
    feature_config
        Feature config of the training clips.
    classes
        Class names, in the order of the model's outputs.
    class_counts
        Training clips of each class, in the order of `classes`.
    background_classes
        Classes that are trained but not reported, such as `background`.
    epochs
        Number of epochs.
    seed
        Seed of the weights, the order of examples and the augmentation.
    training_fingerprint, validation_fingerprint
        Digests of the training and validation clips; "" without any.
    pretrained_fingerprint
        Digest of the pretrained model file; "" with random initial weights.
    provenance
        Command, library versions and source commit.

    Examples
    --------
    >>> run = Run.load("runs/first")  # doctest: +SKIP
    >>> run.model, run.hparams.batch_size  # doctest: +SKIP
    ('cnn', 64)
    """

    path: Path
    model: str
    hparams: HParams
    feature_config: FeatureConfig
    classes: Sequence[str]
    class_counts: Sequence[NonNegativeInt]
    background_classes: Sequence[str]
    epochs: Annotated[int, Constraint("number of epochs", ge=1, le=MAX_EPOCHS)]
    seed: Annotated[int, Constraint("random seed", ge=0, le=2**32 - 1)]
    training_fingerprint: str
    validation_fingerprint: str
    pretrained_fingerprint: str
    provenance: dict[str, Any]

    @classmethod
    def load(cls, path: StrPath) -> "Run":
        """Read the run.json of a run folder.

        Raises
        ------
        InputError
            If the folder holds no run, or its run.json is damaged or of another version.
        """
        path = Path(path)
        file = path / "run.json"
        try:
            values = read_json_object(file)
            if values.pop("format", None) != FORMAT:
                raise InputError(f"format must be {FORMAT}")
            run = from_dict(cls, values, {"path": path})
            if len(run.class_counts) != len(run.classes) or not sum(run.class_counts):
                raise InputError("class_counts must have one count per class, and a positive sum")
            reported_classes(run.classes, run.background_classes, "background_classes")
        except (FileNotFoundError, NotADirectoryError):
            raise InputError(f"{path} holds no run; dcase2018 fit makes one") from None
        except InputError as error:
            raise InputError(
                f"{file} is damaged or of another version: {error}; train again with --overwrite"
            ) from None
        return run

    def __repr__(self) -> str:
        return f"<Run {self.path}: {self.model}, {len(self.classes)} classes, {self.epochs} epochs>"

    def save(self) -> None:
        """Write run.json."""
        values = dataclasses.asdict(self) | {"format": FORMAT}
        del values["path"]
        write_json(self.path / "run.json", values)

    @contextmanager
    def lock(self, overwrite: bool = False) -> Iterator[None]:
        """Lock the folder for training; create it, or resume the same run.

        Parameters
        ----------
        overwrite
            Remove another run that the folder holds, and start again.

        Raises
        ------
        InputError
            If the folder holds a run with other settings, or files that are not a run.
        Dcase2018Error
            If another process has locked it.
        """
        resumes = self.matches_existing(overwrite) and not self.has_no_checkpoints
        ensure_writable(self.path)
        with exclusive_lock(self.path, self.path):
            if resumes:
                dataclasses.replace(Run.load(self.path), epochs=self.epochs).save()
            else:
                clear_run(self.path)
                self.save()
            remove_leftovers(self.path / "*")
            remove_leftovers(self.path / "checkpoints" / "*")
            yield

    def matches_existing(self, overwrite: bool = False) -> bool:
        """Check whether the folder holds a run with the same settings; raises the errors of `lock`."""
        if not self.path.exists() or (self.path.is_dir() and not any(self.path.glob("[!.]*"))):
            return False  # hidden files are leftovers of a process that was killed
        if not (self.path / "run.json").is_file():
            raise InputError(f"{self.path} exists and is not a run; name another folder")
        try:
            differences = self.differences(Run.load(self.path))
        except InputError:
            if overwrite:
                return False
            raise
        if differences and not overwrite:
            raise InputError(
                f"{self.path} holds another run ({shorten_list(differences, MAX_DIFFERENCES, '; ')});"
                " name another folder, or replace it with --overwrite"
            )
        return not differences

    def differences(self, existing: "Run") -> list[str]:
        """List what differs from another run, in the words of the options of `fit`: `new, not existing`.

        The number of epochs is listed only if the learning rate or the examples depend on it.
        """
        names = ["model", "seed"]
        if self.hparams.lr_schedule != "constant" or self.hparams.verified_finetune_fraction:
            names.append("epochs")
        differences = [
            f"--{name} {getattr(self, name)}, not {getattr(existing, name)}"
            for name in names
            if getattr(self, name) != getattr(existing, name)
        ]
        for name in INPUTS:
            differences += input_difference(name, getattr(self, name), getattr(existing, name))
        if list(self.classes) != list(existing.classes):
            differences.append("the classes of LABELS, or the order in --class-map")
        if sorted(self.background_classes) != sorted(existing.background_classes):
            hidden, before = (
                [f"--background {name}" for name in sorted(run.background_classes)] or ["no --background"]
                for run in (self, existing)
            )
            differences.append(f"{' '.join(hidden)}, not {' '.join(before)}")
        differences += [f"--hparams {change}" for change in diff(self.hparams, existing.hparams)]
        features = diff(self.feature_config, existing.feature_config)
        return differences + [f"STORE has {change}" for change in features]

    @property
    def is_finished(self) -> bool:
        """Whether the trained model exists and is complete."""
        return is_complete(self.path / "model.keras")

    @property
    def has_no_checkpoints(self) -> bool:
        """Whether the run was trained and its checkpoints were deleted, so that it cannot resume."""
        return (self.path / "model.keras").exists() and not self.checkpoints

    @property
    def n_finetune_epochs(self) -> int:
        """Number of epochs of the final fine-tuning phase, which uses verified clips only."""
        return round(self.hparams.verified_finetune_fraction * self.epochs)

    @property
    def finetune_start(self) -> int | None:
        """First epoch, from 1, of the final fine-tuning phase; None without."""
        return self.epochs - self.n_finetune_epochs + 1 if self.n_finetune_epochs else None

    @property
    def example_shape(self) -> tuple[int, int]:
        """Frames per example, and values per frame."""
        return self.hparams.example_frames(self.feature_config), self.feature_config.n_features

    @property
    def prior(self) -> np.ndarray:
        """Fraction of each class in the training clips, float32, (classes,): the scores of a silent clip."""
        return np.asarray(self.class_counts, np.float32) / sum(self.class_counts)

    def checkpoint_dir(self, step: int) -> Path:
        """Path of the checkpoint after `step` steps."""
        return self.path / "checkpoints" / f"step-{step:08d}"

    def refinement_scores_path(self, step: int) -> Path:
        """Path of the predictions on the training clips after `step` steps."""
        return self.path / "label_refinement" / f"step-{step:08d}.csv"

    @property
    def checkpoints(self) -> list[int]:
        """Steps of the existing checkpoints, ascending."""
        names = (path.name.removeprefix("step-") for path in self.path.glob("checkpoints/step-*"))
        return sorted(int(name) for name in names if name.isdecimal())

    def delete_checkpoints(self, n_kept: int, permanent: Collection[int] = ()) -> None:
        """Delete all checkpoints except the permanent ones and the last `n_kept` others.

        A checkpoint is hidden first, so that a partly deleted one is never read.
        """
        for step in [step for step in self.checkpoints if step not in permanent][:-n_kept]:
            path = self.checkpoint_dir(step)
            remove(path.rename(temporary_path(path)))

    def state(self) -> TrainingState:
        """Read the training state of the last checkpoint, or return the initial state.

        If the checkpoints of a trained run were deleted, the state is reconstructed from the history.
        """
        steps = self.checkpoints
        if steps:
            return TrainingState.load(self.checkpoint_dir(steps[-1]), steps[-1])
        return TrainingState.from_history(self.history()) if self.has_no_checkpoints else TrainingState()

    def history(self) -> list[EpochLog]:
        """Read history.csv, one row per completed epoch.

        Raises
        ------
        InputError
            If it is damaged.
        """
        path = self.path / "history.csv"
        return read_history(path) if path.exists() else []

    def save_training_clips(self, clips: Iterable[ClipKey]) -> None:
        """Write training_clips.csv."""
        write_training_clips(self.path / TRAINING_CLIPS_CSV, clips)

    def training_clips(self) -> set[ClipKey]:
        """Read the clips that the model or its pretrained weights were trained on.

        Raises
        ------
        InputError
            If training_clips.csv is missing or damaged.
        """
        return read_training_clips(self.path / TRAINING_CLIPS_CSV)

    def model_file(self, checkpoint: int | str | None = None) -> Path:
        """Return the path of the trained model, of a checkpoint's (a step), or of the best epoch's ("best").

        Raises
        ------
        InputError
            If it does not exist.
        """
        path = self.path / "model.keras"
        if checkpoint == BEST_CHECKPOINT:
            path = self.path / "best.keras"
        elif checkpoint is not None:
            check_number("checkpoint", checkpoint, int, ge=0)
            path = self.checkpoint_dir(int(checkpoint)) / "model.keras"
        if not path.is_file():
            raise InputError(f"{path} does not exist; {self._missing_hint(checkpoint)}")
        return path

    def load_for_inference(self, checkpoint: int | str | None = None) -> "keras.Model":
        """Load the trained model, a checkpoint's, or the best epoch's, with its output activation.

        Raises
        ------
        InputError
            If it does not exist or belongs to another run.
        """
        from dcase2018.models.architectures import with_activation

        return with_activation(self.load_checkpoint(self.model_file(checkpoint)), self.hparams.classifier)

    def load_checkpoint(self, path: Path, compiled: bool = False) -> "keras.Model":
        """Load a model file of this run, with its optimizer if `compiled`.

        Raises
        ------
        InputError
            If the file is damaged, is not a Keras model, or has another input shape or number of classes.
        """
        model = load_model(path, compiled)
        actual, expected = shapes(model), [self.example_shape, (len(self.classes),)]
        if actual != expected:
            raise InputError(
                f"{path} belongs to another run: its input and output shapes are {actual}, not {expected}"
            )
        return model

    def _missing_hint(self, checkpoint: int | str | None) -> str:
        if checkpoint == BEST_CHECKPOINT:
            return "dcase2018 fit writes it if it has --validation"
        if not self.checkpoints:
            return "finish the run with dcase2018 fit"
        return f"--checkpoint takes the steps {', '.join(map(str, self.checkpoints))}"


def reported_classes(classes: Sequence[str], hidden: Collection[str], option: str) -> list[str]:
    """Return the classes that are not hidden, in order.

    Raises
    ------
    InputError
        If a hidden class is not among `classes`, or none remains. The message names `option`.
    """
    check_classes_exist(hidden, classes, option)
    reported = [name for name in classes if name not in hidden]
    if not reported:
        raise InputError(f"{option} hides all {len(classes)} classes; leave at least one")
    return reported


def clear_run(path: Path) -> None:
    """Remove the files of a run, except run.json, which marks the folder as a run."""
    for name in RUN_FILES:
        remove(path / name)
