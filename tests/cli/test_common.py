"""What all commands have in common: outputs, streams, signals, and errors that nobody thought of."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ToyPipeline, dcase, run_fails, run_ok

LABELS = "fname,label\na.wav,Bark\nb.wav,Bus\n"


def run(code: str, *args: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, with the program's `main` at hand."""
    command = [sys.executable, "-c", f"from dcase2018.cli.main import main\n{code}", *map(str, args)]
    return subprocess.run(
        command, capture_output=True, text=True, env=os.environ | environment, timeout=120, check=False
    )


DEFECT = """
import dcase2018.data.labels as labels
def broken(*_): raise KeyError("nobody thought of it")
labels.class_names = broken
main(prog_name="dcase2018")
"""


def test_a_defect_is_one_line_that_says_what_to_send(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(LABELS)
    command = ("class-map", tmp_path / "l.csv", tmp_path / "m.csv")
    done = run(DEFECT, *command, TMPDIR=str(tmp_path))
    assert done.returncode == 70
    said = re.fullmatch(
        r"dcase2018: this is a defect of dcase2018 \(KeyError: 'nobody thought of it'\);"
        r" please send (\S+), which tells where\n",
        done.stderr,
    )
    assert said
    report = Path(said[1]).read_text()
    assert "class-map" in report.splitlines()[0]
    assert "Traceback (most recent call last)" in report
    assert "Traceback" in run(DEFECT, *command, "-v", TMPDIR=str(tmp_path)).stderr


def test_outputs_that_are_no_files(toy_pipeline: ToyPipeline, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for output in ("/dev/null", tmp_path / "pipe"):
        message = run_fails(2, "predict", toy_pipeline.test, output, toy_pipeline.run)
        assert f"{str(output)!r} is no file that can be written; name another" in message
    assert Path("/dev/null").is_char_device()
    (tmp_path / "file").write_text("")
    message = run_fails(1, "predict", toy_pipeline.test, tmp_path / "file" / "s.csv", toy_pipeline.run)
    assert message == f"dcase2018: {tmp_path / 'file'}: Not a directory\n"  # before the wait for Keras


def test_what_a_run_keeps_is_no_output(toy_pipeline: ToyPipeline) -> None:
    before = (toy_pipeline.run / "model.keras").read_bytes()
    for name in ("model.keras", "best.keras", "run.json", "out_of_fold.csv", "checkpoints/s.csv"):
        for command in (
            ("predict", toy_pipeline.test, toy_pipeline.run / name, toy_pipeline.run),
            (
                "predict",
                toy_pipeline.test,
                toy_pipeline.run / "s.csv",
                toy_pipeline.run,
                "--scores-output",
                toy_pipeline.run / name,
            ),
            (
                "evaluate",
                toy_pipeline.test,
                toy_pipeline.test_labels,
                toy_pipeline.run,
                "--clips-output",
                toy_pipeline.run / name,
            ),
        ):
            assert "is read and would be overwritten; name another file" in run_fails(2, *command)
    assert (toy_pipeline.run / "model.keras").read_bytes() == before


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
        ("relabel", "l.csv", "l.csv", "out.csv", "--confidence", "nan"),
    ],
    ids=str,
)
def test_numbers_out_of_bounds(tmp_path: Path, command: tuple[object, ...]) -> None:
    (tmp_path / "l.csv").write_text(LABELS)
    done = dcase(*command, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert str(command[-1]).rpartition("=")[2] in done.stderr.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["l.csv"]


def test_another_name_of_an_input_is_no_output(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(LABELS)
    (tmp_path / "hard.csv").hardlink_to(tmp_path / "l.csv")
    (tmp_path / "soft.csv").symlink_to(tmp_path / "l.csv")
    for name in ("hard.csv", "soft.csv"):
        assert "would be overwritten" in run_fails(2, "class-map", tmp_path / "l.csv", tmp_path / name)
    assert (tmp_path / "l.csv").read_text() == LABELS


def test_a_link_as_an_output_stays_one(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(LABELS)
    (tmp_path / "there").mkdir()
    (tmp_path / "m.csv").symlink_to(tmp_path / "there" / "map.csv")
    run_ok("class-map", tmp_path / "l.csv", tmp_path / "m.csv")
    assert (tmp_path / "m.csv").is_symlink()
    assert (tmp_path / "there" / "map.csv").read_text() == "0,Bark\n1,Bus\n"


def test_control_characters_and_foreign_letters_are_shown(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text("fname,label\n\x1b[31mred.wav,犬\n\x1b[31mred.wav,犬\n")
    done = dcase("class-map", tmp_path / "l.csv", tmp_path / "m.csv")
    assert "\x1b" not in done.stderr
    assert "[31mred.wav" in done.stderr
    (tmp_path / "l.csv").write_text("fname,label\na.wav,犬\nb.wav,猫\n")
    code = "main(prog_name='dcase2018')"
    done = run(code, "class-map", tmp_path / "l.csv", tmp_path / "猫.csv", PYTHONIOENCODING="latin-1")
    assert done.returncode == 0, done.stderr
    assert "\\u732b.csv: 2 classes" in done.stdout


def test_closed_streams(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(LABELS)
    command = f"{sys.executable} -m dcase2018 class-map {tmp_path / 'l.csv'} {tmp_path / 'm.csv'}"
    assert subprocess.run(["bash", "-c", f"{command} 2>&-"], check=False).returncode == 0
    assert subprocess.run(["bash", "-c", f"{command} >&- 2>&- <&-"], check=False).returncode == 0


@pytest.mark.parametrize("backend", ["nonsense", "openvino"])
def test_a_backend_that_is_not_there(toy_pipeline: ToyPipeline, backend: str) -> None:
    done = run("main(prog_name='dcase2018')", "info", toy_pipeline.run, KERAS_BACKEND=backend)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert f"dcase2018: KERAS_BACKEND={backend} cannot be loaded (" in done.stderr


LOADING = """
import os, sys
import dcase2018.cli.keras_setup as loading
def load():
    os.write(2, b"a word from below\\n")
    {act}
loading._import_keras = load
import logging
logging.getLogger("dcase2018").setLevel(logging.INFO)
loading.load_keras()
"""


@pytest.mark.parametrize(
    ("act", "code", "shown"),
    [
        ("pass", 0, False),
        ("raise RuntimeError('it failed')", 1, True),
        ("os.abort()", -signal.SIGABRT, True),
        ("os.kill(os.getpid(), 15)", 1, False),
    ],
)
def test_what_is_said_while_keras_is_loaded_is_shown_if_it_fails(act: str, code: int, shown: bool) -> None:
    done = run(LOADING.format(act=act))
    assert done.returncode == code, done.stderr
    assert ("a word from below" in done.stderr) == shown


def test_a_signal_while_keras_is_loaded_ends_the_program_in_order(
    toy_pipeline: ToyPipeline, tmp_path: Path
) -> None:
    code = (
        "import os, dcase2018.cli.keras_setup as loading\n"
        "loading._import_keras = lambda: os.kill(os.getpid(), 2)\n"
        "main(prog_name='dcase2018')"
    )
    done = run(code, "predict", toy_pipeline.test, tmp_path / "s.csv", toy_pipeline.run)
    assert done.returncode == 130
    assert done.stderr.splitlines()[-1] == "dcase2018: interrupted"
    assert "Traceback" not in done.stderr
