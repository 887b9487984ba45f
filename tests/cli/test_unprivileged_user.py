"""Every command as another user: no home, an installation that cannot be written, nothing set."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# One who owns nothing and may write nothing, but may read the installation, wherever it lies.
NOBODY = [
    "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=+dac_read_search",
    "--ambient-caps=+dac_read_search",
]  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder that anybody may write, by a path that anybody may go."""
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o777)
    return tmp_path


def run(place: Path, *args: object) -> subprocess.CompletedProcess[str]:
    """Run a command as somebody else; as oneself, without a home, if one may not become another."""
    somebody = NOBODY if os.getuid() == 0 and shutil.which("setpriv") else []
    command = [*somebody, sys.executable, "-m", "dcase2018", *map(str, args)]
    environment = {"PATH": os.environ["PATH"]}
    return subprocess.run(
        command, cwd=place, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.slow
def test_every_command_without_a_home(place: Path) -> None:
    fit = ("--preset", "quick", "--epochs", 1)
    parts = ("parts/train.csv", "--validation", "parts/validation.csv")
    for command in (
        ("synthesize", "data", "--train-per-class", 3, "--test-per-class", 1),
        ("labels", "data", "labels.csv", "--pattern", "{label}.wav"),
        ("class-map", "data/train.csv", "classes.csv"),
        ("split", "data/train.csv", "parts", "--fraction", 0.3),
        ("extract", "data/audio_train", "train.h5", "-j", 2),
        ("extract", "data/audio_test", "test.h5"),
        ("info", "train.h5", "--verify"),
        ("fit", "train.h5", "parts/train.csv", "run", *fit, "--validation", "parts/validation.csv"),
        ("fit", "train.h5", "data/train.csv", "folds", *fit, "--folds", 2),
        (
            "tune",
            "train.h5",
            parts[0],
            "study",
            *parts[1:],
            *fit,
            "--search-space",
            "lr=1e-4:1e-2",
            "--trials",
            1,
        ),
        ("info", "run"),
        ("evaluate", "test.h5", "data/test_post_competition.csv", "run", "--output", "scores.csv"),
        ("predict", "test.h5", "submission.csv", "run", "folds"),
        ("plot", "run"),
        ("suspects", "folds/out_of_fold.csv", "data/train.csv", "suspects.csv"),
        ("relabel", "data/train.csv", "folds/out_of_fold.csv", "relabelled.csv"),
    ):
        done = run(place, *command)
        assert done.returncode == 0, (command, done.stderr)
        assert "Traceback" not in done.stderr, (command, done.stderr)
    assert not list(place.glob("~*"))


@pytest.mark.slow
def test_a_download_without_a_home(place: Path) -> None:
    done = run(place, "download", "data", "--mirror", "http://127.0.0.1:9")
    assert (done.returncode, "cannot be reached" in done.stderr) == (1, True), done.stderr
