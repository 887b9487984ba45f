"""Plot of the training history of a run."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dcase2018.runs.run import Run
from dcase2018.utils.atomic import atomic_path
from dcase2018.utils.errors import InputError

# Columns of history.csv to plot, with their axis labels.
PANELS = {
    "loss": "training loss",
    "validation_loss": "validation loss",
    "map3": "validation MAP@3",
    "learning_rate": "learning rate",
}


@contextmanager
def plot_style(style: Mapping[str, Any] = {}) -> Iterator[None]:
    """Plot in matplotlib's default style with changes, whatever `matplotlibrc` the working directory has."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(style)
        yield


def plot_history(run: Run) -> Path:
    """Plot history.csv as history.png beside it, one panel per column.

    Returns
    -------
    Path
        The image.

    Raises
    ------
    InputError
        If the run has no completed epoch, or its history is damaged.
    """
    rows = run.history()
    if not rows:
        raise InputError(f"{run.path / 'history.csv'} has no epoch; fit writes one after each epoch")
    target = run.path / "history.png"
    with plot_style(), atomic_path(target) as temporary:
        _plot(pd.DataFrame(rows), f"{run.path.name}: {run.model}", run.finetune_start).savefig(
            temporary, format="png", dpi=120
        )
    return target


def shade_finetuning(axes: Axes, start: int | None, history: pd.DataFrame, color: str) -> None:
    """Shade the epochs of the final fine-tuning phase, which starts with epoch `start`."""
    last = history["epoch"].max()
    if start is not None and start <= last:
        axes.axvspan(start - 0.5, last + 0.5, color=color, alpha=0.15, linewidth=0)


def _plot(history: pd.DataFrame, title: str, finetune_start: int | None) -> Figure:
    panels = [name for name in PANELS if name in history]
    figure = Figure(figsize=(7, 2.2 * len(panels)), layout="constrained")
    all_axes = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
    for axes, name in zip(all_axes, panels, strict=True):
        axes.plot(history["epoch"], history[name], marker="." if len(history) < 60 else "", color="C0")
        axes.set_ylabel(PANELS[name])
        axes.grid(alpha=0.3)
        shade_finetuning(axes, finetune_start, history, "C2")
        if name == "map3":
            best = history.loc[history[name].idxmax()]
            axes.plot(best["epoch"], best[name], "o", color="C1")
            best_epoch = f"best {best[name]:.4f} in epoch {best['epoch']:.0f}"
            axes.set_title(best_epoch, loc="right", fontsize="small")
    is_finetuned = finetune_start is not None and finetune_start <= history["epoch"].max()
    all_axes[-1].set_xlabel("epoch (shaded: fine-tuning on verified clips)" if is_finetuned else "epoch")
    all_axes[-1].xaxis.get_major_locator().set_params(integer=True)
    figure.align_ylabels()
    figure.suptitle(title, parse_math=False)
    return figure
