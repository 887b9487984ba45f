"""Runs that listen to audio files: what `extract` and `predict` say together, without a store between.

A clip's scores are those of `predict`. Its frames are cut into examples as they come, so that memory does
not grow with a recording but for a peak each hop and, over time, the scores of its windows.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from dcase2018.batching.windows import sliding_windows
from dcase2018.data.audio import AudioReader
from dcase2018.data.files import AudioFile
from dcase2018.features.config import FeatureConfig
from dcase2018.features.frontend import FrontEnd
from dcase2018.inference.ensemble import open_runs
from dcase2018.inference.predictor import ExamplePredictor
from dcase2018.inference.window_scores import LevelConfig, LevelNormalizer, WindowScores
from dcase2018.runs.run import Run
from dcase2018.utils.atomic import StrPath

INFERENCE_BATCH = 64  # a quarter of what a store is read by: memory is bounded, and speed the same

Tell = Callable[[float], object]  # is given shares of a file, adding up to 1, as they are done


def unheard(share: float) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class FailedFile:
    """A recording that cannot be used, and why."""

    source: AudioFile
    problem: str

    def __str__(self) -> str:
        return f"{self.source.fname}: {self.problem}"


@dataclass(frozen=True)
class Hearing:
    """How a run hears: its feature_config, frames in an example and to the next one, what fills up short clips."""

    feature_config: FeatureConfig
    window: int
    hop: int
    pad_mode: str

    @classmethod
    def of(cls, run: Run) -> "Hearing":
        hparams, feature_config = run.hparams, run.feature_config
        return cls(
            feature_config,
            hparams.example_frames(feature_config),
            hparams.inference_hop_frames(feature_config),
            hparams.pad_mode,
        )

    @property
    def hop_seconds(self) -> float:
        """Time from one frame to the next."""
        return self.feature_config.hop_length / self.feature_config.sample_rate

    @property
    def window_seconds(self) -> float:
        """Time that an example is made from."""
        samples = (self.window - 1) * self.feature_config.hop_length + self.feature_config.frame_length
        return samples / self.feature_config.sample_rate


class TellingClip(AudioReader):
    """An audio file that tells, block by block, what share of all reading is done."""

    def __init__(self, path: StrPath, sample_rate: int, tell: Tell, readings: int) -> None:
        super().__init__(Path(path), sample_rate)
        self.tell, self.samples = tell, max(1.0, self.seconds * sample_rate * readings)

    def blocks(self) -> Iterator[np.ndarray]:
        for block in super().blocks():
            yield block
            self.tell(len(block) / self.samples)  # when it was made use of


class Ear:
    """Networks that hear alike: what they hear is computed once, and scored by each."""

    def __init__(self, hearing: Hearing, lock: threading.Lock) -> None:
        self.hearing, self.lock = hearing, lock
        self.front_end = FrontEnd(hearing.feature_config)
        self.scorers: list[ExamplePredictor] = []

    def clip(self, clip: AudioReader) -> list[np.ndarray]:
        """Scores of a clip by each network: float64, (classes,) each."""
        totals = [np.zeros(len(scorer.run.classes)) for scorer in self.scorers]
        count = 0
        for starts, examples in self._examples(self.front_end.iter_frames(clip)):
            for total, scorer in zip(totals, self.scorers, strict=True):
                total += scorer.terms(self._score(scorer, examples)).sum(axis=0, dtype=float)
            count += len(starts)
        return [scorer.mean(total, count) for total, scorer in zip(totals, self.scorers, strict=True)]

    def over_time(self, clip: AudioReader, settings: LevelConfig) -> WindowScores:
        """Scores of the windows of a recording, the mean over the networks."""
        hearing, feature_config = self.hearing, self.hearing.feature_config
        levels = LevelNormalizer(
            self.front_end.peak_envelope(clip), feature_config, hearing.window, hearing.pad_mode, settings
        )
        parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        for starts, examples in self._examples(self.front_end.iter_raw_frames(clip), include_tail=True):
            examples, quiet = levels.normalize(starts, examples)
            parts.append((starts, self._mean(examples, quiet), quiet))
        n_classes = len(self.scorers[0].run.classes)
        none = np.zeros(0, np.int64), np.zeros((0, n_classes), np.float32), np.zeros(0, bool)
        starts, scores, quiet = (np.concatenate(columns) for columns in zip(none, *parts, strict=True))
        return WindowScores(starts * hearing.hop_seconds, scores, quiet, hearing.window_seconds, clip.seconds)

    def _examples(
        self, pieces: Iterator[np.ndarray], include_tail: bool = False
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Cut examples; to the end of a recording, and as short as it is, or as those of a clip."""
        how = self.hearing
        pad_mode = None if include_tail else how.pad_mode
        return sliding_windows(
            pieces, how.feature_config, how.window, how.hop, pad_mode, INFERENCE_BATCH, include_tail
        )

    def _score(self, scorer: ExamplePredictor, examples: np.ndarray) -> np.ndarray:
        with self.lock:
            return scorer(examples)

    def _mean(self, examples: np.ndarray, quiet: np.ndarray) -> np.ndarray:
        """Mean of the networks' scores of examples; of quiet ones, of the classes' shares in training."""
        total = np.zeros((len(examples), len(self.scorers[0].run.classes)), np.float32)
        for scorer in self.scorers:
            total += np.where(quiet[:, None], scorer.run.prior, self._score(scorer, examples))
        return total / np.float32(len(self.scorers))


