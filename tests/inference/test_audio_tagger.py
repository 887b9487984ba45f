"""Audio files: a clip is scored as `predict` scores it, and a recording in windows that are like clips."""

import shutil
import threading
import tracemalloc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import noise, write_wav

from dcase2018.data import audio_decoders
from dcase2018.features.config import FEATURE_CONFIGS
from dcase2018.features.extraction import extract
from dcase2018.features.store import Store
from dcase2018.inference import audio_tagger
from dcase2018.inference.audio_tagger import AudioTagger
from dcase2018.inference.ensemble import Ensemble
from dcase2018.inference.event_detection import EventConfig, detect_events
from dcase2018.inference.predictor import iter_window_scores, predict
from dcase2018.inference.window_scores import LevelConfig
from dcase2018.runs.run import Run
from dcase2018.utils.errors import InputError


@pytest.mark.parametrize(
    "members", [["logmel96"], ["baseline"], ["baseline", "logmel96"], ["logmel96", "baseline"]]
)
def test_clip_scores_are_those_of_predict(
    members: Sequence[str], runs: dict[str, Path], stores: dict[str, Store], recordings: Path
) -> None:
    paths = [runs[name] for name in members]
    expected = predict(Ensemble.open(paths, list(stores.values())))
    tagger = AudioTagger.open(paths)
    assert list(tagger.classes) == list(expected.columns)
    assert expected.nunique().min() >= 7  # of 8 clips: their scores differ
    for fname in expected.index:
        scores = tagger.scores(recordings / fname)
        np.testing.assert_allclose(scores, expected.loc[fname], atol=1e-6)
        assert scores.dtype == np.float64


def test_runs_with_one_window_config_share_the_front_end(runs: dict[str, Path], recordings: Path) -> None:
    twice = AudioTagger.open([runs["baseline"], runs["logmel96"], runs["baseline"]])
    assert [len(group.predictors) for group in twice.load()] == [2, 1]
    once = [AudioTagger.open([path]).scores(recordings / "long.wav") for path in runs.values()]
    expected = np.mean([once[0], once[1], once[1]], axis=0)
    np.testing.assert_allclose(twice.scores(recordings / "long.wav"), expected, atol=1e-9)


def test_hparam_overrides_are_those_of_predict(
    runs: dict[str, Path], stores: dict[str, Store], recordings: Path
) -> None:
    hparams = {"clip_pooling": "mean", "inference_hop_seconds": 2.0}  # a hop longer than a window
    expected = predict(Ensemble.open([runs["logmel96"]], [stores["logmel96"]], **hparams))
    tagger = AudioTagger.open([runs["logmel96"]], **hparams)
    for fname in expected.index:
        np.testing.assert_allclose(tagger.scores(recordings / fname), expected.loc[fname], atol=1e-6)


def test_without_trimming_and_scaling_clip_scores_are_the_mean_of_window_scores(
    runs: dict[str, Path], recordings: Path
) -> None:
    tagger = AudioTagger.open([runs["baseline"]])
    result = tagger.window_scores(recordings / "long.wav")
    assert not result.is_silent.any()
    if (len(result) - 2) * 0.12 + 0.25 < 20:  # the last window ends with the recording
        assert result.starts[-1] - result.starts[-2] < 0.12
    is_regular = np.isclose(np.diff(result.starts, append=result.starts[-1] + 0.12), 0.12)
    assert is_regular[:-2].all()
    np.testing.assert_allclose(
        result.scores[:-1].mean(axis=0), tagger.scores(recordings / "long.wav"), atol=1e-6
    )


def test_window_scores_of_a_short_recording_are_its_clip_scores(
    runs: dict[str, Path], recordings: Path
) -> None:
    """A recording shorter than a window and without silent ends is processed like a clip."""
    tagger = AudioTagger.open([runs["logmel96"]])
    for fname in ("one.wav", "short.wav"):
        result = tagger.window_scores(recordings / fname)
        np.testing.assert_allclose(result.scores[0], tagger.scores(recordings / fname), atol=1e-5)
        np.testing.assert_array_equal(result.boundaries, [0, result.seconds])


@pytest.mark.parametrize("members", [["logmel96"], ["baseline"], ["baseline", "logmel96"]])
def test_silent_windows_get_the_prior_and_an_empty_file_has_no_windows(
    members: Sequence[str], runs: dict[str, Path], recordings: Path
) -> None:
    tagger = AudioTagger.open([runs[name] for name in members])
    silent = tagger.window_scores(recordings / "silence.wav")
    assert silent.is_silent.all()
    assert len(silent)
    prior = np.mean([run.prior for run in tagger.runs], axis=0)
    np.testing.assert_allclose(silent.scores, np.tile(prior, (len(silent), 1)), rtol=1e-6)
    assert silent.seconds == 1
    empty = tagger.window_scores(recordings / "empty.wav")
    assert len(empty) == 0
    assert empty.scores.shape == (0, len(tagger.classes))


