"""Charts of the page as SVG, and the confusion matrix as files.

Colours and font of the charts come from the page, so that they follow its light and dark themes.
"""

import io
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dcase2018.reporting.history_plot import PANELS, plot_style, shade_finetuning

# Placeholder colours, which `_to_svg` replaces by the CSS variables of the page.
INK, FAINT, ACCENT = "#010101", "#020202", "#030303"
CSS_COLORS = {INK: "var(--ink)", FAINT: "var(--line)", ACCENT: "var(--accent)"}

STYLE = {
    "svg.fonttype": "none",  # keep text as text
    "text.color": INK,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "font.size": 10,
    "text.parse_math": False,
}


FONT_POINTS = 7
MATRIX_STYLE = {"svg.fonttype": "none", "font.size": FONT_POINTS, "text.parse_math": False}
MATRIX_CELL_INCHES = 0.2


def reliability_diagram(bins: pd.DataFrame, prefix: str = "") -> str:
    """Plot accuracy against confidence, with the number of clips per bin.

    Parameters
    ----------
    bins : DataFrame
        See `reliability_table`.
    prefix : str
        Makes the ids of the SVG unique on a page with several systems.

    Returns
    -------
    str
        An `<svg>` element.
    """
    with plot_style(STYLE):
        figure = Figure(figsize=(4.4, 4.2), layout="constrained")
        histogram, axes = figure.subplots(2, sharex=True, height_ratios=(1, 4))
        filled = bins[bins["n_clips"] > 0]
        width = (filled["high"] - filled["low"]) * 0.92
        centre = (filled["high"] + filled["low"]) / 2
        histogram.bar(centre, filled["n_clips"], width, color=FAINT)
        histogram.set_ylabel("clips")
        axes.bar(centre, filled["accuracy"], width, color=ACCENT, alpha=0.35)
        axes.plot(filled["confidence"], filled["accuracy"], "o-", color=ACCENT, markersize=4)
        axes.plot([0, 1], [0, 1], "--", color=INK, linewidth=0.8)
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="confidence", ylabel="accuracy")
        return _to_svg(figure, "Reliability diagram: accuracy by confidence.", f"{prefix}reliability")


def learning_curves(
    histories: Mapping[str, pd.DataFrame], prefix: str = "", finetune_starts: Iterable[int] = ()
) -> Sequence[str]:
    """Plot the training histories of runs by epoch, one chart per column; the best epoch is marked.

    Parameters
    ----------
    histories : dict of DataFrame
        History of each run.
    prefix : str
        See `reliability_diagram`.
    finetune_starts : iterable of int
        First epochs of the final fine-tuning phases, which are shaded.

    Returns
    -------
    list of str
        `<svg>` elements.
    """
    columns = [name for name in PANELS if any(name in history for history in histories.values())]
    return [
        _learning_curve(
            name, [table for table in histories.values() if name in table], prefix, list(finetune_starts)
        )
        for name in columns
    ]


def _learning_curve(
    name: str, histories: Sequence[pd.DataFrame], prefix: str, finetune_starts: Sequence[int]
) -> str:
    with plot_style(STYLE):
        figure = Figure(figsize=(4.4, 2.6), layout="constrained")
        axes = figure.subplots()
        for history in histories:
            marker = "." if len(history) == 1 else ""
            axes.plot(history["epoch"], history[name], marker=marker, color=ACCENT, linewidth=1.4)
            if name == "map3":
                _mark_best(axes, history)
        axes.set(xlabel="epoch", ylabel=PANELS[name])
        for start in finetune_starts:
            shade_finetuning(axes, start, pd.concat(histories), ACCENT)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y", color=FAINT, linewidth=0.6, alpha=0.6)
        return _to_svg(figure, f"Learning curve: {PANELS[name]} by epoch.", f"{prefix}{name}")


def confusion_figure(confusion: pd.DataFrame, normalize: bool) -> Figure:
    """Plot a confusion matrix for a publication, on white. The colour of a cell is its fraction of the row.

    Parameters
    ----------
    confusion : DataFrame
        Number of clips, one row per label, one column per prediction.
    normalize : bool
        Write the percentage of the row into each cell, instead of the number of clips.
    """
    counts = confusion.to_numpy()
    fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    texts = np.round(100 * fractions).astype(int) if normalize else counts
    size = 2.2 + MATRIX_CELL_INCHES * len(counts)
    with plot_style(MATRIX_STYLE):
        figure = Figure(figsize=(size, size), layout="constrained")
        axes = figure.subplots()
        axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
        ticks = range(len(counts))
        axes.set_yticks(ticks, [_printable(name) for name in confusion.index])
        axes.set_xticks(ticks, [_printable(name) for name in confusion.columns], rotation=90)
        axes.set(ylabel="label", xlabel=f"prediction ({'% of the label' if normalize else 'clips'})")
        for row, column in np.argwhere(counts):
            color = "white" if fractions[row, column] > 0.6 else "black"
            text = f"{texts[row, column]}"
            axes.text(column, row, text, ha="center", va="center", color=color, size=FONT_POINTS)
    return figure


def save_confusion(confusion: pd.DataFrame, normalize: bool, svg: Path, png: Path) -> None:
    """Write `confusion_figure` as SVG and as PNG."""
    figure = confusion_figure(confusion, normalize)
    with plot_style(MATRIX_STYLE | {"svg.hashsalt": svg.name}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a box replaces the character
        figure.savefig(svg, metadata={"Date": None, "Creator": None})
        figure.savefig(png, dpi=150)


def _printable(name: str) -> str:
    """Escape what fonts and files cannot encode."""
    return name.encode("utf-8", "backslashreplace").decode()


def _mark_best(axes: Axes, history: pd.DataFrame) -> None:
    best = history.loc[history["map3"].idxmax()]
    axes.plot(best["epoch"], best["map3"], "o", color=INK, markersize=5)
    axes.annotate(
        f"epoch {best['epoch']:.0f}: {best['map3']:.4f}", (best["epoch"], best["map3"]),
        (0, 6), textcoords="offset points", ha="right" if best["epoch"] > history["epoch"].mean() else "left",
    )  # fmt: skip


def _to_svg(figure: Figure, alt_text: str, id_salt: str) -> str:
    """Convert a figure to an `<svg>` element whose ids are unique on the page."""
    file = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": id_salt}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    for placeholder, colour in CSS_COLORS.items():
        text = text.replace(placeholder, colour)
    return text.replace("<svg ", f'<svg role="img" aria-label="{escape(alt_text)}" ', 1)
