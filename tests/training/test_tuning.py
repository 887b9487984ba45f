"""Hyperparameter search: search spaces, pruning, and resumed studies."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from conftest import ToyPipeline, dcase, run_fails
from test_fit import PRESET, labels, make_store

from dcase2018.features.store import Store
from dcase2018.models.hparams import HParams
from dcase2018.runs.run import Run
from dcase2018.training.tuning import parse_search_space, suggest, tune
from dcase2018.utils.config import apply_overrides
from dcase2018.utils.errors import InputError
from dcase2018.utils.parallel import open_workers


def test_search_space_has_ranges_and_choices() -> None:
    space = parse_search_space("lr = 1e-4 : 1e-2, nh=8:64,clip_pooling=mean | geometric_mean,batch_size=8|16")
    trial = optuna.trial.FixedTrial(
        {"lr": 0.003, "nh": 20, "clip_pooling": "geometric_mean", "batch_size": "16"}
    )
    assert suggest(trial, space, HParams(lr=1)) == HParams(
        lr=0.003, nh=20, clip_pooling="geometric_mean", batch_size=16
    )
    assert trial.distributions["lr"].log
    assert not trial.distributions["nh"].log
    for text, message in (
        ("rate=1:2", "'rate' is unknown; allowed are example_window_seconds, "),
        ("lr", "'lr' is not name=low:high or name=this|that"),
        ("lr=1:fast", "lr=fast is not a number: it must be > 0 and <= 10"),
        ("nh=8:9.5", "nh=9.5 is not a whole number"),
        ("batch_size=8|many", "batch_size=many is not a whole number"),
        ("dropout=0:2", "dropout=2.0 is not allowed: it must be >= 0 and <= 0.95"),
        (
            "clip_pooling=geometric_mean|median",
            r"clip_pooling=median is not allowed: did you mean mean\? it must be one of",
        ),
        ("lr=2:1", "2 is not less than 1"),
        ("clip_pooling=geometric_mean:mean", "clip_pooling has no range; write clip_pooling=this|that"),
        ("lr=1e-4:1e-2,nh=8:64,lr=1e-4:1e-3", "lr is given twice"),
        ("", "--search-space is empty"),
    ):
        with pytest.raises(InputError, match=message.replace("|", r"\|")):
            parse_search_space(text)


def search(folder: Path, store: Store, space: str, n_trials: int, **changes: Any) -> tuple[float, str]:
    """Search on the toy clips of `test_fit`, with workers and fields of the preset in `changes`."""
    workers = changes.pop("workers", None)
    preset = replace(PRESET, **changes)
    return tune(folder, space, preset, store, labels(), labels(range(30, 39)), n_trials, workers=workers)


def test_a_study_that_was_killed_while_it_stored_its_settings_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(tmp_path / "s.h5")
    store_attribute = optuna.Study.set_user_attr

    def store_attribute_and_stop(study: optuna.Study, name: str, value: object) -> None:
        store_attribute(study, name, value)
        raise KeyboardInterrupt

    monkeypatch.setattr(optuna.Study, "set_user_attr", store_attribute_and_stop)
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "study", store, "lr=1e-4:1e-2", 1)
    monkeypatch.undo()
    with pytest.raises(InputError, match=r"no trial of .* was completed; increase --trials"):
        search(tmp_path / "study", store, "lr=1e-4:1e-2", 0)


@pytest.mark.slow
def test_study_finds_the_best_trial_and_resumes(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s.h5")
    folder, space = tmp_path / "#study%20?x={y}", "lr=1e-9:1e-2"
    search(folder, store, space, 2, epochs=3)
    score, best = search(folder, store, space, 5, epochs=3)
    assert sorted(path.name for path in tmp_path.iterdir()) == [folder.name, "s.h5"]
    shutil.copy(folder / "study.db", tmp_path / "copy.db")
    study = optuna.load_study(study_name="dcase2018", storage=f"sqlite:///{tmp_path / 'copy.db'}")
    assert len(study.trials) == 5
    assert sorted(path.name for path in folder.glob("trial-*")) == [f"trial-{n}" for n in range(5)]
    assert score == max(trial.value for trial in study.trials if trial.value is not None)
    assert apply_overrides(HParams(), best).lr == study.best_params["lr"]
    assert len({trial.params["lr"] for trial in study.trials}) == 5
    assert search(folder, store, space, 5, epochs=3) == (score, best)
    with pytest.raises(InputError, match=r"holds another study \(--search-space=lr=1e-09:0.1, not lr="):
        search(folder, store, "lr=1e-9:1e-1", 5, epochs=3)
    with pytest.raises(InputError, match=r"holds another study \(--hparams .*; --hparams .*\); name another"):
        search(folder, store, space, 5, epochs=3, hparams=HParams())
    (folder / "study.db").write_text("a note")
    with pytest.raises(InputError, match="is not an Optuna study"):
        search(folder, store, space, 5, epochs=3)


def read_trials(folder: Path) -> list[optuna.trial.FrozenTrial]:
    """Read the trials of a study, and check them against their runs."""
    shutil.copy(folder / "study.db", folder / "copy.db")
    trials = optuna.load_study(study_name="dcase2018", storage=f"sqlite:///{folder / 'copy.db'}").trials
    for trial in trials:
        if trial.state.name == "FAIL":
            continue
        run = Run.load(folder / f"trial-{trial.number}")
        assert run.hparams.lr == trial.params["lr"]
        scores = {row["epoch"]: row["map3"] for row in run.history()}
        assert trial.intermediate_values == pytest.approx(scores | trial.intermediate_values)
        assert trial.state.name == "PRUNED" or trial.value == max(scores.values())
    return trials


@pytest.mark.slow
def test_concurrent_trials_differ_and_are_pruned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most learning rates of the range are too low, so that some trials are below the median."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    store = make_store(tmp_path / "s.h5")
    folder = tmp_path / "study"
    best_score, _ = search(folder, store, "lr=1e-12:1e-2", 12, epochs=5, workers=open_workers(8, str))
    trials = read_trials(folder)
    states = [trial.state.name for trial in trials]
    assert len(trials) == states.count("COMPLETE") + states.count("PRUNED") == 12
    assert states.count("PRUNED") > 0
    assert len({trial.params["lr"] for trial in trials}) == 12
    assert best_score == max(trial.value for trial in trials if trial.state.name == "COMPLETE")
    starts = [trial.datetime_start for trial in trials]
    assert any(trial.datetime_complete > start for trial, start in zip(trials, starts[1:], strict=False))


@pytest.mark.slow
def test_trials_run_on_a_cluster(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    store = make_store(tmp_path / "s.h5")
    folder = tmp_path / "study"
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        workers = open_workers(4, str, cluster.scheduler_address)
        search(folder, store, "lr=1e-5:1e-2", 4, epochs=5, workers=workers)
    assert [trial.state.is_finished() for trial in read_trials(folder)] == [True] * 4


@pytest.mark.slow
def test_interrupted_study_with_concurrent_trials_resumes(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    command = [
        sys.executable, "-m", "dcase2018", "tune", toy_pipeline.train, toy_pipeline.fit_labels, folder,
        "--validation", toy_pipeline.validation, "--search-space", "lr=1e-4:1e-2", "--preset", "quick",
        "--epochs", 6, "--trials", 4,
    ]  # fmt: skip
    settings = {"env": os.environ | {"CUDA_VISIBLE_DEVICES": "0,1"}, "stderr": subprocess.PIPE, "text": True}

    def start() -> subprocess.Popen[str]:
        return subprocess.Popen([*map(str, command)], **settings)

    def wait_for(pattern: str) -> None:
        deadline = time.monotonic() + 120
        while not list(folder.glob(pattern)):
            assert time.monotonic() < deadline
            time.sleep(0.05)

    first = start()
    wait_for("trial-1/checkpoints/step-*")
    first.send_signal(signal.SIGSTOP)  # it keeps the study locked
    second = start()
    assert "study.db is being written by another process" in second.communicate()[1]
    assert second.returncode == 1
    first.send_signal(signal.SIGTERM)
    first.send_signal(signal.SIGCONT)
    assert first.communicate()[1].splitlines()[-1] == (
        "dcase2018: stopped; run the same command again to resume"
    )
    assert first.returncode == 143
    third = start()
    wait_for("trial-[2-9]/checkpoints/step-*")
    third.kill()
    third.communicate()
    last = start()
    assert "Traceback" not in last.communicate()[1]
    assert last.returncode == 0
    states = [trial.state.name for trial in read_trials(folder)]
    assert states.count("COMPLETE") + states.count("PRUNED") == 4
    assert "FAIL" in states


@pytest.mark.slow
def test_tune_skips_clips_that_the_store_lacks_on_request(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    labels = tmp_path / "l.csv"
    lines = toy_pipeline.fit_labels.read_text().splitlines()
    labels.write_text("\n".join([*lines, lines[1].replace(lines[1].split(",")[0], "gone.wav")]) + "\n")
    command = (
        "tune", toy_pipeline.train, labels, tmp_path / "study", "--validation", toy_pipeline.validation,
        "--search-space", "lr=1e-4:1e-2", "--preset", "quick", "--epochs", 1, "--trials", 1,
    )  # fmt: skip
    assert "clips are not in" in run_fails(2, *command)
    done = dcase(*command, "--missing", "skip")
    assert done.returncode == 3, done.stderr
    assert done.stdout.endswith(f"skipped: gone.wav: not in {toy_pipeline.train}\n")