def quiet_clips() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {
        "silence.wav": np.zeros(44100),
        "no samples.wav": np.zeros(0),
        "noise at -90 dBFS.wav": rng.normal(0, 10 ** (-90 / 20), 3 * 44100),
        "one bit.wav": rng.integers(-1, 2, 3 * 44100) / 32768,
        "offset.wav": np.full(44100, 0.2),
    }


@pytest.mark.parametrize("name", ["logmel96", "baseline"])
def test_silent_clips_get_the_prior_from_audio_and_from_a_store(
    name: str, runs: dict[str, Path], tmp_path: Path
) -> None:
    for fname, samples in quiet_clips().items():
        write_wav(tmp_path / "clips" / fname, samples, subtype="PCM_24")
    write_wav(tmp_path / "clips" / "short.wav", noise(4410))
    extract(tmp_path / "clips", tmp_path / "s.h5", FEATURE_CONFIGS[name])
    ensemble = Ensemble.open([runs[name]], [Store(tmp_path / "s.h5")])
    expected, tagger = predict(ensemble), AudioTagger.open([runs[name]])
    prior = tagger.runs[0].prior
    for fname in expected.index:
        result = tagger.clip_scores(tmp_path / "clips" / fname)
        np.testing.assert_allclose(result.scores, expected.loc[fname], atol=1e-6)
        assert result.is_silent == (fname != "short.wav")
        assert np.allclose(result.scores, prior) == result.is_silent
        assert tagger.window_scores(tmp_path / "clips" / fname).is_silent.all() == result.is_silent
    windows = dict(zip(expected.index, iter_window_scores(ensemble, list(expected.index)), strict=True))
    np.testing.assert_allclose(windows["silence.wav"][1], np.tile(prior, (len(windows["silence.wav"][1]), 1)))


