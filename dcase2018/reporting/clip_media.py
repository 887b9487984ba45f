"""Spectrogram images and audio excerpts of the clips that a report shows, made in several processes."""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import soundfile
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from dcase2018.data.audio import AudioReader
from dcase2018.data.audio_errors import AudioReadError
from dcase2018.data.files import list_clips
from dcase2018.evaluation.metrics import top_classes
from dcase2018.features.config import FeatureConfig
from dcase2018.features.frontend import FrontEnd
from dcase2018.features.librosa_import import librosa, specshow
from dcase2018.inference.predictor import iter_window_scores
from dcase2018.reporting.history_plot import plot_style
from dcase2018.reporting.summary import SystemResult
from dcase2018.utils.parallel import parallel_pool
from dcase2018.utils.progress import Progress

MAX_SECONDS = 15.0  # shown and played of a clip

VORBIS_BLOCK = 1 << 14  # samples per write: libvorbis overflows its stack with many more

FIGURE_INCHES, FIGURE_DPI = (3.4, 1.9), 200  # a column of the page, at twice its resolution
FONT_POINTS = 7
GREY = "#7b7b7b"  # readable on white and on black
TICKS_KHZ = (0.1, 0.5, 1, 2, 4, 8, 16)
SCORE_COLORMAP = LinearSegmentedColormap.from_list(
    "scores", [(0.18, 0.55, 0.85, 0.06), (0.18, 0.55, 0.85, 1)]
)
MAX_COLUMNS = 600  # of a spectrogram; more are not visible
WAVEFORM_MEL_BANDS = 64  # of the spectrogram of a feature config that stores samples

# Total length of the excerpts of a report, in s: about 90 MB. Shown clips come first, then errors.
MAX_AUDIO_SECONDS = 3 * 3600.0
BEYOND_LIMIT = "beyond the size limit of the report"  # the reason of a shown clip without excerpt

SERIAL_BELOW = 24  # clips: starting processes takes longer than plotting fewer


def find_audio(audio: Path, fnames: Sequence[str], allow_missing: bool = False) -> dict[str, Path]:
    """Find the audio files of clips, by file name.

    Raises
    ------
    InputError
        If a clip is not in the folder, unless `allow_missing`, or its name is a path outside the folder.
    """
    files = list_clips(audio, fnames, allow_missing)
    return {fname: file.path for fname, file in zip(fnames, files, strict=True)}


def write_excerpt(target: Path, source: Path, feature_config: FeatureConfig) -> tuple[str, str]:
    """Write the first seconds of a clip as Ogg Vorbis, preprocessed as for the features.

    Returns
    -------
    tuple of str
        Why there is no excerpt, or "", and what is wrong with the file although it is used, or "".

    Raises
    ------
    OSError
        If the clip cannot be opened or the excerpt cannot be written.
    """
    try:
        with AudioReader(source, feature_config.sample_rate) as clip:
            samples = FrontEnd(feature_config).preprocess(clip)
            chunks = list(_first_samples(samples.blocks, round(MAX_SECONDS * feature_config.sample_rate)))
    except AudioReadError as error:
        return str(error), ""
    if not chunks:
        return "no samples", ""
    encoded = io.BytesIO()
    with soundfile.SoundFile(encoded, "w", feature_config.sample_rate, 1, "VORBIS", format="OGG") as excerpt:
        for chunk in chunks:
            excerpt.write(chunk / np.float32(samples.full_scale))
    target.write_bytes(encoded.getbuffer())
    return "", clip.warning


def _first_samples(blocks: Iterator[np.ndarray], n_samples: int) -> Iterator[np.ndarray]:
    """Yield the first samples of a stream, in chunks of at most `VORBIS_BLOCK`."""
    for block in blocks:
        for start in range(0, min(len(block), n_samples), VORBIS_BLOCK):
            yield block[start : min(start + VORBIS_BLOCK, n_samples)]
        n_samples -= len(block)
        if n_samples <= 0:
            return


