"""The search for hyperparameters: what may be searched, and a study that goes on."""

import shutil
from pathlib import Path

import optuna
import pytest
from test_fitting import PRESET, labels, make_store

from dcase2018.foundation.errors import InputError
from dcase2018.foundation.settings import override
from dcase2018.networks.hparams import HParams, Preset
from dcase2018.runs.state import Limits
from dcase2018.training.experiment import Experiment
from dcase2018.training.tuning import parse_search, suggest, tune


def test_ranges_and_choices() -> None:
    space = parse_search("lr=1e-4:1e-2, nh=8:64,score_mean=arithmetic|geometric,batch_size=8|16")
    trial = optuna.trial.FixedTrial({"lr": 0.003, "nh": 20, "score_mean": "geometric", "batch_size": "16"})
    assert suggest(trial, space, HParams(lr=1)) == HParams(
        lr=0.003, nh=20, score_mean="geometric", batch_size=16
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
        ("score_mean=geometric|median", "score_mean=median is not allowed: it must be one of arithmetic"),
        ("lr=2:1", "2 is not below 1"),
        ("", "names nothing to search"),
    ):
        with pytest.raises(InputError, match=message.replace("|", r"\|")):
            parse_search(text)


@pytest.mark.slow
def test_a_study_finds_what_learns_and_goes_on(tmp_path: Path) -> None:
    store = make_store(tmp_path / "s.h5")

    def plan(path: Path, hparams: HParams) -> Experiment:
        return Experiment.plan(path, Preset("mlp", hparams, 3), store, labels(), labels(range(30, 39)))

    folder = tmp_path / "#study%20?x={y}"
    space = parse_search("lr=1e-9:1e-2")
    tune(folder, space, PRESET.hparams, plan, 2, Limits())
    score, best = tune(folder, space, PRESET.hparams, plan, 5, Limits())
    assert sorted(path.name for path in tmp_path.iterdir()) == [folder.name, "s.h5"]
    shutil.copy(folder / "study.db", tmp_path / "copy.db")
    study = optuna.load_study(study_name="dcase2018", storage=f"sqlite:///{tmp_path / 'copy.db'}")
    assert len(study.trials) == 5
    assert sorted(path.name for path in folder.glob("trial-*")) == [f"trial-{n}" for n in range(5)]
    assert score == max(trial.value for trial in study.trials if trial.value is not None)
    assert override(HParams(), best).lr == study.best_params["lr"]
    assert len({trial.params["lr"] for trial in study.trials}) == 5
    assert tune(folder, space, PRESET.hparams, plan, 5, Limits()) == (score, best)
    with pytest.raises(InputError, match=r"holds a study of something else \(search lr=.*0.1.*, not lr="):
        tune(folder, parse_search("lr=1e-9:1e-1"), PRESET.hparams, plan, 5, Limits())
    with pytest.raises(InputError, match=r"holds a study of something else \(hparams .*\); name another"):
        tune(folder, space, HParams(), plan, 5, Limits())
    (folder / "study.db").write_text("a note")
    with pytest.raises(InputError, match="is no study that can be read"):
        tune(folder, space, PRESET.hparams, plan, 5, Limits())