def test_a_constant_offset_changes_neither_silent_windows_nor_events(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    samples = np.zeros(20 * 44100)
    samples[8 * 44100 : 9 * 44100] = 0.01 * np.sin(2 * np.pi * 800 * np.arange(44100) / 44100)
    tagger = AudioTagger.open([runs["logmel96"]])
    without, with_offset = (
        tagger.window_scores(write_wav(tmp_path / f"{offset}.wav", samples + offset)) for offset in (0, 0.2)
    )
    np.testing.assert_array_equal(without.is_silent, with_offset.is_silent)
    assert 0 < (~without.is_silent).sum() < 8
    np.testing.assert_allclose(without.scores, with_offset.scores, atol=0.02)
    config = EventConfig(threshold=0.36)
    events = [detect_events(result, tagger.classes, config) for result in (without, with_offset)]
    spans = [[(event.onset, event.offset, event.label) for event in found] for found in events]
    assert spans[0] == spans[1]
    assert spans[0]


def test_hidden_and_background_classes_are_left_out(
    runs: dict[str, Path], recordings: Path, tmp_path: Path
) -> None:
    path = recordings / "one.wav"
    full = AudioTagger.open([runs["baseline"]])
    hiding = AudioTagger.open([runs["baseline"]], hide=["c1"])
    assert hiding.classes == ["c0", "c2"]
    np.testing.assert_array_equal(hiding.scores(path), full.scores(path)[[0, 2]])
    np.testing.assert_array_equal(
        hiding.window_scores(path).scores, full.window_scores(path).scores[:, [0, 2]]
    )

    shutil.copytree(runs["baseline"], tmp_path / "run")
    replace(Run.load(tmp_path / "run"), background_classes=["c0"]).save()
    trained = AudioTagger.open([runs["baseline"], tmp_path / "run"], hide=["c1"])
    assert trained.classes == ["c2"]
    np.testing.assert_allclose(trained.scores(path), full.scores(path)[[2]], atol=1e-9)
    with pytest.raises(InputError, match="--hide 'C1' is not a class; the nearest one is 'c1'"):
        AudioTagger.open([runs["baseline"]], hide=["C1"])
    with pytest.raises(InputError, match="--hide hides all 3 classes; leave at least one"):
        AudioTagger.open([tmp_path / "run"], hide=["c1", "c2"])


def test_a_loud_event_does_not_change_distant_windows(runs: dict[str, Path], tmp_path: Path) -> None:
    tagger = AudioTagger.open([runs["logmel96"]])
    samples = noise(44100 * 40, level=1e-3)
    without = tagger.window_scores(write_wav(tmp_path / "without.wav", samples, subtype="FLOAT"))
    samples[44100 * 20 : 44100 * 21] += noise(44100, 1, level=0.5)
    with_event = tagger.window_scores(write_wav(tmp_path / "with.wav", samples, subtype="FLOAT"))
    is_distant = (without.starts < 13) | (without.starts > 27)
    np.testing.assert_allclose(without.scores[is_distant], with_event.scores[is_distant], atol=1e-6)
    assert not with_event.is_silent[is_distant].any()
    assert np.abs(without.scores - with_event.scores).max() > 0.01


def test_gain_does_not_matter_if_the_feature_config_scales(runs: dict[str, Path], tmp_path: Path) -> None:
    tagger = AudioTagger.open([runs["logmel96"]])
    y = noise(44100 * 15) * np.linspace(0.2, 1, 44100 * 15)
    loud = tagger.window_scores(write_wav(tmp_path / "loud.wav", y, subtype="FLOAT"))
    soft = tagger.window_scores(write_wav(tmp_path / "soft.wav", y / 256, subtype="FLOAT"))
    np.testing.assert_allclose(loud.scores, soft.scores, atol=2e-3)


def test_window_scores_of_runs_with_other_windows_are_aligned(
    runs: dict[str, Path], recordings: Path
) -> None:
    path = recordings / "long.wav"
    logmel96, baseline = (AudioTagger.open([runs[name]]).window_scores(path) for name in runs)
    both = AudioTagger.open([runs["logmel96"], runs["baseline"]]).window_scores(path)
    np.testing.assert_array_equal(both.starts, logmel96.starts)
    for index in range(0, len(logmel96), 7):
        center = logmel96.starts[index] + logmel96.window_seconds / 2
        nearest = np.abs(baseline.starts + baseline.window_seconds / 2 - center).argmin()
        expected = (logmel96.scores[index] + baseline.scores[nearest]) / 2
        np.testing.assert_allclose(both.scores[index], expected, atol=1e-6)


def test_a_smaller_hop_adds_windows(runs: dict[str, Path], recordings: Path) -> None:
    coarse, fine = (
        AudioTagger.open([runs["logmel96"]], inference_hop_seconds=hop).window_scores(recordings / "long.wav")
        for hop in (0.8, 0.2)
    )
    assert np.diff(fine.starts)[:-1] == pytest.approx(0.2)
    shared = fine.starts[:-1:4]
    np.testing.assert_allclose(shared, coarse.starts[: len(shared)])
    np.testing.assert_allclose(fine.scores[:-1:4], coarse.scores[: len(shared)], atol=1e-6)


def test_level_config_out_of_bounds_raises() -> None:
    with pytest.raises(InputError, match="peak_context_seconds=0 is not allowed"):
        LevelConfig(peak_context_seconds=0)


def test_memory_is_bounded_for_a_long_recording(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio_tagger, "AUDIO_BATCH", 16)
    tagger = AudioTagger.open([runs["logmel96"]])
    peaks = []
    for minutes in (1, 3):
        path = write_wav(tmp_path / f"{minutes}.wav", np.tile(noise(44100 * 60), minutes))
        tagger.window_scores(path)
        tracemalloc.start()
        try:
            tagger.window_scores(path)
            peaks.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    assert peaks[1] - peaks[0] < 1e6  # 2 minutes are 5 MB of frames, and 11 MB of samples


def test_threads_share_the_networks(runs: dict[str, Path], recordings: Path) -> None:
    tagger = AudioTagger.open(list(runs.values()))
    fnames = sorted(path.name for path in recordings.iterdir())
    scores: dict[str, np.ndarray] = {}
    threads = [
        threading.Thread(target=lambda fname=fname: scores.update({fname: tagger.scores(recordings / fname)}))
        for fname in fnames
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for fname in fnames:
        np.testing.assert_array_equal(scores[fname], tagger.scores(recordings / fname))


@pytest.mark.parametrize("members", [["logmel96"], ["baseline"], ["baseline", "logmel96"]])
def test_progress_adds_up_to_one(
    members: Sequence[str], runs: dict[str, Path], recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audio_decoders, "BLOCK_SAMPLES", 1 << 17)
    tagger = AudioTagger.open([runs[name] for name in members])
    for process in (tagger.window_scores, tagger.scores):
        fractions: list[float] = []
        process(recordings / "stereo.wav", on_progress=fractions.append)
        assert len(fractions) >= 3
        assert sum(fractions) == pytest.approx(1)


def test_a_folder_without_a_run_raises(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no run"):
        AudioTagger.open([tmp_path])
