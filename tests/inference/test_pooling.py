"""Means of scores over runs: which mean, its value, and the same scores from a store and an audio file."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import gmean

from dcase2018.features.store import Store
from dcase2018.inference.audio_tagger import AudioTagger
from dcase2018.inference.ensemble import Ensemble
from dcase2018.inference.pooling import Pooling, describe_pooling
from dcase2018.inference.predictor import predict
from dcase2018.runs.run import Run


def test_geometric_mean_of_softmax_scores_sums_to_one() -> None:
    scores = np.random.default_rng(0).dirichlet(np.ones(4), (3, 5))
    mean = gmean(scores, axis=0)
    np.testing.assert_allclose(Pooling(is_geometric=True)(scores), mean)
    expected = mean / mean.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(Pooling(is_geometric=True, is_softmax=True)(scores), expected)
    np.testing.assert_array_equal(Pooling()(scores), scores.mean(axis=0))
    assert Pooling(is_geometric=True)([np.zeros(1), np.ones(1)]) == pytest.approx(np.sqrt(1e-7))


def test_runs_with_different_pooling_have_the_arithmetic_mean(runs: dict[str, Path]) -> None:
    run = Run.load(runs["baseline"])
    arithmetic, geometric = (
        replace(run, hparams=replace(run.hparams, clip_pooling=pooling))
        for pooling in ("mean", "geometric_mean")
    )
    assert Pooling.of_runs([geometric, geometric]) == Pooling(is_geometric=True, is_softmax=True)
    assert not Pooling.of_runs([arithmetic, geometric]).is_geometric
    assert not Pooling.of_runs([geometric]).is_geometric  # one run is not averaged
    assert describe_pooling([arithmetic, geometric]) == (
        "scores: arithmetic mean over 2 runs, and over windows the clip_pooling of each run"
    )
    assert describe_pooling([geometric]) == ""


@pytest.mark.parametrize("pooling", ["mean", "geometric_mean"])
def test_tagger_averages_runs_as_predict_does(
    recordings: Path, stores: dict[str, Store], runs: dict[str, Path], pooling: str
) -> None:
    paths = list(runs.values())
    expected = predict(Ensemble.open(paths, list(stores.values()), clip_pooling=pooling), ["one.wav"])
    tagger = AudioTagger.open(paths, clip_pooling=pooling)
    scores = tagger.scores(recordings / "one.wav")
    np.testing.assert_allclose(scores, expected.loc["one.wav"], atol=1e-6)
    window_scores = tagger.window_scores(recordings / "one.wav").scores
    members = [
        AudioTagger.open([path], clip_pooling=pooling).window_scores(recordings / "one.wav") for path in paths
    ]
    centers = members[0].starts + members[0].window_seconds / 2
    aligned = [member.scores[member.index_at(centers)] for member in members]
    mean = np.mean(aligned, axis=0) if pooling == "mean" else gmean(np.maximum(aligned, 1e-7), axis=0)
    np.testing.assert_allclose(window_scores, mean / mean.sum(axis=1, keepdims=True), atol=1e-5)
