"""The search for hyperparameters: what may be searched, and a study that goes on."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from conftest import ToyPipeline
from test_fit import PRESET, labels, make_store

from dcase2018.features.store import Store
from dcase2018.models.hparams import HParams, Preset
from dcase2018.runs.run import Run
from dcase2018.runs.training_state import StoppingCriteria
from dcase2018.training.experiment import Experiment
from dcase2018.training.tuning import Plan, parse_search, suggest, tune
from dcase2018.utils.config import apply_overrides
from dcase2018.utils.errors import InputError
from dcase2018.utils.parallel import make_executors


def test_ranges_and_choices() -> None:
    space = parse_search("lr=1e-4:1e-2, nh=8:64,clip_pooling=mean|geometric,batch_size=8|16")
    trial = optuna.trial.FixedTrial(
        {"lr": 0.003, "nh": 20, "clip_pooling": "geometric_mean", "batch_size": "16"}
    )
    assert suggest(trial, space, HParams(lr=1)) == HParams(
        lr=0.003, nh=20, clip_pooling="geometric_mean", batch_size=16
    )
    assert trial.distributions["lr"].log
    assert not trial.distributions["nh"].log
    for text, message in (
        ("rate=1:2", "'rate' is unknown; known here: example_window_seconds, "),
        ("lr", "'lr' is not name=low:high or name=this|that"),
        ("lr=1:fast", "lr=fast is no number: it must be > 0 and <= 10"),
        ("nh=8:9.5", "nh=9.5 is no whole number"),
        ("batch_size=8|many", "batch_size=many is no whole number"),
        ("dropout=0:2", "dropout=2.0 is not allowed: it must be >= 0 and <= 0.95"),
        (
            "clip_pooling=geometric_mean|median",
            "clip_pooling=median is not allowed: it must be one of arithmetic",
        ),
        ("lr=2:1", "2 is not below 1"),
        ("", "names nothing to search"),
    ):
        with pytest.raises(InputError, match=message.replace("|", r"\|")):
            parse_search(text)


@pytest.mark.slow
def test_a_study_finds_what_learns_and_goes_on(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s.h5")

    def plan(path: Path, hparams: HParams) -> Experiment:
        return Experiment.create(path, Preset("mlp", hparams, 3), store, labels(), labels(range(30, 39)))

    folder = tmp_path / "#study%20?x={y}"
    space = parse_search("lr=1e-9:1e-2")
    tune(folder, space, PRESET.hparams, plan, 2, StoppingCriteria())
    score, best = tune(folder, space, PRESET.hparams, plan, 5, StoppingCriteria())
    assert sorted(path.name for path in tmp_path.iterdir()) == [folder.name, "s.h5"]
    shutil.copy(folder / "study.db", tmp_path / "copy.db")
    study = optuna.load_study(study_name="dcase2018", storage=f"sqlite:///{tmp_path / 'copy.db'}")
    assert len(study.trials) == 5
    assert sorted(path.name for path in folder.glob("trial-*")) == [f"trial-{n}" for n in range(5)]
    assert score == max(trial.value for trial in study.trials if trial.value is not None)
    assert apply_overrides(HParams(), best).lr == study.best_params["lr"]
    assert len({trial.params["lr"] for trial in study.trials}) == 5
    assert tune(folder, space, PRESET.hparams, plan, 5, StoppingCriteria()) == (score, best)
    with pytest.raises(InputError, match=r"holds a study of something else \(search lr=.*0.1.*, not lr="):
        tune(folder, parse_search("lr=1e-9:1e-1"), PRESET.hparams, plan, 5, StoppingCriteria())
    with pytest.raises(InputError, match=r"holds a study of something else \(hparams .*\); name another"):
        tune(folder, space, HParams(), plan, 5, StoppingCriteria())
    (folder / "study.db").write_text("a note")
    with pytest.raises(InputError, match="is no study that can be read"):
        tune(folder, space, PRESET.hparams, plan, 5, StoppingCriteria())


def plan_in(store: Store) -> Plan:
    def plan(path: Path, hparams: HParams) -> Experiment:
        return Experiment.create(path, Preset("mlp", hparams, 5), store, labels(), labels(range(30, 39)))

    return plan


def told(folder: Path) -> list[optuna.trial.FrozenTrial]:
    """The trials of a study that is at rest; what each has is what its run has."""
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
def test_trials_side_by_side_are_drawn_apart_and_broken_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rates of which most teach nothing, so that some that stand below the median are broken off."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    store = make_store(tmp_path / "s.h5")
    folder, space = tmp_path / "study", parse_search("lr=1e-12:1e-2")
    found = tune(
        folder,
        space,
        PRESET.hparams,
        plan_in(store),
        12,
        StoppingCriteria(),
        executors=make_executors(8, str),
    )
    trials = told(folder)
    states = [trial.state.name for trial in trials]
    assert len(trials) == states.count("COMPLETE") + states.count("PRUNED") == 12
    assert states.count("PRUNED") > 0
    assert len({trial.params["lr"] for trial in trials}) == 12
    assert found[0] == max(trial.value for trial in trials if trial.state.name == "COMPLETE")
    begun = [trial.datetime_start for trial in trials]
    assert any(trial.datetime_complete > later for trial, later in zip(trials, begun[1:], strict=False))


@pytest.mark.slow
def test_trials_on_a_cluster(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    store = make_store(tmp_path / "s.h5")
    folder, space = tmp_path / "study", parse_search("lr=1e-5:1e-2")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        executors = make_executors(4, str, cluster.scheduler_address)
        tune(folder, space, PRESET.hparams, plan_in(store), 4, StoppingCriteria(), executors=executors)
    assert [trial.state.is_finished() for trial in told(folder)] == [True] * 4


@pytest.mark.slow
def test_a_study_that_was_stopped_side_by_side_goes_on(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    folder = tmp_path / "study"
    command = [
        sys.executable, "-m", "dcase2018", "tune", toy_pipeline.train, toy_pipeline.fit_labels, folder, "--validation",
        toy_pipeline.validation, "--search-space", "lr=1e-4:1e-2", "--preset", "quick", "--epochs", 6, "--trials", 4,
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
    first.send_signal(signal.SIGSTOP)  # it holds the study for as long as it lives
    second = start()
    assert "study.db is being written by another process" in second.communicate()[1]
    assert second.returncode == 1
    first.send_signal(signal.SIGTERM)
    first.send_signal(signal.SIGCONT)
    assert first.communicate()[1].splitlines()[-1] == (
        "dcase2018: stopped; what was finished is kept, and the same command goes on"
    )
    assert first.returncode == 143
    third = start()
    wait_for("trial-[2-9]/checkpoints/step-*")
    third.kill()
    third.communicate()
    last = start()
    assert "Traceback" not in last.communicate()[1]
    assert last.returncode == 0
    states = [trial.state.name for trial in told(folder)]
    assert states.count("COMPLETE") + states.count("PRUNED") == 4
    assert "FAIL" in states