class AudioTagger:
    """Runs that listen together: their scores are averaged. It may be used from several threads.

    Parameters
    ----------
    which
        The networks of this step, or `dcase2018.runs.run.BEST`; the trained ones, if None.
    """

    def __init__(self, runs: Sequence[Run], checkpoint: int | str | None = None) -> None:
        self.runs, self.checkpoint = runs, checkpoint
        self._ears: list[Ear] = []
        self._loading = threading.Lock()

    @classmethod
    def open(
        cls, runs: Sequence[StrPath], checkpoint: int | str | None = None, **scoring: Any
    ) -> "AudioTagger":
        """Open runs; a folder of folds stands for its runs. Keras is not loaded yet.

        Parameters
        ----------
        scoring
            See `Ensemble.open`.

        Raises
        ------
        InputError
            If one is no run or has no such network, or the runs' classes differ.
        """
        return cls(open_runs(runs, checkpoint, **scoring), checkpoint)

    @property
    def classes(self) -> Sequence[str]:
        """The classes that it tells apart, in the order of its scores."""
        return self.runs[0].classes

    @property
    def ears(self) -> Sequence[Ear]:
        """The networks, loaded when they are first asked for, by how they hear.

        Raises
        ------
        InputError
            If a network is no Keras model of plain layers.
        """
        with self._loading:
            if not self._ears:
                self._ears = self._load()
        return self._ears

    def _load(self) -> list[Ear]:
        one_at_a_time = threading.Lock()  # networks use all cores, and none promises to bear two threads
        ears: dict[Hearing, Ear] = {}
        for run in self.runs:
            hearing = Hearing.of(run)
            ear = ears.setdefault(hearing, Ear(hearing, one_at_a_time))
            ear.scorers.append(ExamplePredictor(run, run.load_for_inference(self.checkpoint)))
        return list(ears.values())

    def scores(self, path: StrPath, tell: Tell = unheard) -> np.ndarray:
        """Score an audio file as a clip: float64, (classes,); what `predict` says of it out of a store.

        Parameters
        ----------
        tell
            Is given shares of the file, which add up to 1, as they are done; what it raises ends the work.

        Raises
        ------
        AudioReadError
            If it cannot be decoded to its end, or its samples are not finite.
        OSError
            If it cannot be read.
        Dcase2018Error
            If a network gives scores that are not finite.
        """
        found: list[np.ndarray] = []
        for ear in self.ears:
            readings = ear.front_end.n_passes * len(self.ears)
            with TellingClip(path, ear.hearing.feature_config.sample_rate, tell, readings) as clip:
                found += ear.clip(clip)
        return np.mean(found, axis=0)

    def window_scores(
        self, path: StrPath, settings: LevelConfig | None = None, tell: Tell = unheard
    ) -> WindowScores:
        """Follow a recording over time; parameters and what is raised are those of `scores`.

        Runs that hear through other windows than the first are asked where the middles of its windows are.
        """
        found: list[tuple[int, WindowScores]] = []
        for ear in self.ears:
            with TellingClip(path, ear.hearing.feature_config.sample_rate, tell, 2 * len(self.ears)) as clip:
                found.append((len(ear.scorers), ear.over_time(clip, settings or LevelConfig())))
        return _joined(found)


def _joined(found: Sequence[tuple[int, WindowScores]]) -> WindowScores:
    """The mean of timelines, each as that of a number of runs, over the windows of the first."""
    first = found[0][1]
    if len(found) == 1:
        return first
    middles = first.starts + first.window_seconds / 2
    total = sum(count for count, _ in found)
    scores = np.zeros_like(first.scores)
    for count, line in found:
        if len(line):
            scores += line.scores[line.index_at(middles)] * np.float32(count / total)
    return replace(first, scores=scores)
