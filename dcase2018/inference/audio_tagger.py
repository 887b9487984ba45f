"""Runs applied to audio files: scores of a clip, and scores of the windows of a recording.

The scores of a clip are those of `predict`. Frames are cut into windows as they are computed, so memory
does not grow with the length of a recording, except for one peak per hop and the scores of its windows.
"""

import logging
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from dcase2018.batching.windows import sliding_windows
from dcase2018.data.audio import AudioReader
from dcase2018.data.audio_decoders import Block
from dcase2018.data.files import AudioFile, list_recordings
from dcase2018.features.frontend import FrontEnd
from dcase2018.inference.audio_inputs import audio_paths, named_errors
from dcase2018.inference.ensemble import hide_classes, open_runs
from dcase2018.inference.pooling import Pooling, log_pooling
from dcase2018.inference.predictor import Predictor, WindowBatch, WindowConfig, iter_clip_scores
from dcase2018.inference.window_scores import ClipScores, LevelConfig, LevelNormalizer, WindowScores
from dcase2018.runs.run import Run
from dcase2018.utils.atomic import StrPath
from dcase2018.utils.errors import InputError, shorten_list

log = logging.getLogger(__name__)

AUDIO_BATCH = 64  # a quarter of INFERENCE_BATCH: less memory at the same speed

ProgressCallback = Callable[[float], object]  # gets fractions of a file, which add up to 1
WarningCallback = Callable[[str], object]  # gets what is wrong with a file that is used nevertheless


def no_progress(fraction: float) -> None:
    """Ignore the progress."""


@dataclass(frozen=True)
class FailedFile:
    """An audio file that cannot be used, and the reason."""

    file: AudioFile
    error: str

    def __str__(self) -> str:
        return f"{self.file.fname}: {self.error}"


class ProgressReader(AudioReader):
    """An audio file that reports, after each block, which fraction of all reading was done.

    The fractions of a file add up to 1, although the header may promise another duration or none.
    """

    def __init__(self, path: StrPath, sample_rate: int, on_progress: ProgressCallback, n_passes: int) -> None:
        super().__init__(Path(path), sample_rate)
        self.on_progress, self.n_passes = on_progress, n_passes

    def blocks(self) -> Iterator[np.ndarray]:
        n_expected, remaining = self.seconds * self.sample_rate * self.n_passes, 1 / self.n_passes
        for block in super().blocks():
            yield block
            fraction = min(remaining, len(block) / n_expected) if n_expected else 0.0
            remaining -= fraction
            self.on_progress(fraction)
        self.on_progress(remaining)

    def _decoded_blocks(self) -> Iterator[Block]:
        for block in super()._decoded_blocks():
            yield block
            self.on_progress(0.0)  # stops a survey of the file, too


def audio_windows(
    frames: Iterable[np.ndarray], config: WindowConfig, is_recording: bool = False
) -> Iterator[WindowBatch]:
    """Cut the frames of an audio file into windows.

    Parameters
    ----------
    frames
        Blocks of frames in order, (any, n_features).
    is_recording
        Add a window that ends with the last frame, and do not pad a recording shorter than a window.
        Otherwise windows are those of a clip in a store.
    """
    pad_mode = None if is_recording else config.pad_mode
    windows = sliding_windows(
        frames, config.feature_config, config.window, config.hop, pad_mode, AUDIO_BATCH, is_recording
    )
    for starts, examples in windows:
        yield WindowBatch(np.zeros(len(starts), np.int64), starts, examples)


class FrontEndGroup(NamedTuple):
    """Networks with one window config: a window is computed once and scored by each of them."""

    config: WindowConfig
    front_end: FrontEnd
    predictors: list[Predictor]