@dataclass(frozen=True)
class ScoreStrip:
    """Scores of some classes over a clip.

    Attributes
    ----------
    names : list of str, (n_rows,)
        Label beside each row.
    seconds : ndarray, (n_windows,)
        Centre of each window, in s.
    scores : ndarray, (n_rows, n_windows)
        Scores in [0, 1].
    """

    names: list[str]
    seconds: np.ndarray
    scores: np.ndarray


@plot_style()
def plot_clip(target: Path, frames: np.ndarray, feature_config: FeatureConfig, strip: ScoreStrip) -> None:
    """Plot the spectrogram of a clip and the scores below it, as a WebP with a transparent background.

    Parameters
    ----------
    target : Path
        The image to write.
    frames : ndarray, (n_frames, n_features)
        Frames of the feature store.
    feature_config : FeatureConfig
    strip : ScoreStrip
    """
    figure, upper, lower = _figure(len(strip.names))
    for artist in (*upper.collections, *lower.collections):
        artist.remove()
    seconds = len(frames) * feature_config.frame_hop_seconds
    _plot_spectrogram(upper, frames, feature_config)
    _plot_strip(lower, strip, seconds)
    upper.set(xlabel="", xlim=(0, seconds))
    for axes in (upper, lower):
        axes.minorticks_off()
    figure.savefig(target, format="webp", pil_kwargs={"quality": 80, "method": 1})


@cache
def _figure(n_rows: int) -> tuple[Figure, Axes, Axes]:
    """Make a figure for strips of `n_rows`. It is reused, because making one is slow."""
    figure = Figure(figsize=FIGURE_INCHES, dpi=FIGURE_DPI, facecolor="none")
    upper, lower = figure.subplots(
        2, sharex=True, height_ratios=(3.4, 0.28 * n_rows), subplot_kw={"facecolor": "none"},
        gridspec_kw={"left": 0.105, "right": 0.97, "top": 0.97, "bottom": 0.15, "hspace": 0.08},
    )  # fmt: skip
    for axes, label in ((upper, "kHz"), (lower, "")):
        axes.spines[:].set_visible(False)
        axes.tick_params(colors=GREY, labelsize=FONT_POINTS, length=2, pad=2, width=0.5)
        axes.set_ylabel(label, labelpad=1, color=GREY, size=FONT_POINTS)
    lower.set_xlabel("s", labelpad=0, color=GREY, size=FONT_POINTS)
    upper.tick_params(bottom=False, labelbottom=False)
    return figure, upper, lower


def _plot_strip(axes: Axes, strip: ScoreStrip, seconds: float) -> None:
    rows = np.arange(len(strip.names) + 1)
    edges = np.concatenate([[0], (strip.seconds[1:] + strip.seconds[:-1]) / 2, [seconds]])
    axes.pcolormesh(np.minimum(edges, seconds), rows, strip.scores, cmap=SCORE_COLORMAP, vmin=0, vmax=1)
    axes.set_yticks(rows[:-1] + 0.5, strip.names)
    axes.set_ylim(rows[-1], 0)
    axes.xaxis.set_major_locator(MaxNLocator(5))


