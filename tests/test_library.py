"""The library: its public names, and the whole way as the README shows it."""

import contextlib
import io
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import ROOT

import dcase2018
from dcase2018.utils.errors import InputError


def python_block(page: str, number: int = 0) -> str:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), flags=re.DOTALL)
    return blocks[number]


@pytest.mark.slow
def test_the_readme_shows_the_whole_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code = python_block("README.md")
    assert len(code.strip().splitlines()) <= 16
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(code, "README.md", "exec"), {})
    score = float(printed.getvalue())
    assert 0.5 < score <= 1  # chance is 0.045
    submission = pd.read_csv("submission.csv", keep_default_na=False)
    assert list(submission) == ["fname", "label"]
    assert len(submission) == 175
    assert (submission["label"].str.count(" ") == 2).all()


def test_the_public_names_are_there_and_documented() -> None:
    for name in dcase2018.__all__:
        value = getattr(dcase2018, name)
        assert name in ("FEATURE_CONFIGS", "PRESETS") or value.__doc__
    assert set(dcase2018.__all__) <= set(dir(dcase2018))
    with pytest.raises(AttributeError):
        dcase2018.no_such_name  # noqa: B018


def test_names_are_loaded_when_they_are_asked_for() -> None:
    code = (
        "import sys, dcase2018; dcase2018.read_labels; print('keras' in sys.modules, 'h5py' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


def test_errors_are_those_of_the_commands(tmp_path: Path) -> None:
    with pytest.raises(dcase2018.InputError, match=r"none\.h5 does not exist; dcase2018 extract makes it"):
        dcase2018.Store(tmp_path / "none.h5")
    assert dcase2018.InputError is InputError


def test_the_readme_hears_audio_files(
    runs: dict[str, Path], recordings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("run").symlink_to(runs["logmel96"])
    Path("sounds/low").mkdir(parents=True)
    shutil.copy(recordings / "long.wav", "sounds/low/1.wav")
    names: dict[str, Any] = {"dc": dcase2018}
    exec(python_block("README.md", 1), names)
    assert names["scores"].sum() == pytest.approx(1)
    assert len(names["line"]) == len(names["line"].scores) == len(names["line"].starts) > 10
    assert all(isinstance(event, dcase2018.Event) for event in names["events"])
    assert names["events"]


@pytest.mark.slow
def test_a_type_checker_sees_the_public_names(tmp_path: Path) -> None:
    (tmp_path / "right.py").write_text(
        "import dcase2018 as dc\n"
        "ensemble: dc.Ensemble = dc.Ensemble.open(['run'], [dc.Store('s.h5')])\n"
        "labels = dc.read_labels('l.csv', ensemble.classes)\n"
        "evaluation: dc.Evaluation = dc.evaluate(ensemble, labels)\n"
        "over: str = dc.fit(dc.Experiment.create('run', dc.PRESETS['quick'], dc.Store('s.h5'), labels))\n"
    )
    (tmp_path / "wrong.py").write_text(
        "import dcase2018 as dc\ndc.no_such_name\ndc.extract('clips', 's.h5', 'wide')\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports", "silent", "--cache-dir", "cache"]

    def check(name: str) -> str:
        environment = os.environ | {"MYPYPATH": str(ROOT)}
        return subprocess.run(
            [*command, name], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        ).stdout

    assert check("right.py") == "Success: no issues found in 1 source file\n"
    wrong = check("wrong.py")
    assert 'Module has no attribute "no_such_name"' in wrong
    assert 'Argument 3 to "extract" has incompatible type "str"; expected "FeatureConfig"' in wrong
    assert "Found 2 errors in 1 file" in wrong
