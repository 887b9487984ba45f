"""Inputs that are not regular files are refused at once, instead of being read without end."""

import io
import os
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

import dcase2018 as dc
from dcase2018.cli.main import main
from dcase2018.evaluation.calibration import Calibration
from dcase2018.runs.model_io import is_complete
from dcase2018.runs.training_state import TrainingState, read_history
from dcase2018.utils import input_files
from dcase2018.utils.atomic import open_text
from dcase2018.utils.config import MAX_JSON_BYTES, read_json_object
from dcase2018.utils.input_files import iter_lines, require_regular_file

LABELS = "fname,label\na.wav,x\nb.wav,y\n"


@pytest.fixture(params=["pipe", "device", "folder"])
def irregular(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / str(request.param)
    if request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    return path


def test_reading_requires_a_regular_file(irregular: Path) -> None:
    message = f"^{re.escape(str(irregular))} is not a regular file"
    for read in (require_regular_file, open_text, read_history):
        with pytest.raises(dc.InputError, match=message):
            read(irregular)
    with pytest.raises(dc.InputError, match=r"^it is not a regular file$"):
        read_json_object(irregular)
    assert not is_complete(irregular)


def test_files_of_a_run_must_be_regular(irregular: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name in ("run.json", "state.json", "calibration.json", "history.csv"):
        (run / name).symlink_to(irregular)
    with pytest.raises(dc.InputError, match=r"run.json is damaged .*: it is not a regular file; train again"):
        dc.Run.load(run)
    with pytest.raises(dc.InputError, match=r"state.json is damaged \(it is not a regular file\)"):
        TrainingState.load(run, 5)
    with pytest.raises(dc.InputError, match=r"calibration.json is damaged .*: it is not a regular file"):
        Calibration.load(run)


def test_commands_refuse_irregular_inputs(irregular: Path, tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(LABELS)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").symlink_to(irregular)
    output = str(tmp_path / "out.csv")
    for command in (
        ["class-map", str(irregular), output],
        ["info", str(tmp_path / "run")],
        ["score", str(tmp_path / "l.csv"), str(irregular)],
        ["correct-labels", str(irregular), str(tmp_path / "l.csv"), "-o", output],
        ["predict", str(irregular), str(tmp_path / "run"), "-o", output],
    ):
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 2, (command, result.output)
        assert "is not a regular file" in result.output or "is a directory" in result.output


def test_huge_files_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "run.json"
    with path.open("wb") as file:
        file.truncate(MAX_JSON_BYTES + 1)
    with pytest.raises(dc.InputError, match="it has 100000001 bytes; at most 100000000 are allowed"):
        read_json_object(path)
    monkeypatch.setattr(input_files, "MAX_LINE", 1000)
    labels = tmp_path / "labels.csv"
    labels.write_bytes(b"\0" * 5000)
    with pytest.raises(dc.InputError, match="a line has 1000 characters or more"):
        dc.read_labels(labels)


def test_lines_are_those_of_the_file() -> None:
    text = "a\r\n\nb\xa0c\n\x0bd"
    assert list(iter_lines(io.StringIO(text, newline=""))) == list(io.StringIO(text, newline=""))
