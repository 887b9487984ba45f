"""Plot six test clips of the demo corpus with their top three classes: the picture of the README.

Run this from the project folder after `make submission`. It writes docs/images/tagged.png.
"""

from pathlib import Path

import librosa
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import dcase2018 as dc

CLASSES = ("Bark", "Hi-hat", "Saxophone", "Telephone", "Fireworks", "Glockenspiel")
TICKS_KHZ = (0.1, 0.5, 1, 2, 4, 8)
TARGET = Path("docs/images/tagged.png")


def plot_spectrogram(axes: Axes, store: dc.Store, row: int) -> None:
    """Plot the log mel frames of a clip, (n_frames, n_bands), over time in s and frequency in kHz."""
    feature_config, frames = store.feature_config, store.frames_of(row).astype(np.float32)
    seconds = len(frames) * feature_config.frame_hop_seconds
    limits_hz = [feature_config.mel_min_hz, feature_config.mel_max_hz]
    low, high, *ticks = librosa.hz_to_mel([*limits_hz, *(1000 * khz for khz in TICKS_KHZ)], htk=True)
    axes.imshow(frames.T, origin="lower", aspect="auto", cmap="magma", extent=(0, seconds, low, high))
    axes.set_yticks(ticks, [f"{khz:g}" for khz in TICKS_KHZ], fontsize="x-small")
    axes.tick_params(labelsize="x-small")
    axes.set_xlabel("s", fontsize="x-small", labelpad=1)


def plot_top_classes(axes: Axes, clip: pd.Series) -> None:
    """Plot the top three classes as bars; the label's bar is coloured."""
    names = [clip[f"top_{rank}"] for rank in (3, 2, 1)]
    colors = ["C2" if name == clip["label"] else "0.75" for name in names]
    bars = axes.barh(range(3), [clip[f"score_{rank}"] for rank in (3, 2, 1)], color=colors)
    axes.bar_label(bars, names, padding=3, fontsize="x-small")
    axes.set(xlim=(0, 1.5), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def main() -> None:
    store = dc.Store("features/demo/logmel96/test.h5")
    ensemble = dc.Ensemble.open(["runs/demo/compact"], [store])
    labels = dc.read_labels("data/demo/test_post_competition.csv", ensemble.classes)
    chosen = labels[labels["label"].isin(CLASSES)].drop_duplicates("label")
    clips = dc.evaluate(ensemble, chosen).clips
    figure = Figure(figsize=(9, 5.2), layout="constrained")
    grid = figure.subplots(4, 3, height_ratios=(3, 1.2, 3, 1.2))
    for index, clip in clips.iterrows():
        row, column = 2 * (index // 3), index % 3
        plot_spectrogram(grid[row, column], store, store.fnames.index(clip["fname"]))
        grid[row, column].set_title(clip["label"].replace("_", " "), fontsize="small")
        plot_top_classes(grid[row + 1, column], clip)
    for row in (0, 2):
        grid[row, 0].set_ylabel("kHz", fontsize="x-small")
    figure.savefig(TARGET, dpi=90)
    print(TARGET)


if __name__ == "__main__":
    main()
