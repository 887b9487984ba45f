"""Training state: all that a checkpoint needs beside model and optimizer to resume exactly."""

import csv
import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, NotRequired, TypedDict

from dcase2018.utils.atomic import open_text
from dcase2018.utils.config import (
    Constraint,
    NonNegativeFloat,
    NonNegativeInt,
    check_number,
    from_dict,
    read_json_object,
)
from dcase2018.utils.errors import InputError
from dcase2018.utils.input_files import iter_lines

STATE_JSON = "state.json"

SeedWord = Annotated[int, Constraint("a 32-bit word of a random state", ge=0, le=2**32 - 1)]


@dataclass(frozen=True)
class StoppingCriteria:
    """Criteria that stop training before the last epoch.

    Attributes
    ----------
    max_steps
        Maximum number of steps, counted from the start of the run.
    max_minutes
        Maximum training time in minutes, summed over interruptions.
    patience
        Epochs without a higher validation MAP@3.

    Raises
    ------
    InputError
        If a value is not a positive finite number.

    Examples
    --------
    >>> StoppingCriteria(max_minutes=30, patience=10)
    StoppingCriteria(max_steps=None, max_minutes=30, patience=10)
    """

    max_steps: int | None = None
    max_minutes: float | None = None
    patience: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_steps", "patience"):
            if getattr(self, name) is not None:
                check_number(name, getattr(self, name), int, ge=1)
        if self.max_minutes is not None:
            check_number("max_minutes", self.max_minutes, float, gt=0)


class EpochLog(TypedDict):
    """Row of the history for one epoch; `map3` and `validation_loss` are of the validation clips, if any."""

    epoch: NonNegativeInt
    step: NonNegativeInt
    loss: float
    learning_rate: NonNegativeFloat
    map3: NotRequired[Annotated[float, Constraint("MAP@3", ge=0, le=1)]]
    validation_loss: NotRequired[NonNegativeFloat]
    seconds: NonNegativeFloat


def read_history(path: Path) -> list[EpochLog]:
    """Read a history.csv.

    Raises
    ------
    InputError
        If a line is invalid.
    """
    rows: list[EpochLog] = []
    with open_text(path) as file:
        lines = csv.reader(iter_lines(file))
        try:
            header = next(lines, [])
            for fields in lines:
                columns = zip(header, fields, strict=True)
                rows.append(from_dict(EpochLog, {name: _number(text) for name, text in columns if text}))
        except (ValueError, csv.Error, InputError) as error:
            raise InputError(f"{path} is damaged: line {lines.line_num}: {error}") from None
    return rows


def _number(text: str) -> int | float:
    return int(text) if text.isdecimal() else float(text)


@dataclass
class TrainingState:
    """State of training after `step` steps.

    Attributes
    ----------
    step
        Number of completed steps.
    seconds
        Training time so far.
    loss_sum, n_losses
        Sum and number of the step losses of the current epoch.
    history
        One row per completed epoch.
    permanent_checkpoints
        Checkpoints that are never deleted: step, and training time in seconds when it was written.
    refinement_checksums
        CRC-32 of each file of predictions from which labels were refined, by step.
    rng_states
        States of the model's random layers, which a `.keras` file does not contain.
    """

    step: NonNegativeInt = 0
    seconds: NonNegativeFloat = 0.0
    loss_sum: float = 0.0
    n_losses: NonNegativeInt = 0
    history: list[EpochLog] = field(default_factory=list)
    permanent_checkpoints: dict[NonNegativeInt, NonNegativeFloat] = field(default_factory=dict)
    refinement_checksums: dict[NonNegativeInt, NonNegativeInt] = field(default_factory=dict)
    rng_states: list[list[SeedWord]] = field(default_factory=list)

    @classmethod
    def load(cls, folder: Path, step: int) -> "TrainingState":
        """Read the state of the checkpoint after `step` steps.

        Raises
        ------
        InputError
            If it is damaged.
        """
        path = folder / STATE_JSON
        try:
            state = from_dict(cls, read_json_object(path))
            if state.step != step:
                raise InputError(f"step must be {step}, not {state.step}")
            return state
        except (OSError, InputError) as error:
            raise InputError(
                f"{path} is damaged ({error}); remove {folder} to resume from the previous checkpoint"
            ) from None

    @classmethod
    def from_history(cls, history: list[EpochLog]) -> "TrainingState":
        """Reconstruct the state at the end of a history, without checkpoints."""
        if not history:
            return cls()
        return cls(step=history[-1]["step"], seconds=history[-1]["seconds"], history=history)

    def save(self, folder: Path) -> None:
        """Write the state into a checkpoint folder."""
        (folder / STATE_JSON).write_text(json.dumps(dataclasses.asdict(self)) + "\n", "utf-8")

    @property
    def best(self) -> EpochLog | None:
        """Row of the first epoch with the highest validation MAP@3; None without validation."""
        scored = [row for row in self.history if "map3" in row]
        return max(scored, key=lambda row: row["map3"], default=None)

    def stop_reason(self, total_steps: int, criteria: StoppingCriteria) -> str:
        """Return why training is finished; "" if it is not."""
        if self.step >= total_steps:
            return f"all {len(self.history)} epochs are done"
        if criteria.patience is not None and self.best:
            n_stale = len(self.history) - self.best["epoch"]
            if n_stale >= criteria.patience:
                return f"validation MAP@3 has not increased for {n_stale:g} epochs"
        if criteria.max_steps is not None and self.step >= criteria.max_steps:
            return f"{self.step} steps are done"
        if criteria.max_minutes is not None and self.seconds >= 60 * criteria.max_minutes:
            return f"{self.seconds / 60:.1f} minutes are over"
        return ""
