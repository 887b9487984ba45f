"""The history of a run as a picture."""

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from dcase2018.runs.run import Run
from dcase2018.utils.atomic import atomic_path
from dcase2018.utils.errors import InputError

PANELS = {"loss": "training loss", "map3": "validation MAP@3", "learning_rate": "learning rate"}


def plot_history(run: Run) -> Path:
    """Draw history.csv as history.png beside it, a panel a column.

    Raises
    ------
    InputError
        If the run has no complete epoch yet, or its history is damaged.
    """
    rows = run.history()
    if not rows:
        table = run.path / "history.csv"
        raise InputError(f"{table} has no epoch; it is written when the first one is complete")
    history = pd.DataFrame(rows)
    panels = [name for name in PANELS if name in history]
    figure = Figure(figsize=(7, 2.2 * len(panels)), layout="constrained")
    for axes, name in zip(
        figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0], panels, strict=True
    ):
        axes.plot(history["epoch"], history[name], marker="." if len(history) < 60 else "", color="C0")
        axes.set_ylabel(PANELS[name])
        axes.grid(alpha=0.3)
        if name == "map3":
            best = history.loc[history[name].idxmax()]
            axes.plot(best["epoch"], best[name], "o", color="C1")
            axes.set_title(
                f"best {best[name]:.4f} in epoch {best['epoch']:.0f}", loc="right", fontsize="small"
            )
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True)
    figure.align_ylabels()
    figure.suptitle(f"{run.path.name}: {run.model}")
    target = run.path / "history.png"
    with atomic_path(target) as partial:
        figure.savefig(partial, format="png", dpi=120)
    return target
