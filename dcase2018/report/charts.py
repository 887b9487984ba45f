"""Charts as SVG that takes its colours and its font from the page, so that they suit light and dark."""

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dcase2018.report.history_plot import PANELS

# Stand-ins for the colours of the page, which `_svg` puts in their place.
INK, FAINT, ACCENT = "#010101", "#020202", "#030303"
OF_THE_PAGE = {INK: "var(--ink)", FAINT: "var(--line)", ACCENT: "var(--accent)"}

STYLE = {
    "svg.fonttype": "none",  # text stays text
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


def reliability_diagram(bins: pd.DataFrame, key: str = "") -> str:
    """Draw how often answers are right by how sure the tagger is of them (see `reliability`).

    Charts of different keys may stand on one page.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.4, 4.2), layout="constrained")
        above, axes = figure.subplots(2, sharex=True, height_ratios=(1, 4))
        filled = bins[bins["clips"] > 0]
        width = (filled["high"] - filled["low"]) * 0.92
        middle = (filled["high"] + filled["low"]) / 2
        above.bar(middle, filled["clips"], width, color=FAINT)
        above.set_ylabel("clips")
        axes.bar(middle, filled["accuracy"], width, color=ACCENT, alpha=0.35)
        axes.plot(filled["confidence"], filled["accuracy"], "o-", color=ACCENT, markersize=4)
        axes.plot([0, 1], [0, 1], "--", color=INK, linewidth=0.8)
        axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="score of the answer", ylabel="share of right answers")
        meaning = "Reliability diagram: the share of right answers by the score of the answer."
        return _svg(figure, meaning, f"{key}reliability")


def learning_curves(histories: Mapping[str, pd.DataFrame], key: str = "") -> Sequence[str]:
    """Draw what the histories of runs tell by epoch, a chart a column; the best epoch is marked.

    Charts of different keys may stand on one page.
    """
    columns = [name for name in PANELS if any(name in history for history in histories.values())]
    return [
        _curve(name, [history for history in histories.values() if name in history], key) for name in columns
    ]


def _curve(name: str, histories: Iterable[pd.DataFrame], key: str) -> str:
    with matplotlib.rc_context(STYLE):
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
        return _svg(figure, f"Learning curve: {PANELS[name]} by epoch.", f"{key}{name}")


def _mark_best(axes: Axes, history: pd.DataFrame) -> None:
    best = history.loc[history["map3"].idxmax()]
    axes.plot(best["epoch"], best["map3"], "o", color=INK, markersize=5)
    axes.annotate(
        f"epoch {best['epoch']:.0f}: {best['map3']:.4f}", (best["epoch"], best["map3"]),
        (0, 6), textcoords="offset points", ha="right" if best["epoch"] > history["epoch"].mean() else "left",
    )  # fmt: skip


def _svg(figure: Figure, meaning: str, salt: str) -> str:
    """Write a figure as an element for the page; `meaning` is its alternative text.

    The ids of its groups go, and those that it needs come from the salt: a page has no id twice.
    """
    file = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": salt}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'<g id="[^"]*"', "<g", text)
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    for stand_in, colour in OF_THE_PAGE.items():
        text = text.replace(stand_in, colour)
    return text.replace("<svg ", f'<svg role="img" aria-label="{escape(meaning)}" ', 1)
