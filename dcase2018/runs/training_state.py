"""Where a training stands: what has to be kept beside the network and its optimizer to go on exactly."""

import csv
import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, NotRequired, TypedDict

from dcase2018.utils.atomic import open_text
from dcase2018.utils.config import Constraint, NonNegativeFloat, NonNegativeInt, from_dict, read_json_object
from dcase2018.utils.errors import Dcase2018Error, InputError

FILE = "state.json"

Seed = Annotated[int, Constraint("a word of a random state", ge=0, le=2**32 - 1)]


@dataclass(frozen=True)
class StoppingCriteria:
    """What ends a training before its last epoch.

    Attributes
    ----------
    max_steps
        Steps, from the beginning of the run.
    max_minutes
        Minutes of training, those before an interruption included.
    patience
        Epochs without a better validation score.
    """

    max_steps: int | None = None
    max_minutes: float | None = None
    patience: int | None = None


class EpochLog(TypedDict):
    """What the history has of an epoch; `val_map3` where clips are scored on the way."""

    epoch: NonNegativeInt
    step: NonNegativeInt
    loss: float
    learning_rate: NonNegativeFloat
    val_map3: NotRequired[Annotated[float, Constraint("MAP@3", ge=0, le=1)]]
    seconds: NonNegativeFloat


def read_history(path: Path) -> list[EpochLog]:
    """Read a history.csv.

    Raises
    ------
    InputError
        If it is damaged, naming the line.
    """
    rows: list[EpochLog] = []
    with open_text(path) as file:
        lines = csv.reader(file)
        try:
            header = next(lines, [])
            for fields in lines:
                named = zip(header, fields, strict=True)
                rows.append(from_dict(EpochLog, {name: _number(text) for name, text in named if text}))
        except (ValueError, csv.Error, InputError) as error:
            raise InputError(f"{path} is damaged: line {lines.line_num}: {error}") from None
    return rows


def _number(text: str) -> int | float:
    return int(text) if text.isdecimal() else float(text)


@dataclass
class TrainingState:
    """Where a training stands after `step` steps.

    Attributes
    ----------
    seconds
        Time spent so far.
    loss_sum, n_losses
        Of the losses since the last epoch's end.
    history
        A row for each epoch that is complete (see `Run`).
    permanent_checkpoints
        Checkpoints kept for good: step, and the seconds at which it was made.
    rng_states
        States of the network's random layers, which a `.keras` file leaves out.
    """

    step: NonNegativeInt = 0
    seconds: NonNegativeFloat = 0.0
    loss_sum: float = 0.0
    n_losses: NonNegativeInt = 0
    history: list[EpochLog] = field(default_factory=list)
    permanent_checkpoints: dict[NonNegativeInt, NonNegativeFloat] = field(default_factory=dict)
    rng_states: list[list[Seed]] = field(default_factory=list)

    @classmethod
    def load(cls, folder: Path, step: int) -> "TrainingState":
        """Read the state of the checkpoint after `step` steps.

        Raises
        ------
        Dcase2018Error
            If it is damaged.
        """
        path = folder / FILE
        try:
            state = from_dict(cls, read_json_object(path))
            if state.step != step:
                raise InputError(f"step must be {step}, not {state.step}")
            return state
        except (OSError, InputError) as error:
            raise Dcase2018Error(
                f"{path} is damaged ({error}); remove {folder} to go on from the checkpoint before it"
            ) from None

    @classmethod
    def from_history(cls, history: list[EpochLog]) -> "TrainingState":
        """What a history tells of where a training stands."""
        if not history:
            return cls()
        return cls(step=history[-1]["step"], seconds=history[-1]["seconds"], history=history)

    def save(self, folder: Path) -> None:
        """Write it into the folder of a checkpoint."""
        (folder / FILE).write_text(json.dumps(dataclasses.asdict(self)) + "\n", "utf-8")

    @property
    def best(self) -> EpochLog | None:
        """Row of the first epoch with the best validation score; None without one."""
        scored = [row for row in self.history if "val_map3" in row]
        return max(scored, key=lambda row: row["val_map3"], default=None)

    def stop_reason(self, total_steps: int, limits: StoppingCriteria) -> str:
        """Say why training is over; "" if it is not."""
        if self.step >= total_steps:
            return f"all {len(self.history)} epochs are done"
        if limits.patience is not None and self.best:
            stale = len(self.history) - self.best["epoch"]
            if stale >= limits.patience:
                return f"validation has not risen for {stale:g} epochs"
        if limits.max_steps is not None and self.step >= limits.max_steps:
            return f"{self.step} steps are done"
        if limits.max_minutes is not None and self.seconds >= 60 * limits.max_minutes:
            return f"{self.seconds / 60:.1f} minutes are over"
        return ""