class AudioTagger:
    """Runs applied to audio files; their scores are averaged. It may be used from several threads.

    Parameters
    ----------
    checkpoint
        Step of the checkpoint to load, or "best". Default: the trained networks.
    hide
        Classes that are left out of all results, besides the background classes of the runs. The scores of
        the other classes do not change.

    Attributes
    ----------
    classes : list of str
        Reported classes, in the order of the scores.

    Raises
    ------
    InputError
        If a hidden class does not exist, or no class remains.

    Examples
    --------
    >>> from dcase2018 import AudioTagger
    >>> tagger = AudioTagger.open("runs/first")
    >>> tagger.predict("bark.wav").iloc[0].idxmax()
    'Bark'
    """

    def __init__(
        self, runs: Sequence[Run], checkpoint: int | str | None = None, hide: Collection[str] = ()
    ) -> None:
        if not runs:
            raise InputError("a tagger needs at least one run")
        self.runs, self.checkpoint = runs, checkpoint
        self.classes = hide_classes(runs, hide)
        self._reported = [index for index, name in enumerate(runs[0].classes) if name in self.classes]
        log_pooling(runs)
        self.pooling = Pooling.of_runs(runs)
        self._groups: list[FrontEndGroup] = []
        self._loading = threading.Lock()

    def __repr__(self) -> str:
        paths = shorten_list([str(run.path) for run in self.runs])
        return f"<AudioTagger of {paths}: {len(self.classes)} classes>"

    @classmethod
    def open(
        cls,
        runs: StrPath | Sequence[StrPath],
        checkpoint: int | str | None = None,
        hide: Collection[str] = (),
        **hparams: Any,
    ) -> "AudioTagger":
        """Read runs; Keras is not imported yet.

        Parameters
        ----------
        runs, hparams
            See `Ensemble.open`.

        Raises
        ------
        InputError
            If `runs` is empty, a folder is not a run or lacks the checkpoint, the classes of
            the runs differ, or a hidden class does not exist.
        """
        return cls(open_runs(runs, checkpoint, **hparams), checkpoint, hide)

    def load(self) -> Sequence[FrontEndGroup]:
        """Load the networks, grouped by window config. The first use of the tagger calls this.

        Raises
        ------
        InputError
            If a model file cannot be used.
        """
        with self._loading:
            if not self._groups:
                self._groups = self._load()
        return self._groups

    def _load(self) -> list[FrontEndGroup]:
        groups: dict[WindowConfig, FrontEndGroup] = {}
        for run in self.runs:
            predictor = Predictor(run, run.load_for_inference(self.checkpoint))
            config = predictor.window_config
            if config not in groups:
                groups[config] = FrontEndGroup(config, FrontEnd(config.feature_config), [])
            groups[config].predictors.append(predictor)
        return list(groups.values())

    def predict(
        self, audio: StrPath | Sequence[StrPath] | np.ndarray, sample_rate: int | None = None
    ) -> pd.DataFrame:
        """Score recordings as clips.

        Parameters
        ----------
        audio
            Audio files and folders of them, or one array of samples: floating point with full scale 1, int16
            or int32, (n_samples,) or (n_samples, n_channels).
        sample_rate
            Sample rate of an array in Hz.

        Returns
        -------
        DataFrame
            float64, one row per recording, indexed by `fname`, and one column per class, as of `predict`.
            The rows are sorted by name. The row of an array is named `array.wav`. Files that cannot be used
            have no row, and are logged as warnings.

        Raises
        ------
        InputError
            If a path does not exist, an array or its sample rate is not allowed, or no recording can be used.
        Dcase2018Error
            If a network's scores are not finite.

        Examples
        --------
        >>> tagger.predict("sounds").loc["bark.wav"].nlargest(3)
        >>> tagger.predict(*soundfile.read("bark.wav")).iloc[0].idxmax()
        'Bark'
        """
        from dcase2018.inference.batch_tagging import tag_files  # it imports this module

        rows: dict[str, np.ndarray] = {}
        with audio_paths(audio, sample_rate) as paths:
            for result in tag_files(self, list_recordings(paths)):
                if isinstance(result, FailedFile):
                    log.warning("failed: %s", result)
                elif isinstance(result.scores, ClipScores):
                    rows[result.file.fname] = result.scores.scores
                    if result.warning:
                        log.warning("%s: %s", result.file.fname, result.warning)
        index = pd.Index(rows, name="fname", dtype=object)
        return pd.DataFrame(np.stack([*rows.values()]), index=index, columns=self.classes)

    def scores(
        self,
        path: StrPath,
        on_progress: ProgressCallback = no_progress,
        on_warning: WarningCallback | None = None,
    ) -> np.ndarray:
        """Score an audio file as one clip: the scores of `clip_scores`, float64, (classes,)."""
        return self.clip_scores(path, on_progress, on_warning).scores

    def clip_scores(
        self,
        path: StrPath,
        on_progress: ProgressCallback = no_progress,
        on_warning: WarningCallback | None = None,
    ) -> ClipScores:
        """Score an audio file as one clip, as `predict` does from a store.

        Parameters
        ----------
        on_progress
            Is called with fractions of the file, which add up to 1. An exception that it raises stops the
            work.
        on_warning
            Is called once if the file is used although something is wrong with it. Default: log it.

        Raises
        ------
        AudioReadError
            If nothing of the file can be decoded, or its samples are not finite.
        OSError
            If the file cannot be read.
        Dcase2018Error
            If a network's scores are not finite.
        """
        with named_errors(path):
            return self._clip_scores(path, on_progress, on_warning)

    def _clip_scores(
        self, path: StrPath, on_progress: ProgressCallback, on_warning: WarningCallback | None
    ) -> ClipScores:
        groups = self.load()
        scores: list[np.ndarray] = []
        is_silent = True
        for config, front_end, predictors in groups:
            n_passes = front_end.n_passes * len(groups)
            with ProgressReader(path, config.feature_config.sample_rate, on_progress, n_passes) as reader:
                frames = front_end.iter_frames(reader)
                (clip_scores,) = iter_clip_scores(predictors, audio_windows(frames, config), 1)
            if frames.is_silent:
                clip_scores = np.stack([predictor.run.prior for predictor in predictors]).astype(float)
            is_silent = is_silent and frames.is_silent
            scores.extend(clip_scores)
        _report_warning(path, reader.warning, on_warning)
        return ClipScores(self.pooling(scores)[self._reported], is_silent)

    def window_scores(
        self,
        audio: StrPath | np.ndarray,
        level_config: LevelConfig | None = None,
        on_progress: ProgressCallback = no_progress,
        on_warning: WarningCallback | None = None,
        sample_rate: int | None = None,
    ) -> WindowScores:
        """Score the windows of a recording: a file, or an array (see `predict`).

        The other parameters and the errors are those of `clip_scores`.

        Runs with other windows than the first contribute the scores of their window at the center of each
        window of the first.
        """
        with audio_paths(audio, sample_rate) as (path,), named_errors(path):
            return self._window_scores(path, level_config or LevelConfig(), on_progress, on_warning)

    def _window_scores(
        self,
        path: Path,
        level_config: LevelConfig,
        on_progress: ProgressCallback,
        on_warning: WarningCallback | None,
    ) -> WindowScores:
        groups = self.load()
        results: list[tuple[int, WindowScores]] = []
        for group in groups:
            sample_rate = group.config.feature_config.sample_rate
            reader = ProgressReader(path, sample_rate, on_progress, 2 * len(groups))
            with reader:
                scores = _recording_scores(reader, group, level_config, self.pooling)
            results.append((len(group.predictors), scores))
        _report_warning(path, reader.warning, on_warning)
        average = _average(results)
        return replace(average, scores=self.pooling.finish(average.scores)[:, self._reported])


