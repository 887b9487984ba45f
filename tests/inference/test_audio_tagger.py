"""Runs that listen to files: a clip is scored as predict does, a recording by windows that are clips."""

import threading
import tracemalloc
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from conftest import noise, write_wav

from dcase2018.data import audio
from dcase2018.features.store import Store
from dcase2018.inference import audio_tagger as listening
from dcase2018.inference.audio_tagger import AudioTagger
from dcase2018.inference.ensemble import Ensemble
from dcase2018.inference.predictor import predict
from dcase2018.inference.window_scores import LevelConfig
from dcase2018.utils.errors import InputError


@pytest.mark.parametrize(
    "members", [["logmel96"], ["baseline"], ["baseline", "logmel96"], ["logmel96", "baseline"]]
)
def test_a_clip_is_scored_as_extract_and_predict_do(
    members: Sequence[str], runs: dict[str, Path], stores: dict[str, Store], recordings: Path
) -> None:
    paths = [runs[kind] for kind in members]
    expected = predict(Ensemble.open(paths, list(stores.values())))
    listener = AudioTagger.open(paths)
    assert list(listener.classes) == list(expected.columns)
    assert expected.nunique().min() >= 7  # of 8 clips: their scores differ
    for fname in expected.index:
        scores = listener.scores(recordings / fname)
        np.testing.assert_allclose(scores, expected.loc[fname], atol=1e-6)
        assert scores.dtype == np.float64


def test_settings_of_scoring_are_those_of_predict(
    runs: dict[str, Path], stores: dict[str, Store], recordings: Path
) -> None:
    settings = {"clip_pooling": "mean", "inference_hop_seconds": 2.0}  # a hop longer than a window
    expected = predict(Ensemble.open([runs["logmel96"]], [stores["logmel96"]], **settings))
    listener = AudioTagger.open([runs["logmel96"]], **settings)
    for fname in expected.index:
        np.testing.assert_allclose(listener.scores(recordings / fname), expected.loc[fname], atol=1e-6)


def test_without_trimming_and_scaling_a_clip_is_the_mean_of_its_timeline(
    runs: dict[str, Path], recordings: Path
) -> None:
    listener = AudioTagger.open([runs["baseline"]])
    line = listener.window_scores(recordings / "long.wav")
    assert not line.is_silent.any()
    if (len(line) - 2) * 0.12 + 0.25 < 20:  # the last window ends with the recording
        assert line.starts[-1] - line.starts[-2] < 0.12
    regular = np.isclose(np.diff(line.starts, append=line.starts[-1] + 0.12), 0.12)
    assert regular[:-2].all()
    np.testing.assert_allclose(
        line.scores[:-1].mean(axis=0), listener.scores(recordings / "long.wav"), atol=1e-6
    )


def test_a_short_recording_over_time_is_the_clip(runs: dict[str, Path], recordings: Path) -> None:
    """What is shorter than a window, and as loud to its ends, is heard as a clip is."""
    listener = AudioTagger.open([runs["logmel96"]])
    for fname in ("one.wav", "short.wav"):
        line = listener.window_scores(recordings / fname)
        np.testing.assert_allclose(line.scores[0], listener.scores(recordings / fname), atol=1e-5)
        np.testing.assert_array_equal(line.boundaries, [0, line.seconds])


@pytest.mark.parametrize("members", [["logmel96"], ["baseline"], ["baseline", "logmel96"]])
def test_silence_and_nothing_over_time(
    members: Sequence[str], runs: dict[str, Path], recordings: Path
) -> None:
    listener = AudioTagger.open([runs[kind] for kind in members])
    line = listener.window_scores(recordings / "silence.wav")
    assert line.is_silent.all()
    assert len(line)
    prior = np.mean([run.prior for run in listener.runs], axis=0)
    np.testing.assert_allclose(line.scores, np.tile(prior, (len(line), 1)), rtol=1e-6)
    assert line.seconds == 1
    nothing = listener.window_scores(recordings / "empty.wav")
    assert len(nothing) == 0
    assert nothing.scores.shape == (0, len(listener.classes))


