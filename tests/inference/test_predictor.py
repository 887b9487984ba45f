"""Scores of clips as one stream: every example once, in full batches, in little memory."""

import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import BASELINE

from dcase2018.features.store import ClipRecord, Store, checksum
from dcase2018.features.store_writer import write_store
from dcase2018.inference.predictor import INFERENCE_BATCH, StorePredictor, iter_window_scores
from dcase2018.models.hparams import HParams, Preset
from dcase2018.training.experiment import Experiment
from dcase2018.utils.errors import Dcase2018Error


class Echo:
    """A network whose first score is the first value of an example, and which counts what it is given."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def predict_on_batch(self, examples: np.ndarray) -> np.ndarray:
        self.batches.append(len(examples))
        return np.stack([examples[:, 0, 0], 1 - examples[:, 0, 0]], axis=1)


def make_tagger(path: Path, lengths: list[int], **hparams: object) -> tuple[StorePredictor, Echo]:
    rng = np.random.default_rng(0)
    frames = [rng.random((length, 64), np.float32) for length in lengths]
    entries = [ClipRecord(f"{i}.wav", len(clip), checksum(clip), 0, 0) for i, clip in enumerate(frames)]
    write_store(path / "s.h5", BASELINE, entries, frames, fsync=False)
    store = Store(path / "s.h5")
    columns = {"fname": store.fnames, "label": [f"class {i % 2}" for i in range(len(lengths))]}
    preset = Preset("mlp", HParams(**hparams), 1)
    run = Experiment.create(path / "run", preset, store, pd.DataFrame(columns, dtype=object)).run
    echo = Echo()
    return StorePredictor(run, echo, store), echo


@pytest.mark.parametrize("mean", ["mean", "geometric_mean"])
def test_clips_are_scored_by_the_mean_of_their_examples(tmp_path: Path, mean: str) -> None:
    lengths = [98, 10, 0, 3000, 25, 700, 0, 30]
    tagger, echo = make_tagger(tmp_path, lengths, clip_pooling=mean)
    rows = np.arange(len(lengths))[::-1]
    for row, score in zip(rows, tagger.scores(rows), strict=True):
        if not lengths[row]:
            np.testing.assert_allclose(score, tagger.run.prior)
            continue
        firsts = tagger.store.frames_of(row)[: max(1, lengths[row] - 24) : 12, 0].astype(float)
        each = np.stack([firsts, 1 - firsts], axis=1)
        expected = each.mean(axis=0)
        if mean == "geometric_mean":
            expected = np.exp(np.log(each).mean(axis=0))
            expected /= expected.sum()
        np.testing.assert_allclose(score, expected, rtol=1e-5)
    assert all(size == INFERENCE_BATCH for size in echo.batches[:-1])


def test_a_long_clip_takes_no_more_memory(tmp_path: Path) -> None:
    tagger, _ = make_tagger(tmp_path, [600_000, 30])  # 100 minutes, 154 MB
    tracemalloc.start()
    try:
        tagger.scores(np.arange(2))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20e6


def test_scores_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    tagger, echo = make_tagger(tmp_path, [98, 30])
    echo.predict_on_batch = lambda examples: np.full((len(examples), 2), np.nan)  # type: ignore[method-assign]
    with pytest.raises(Dcase2018Error, match="gives scores that are not finite"):
        tagger.scores(np.arange(2))


def test_scores_over_time_are_those_of_the_examples(tmp_path: Path) -> None:
    lengths = [98, 10, 0, 3000, 25, *[40] * 20]
    tagger, _ = make_tagger(tmp_path, lengths)
    rows = np.arange(len(lengths))[::-1]
    over_time = list(tagger.over_time(rows))
    for row, mean, (middles, scores) in zip(rows, tagger.scores(rows), over_time, strict=True):
        starts = np.arange(0, max(1, lengths[row] - 24), 12) if lengths[row] else np.zeros(0)
        np.testing.assert_array_equal(middles, starts + 12.5)
        np.testing.assert_array_equal(scores[:, 0], tagger.store.frames_of(row)[starts.astype(int), 0])
        if len(scores):
            np.testing.assert_allclose(scores.mean(axis=0), mean, rtol=1e-5)


def test_members_of_other_examples_are_averaged_over_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    one, _ = make_tagger(tmp_path, [98, 0, 30, 40])
    other, _ = make_tagger(tmp_path / "other", [98, 0, 30, 40], example_hop_seconds=0.05)
    monkeypatch.setattr("dcase2018.inference.predictor.load_predictors", lambda _: [one, other])
    clips = list(iter_window_scores(None, one.store.fnames))
    rows = np.arange(4)
    for (seconds, scores), own, more in zip(clips, one.over_time(rows), other.over_time(rows), strict=True):
        np.testing.assert_allclose(seconds, own[0] * 0.01)
        if not len(own[1]):
            assert scores.shape == (0, 2)
            continue
        between = np.interp(own[0], more[0], more[1][:, 0])
        np.testing.assert_allclose(scores[:, 0], (own[1][:, 0] + between) / 2, rtol=1e-6)
