"""Commands that write two files, stopped before each step of their end."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import list_dir

from dcase2018.cli.main import main

STOP = """
import os, sys
from dcase2018.cli.main import main

signum, n_calls = int(sys.argv[1]), int(sys.argv[2])
del sys.argv[1:3]

def stop_at(function):
    def call(*arguments, **options):
        global n_calls
        n_calls -= 1
        if n_calls == 0:
            os.kill(os.getpid(), signum)
        return function(*arguments, **options)
    return call

os.fsync, os.unlink, os.replace = map(stop_at, (os.fsync, os.unlink, os.replace))
main()
"""
CLIPS = [f"{clip}.wav,{'ab'[clip % 2]},{clip % 3 % 2}" for clip in range(40)]
SCORES = [
    f"{clip}.wav,{'ab'[clip % 2]},{bool(clip % 3 % 2)},{score},{1 - score}"
    for clip, score in enumerate([0.02, 0.02, 0.98, 0.02] * 10)
]


def run_ok(*arguments: object) -> None:
    result = CliRunner().invoke(main, [*map(str, arguments)])
    assert result.exit_code == 0, result.output


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.glob("[!.]*")}


@pytest.mark.slow
@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", ["split", "correct-labels"])
def test_a_stopped_command_leaves_files_of_one_state(tmp_path: Path, command: str, signum: int) -> None:
    labels, scores, out = tmp_path / "labels.csv", tmp_path / "scores.csv", tmp_path / "out"
    labels.write_text("\n".join(["fname,label,manually_verified", *CLIPS, ""]))
    scores.write_text("\n".join(["fname,labels,verified,a,b", *SCORES, ""]))
    arguments = {
        "split": [("split", labels, out, "--seed", seed, "--fraction", 0.3) for seed in (1, 2)],
        "correct-labels": [
            ("correct-labels", labels, scores, "-o", out / "n.csv", "--confidence", confidence)
            for confidence in (0.5, 1)
        ],
    }[command]
    states = []
    for variant in arguments:
        run_ok(*variant)
        states.append(contents(out))
    assert states[0] != states[1]
    for n_calls in range(1, 9):
        run_ok(*arguments[0])
        stop = [sys.executable, "-c", STOP, signum, n_calls, *arguments[1]]
        done = subprocess.run([*map(str, stop)], capture_output=True, text=True, check=False)
        assert done.returncode in (0, -signum, 128 + signum), (n_calls, done.stderr)
        assert "Traceback" not in done.stderr
        found = contents(out)
        assert any(found.items() <= state.items() for state in states), (n_calls, list(found))
        if signum != signal.SIGKILL:
            assert (len(found), list_dir(out)) == (2, sorted(found)), (n_calls, done.stderr)
    run_ok(*arguments[1])
    assert contents(out) == states[1]
    assert list_dir(out) == sorted(states[1])
