"""Every command as a user without a home, who may not write to the installation."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# A user who owns no file and may write none, but may read the installation wherever it is.
NOBODY = [
    "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=+dac_read_search",
    "--ambient-caps=+dac_read_search",
]  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that every user may reach and write to."""
    for path in (tmp_path, *tmp_path.parents[:2]):
        path.chmod(0o777)
    return tmp_path


def run(folder: Path, *args: object) -> subprocess.CompletedProcess[str]:
    """Run a command as nobody; as the current user, without a home, if the user cannot be changed."""
    as_user = NOBODY if os.getuid() == 0 and shutil.which("setpriv") else []
    command = [*as_user, sys.executable, "-m", "dcase2018", *map(str, args)]
    environment = {"PATH": os.environ["PATH"]}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.mark.slow
def test_every_command_without_a_home(folder: Path) -> None:
    quick = ("--preset", "quick", "--epochs", 1)
    validation = ("--validation", "splits/validation.csv")
    test_labels = "data/test_post_competition.csv"
    search = ("--search-space", "lr=1e-4:1e-2", "--trials", 1)
    for command in (
        ("synthesize", "data", "--train-per-class", 3, "--test-per-class", 1),
        ("make-labels", "data", "labels.csv", "--pattern", "{label}.wav"),
        ("class-map", "data/train.csv", "classes.csv"),
        ("split", "data/train.csv", "splits", "--fraction", 0.3),
        ("extract", "data/audio_train", "train.h5", "-j", 2),
        ("extract", "data/audio_test", "test.h5"),
        ("info", "train.h5", "--verify"),
        ("fit", "train.h5", "splits/train.csv", "run", *quick, *validation),
        ("fit", "train.h5", "data/train.csv", "folds", *quick, "--folds", 2),
        ("tune", "train.h5", "splits/train.csv", "study", *validation, *quick, *search),
        ("info", "run"),
        ("evaluate", "test.h5", test_labels, "run", "--output", "scores.csv"),
        ("predict", "test.h5", "run", "folds", "-o", "submission.csv"),
        ("plot", "run"),
        ("report", "test.h5", test_labels, "run", "-o", "report"),
        ("find-label-issues", "data/train.csv", "folds/out_of_fold.csv", "-o", "issues.csv"),
        ("correct-labels", "data/train.csv", "folds/out_of_fold.csv", "-o", "corrected.csv"),
        ("run", "features", "--preset", "quick"),
    ):
        done = run(folder, *command)
        assert done.returncode == 0, (command, done.stderr)
        assert "Traceback" not in done.stderr, (command, done.stderr)
    assert not list(folder.glob("~*"))


@pytest.mark.slow
def test_a_failed_download_without_a_home(folder: Path) -> None:
    done = run(folder, "download", "data", "--mirror", "http://127.0.0.1:9")
    assert (done.returncode, "cannot be reached" in done.stderr) == (1, True), done.stderr
