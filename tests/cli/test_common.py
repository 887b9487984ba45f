"""What all commands share: checks of outputs, streams, signals, and internal errors."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from conftest import ToyPipeline, dcase, list_dir, run_fails, run_ok

from dcase2018.cli.common import Checkpoint, report_internal_error
from dcase2018.cli.keras_setup import check_temporary_folder
from dcase2018.cli.main import main
from dcase2018.utils.errors import InputError

LABELS = "fname,label\na.wav,Bark\nb.wav,Bus\n"


def run(code: str, *args: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, after importing `main`."""
    command = [sys.executable, "-c", f"from dcase2018.cli.main import main\n{code}", *map(str, args)]
    return subprocess.run(
        command, capture_output=True, text=True, env=os.environ | environment, timeout=120, check=False
    )


INTERNAL_ERROR = """
import dcase2018.data.labels as labels
def broken(*_): raise KeyError("unexpected")
labels.class_names = broken
main(prog_name="dcase2018")
"""


def test_internal_error_is_one_line_that_names_the_file_to_send(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(LABELS)
    command = ("class-map", tmp_path / "l.csv", tmp_path / "m.csv")
    done = run(INTERNAL_ERROR, *command, TMPDIR=str(tmp_path))
    assert done.returncode == 70
    message = re.fullmatch(
        r"dcase2018: internal error: KeyError: 'unexpected';"
        r" please report it with (\S+), which has the traceback\n",
        done.stderr,
    )
    assert message
    trace = Path(message[1]).read_text()
    assert "class-map" in trace.splitlines()[0]
    assert "Traceback (most recent call last)" in trace
    assert "Traceback" in run(INTERNAL_ERROR, *command, "-v", TMPDIR=str(tmp_path)).stderr


def test_outputs_must_be_regular_files(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for output in ("/dev/null", tmp_path / "pipe"):
        message = run_fails(2, "predict", toy_pipeline.test, toy_pipeline.run, "-o", output)
        assert f"{str(output)!r} is not a regular file; choose another output" in message
    assert Path("/dev/null").is_char_device()
    (tmp_path / "file").write_text("")
    output = tmp_path / "file" / "s.csv"
    message = run_fails(1, "predict", toy_pipeline.test, toy_pipeline.run, "-o", output)
    assert message == f"dcase2018: {tmp_path / 'file'}: Not a directory\n"  # before Keras is loaded


@pytest.mark.parametrize(
    ("output", "message"),
    [
        ("", "'' is not a name; name a file"),
        ("/", "'/' is not a name; name a file"),
        ("..", "'..' is not a name; name a file"),
        ("new/..", "'new/..' is not a name; name a file"),
        ("new/../", "'new/../' is not a name; name a file"),
        ("new.csv/", "'new.csv/' is the name of a folder; name a file"),
        ("new.csv/.", "'new.csv/.' is the name of a folder; name a file"),
        ("folder", "'folder' is a directory"),
        (".", "'.' is a directory"),
    ],
)
def test_an_output_file_must_have_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "l.csv").write_text(LABELS)
    (tmp_path / "folder").mkdir()
    result = CliRunner().invoke(main, ["class-map", "l.csv", output])
    assert (result.exit_code, message in result.output) == (2, True), result.output
    assert list_dir(tmp_path) == ["folder", "l.csv"]


@pytest.mark.parametrize("output", ["", "..", "new/..", ".", "/"])
def test_a_folder_that_is_replaced_must_have_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["synthesize", output])
    assert (result.exit_code, "name a" in result.output) == (2, True), result.output
    assert list_dir(tmp_path) == []


def test_checkpoint_is_a_step_or_best() -> None:
    help_text = CliRunner().invoke(main, ["predict", "--help"]).output
    assert "--checkpoint STEP|best" in help_text
    checkpoint = Checkpoint()
    assert [checkpoint.convert(text, None, None) for text in ("best", "0", "250")] == ["best", 0, 250]
    for text in ("BEST", "-1", "1.5", "", 5000 * "9"):
        with pytest.raises(click.BadParameter, match=re.escape(f"{text!r} is neither a step nor best.")):
            checkpoint.convert(text, None, None)


def test_an_internal_error_without_a_temporary_folder_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nonexistent")
    report_internal_error(KeyError("unexpected"))
    error = capsys.readouterr().err
    assert error.startswith(
        "dcase2018: internal error: KeyError: 'unexpected'; please report it with the traceback"
    )
    assert error.count("\n") == 1


def test_a_missing_temporary_folder_is_reported_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nonexistent")
    with pytest.raises(InputError, match="No such file or directory; set TMPDIR to a folder that can be"):
        check_temporary_folder()


