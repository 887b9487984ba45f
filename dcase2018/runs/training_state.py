"""Where a training stands: what has to be kept beside the network and its optimizer to go on exactly."""

import csv
import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, NotRequired, TypedDict

from dcase2018.utils.atomic import open_text
from dcase2018.utils.config import Amount, Count, Rule, from_dict, read_object
from dcase2018.utils.errors import Dcase2018Error, InputError

FILE = "state.json"

Seed = Annotated[int, Rule("a word of a random state", least=0, most=2**32 - 1)]


@dataclass(frozen=True)
class Limits:
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


class Row(TypedDict):
    """What the history has of an epoch; `val_map3` where clips are scored on the way."""

    epoch: Count
    step: Count
    loss: float
    learning_rate: Amount
    val_map3: NotRequired[Annotated[float, Rule("MAP@3", least=0, most=1)]]
    seconds: Amount


def read_history(path: Path) -> list[Row]:
    """Read a history.csv.

    Raises
    ------
    InputError
        If it is damaged, naming the line.
    """
    rows: list[Row] = []
    with open_text(path) as file:
        lines = csv.reader(file)
        try:
            header = next(lines, [])
            for fields in lines:
                named = zip(header, fields, strict=True)
                rows.append(from_dict(Row, {name: _number(text) for name, text in named if text}))
        except (ValueError, csv.Error, InputError) as error:
            raise InputError(f"{path} is damaged: line {lines.line_num}: {error}") from None
    return rows


def _number(text: str) -> int | float:
    return int(text) if text.isdecimal() else float(text)


@dataclass
class State:
    """Where a training stands after `step` steps.

    Attributes
    ----------
    seconds
        Time spent so far.
    loss_sum, loss_steps
        Of the losses since the last epoch's end.
    history
        A row for each epoch that is complete (see `Run`).
    lasting
        Checkpoints kept for good: step, and the seconds at which it was made.
    seeds
        States of the network's random layers, which a `.keras` file leaves out.
    """

    step: Count = 0
    seconds: Amount = 0.0
    loss_sum: float = 0.0
    loss_steps: Count = 0
    history: list[Row] = field(default_factory=list)
    lasting: dict[Count, Amount] = field(default_factory=dict)
    seeds: list[list[Seed]] = field(default_factory=list)

    @classmethod
    def load(cls, folder: Path, step: int) -> "State":
        """Read the state of the checkpoint after `step` steps.

        Raises
        ------
        Dcase2018Error
            If it is damaged.
        """
        path = folder / FILE
        try:
            state = from_dict(cls, read_object(path))
            if state.step != step:
                raise InputError(f"step must be {step}, not {state.step}")
            return state
        except (OSError, InputError) as error:
            raise Dcase2018Error(
                f"{path} is damaged ({error}); remove {folder} to go on from the checkpoint before it"
            ) from None

    @classmethod
    def told(cls, history: list[Row]) -> "State":
        """What a history tells of where a training stands."""
        if not history:
            return cls()
        return cls(step=history[-1]["step"], seconds=history[-1]["seconds"], history=history)

    def save(self, folder: Path) -> None:
        """Write it into the folder of a checkpoint."""
        (folder / FILE).write_text(json.dumps(dataclasses.asdict(self)) + "\n", "utf-8")

    @property
    def best(self) -> Row | None:
        """Row of the first epoch with the best validation score; None without one."""
        scored = [row for row in self.history if "val_map3" in row]
        return max(scored, key=lambda row: row["val_map3"], default=None)

    def end(self, total_steps: int, limits: Limits) -> str:
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