def _report_warning(path: StrPath, warning: str, on_warning: WarningCallback | None) -> None:
    if warning and on_warning:
        on_warning(warning)
    elif warning:
        log.warning("%s: %s", path, warning)


def _recording_scores(
    reader: AudioReader, group: FrontEndGroup, level_config: LevelConfig, pooling: Pooling
) -> WindowScores:
    """Average the pooling terms of the windows of a recording over the networks of a group."""
    config, front_end, predictors = group
    levels = front_end.measure_levels(reader)
    normalizer = LevelNormalizer(levels, config.feature_config, config.window, config.pad_mode, level_config)
    starts = [np.zeros(0, np.int64)]
    scores = [np.zeros((0, len(predictors[0].run.classes)), np.float32)]
    is_silent = [np.zeros(0, bool)]
    for batch in audio_windows(front_end.iter_raw_frames(reader, levels.offset), config, is_recording=True):
        examples, silent = normalizer.normalize(batch.starts, batch.examples)
        starts.append(batch.starts)
        scores.append(_mean_terms(predictors, examples, silent, pooling))
        is_silent.append(silent)
    return WindowScores(
        np.concatenate(starts) * config.feature_config.frame_hop_seconds,
        np.concatenate(scores),
        np.concatenate(is_silent),
        config.window_seconds,
        reader.seconds,
        reader.file_sample_rate,
    )


def _mean_terms(
    predictors: Sequence[Predictor], examples: np.ndarray, is_silent: np.ndarray, pooling: Pooling
) -> np.ndarray:
    """Average the pooling terms of networks; silent windows get the class frequencies of the training set."""
    total = np.zeros((len(examples), len(predictors[0].run.classes)), np.float32)
    for predictor in predictors:
        total += pooling.terms(np.where(is_silent[:, None], predictor.run.prior, predictor(examples)))
    return total / np.float32(len(predictors))


def _average(results: Sequence[tuple[int, WindowScores]]) -> WindowScores:
    """Average pooling terms, weighted by their number of runs, over the windows of the first."""
    first = results[0][1]
    if len(results) == 1:
        return first
    centers = first.starts + first.window_seconds / 2
    n_runs = sum(count for count, _ in results)
    scores = np.zeros_like(first.scores)
    for count, result in results:
        if len(result):
            scores += result.scores[result.index_at(centers)] * np.float32(count / n_runs)
    return replace(first, scores=scores)