def test_sigterm_removes_temporary_files(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(LABELS)
    code = (
        "import os, signal; from dcase2018.utils import atomic; from dcase2018.cli.main import main\n"
        "atomic.fsync_path = lambda path: os.kill(os.getpid(), signal.SIGTERM)\n"
        "main()"
    )
    done = run(code, "class-map", tmp_path / "l.csv", tmp_path / "out.csv")
    assert done.returncode == 128 + signal.SIGTERM
    assert done.stderr == "dcase2018: stopped; run the same command again to resume\n"
    assert list_dir(tmp_path) == ["l.csv"]


@pytest.mark.slow
def test_files_of_a_run_are_not_overwritten(toy_pipeline: ToyPipeline) -> None:
    run = toy_pipeline.run
    before = (run / "model.keras").read_bytes()
    predict = ("predict", toy_pipeline.test, run, "-o")
    for name in ("model.keras", "best.keras", "run.json", "out_of_fold.csv", "checkpoints/s.csv"):
        for command in (
            (*predict, run / name),
            (*predict, run / "s.csv", "--scores-output", run / name),
            ("evaluate", toy_pipeline.test, toy_pipeline.test_labels, run, "--clips-output", run / name),
        ):
            message = run_fails(2, *command)
            assert "is an input and would be overwritten; choose another file" in message
    assert (run / "model.keras").read_bytes() == before


@pytest.mark.parametrize(
    "command",
    [
        ("split", "l.csv", "out", "--fraction", "nan"),
        ("split", "l.csv", "out", "--seed", "-1"),
        ("split", "l.csv", "out", "--seed", 2**32),
        ("split", "l.csv", "out", "--folds", 3),
        ("fit", "l.csv", "l.csv", "out", "--max-minutes", "nan"),
        ("fit", "l.csv", "l.csv", "out", "--epochs", 99999999999),
        ("fit", "l.csv", "l.csv", "out", "--folds", 10**6),
        ("extract", ".", "out.h5", "-j", 100000),
        ("extract", ".", "out.h5", "--hparams", "sample_rate=100000000"),
        ("correct-labels", "l.csv", "l.csv", "-o", "out.csv", "--confidence", "nan"),
    ],
    ids=str,
)
def test_numbers_out_of_bounds_are_refused(tmp_path: Path, command: tuple[object, ...]) -> None:
    (tmp_path / "l.csv").write_text(LABELS)
    done = dcase(*command, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert str(command[-1]).rpartition("=")[2] in done.stderr.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["l.csv"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (("split", "l.csv", "s", "--folds", "2", "--fraction", "0.1"), "--fraction and --folds exclude"),
        (
            ("correct-labels", "l.csv", "--decisions", "l.csv", "-o", "c.csv", "--confidence", "0.9"),
            "--confidence applies to the predictions in OUT_OF_FOLD; give them, or omit it",
        ),
        (("extract", ".", "s.h5", "-j", "2", "--dask", "tcp://x:1"), "--jobs and --dask exclude each other"),
    ],
)
def test_options_without_effect_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "l.csv").write_text(LABELS)
    result = CliRunner().invoke(main, command)
    assert (result.exit_code, message in result.output) == (2, True), result.output
    assert list_dir(tmp_path) == ["l.csv"]


def test_links_to_an_input_are_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(LABELS)
    (tmp_path / "hard.csv").hardlink_to(tmp_path / "l.csv")
    (tmp_path / "soft.csv").symlink_to(tmp_path / "l.csv")
    for name in ("hard.csv", "soft.csv"):
        assert "would be overwritten" in run_fails(2, "class-map", tmp_path / "l.csv", tmp_path / name)
    assert (tmp_path / "l.csv").read_text() == LABELS


def test_an_output_that_is_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(LABELS)
    (tmp_path / "target").mkdir()
    (tmp_path / "m.csv").symlink_to(tmp_path / "target" / "map.csv")
    run_ok("class-map", tmp_path / "l.csv", tmp_path / "m.csv")
    assert (tmp_path / "m.csv").is_symlink()
    assert (tmp_path / "target" / "map.csv").read_text() == "0,Bark\n1,Bus\n"


def test_control_characters_and_unencodable_letters_are_escaped(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("fname,label\n\x1b[31mred.wav,犬\n\x1b[31mred.wav,犬\n")
    done = dcase("class-map", tmp_path / "l.csv", tmp_path / "m.csv")
    assert "\x1b" not in done.stderr
    assert "[31mred.wav" in done.stderr
    (tmp_path / "l.csv").write_text("fname,label\na.wav,犬\nb.wav,猫\n")
    code = "main(prog_name='dcase2018')"
    done = run(code, "class-map", tmp_path / "l.csv", tmp_path / "猫.csv", PYTHONIOENCODING="latin-1")
    assert done.returncode == 0, done.stderr
    assert "\\u732b.csv: 2 classes" in done.stdout


def test_commands_run_with_closed_streams(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(LABELS)
    command = f"{sys.executable} -m dcase2018 class-map {tmp_path / 'l.csv'} {tmp_path / 'm.csv'}"
    assert subprocess.run(["bash", "-c", f"{command} 2>&-"], check=False).returncode == 0
    assert subprocess.run(["bash", "-c", f"{command} >&- 2>&- <&-"], check=False).returncode == 0


@pytest.mark.parametrize("backend", ["nonsense", "openvino"])
def test_an_unavailable_backend_is_refused(toy_pipeline: ToyPipeline, backend: str) -> None:
    done = run("main(prog_name='dcase2018')", "info", toy_pipeline.run, KERAS_BACKEND=backend)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert f"dcase2018: KERAS_BACKEND={backend} cannot be loaded (" in done.stderr


def test_a_signal_while_keras_is_loaded_ends_the_program_gracefully(
    toy_pipeline: ToyPipeline, tmp_path: Path
) -> None:
    (tmp_path / "keras.py").write_text(
        "import os; os.kill(os.getpid(), 2); from unittest.mock import Mock; ops = Mock()"
    )
    arguments = ("predict", toy_pipeline.test, toy_pipeline.run, "-o", tmp_path / "s.csv")
    done = run("main(prog_name='dcase2018')", *arguments, PYTHONPATH=str(tmp_path))
    assert done.returncode == 130
    assert done.stderr.splitlines()[-1] == "dcase2018: interrupted"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("code", ["import dcase2018", "import dcase2018.cli.main"])
def test_tensorflow_logs_errors_only_unless_the_user_sets_a_level(code: str) -> None:
    show = f"{code}, os; print(os.environ['TF_CPP_MIN_LOG_LEVEL'])"
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    for level, expected in (({}, "3\n"), ({"TF_CPP_MIN_LOG_LEVEL": "0"}, "0\n")):
        command = [sys.executable, "-c", show]
        assert subprocess.check_output(command, env=environment | level, text=True) == expected
