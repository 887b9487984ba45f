"""Where a training stands: what has to be kept beside the network and its optimizer to go on exactly."""

import dataclasses
import json
from dataclasses import dataclass, field
from pathlib import Path

from dcase2018.foundation import Dcase2018Error

FILE = "state.json"


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

    step: int = 0
    seconds: float = 0.0
    loss_sum: float = 0.0
    loss_steps: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    lasting: dict[int, float] = field(default_factory=dict)
    seeds: list[list[int]] = field(default_factory=list)

    @classmethod
    def load(cls, folder: Path) -> "State":
        """Read the state of a checkpoint.

        Raises
        ------
        Dcase2018Error
            If it is damaged.
        """
        path = folder / FILE
        try:
            values = json.loads(path.read_text("utf-8"))
            values["lasting"] = {int(step): seconds for step, seconds in values["lasting"].items()}
            return cls(**values)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise Dcase2018Error(
                f"{path} is damaged ({error}); remove {folder} to go on from the checkpoint before it"
            ) from None

    def save(self, folder: Path) -> None:
        """Write it into the folder of a checkpoint."""
        (folder / FILE).write_text(json.dumps(dataclasses.asdict(self)) + "\n", "utf-8")

    @property
    def best(self) -> dict[str, float] | None:
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
