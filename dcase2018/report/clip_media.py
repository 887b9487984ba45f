"""The clips that a report shows, illustrated by several processes."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import joblib
import librosa
import numpy as np
import soundfile
from librosa.display import specshow
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dcase2018.data.audio import AudioReader, AudioReadError
from dcase2018.data.files import list_clips
from dcase2018.evaluation.metrics import top_classes
from dcase2018.features.config import FeatureConfig
from dcase2018.features.frontend import FrontEnd
from dcase2018.inference.predictor import iter_window_scores
from dcase2018.report.summary import Side
from dcase2018.utils.parallel import parallel_pool
from dcase2018.utils.progress import Progress

SECONDS = 15.0  # of a clip that are shown and played

PIECE = 1 << 14  # samples written at a time: libvorbis overflows its stack with many


def audio_files(audio: Path, fnames: Sequence[str]) -> dict[str, Path]:
    """Find the files of clips, by name.

    Raises
    ------
    InputError
        If one is not in the folder, or its name leads out of it.
    """
    return {source.fname: source.path for source in list_clips(audio, fnames)}


def write_excerpt(target: Path, source: Path, feature_config: FeatureConfig) -> str:
    """Write the beginning of a clip as Ogg Vorbis, or return why there is nothing to be heard.

    Raises
    ------
    OSError
        If the clip cannot be opened, or the excerpt not be written.
    """
    try:
        with AudioReader(source, feature_config.sample_rate) as clip:
            blocks, full_scale = FrontEnd(feature_config).preprocessed_blocks(clip)
            pieces = list(_pieces(blocks, round(SECONDS * feature_config.sample_rate)))
    except AudioReadError as error:
        return str(error)
    if not pieces:
        return "no samples"
    encoded = io.BytesIO()
    with soundfile.SoundFile(encoded, "w", feature_config.sample_rate, 1, "VORBIS", format="OGG") as excerpt:
        for piece in pieces:
            excerpt.write(piece / np.float32(full_scale))
    target.write_bytes(encoded.getbuffer())
    return ""


def _pieces(blocks: Iterator[np.ndarray], most: int) -> Iterator[np.ndarray]:
    """Cut the first `most` samples of a stream small."""
    for block in blocks:
        for start in range(0, min(len(block), most), PIECE):
            yield block[start : min(start + PIECE, most)]
        most -= len(block)
        if most <= 0:
            return


INCHES, DPI = (3.4, 1.9), 200  # as large as a column of the page shows it, at twice its pixels
SMALL = 7  # points
GREY = "#7b7b7b"  # can be read on white and on black alike
KILOHERTZ = (0.1, 0.5, 1, 2, 4, 8, 16)
STRONG = LinearSegmentedColormap.from_list("strong", [(0.18, 0.55, 0.85, 0.06), (0.18, 0.55, 0.85, 1)])

MOST_COLUMNS = 600  # of the log mels: more cannot be seen

# How samples are drawn, where the feature_config has no bands.
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


def draw_clip(target: Path, frames: np.ndarray, feature_config: FeatureConfig, strip: Strip) -> None:
    """Draw frames, (n_frames, feature_config.n_features), and the scores over them, as a WebP that has no background."""
    figure, above, below = _figure(len(strip.names))
    for drawn in (*above.collections, *below.collections):
        drawn.remove()
    seconds = len(frames) * feature_config.stft_hop_seconds
    _draw_mels(above, frames, feature_config)
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


def _draw_mels(axes: Axes, frames: np.ndarray, feature_config: FeatureConfig) -> None:
    low, high = feature_config.mel_min_hz, feature_config.mel_max_hz
    if feature_config.feature == "waveform":
        low, high = 0.0, feature_config.sample_rate / 2
        frames = _mels_of(frames, feature_config)
    step = -(-len(frames) // MOST_COLUMNS)
    starts = np.arange(0, len(frames), step)
    columns = np.add.reduceat(frames.astype(np.float32), starts) / np.diff([*starts, len(frames)])[:, None]
    edges = np.append(starts, len(frames)) * feature_config.stft_hop_seconds
    specshow(
        columns.T, ax=axes, x_axis="s", y_axis="mel", cmap="magma",
        x_coords=edges, y_coords=librosa.mel_frequencies(columns.shape[1] + 1, fmin=low, fmax=high, htk=True),
    )  # fmt: skip
    shown = [khz for khz in KILOHERTZ if low <= 1000 * khz <= high]
    axes.set_yticks([1000 * khz for khz in shown], [f"{khz:g}" for khz in shown])
    axes.set(ylim=(low, high), ylabel="kHz")


def _mels_of(samples: np.ndarray, feature_config: FeatureConfig) -> np.ndarray:
    """Log mels of the samples that a feature_config of waveforms keeps, a frame a row of them."""
    y = samples.astype(np.float32).ravel()
    mels = librosa.feature.melspectrogram(
        y=librosa.util.fix_length(y, size=max(len(y), feature_config.n_fft)), sr=feature_config.sample_rate,
        hop_length=feature_config.hop_length, n_fft=feature_config.n_fft, n_mels=BANDS_OF_SAMPLES, power=1, htk=True,
    )  # fmt: skip
    return np.log(mels.T[: len(samples)] + feature_config.mel_log_offset)


@dataclass(frozen=True)
class Illustration:
    """A clip to be seen and heard; the target lacks a suffix."""

    number: int
    target: Path
    feature_config: FeatureConfig
    frames: np.ndarray
    strip: Strip
    source: Path | None

    def __call__(self) -> tuple[int, dict[str, Any]]:
        """Make the files; return the clip's number and what the report says of them."""
        made: dict[str, Any] = {"picture": None, "excerpt": None, "silent": None}
        if len(self.frames):
            picture = self.target.with_suffix(".webp")
            draw_clip(picture, self.frames, self.feature_config, self.strip)
            made["picture"] = f"{picture.parent.name}/{picture.name}"
        if self.source:
            excerpt = self.target.with_suffix(".ogg")
            made["silent"] = write_excerpt(excerpt, self.source, self.feature_config) or None
            made["excerpt"] = None if made["silent"] else f"{excerpt.parent.name}/{excerpt.name}"
        return self.number, made