def test_one_loud_event_silences_nothing_far_from_it(runs: dict[str, Path], tmp_path: Path) -> None:
    listener = AudioTagger.open([runs["logmel96"]])
    quiet = noise(44100 * 40, level=1e-3)
    alone = listener.window_scores(write_wav(tmp_path / "alone.wav", quiet, subtype="FLOAT"))
    quiet[44100 * 20 : 44100 * 21] += noise(44100, 1, level=0.5)
    beside = listener.window_scores(write_wav(tmp_path / "beside.wav", quiet, subtype="FLOAT"))
    far = (alone.starts < 13) | (alone.starts > 27)
    np.testing.assert_allclose(alone.scores[far], beside.scores[far], atol=1e-6)
    assert not beside.is_silent[far].any()
    assert np.abs(alone.scores - beside.scores).max() > 0.01


def test_a_gain_changes_nothing_where_the_recipe_scales(runs: dict[str, Path], tmp_path: Path) -> None:
    listener = AudioTagger.open([runs["logmel96"]])
    y = noise(44100 * 15) * np.linspace(0.2, 1, 44100 * 15)
    loud = listener.window_scores(write_wav(tmp_path / "loud.wav", y, subtype="FLOAT"))
    soft = listener.window_scores(write_wav(tmp_path / "soft.wav", y / 256, subtype="FLOAT"))
    np.testing.assert_allclose(loud.scores, soft.scores, atol=2e-3)


def test_runs_of_other_windows_are_asked_at_the_same_moments(runs: dict[str, Path], recordings: Path) -> None:
    wide, baseline = (AudioTagger.open([runs[kind]]).window_scores(recordings / "long.wav") for kind in runs)
    both = AudioTagger.open([runs["logmel96"], runs["baseline"]]).window_scores(recordings / "long.wav")
    np.testing.assert_array_equal(both.starts, wide.starts)
    for number in range(0, len(wide), 7):
        middle = wide.starts[number] + wide.window_seconds / 2
        nearest = np.abs(baseline.starts + baseline.window_seconds / 2 - middle).argmin()
        expected = (wide.scores[number] + baseline.scores[nearest]) / 2
        np.testing.assert_allclose(both.scores[number], expected, atol=1e-6)


def test_a_hop_of_ones_own(runs: dict[str, Path], recordings: Path) -> None:
    coarse, fine = (
        AudioTagger.open([runs["logmel96"]], inference_hop_seconds=hop).window_scores(recordings / "long.wav")
        for hop in (0.8, 0.2)
    )
    assert np.diff(fine.starts)[:-1] == pytest.approx(0.2)
    shared = fine.starts[:-1:4]
    np.testing.assert_allclose(shared, coarse.starts[: len(shared)])
    np.testing.assert_allclose(fine.scores[:-1:4], coarse.scores[: len(shared)], atol=1e-6)
    with pytest.raises(InputError, match="peak_context_seconds=0 is not allowed"):
        LevelConfig(peak_context_seconds=0)


def test_memory_does_not_grow_with_a_recording(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listening, "INFERENCE_BATCH", 16)
    listener = AudioTagger.open([runs["logmel96"]])
    peaks = []
    for minutes in (1, 3):
        path = write_wav(tmp_path / f"{minutes}.wav", np.tile(noise(44100 * 60), minutes))
        listener.window_scores(path)
        tracemalloc.start()
        try:
            listener.window_scores(path)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] - peaks[0] < 1e6  # 2 minutes are 5 MB of frames, and 11 MB of samples


def test_several_threads_share_the_networks(runs: dict[str, Path], recordings: Path) -> None:
    listener = AudioTagger.open(list(runs.values()))
    names = sorted(path.name for path in recordings.iterdir())
    found: dict[str, np.ndarray] = {}
    threads = [
        threading.Thread(target=lambda name=name: found.update({name: listener.scores(recordings / name)}))
        for name in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in names:
        np.testing.assert_array_equal(found[name], listener.scores(recordings / name))


@pytest.mark.parametrize("members", [["logmel96"], ["baseline"], ["baseline", "logmel96"]])
def test_progress_adds_up_to_the_whole(
    members: Sequence[str], runs: dict[str, Path], recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio, "BLOCK", 1 << 17)
    listener = AudioTagger.open([runs[kind] for kind in members])
    for hear in (listener.window_scores, listener.scores):
        told: list[float] = []
        hear(recordings / "stereo.wav", tell=told.append)
        assert len(told) >= 3
        assert sum(told) == pytest.approx(1)


def test_classes_must_agree(runs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no run"):
        AudioTagger.open([tmp_path])
