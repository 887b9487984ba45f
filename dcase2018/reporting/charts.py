"""Charts as SVG. Colours and font come from the page, so that charts follow its light and dark themes."""

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dcase2018.reporting.history_plot import PANELS, plot_style

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


def learning_curves(histories: Mapping[str, pd.DataFrame], prefix: str = "") -> Sequence[str]:
    """Plot the training histories of runs by epoch, one chart per column; the best epoch is marked.

    Parameters
    ----------
    histories : dict of DataFrame
        History of each run.
    prefix : str
        See `reliability_diagram`.

    Returns
    -------
    list of str
        `<svg>` elements.
    """
    columns = [name for name in PANELS if any(name in history for history in histories.values())]
    return [
        _learning_curve(name, [history for history in histories.values() if name in history], prefix)
        for name in columns
    ]


def _learning_curve(name: str, histories: Iterable[pd.DataFrame], prefix: str) -> str:
    with plot_style(STYLE):
        figure = Figure(figsize=(4.4, 2.6), layout="constrained")
        axes = figure.subplots()
        for history in histories:
            marker = "." if len(history) == 1 else ""
            axes.plot(history["epoch"], history[name], marker=marker, color=ACCENT, linewidth=1.4)
            if name == "map3":
                _mark_best(axes, history)
        axes.set(xlabel="epoch", ylabel=PANELS[name])
        if name != "loss":
            axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(axis="y", color=FAINT, linewidth=0.6, alpha=0.6)
        return _to_svg(figure, f"Learning curve: {PANELS[name]} by epoch.", f"{prefix}{name}")


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
