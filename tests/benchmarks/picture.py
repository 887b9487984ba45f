"""Draw what a tagger hears and says of six test clips of the demo corpus: the picture of the README.

Run it from the project's folder after `make submission`; it writes tests/benchmarks/tagged.png.
"""

from pathlib import Path

import librosa
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import dcase2018 as dc

CLASSES = ("Bark", "Hi-hat", "Saxophone", "Telephone", "Fireworks", "Glockenspiel")
KILOHERTZ = (0.1, 0.5, 1, 2, 4, 8)
TARGET = Path(__file__).with_name("tagged.png")


def draw_clip(axes: Axes, store: dc.Store, row: int) -> None:
    """Draw the log mels of a clip, (length, mel_bands), over time in s and frequency in kHz."""
    feature_config, frames = store.feature_config, store.frames_of(row).astype(np.float32)
    seconds = len(frames) * feature_config.stft_hop_seconds
    low, high, *at = librosa.hz_to_mel(
        [feature_config.mel_min_hz, feature_config.mel_max_hz, *(1000 * khz for khz in KILOHERTZ)], htk=True
    )
    axes.imshow(frames.T, origin="lower", aspect="auto", cmap="magma", extent=(0, seconds, low, high))
    axes.set_yticks(at, [f"{khz:g}" for khz in KILOHERTZ], fontsize="x-small")
    axes.tick_params(labelsize="x-small")
    axes.set_xlabel("s", fontsize="x-small", labelpad=1)


def draw_top(axes: Axes, clip: pd.Series) -> None:
    """Draw the top three as bars, the true one in colour."""
    names = [clip[f"top_{rank}"] for rank in (3, 2, 1)]
    colours = ["C2" if name == clip["truth"] else "0.75" for name in names]
    bars = axes.barh(range(3), [clip[f"score_{rank}"] for rank in (3, 2, 1)], color=colours)
    axes.bar_label(bars, names, padding=3, fontsize="x-small")
    axes.set(xlim=(0, 1.5), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def main() -> None:
    store = dc.Store("features/demo/wide/test.h5")
    ensemble = dc.Ensemble.open(["runs/demo/compact"], [store])
    truth = dc.read_labels("data/demo/test_post_competition.csv", ensemble.classes)
    chosen = truth[truth["label"].isin(CLASSES)].drop_duplicates("label")
    clips = dc.evaluate(ensemble, chosen).clips
    figure = Figure(figsize=(9, 5.2), layout="constrained")
    grid = figure.subplots(4, 3, height_ratios=(3, 1.2, 3, 1.2))
    for number, clip in clips.iterrows():
        above, below = grid[2 * (number // 3) : 2 * (number // 3) + 2, number % 3]
        draw_clip(above, store, store.fnames.index(clip["fname"]))
        above.set_title(clip["truth"].replace("_", " "), fontsize="small")
        draw_top(below, clip)
    for row in (0, 2):
        grid[row, 0].set_ylabel("kHz", fontsize="x-small")
    figure.savefig(TARGET, dpi=90)
    print(TARGET)


if __name__ == "__main__":
    main()
