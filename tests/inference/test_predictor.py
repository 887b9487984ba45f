"""Clip scores from a store: each window is scored once, in full batches, with bounded memory."""

import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import BASELINE

from dcase2018.features.store import ClipRecord, Store, checksum
from dcase2018.features.store_writer import write_store
from dcase2018.inference.predictor import (
    INFERENCE_BATCH,
    StorePredictor,
    WindowConfig,
    iter_window_scores,
    store_windows,
)
from dcase2018.models.hparams import HParams, Preset
from dcase2018.training.experiment import Experiment
from dcase2018.utils.errors import Dcase2018Error


class EchoModel:
    """A model whose first score is the first value of an example, and which records its batch sizes."""

    output_shape = (None, 2)

    def __init__(self) -> None:
        self.batch_sizes: list[int] = []

    def predict_on_batch(self, examples: np.ndarray) -> np.ndarray:
        self.batch_sizes.append(len(examples))
        return np.stack([examples[:, 0, 0], 1 - examples[:, 0, 0]], axis=1)


def make_predictor(path: Path, lengths: list[int], **hparams: object) -> tuple[StorePredictor, EchoModel]:
    rng = np.random.default_rng(0)
    frames = [rng.random((length, 64), np.float32) for length in lengths]
    entries = [ClipRecord(f"{i}.wav", len(clip), checksum(clip), 0, 0) for i, clip in enumerate(frames)]
    write_store(path / "s.h5", BASELINE, entries, frames, fsync=False)
    store = Store(path / "s.h5")
    columns = {"fname": store.fnames, "label": [f"class {i % 2}" for i in range(len(lengths))]}
    preset = Preset("mlp", HParams(**hparams), 1)
    run = Experiment.create(path / "run", preset, store, pd.DataFrame(columns, dtype=object)).run
    model = EchoModel()
    return StorePredictor(run, model, store), model


@pytest.mark.parametrize("pooling", ["mean", "geometric_mean"])
def test_clip_scores_are_the_pooled_window_scores(tmp_path: Path, pooling: str) -> None:
    lengths = [98, 10, 0, 3000, 25, 700, 0, 30]
    predictor, model = make_predictor(tmp_path, lengths, clip_pooling=pooling)
    rows = np.arange(len(lengths))[::-1]
    for row, score in zip(rows, predictor.scores(rows), strict=True):
        if not lengths[row]:
            np.testing.assert_allclose(score, predictor.run.prior)
            continue
        first_values = predictor.store.frames_of(row)[: max(1, lengths[row] - 24) : 12, 0].astype(float)
        window_scores = np.stack([first_values, 1 - first_values], axis=1)
        expected = window_scores.mean(axis=0)
        if pooling == "geometric_mean":
            expected = np.exp(np.log(window_scores).mean(axis=0))
            expected /= expected.sum()
        np.testing.assert_allclose(score, expected, rtol=1e-5)
    assert all(size == INFERENCE_BATCH for size in model.batch_sizes[:-1])


def test_memory_is_bounded_for_a_long_clip(tmp_path: Path) -> None:
    predictor, _ = make_predictor(tmp_path, [600_000, 30])  # 100 minutes, 154 MB
    tracemalloc.start()
    try:
        predictor.scores(np.arange(2))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20e6


def test_scores_that_are_not_finite_raise(tmp_path: Path) -> None:
    predictor, model = make_predictor(tmp_path, [98, 30])
    model.predict_on_batch = lambda examples: np.full((len(examples), 2), np.nan)  # type: ignore[method-assign]
    with pytest.raises(Dcase2018Error, match="the output of the network is not finite"):
        predictor.scores(np.arange(2))


def test_store_windows_have_their_clip_and_start(tmp_path: Path) -> None:
    lengths = [98, 10, 0, 49]
    predictor, _ = make_predictor(tmp_path, lengths)
    batches = list(store_windows(predictor.store, np.arange(4), WindowConfig.from_run(predictor.run), 4))
    assert [len(batch.examples) for batch in batches] == [4, 4, 3]
    clip_index = np.concatenate([batch.clip_index for batch in batches])
    starts = np.concatenate([batch.starts for batch in batches])
    np.testing.assert_array_equal(clip_index, [0] * 7 + [1] + [3] * 3)
    np.testing.assert_array_equal(starts, [*range(0, 84, 12), 0, 0, 12, 24])


def test_window_scores_are_those_of_the_windows(tmp_path: Path) -> None:
    lengths = [98, 10, 0, 3000, 25, *[40] * 20]
    predictor, _ = make_predictor(tmp_path, lengths)
    rows = np.arange(len(lengths))[::-1]
    for row, clip_scores in zip(rows, predictor.scores(rows), strict=True):
        centers, scores = predictor.window_scores(row)
        starts = np.arange(0, max(1, lengths[row] - 24), 12) if lengths[row] else np.zeros(0)
        np.testing.assert_allclose(centers, (starts + 12.5) * 0.01)
        np.testing.assert_array_equal(scores[:, 0], predictor.store.frames_of(row)[starts.astype(int), 0])
        if len(scores):
            np.testing.assert_allclose(scores.mean(axis=0), clip_scores, rtol=1e-5)


def test_window_scores_of_members_with_other_windows_are_interpolated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    first, _ = make_predictor(tmp_path, [98, 0, 30, 40])
    second, _ = make_predictor(tmp_path / "other", [98, 0, 30, 40], example_hop_seconds=0.05)
    monkeypatch.setattr("dcase2018.inference.predictor.load_predictors", lambda _: [first, second])
    for row, (centers, scores) in enumerate(iter_window_scores(None, first.store.fnames)):
        first_centers, first_scores = first.window_scores(row)
        second_centers, second_scores = second.window_scores(row)
        np.testing.assert_array_equal(centers, first_centers)
        if not len(first_scores):
            assert scores.shape == (0, 2)
            continue
        interpolated = np.interp(first_centers, second_centers, second_scores[:, 0])
        np.testing.assert_allclose(scores[:, 0], (first_scores[:, 0] + interpolated) / 2, rtol=1e-6)
