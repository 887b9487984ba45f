"""Copies and recordings in training and validation: kept in one fold, or reported."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import BASELINE, run_fails

from dcase2018.data.splits import stratified_folds
from dcase2018.evaluation.evaluate import evaluate
from dcase2018.features.identical_clips import clip_keys
from dcase2018.features.store import ClipRecord, Store, checksum
from dcase2018.features.store_writer import write_store
from dcase2018.inference.ensemble import Ensemble, EnsembleMember
from dcase2018.inference.shared_clips import warn_of_shared_clips
from dcase2018.models.hparams import HParams, Preset
from dcase2018.training.experiment import Experiment
from dcase2018.training.shared_clips import assign_folds, warn_of_shared_folds, warn_of_shared_validation
from dcase2018.utils.errors import InputError

N_SOUNDS = 14  # of which the last six are copies of the first six under other names


def write_clips(path: Path, names: list[str], seeds: list[int | None]) -> Store:
    """Write clips of noise by seed; None is silence, and -1 a clip without frames."""
    frames = [
        np.zeros((0, 64), np.float32)
        if seed == -1
        else np.full((9, 64), -4.6, np.float32)
        if seed is None
        else np.random.default_rng(seed).standard_normal((9, 64)).astype(np.float32)
        for seed in seeds
    ]
    records = [
        ClipRecord(name, len(clip), checksum(clip), 0, 0, "" if len(clip) else "no samples")
        for name, clip in zip(names, frames, strict=True)
    ]
    write_store(path, BASELINE, records, frames)
    return Store(path)


@pytest.fixture
def copies(tmp_path: Path) -> tuple[Store, pd.DataFrame]:
    """Twenty clips of three classes, six of which are copies, whose names do not show it."""
    names = [f"{chr(97 + i)}x.wav" for i in range(N_SOUNDS + 6)]
    store = write_clips(tmp_path / "s.h5", names, [*range(N_SOUNDS), *range(6)])
    labels = pd.DataFrame({"fname": names, "label": [f"c{i % 3}" for i in range(len(names))]}, dtype=object)
    return store, labels


def test_keys_are_equal_for_copies_and_zero_for_silent_and_empty_clips(tmp_path: Path) -> None:
    store = write_clips(tmp_path / "s.h5", list("abcdefg"), [1, 2, 1, None, None, -1, -1])
    keys = clip_keys(store, np.arange(7))
    assert keys[0] == keys[2] != keys[1]
    assert keys[3:].tolist() == [0] * 4
    assert (keys[:3] != 0).all()


def test_folds_keep_copies_together(
    copies: tuple[Store, pd.DataFrame], caplog: pytest.LogCaptureFixture
) -> None:
    store, labels = copies
    with caplog.at_level(logging.INFO):
        fold = assign_folds(labels, store, 4, seed=1)
    assert (fold[:6] == fold[N_SOUNDS:]).all()
    message = "6 of 20 clips are identical to others, such as 'ax.wav' and 'ox.wav'; copies stay on one side"
    assert caplog.messages == [message]


def test_folds_of_clips_without_copies_are_the_stratified_folds(tmp_path: Path) -> None:
    names = [f"{chr(97 + i)}x.wav" for i in range(20)]
    store = write_clips(tmp_path / "s.h5", names, [*range(16), None, None, -1, -1])
    labels = pd.DataFrame({"fname": names, "label": list("abcde") * 4}, dtype=object)
    np.testing.assert_array_equal(assign_folds(labels, store, 4, 3), stratified_folds(labels, 4, 3))


def test_copies_link_named_groups(copies: tuple[Store, pd.DataFrame]) -> None:
    store, labels = copies
    groups = np.arange(20) // 2
    fold = assign_folds(labels, store, 3, 0, groups)
    assert (fold[::2] == fold[1::2]).all()
    assert (fold[:6] == fold[N_SOUNDS:]).all()


def test_copies_in_the_folds_of_a_column_are_reported(
    copies: tuple[Store, pd.DataFrame], caplog: pytest.LogCaptureFixture
) -> None:
    store, labels = copies
    warn_of_shared_folds(labels, store, np.arange(20) // 10)
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith("12 of 20 held-out clips are identical to training clips, such as")
    with pytest.raises(InputError, match="groups of --groups or --groups-from are in both training and"):
        warn_of_shared_folds(labels, store, np.arange(20) // 10, np.arange(20) % 2)


def test_copies_in_validation_are_reported(
    copies: tuple[Store, pd.DataFrame], caplog: pytest.LogCaptureFixture
) -> None:
    store, labels = copies
    warn_of_shared_validation(labels[:N_SOUNDS], labels[N_SOUNDS:], store)
    assert len(caplog.messages) == 1
    assert (
        "6 of 6 validation clips are identical to training clips, such as 'ox.wav' and 'ax.wav'"
        in (caplog.messages[0])
    )
    groups = np.arange(N_SOUNDS), np.arange(100, 106)
    warn_of_shared_validation(labels[:N_SOUNDS], labels[N_SOUNDS:], store, groups)
    with pytest.raises(InputError, match="in both training and validation: 13; use the same option"):
        warn_of_shared_validation(labels[:N_SOUNDS], labels[N_SOUNDS:], store, (groups[0], groups[1] - 87))


def test_scored_copies_of_training_clips_are_reported(
    copies: tuple[Store, pd.DataFrame], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, labels = copies
    preset = Preset("mlp", HParams(), 1)
    runs = []
    for name, rows in (("a", slice(0, 10)), ("b", slice(4, N_SOUNDS))):
        experiment = Experiment.create(tmp_path / name, preset, store, labels[rows])
        experiment.run.path.mkdir()
        experiment.run.save_training_clips(experiment.training_clip_keys())
        runs.append(experiment.run)
    other_store = write_clips(tmp_path / "t.h5", ["new.wav", "copy.wav", "quiet.wav"], [99, 3, None])
    ensemble = Ensemble([EnsembleMember(run, other_store) for run in runs])
    scored = pd.DataFrame({"fname": ["new.wav", "copy.wav", "quiet.wav"], "label": list("aab")}, dtype=object)
    warn_of_shared_clips(ensemble, scored)
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(
        "1 of 3 scored clips are identical to training clips, such as 'copy.wav' and 'dx.wav'; their"
    )
    caplog.clear()
    warn_of_shared_clips(Ensemble([EnsembleMember(runs[1], store)]), labels[4:8])  # training clips themselves
    assert not caplog.messages


def test_evaluate_reports_recordings_of_training_clips(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"rec{r}_{n}.wav" for r in range(6) for n in range(4)]
    store = write_clips(tmp_path / "s.h5", names, [*range(24)])
    labels = pd.DataFrame({"fname": names, "label": ["ab"[i // 4 % 2] for i in range(24)]}, dtype=object)
    experiment = Experiment.create(tmp_path / "run", Preset("mlp", HParams(), 1), store, labels[::2])
    experiment.run.path.mkdir()
    experiment.run.save_training_clips(experiment.training_clip_keys())
    ensemble = Ensemble([EnsembleMember(experiment.run, store)])
    monkeypatch.setattr(
        "dcase2018.evaluation.evaluate.iter_ensemble_scores", lambda *_: iter(np.full((12, 2), 0.5))
    )
    evaluate(ensemble, labels[1::2].reset_index(drop=True))
    assert len(caplog.messages) == 1
    assert "12 of 12 scored clips are named like training clips of the same recording" in caplog.messages[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--groups", "x"), "--groups and --groups-from require --folds, --fold-column or --validation"),
        (("--folds", 5, "--groups", "rec"), "--folds 5 exceeds the number of groups of clips, 3"),
    ],
)
def test_groups_that_do_not_fit_are_refused(
    tmp_path: Path, options: tuple[object, ...], message: str
) -> None:
    names = [f"{rec}{n}.wav" for rec in "abc" for n in range(4)]
    store = write_clips(tmp_path / "s.h5", names, [*range(12)])
    rows = [f"{name},{'pq'[i % 2]},{name[0]}\n" for i, name in enumerate(names)]
    (tmp_path / "l.csv").write_text("fname,label,rec\n" + "".join(rows))
    errors = run_fails(2, "fit", store.path, tmp_path / "l.csv", tmp_path / "run", *options)
    assert message in errors.splitlines()[-1]
    assert not (tmp_path / "run").exists()
