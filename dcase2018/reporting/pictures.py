"""What a tagger heard of a clip as a picture: log mels over time and frequency, and under them its scores."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import librosa
import numpy as np
from librosa.display import specshow
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dcase2018.features import Recipe

INCHES, DPI = (3.4, 1.9), 200  # as large as a column of the page shows it, at twice its pixels
SMALL = 7  # points
GREY = "#7b7b7b"  # can be read on white and on black alike
KILOHERTZ = (0.1, 0.5, 1, 2, 4, 8, 16)
STRONG = LinearSegmentedColormap.from_list("strong", [(0.18, 0.55, 0.85, 0.06), (0.18, 0.55, 0.85, 1)])

MOST_COLUMNS = 600  # of the log mels: more cannot be seen

# How samples are drawn, where the recipe has no bands.
BANDS_OF_SAMPLES = 64


@dataclass(frozen=True)
class Strip:
    """Scores of some classes over a clip.

    Attributes
    ----------
    names
        What stands beside each row.
    seconds
        The middle of each example, (examples,).
    scores
        In [0, 1], (rows, examples).
    """

    names: list[str]
    seconds: np.ndarray
    scores: np.ndarray


def draw_clip(target: Path, frames: np.ndarray, recipe: Recipe, strip: Strip) -> None:
    """Draw frames, (n_frames, recipe.width), and the scores over them, as a WebP that has no background."""
    figure, above, below = _figure(len(strip.names))
    for drawn in (*above.collections, *below.collections):
        drawn.remove()
    seconds = len(frames) * recipe.stft_hop_seconds
    _draw_mels(above, frames, recipe)
    _draw_strip(below, strip, seconds)
    above.set(xlabel="", xlim=(0, seconds))
    for axes in (above, below):
        axes.minorticks_off()
    figure.savefig(target, format="webp", pil_kwargs={"quality": 80, "method": 1})


@cache
def _figure(rows: int) -> tuple[Figure, Axes, Axes]:
    """A figure for strips of so many rows, to be drawn into again and again, as making one takes long."""
    figure = Figure(figsize=INCHES, dpi=DPI, facecolor="none")
    above, below = figure.subplots(
        2, sharex=True, height_ratios=(3.4, 0.28 * rows), subplot_kw={"facecolor": "none"},
        gridspec_kw={"left": 0.105, "right": 0.97, "top": 0.97, "bottom": 0.15, "hspace": 0.08},
    )  # fmt: skip
    for axes, label in ((above, "kHz"), (below, "")):
        axes.spines[:].set_visible(False)
        axes.tick_params(colors=GREY, labelsize=SMALL, length=2, pad=2, width=0.5)
        axes.set_ylabel(label, labelpad=1, color=GREY, size=SMALL)
    below.set_xlabel("s", labelpad=0, color=GREY, size=SMALL)
    above.tick_params(bottom=False, labelbottom=False)
    return figure, above, below


def _draw_strip(axes: Axes, strip: Strip, seconds: float) -> None:
    rows = np.arange(len(strip.names) + 1)
    edges = np.concatenate([[0], (strip.seconds[1:] + strip.seconds[:-1]) / 2, [seconds]])
    axes.pcolormesh(np.minimum(edges, seconds), rows, strip.scores, cmap=STRONG, vmin=0, vmax=1)
    axes.set_yticks(rows[:-1] + 0.5, strip.names)
    axes.set_ylim(rows[-1], 0)
    axes.xaxis.set_major_locator(MaxNLocator(5))


def _draw_mels(axes: Axes, frames: np.ndarray, recipe: Recipe) -> None:
    low, high = recipe.mel_min_hz, recipe.mel_max_hz
    if recipe.feature == "waveform":
        low, high = 0.0, recipe.sample_rate / 2
        frames = _mels_of(frames, recipe)
    step = -(-len(frames) // MOST_COLUMNS)
    starts = np.arange(0, len(frames), step)
    columns = np.add.reduceat(frames.astype(np.float32), starts) / np.diff([*starts, len(frames)])[:, None]
    edges = np.append(starts, len(frames)) * recipe.stft_hop_seconds
    specshow(
        columns.T, ax=axes, x_axis="s", y_axis="mel", cmap="magma",
        x_coords=edges, y_coords=librosa.mel_frequencies(columns.shape[1] + 1, fmin=low, fmax=high, htk=True),
    )  # fmt: skip
    shown = [khz for khz in KILOHERTZ if low <= 1000 * khz <= high]
    axes.set_yticks([1000 * khz for khz in shown], [f"{khz:g}" for khz in shown])
    axes.set(ylim=(low, high), ylabel="kHz")


def _mels_of(samples: np.ndarray, recipe: Recipe) -> np.ndarray:
    """Log mels of the samples that a recipe of waveforms keeps, a frame a row of them."""
    y = samples.astype(np.float32).ravel()
    mels = librosa.feature.melspectrogram(
        y=librosa.util.fix_length(y, size=max(len(y), recipe.n_fft)), sr=recipe.sample_rate,
        hop_length=recipe.hop_length, n_fft=recipe.n_fft, n_mels=BANDS_OF_SAMPLES, power=1, htk=True,
    )  # fmt: skip
    return np.log(mels.T[: len(samples)] + recipe.mel_log_offset)