def _plot_spectrogram(axes: Axes, frames: np.ndarray, feature_config: FeatureConfig) -> None:
    low, high = feature_config.mel_min_hz, feature_config.mel_max_hz
    if feature_config.feature == "waveform":
        low, high = 0.0, feature_config.sample_rate / 2
        frames = _log_mel_of_samples(frames, feature_config)
    step = -(-len(frames) // MAX_COLUMNS)
    starts = np.arange(0, len(frames), step)
    columns = np.add.reduceat(frames.astype(np.float32), starts) / np.diff([*starts, len(frames)])[:, None]
    edges = np.append(starts, len(frames)) * feature_config.frame_hop_seconds
    specshow(
        columns.T, ax=axes, x_axis="s", y_axis="mel", cmap="magma",
        x_coords=edges, y_coords=librosa.mel_frequencies(columns.shape[1] + 1, fmin=low, fmax=high, htk=True),
    )  # fmt: skip
    ticks = [khz for khz in TICKS_KHZ if low <= 1000 * khz <= high]
    axes.set_yticks([1000 * khz for khz in ticks], [f"{khz:g}" for khz in ticks])
    axes.set(ylim=(low, high), ylabel="kHz")


def _log_mel_of_samples(samples: np.ndarray, feature_config: FeatureConfig) -> np.ndarray:
    """Compute one log-mel frame per row of stored samples: (n_frames, WAVEFORM_MEL_BANDS)."""
    y = samples.astype(np.float32).ravel()
    mels = librosa.feature.melspectrogram(
        y=librosa.util.fix_length(y, size=max(len(y), feature_config.n_fft)), sr=feature_config.sample_rate,
        hop_length=feature_config.hop_length, n_fft=feature_config.n_fft, n_mels=WAVEFORM_MEL_BANDS,
        power=1, htk=True,
    )  # fmt: skip
    return np.log(mels.T[: len(samples)] + feature_config.mel_log_offset)


@dataclass(frozen=True)
class ClipMediaTask:
    """The media files of one clip, to be written by a worker process.

    Attributes
    ----------
    clip_number : int
    target : Path
        Path of the files, without suffix.
    feature_config : FeatureConfig
    frames : ndarray, (n_frames, n_features)
    strip : ScoreStrip
    source : Path, optional
        The audio file.
    """

    clip_number: int
    target: Path
    feature_config: FeatureConfig
    frames: np.ndarray
    strip: ScoreStrip
    source: Path | None

    def __call__(self) -> tuple[int, dict[str, Any]]:
        """Write the files; return the clip number and the entries for the report."""
        media: dict[str, Any] = dict.fromkeys(("spectrogram", "excerpt", "audio_error", "audio_warning"))
        if len(self.frames):
            image = self.target.with_suffix(".webp")
            plot_clip(image, self.frames, self.feature_config, self.strip)
            media["spectrogram"] = f"{image.parent.name}/{image.name}"
        if self.source:
            excerpt = self.target.with_suffix(".ogg")
            error, warning = write_excerpt(excerpt, self.source, self.feature_config)
            media |= {"audio_error": error or None, "audio_warning": warning or None}
            media["excerpt"] = None if media["audio_error"] else f"{excerpt.parent.name}/{excerpt.name}"
        return self.clip_number, media


def make_clip_media(
    folder: Path,
    system: SystemResult,
    sources: Mapping[str, Path],
    jobs: int = -1,
    max_audio_seconds: float = MAX_AUDIO_SECONDS,
) -> list[dict[str, Any]]:
    """Write the spectrograms of the clips that a report shows for a system, and excerpts of all clips.

    Files are named by clip number, never by the clip's file name.

    Parameters
    ----------
    folder : Path
        Folder to write to.
    system : SystemResult
    sources : dict
        Audio file of each clip, by file name; empty for a report without audio.
    jobs : int
        Number of processes; -1 for one per core.
    max_audio_seconds : float
        Total length of the excerpts. Shown clips come first, then errors, then the other clips.

    Returns
    -------
    list of dict
        Per clip that is shown or has an excerpt, in order of clip number: `clip_number`; `seconds`, the
        duration of its frames; `error`, why the feature store has none, or a warning about the clip, or "";
        `is_silent`; `spectrogram` and `excerpt`, paths or None; `audio_error`, why there is no excerpt, or
        None; and `audio_warning`, what is wrong with the audio file although it is used, or None.
    """
    played = _select_audio(system, sources, max_audio_seconds)
    tasks = [*_plan_media(folder, system, played), *_plan_excerpts(folder, system, played)]
    media: dict[int, dict[str, Any]] = {}
    with (
        Progress("plot clips", len(tasks), "clips") as progress,
        parallel_pool(1 if len(tasks) <= SERIAL_BELOW else jobs) as parallel,
    ):
        for number, files in parallel(joblib.delayed(task)() for task in tasks):
            media[number] = files
            progress.update(1)
    for number, files in media.items():
        if sources and system.clips["fname"].iloc[number - 1] not in played:
            files["audio_error"] = BEYOND_LIMIT
    return [
        {"clip_number": number, **_store_entry(system, number), **media[number]} for number in sorted(media)
    ]


def _select_audio(system: SystemResult, sources: Mapping[str, Path], max_seconds: float) -> dict[str, Path]:
    """Select the audio files of the clips that get an excerpt."""
    clips = system.clips[system.clips["fname"].isin(list(sources))]
    is_shown, is_error = clips["shown_as"] != "", clips["ap_at_3"] < 1
    clips = clips.iloc[np.lexsort((~is_error, ~is_shown))]
    store = system.ensemble.members[0].store
    lengths = store.lengths[store.rows_of(clips["fname"])]
    seconds = np.minimum(lengths * store.feature_config.frame_hop_seconds, MAX_SECONDS)
    return {fname: sources[fname] for fname in clips["fname"][np.cumsum(seconds) <= max_seconds]}


def _media_path(folder: Path, system: SystemResult, clip_number: int) -> Path:
    """Path of the files of a clip, without suffix."""
    n_digits = len(str(len(system.clips)))
    return folder / f"{system.prefix}{clip_number:0{n_digits}}"


def _plan_media(folder: Path, system: SystemResult, sources: Mapping[str, Path]) -> Iterator[ClipMediaTask]:
    """Plan the spectrograms of the shown clips, with their excerpts."""
    shown = system.clips[system.clips["shown_as"] != ""]
    store = system.ensemble.members[0].store
    max_frames = round(MAX_SECONDS / store.feature_config.frame_hop_seconds)
    member_of_clip = system.member_of_clip and [system.member_of_clip[clip] for clip in shown.index]
    window_scores = iter_window_scores(system.ensemble, list(shown["fname"]), member_of_clip)
    store_rows = store.rows_of(shown["fname"])
    for (clip, row), store_row, (seconds, scores) in zip(
        shown.iterrows(), store_rows, window_scores, strict=True
    ):
        yield ClipMediaTask(
            row["clip_number"],
            _media_path(folder, system, row["clip_number"]),
            store.feature_config,
            store.frames_of(store_row)[:max_frames],
            _score_strip(system, clip, seconds, scores),
            sources.get(row["fname"]),
        )


def _plan_excerpts(
    folder: Path, system: SystemResult, sources: Mapping[str, Path]
) -> Iterator[ClipMediaTask]:
    """Plan the excerpts of the clips that are not shown."""
    store = system.ensemble.members[0].store
    no_frames = np.empty((0, store.feature_config.n_features), np.float32)
    no_strip = ScoreStrip([], np.empty(0), np.empty((0, 0)))
    others = system.clips[(system.clips["shown_as"] == "") & system.clips["fname"].isin(list(sources))]
    for fname, number in zip(others["fname"], others["clip_number"], strict=True):
        target = _media_path(folder, system, number)
        yield ClipMediaTask(number, target, store.feature_config, no_frames, no_strip, sources[fname])


def _score_strip(system: SystemResult, clip: int, seconds: np.ndarray, scores: np.ndarray) -> ScoreStrip:
    """Rows of the top three classes, named by rank, and of the label if it is not among them."""
    y_true = system.evaluation.y_true[clip]
    top = top_classes(system.evaluation.scores[clip : clip + 1])[0]
    names = [f"{rank} ✓" if y_true[index] else f"{rank}" for rank, index in enumerate(top, 1)]
    classes = list(top)
    if not y_true[top].any():
        classes.append(system.lowest_scored_labels[clip])
        names.append("✓")
    return ScoreStrip(names, seconds, scores[:, classes].T)


def _store_entry(system: SystemResult, clip_number: int) -> dict[str, Any]:
    """Duration of a clip in the store, in s, the error of its extraction, and whether it is silent."""
    store = system.ensemble.members[0].store
    (row,) = store.rows_of([system.clips["fname"].iloc[clip_number - 1]])
    return {
        "seconds": float(store.lengths[row] * store.feature_config.frame_hop_seconds),
        "error": store.errors[row],
        "is_silent": bool(store.is_silent[row]),
    }