FEW = 24  # clips that are sooner done than processes are started


def illustrate(folder: Path, side: Side, sources: Mapping[str, Path], jobs: int = -1) -> list[dict[str, Any]]:
    """Make the pictures and excerpts of the clips that a side shows.

    Files are named by the numbers of the clips, never by their names.

    Parameters
    ----------
    sources
        The audio files of the clips, by name; none where the report has no sound.

    Returns
    -------
    list of dict
        For each clip, in order of number: `number`, the `seconds` that its frames last, its `problem` if it
        has none, `picture` and `excerpt`, the names of files or None, and why it is `silent`, or None.
    """
    clips = list(_planned(folder, side, sources))
    made: dict[int, dict[str, Any]] = {}
    with (
        Progress("illustrate", len(clips), "clips") as progress,
        parallel_pool(1 if len(clips) <= FEW else jobs) as parallel,
    ):
        for number, files in parallel(joblib.delayed(clip)() for clip in clips):
            made[number] = files
            progress.update(1)
    return [{"number": clip.number, **_of_store(side, clip.number), **made[clip.number]} for clip in clips]


def _planned(folder: Path, side: Side, sources: Mapping[str, Path]) -> Iterator[Illustration]:
    shown = side.clips[side.clips["shown"] != ""]
    store = side.ensemble.members[0].store
    most = round(SECONDS / store.feature_config.stft_hop_seconds)
    examples = iter_window_scores(side.ensemble, list(shown["fname"]))
    places = len(str(len(side.clips)))
    for (clip, row), (seconds, scores) in zip(shown.iterrows(), examples, strict=True):
        yield Illustration(
            row["number"],
            folder / f"{side.key}{row['number']:0{places}}",
            store.feature_config,
            store.frames_of(store.rows[row["fname"]])[:most],
            _strip(side, clip, seconds, scores),
            sources.get(row["fname"]),
        )


def _strip(side: Side, clip: int, seconds: np.ndarray, scores: np.ndarray) -> Strip:
    """The top three of a clip over time, by their ranks, and the label if it is not among them."""
    y_true = side.evaluation.y_true[clip]
    top = top_classes(side.evaluation.scores[clip : clip + 1])[0]
    names = [f"{rank} ✓" if y_true[index] else f"{rank}" for rank, index in enumerate(top, 1)]
    classes = list(top)
    if not y_true[top].any():
        classes.append(side.hardest_labels[clip])
        names.append("✓")
    return Strip(names, seconds, scores[:, classes].T)


def _of_store(side: Side, number: int) -> dict[str, Any]:
    """How long a clip is in the store, in s, and its problem there, if it has one."""
    store = side.ensemble.members[0].store
    row = store.rows[side.clips["fname"].iloc[number - 1]]
    return {
        "seconds": float(store.lengths[row] * store.feature_config.stft_hop_seconds),
        "problem": store.errors[row],
    }
