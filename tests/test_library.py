"""The library: its public names, and the pipeline from Python."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from conftest import ROOT

import dcase2018 as dc
from dcase2018.utils.errors import InputError


@pytest.mark.slow
def test_pipeline_from_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    dc.synthesize("demo")
    for split in ("train", "test"):
        dc.extract(f"demo/audio_{split}", f"{split}.h5", dc.FEATURE_CONFIGS["baseline"])
    labels = dc.read_labels("demo/train.csv")
    dc.fit(dc.Experiment.create("run", dc.PRESETS["quick"], dc.Store("train.h5"), labels))
    ensemble = dc.Ensemble.open(["run"], [dc.Store("test.h5")])
    test_labels = dc.read_labels("demo/test_post_competition.csv", ensemble.classes)
    evaluation = dc.evaluate(ensemble, test_labels)
    assert 0.5 < evaluation.map3 <= 1  # by chance 0.045
    dc.write_submission("submission.csv", dc.predict(ensemble))
    submission = pd.read_csv("submission.csv", keep_default_na=False)
    assert list(submission) == ["fname", "label"]
    assert len(submission) == 175
    assert (submission["label"].str.count(" ") == 2).all()


def test_no_package_hides_a_public_name() -> None:
    packages = {path.parent.name for path in (ROOT / "dcase2018").glob("*/__init__.py")}
    assert not packages & set(dc.__all__)


def test_public_names_exist_and_are_documented() -> None:
    for name in dc.__all__:
        value = getattr(dc, name)
        assert name in ("FEATURE_CONFIGS", "PRESETS", "__version__") or value.__doc__
    assert set(dc.__all__) <= set(dir(dc))
    with pytest.raises(AttributeError):
        dc.no_such_name  # noqa: B018


def test_public_names_are_imported_on_use() -> None:
    code = (
        "import sys, dcase2018; dcase2018.read_labels; print('keras' in sys.modules, 'h5py' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


def test_errors_are_those_of_the_commands(tmp_path: Path) -> None:
    with pytest.raises(dc.InputError, match=r"none\.h5 does not exist; dcase2018 extract writes it"):
        dc.Store(tmp_path / "none.h5")
    assert dc.InputError is InputError


def test_recordings_are_tagged_from_python(runs: dict[str, Path], recordings: Path) -> None:
    tagger = dc.AudioTagger.open([runs["logmel96"]])
    assert tagger.scores(recordings / "long.wav").sum() == pytest.approx(1)
    windows = tagger.window_scores(recordings / "long.wav")
    assert len(windows) == len(windows.scores) == len(windows.starts) > 10
    events = dc.detect_events(windows, tagger.classes, dc.EventConfig(threshold=0.3))
    assert events
    assert all(isinstance(event, dc.Event) for event in events)


@pytest.mark.slow
def test_a_type_checker_finds_the_public_names(tmp_path: Path) -> None:
    (tmp_path / "right.py").write_text(
        "import dcase2018 as dc\n"
        "ensemble: dc.Ensemble = dc.Ensemble.open(['run'], [dc.Store('s.h5')])\n"
        "labels = dc.read_labels('l.csv', ensemble.classes)\n"
        "evaluation: dc.Evaluation = dc.evaluate(ensemble, labels)\n"
        "reason: str = dc.fit(dc.Experiment.create('run', dc.PRESETS['quick'], dc.Store('s.h5'), labels))\n"
    )
    (tmp_path / "wrong.py").write_text(
        "import dcase2018 as dc\ndc.no_such_name\ndc.extract('clips', 's.h5', 'logmel96')\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports", "silent", "--cache-dir", "cache"]

    def check(name: str) -> str:
        environment = os.environ | {"MYPYPATH": str(ROOT)}
        return subprocess.run(
            [*command, name], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        ).stdout

    assert check("right.py") == "Success: no issues found in 1 source file\n"
    errors = check("wrong.py")
    assert 'Module has no attribute "no_such_name"' in errors
    assert 'Argument 3 to "extract" has incompatible type "str"; expected "FeatureConfig"' in errors
    assert "Found 2 errors in 1 file" in errors
