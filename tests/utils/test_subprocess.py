"""A task in a new process."""

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from dcase2018.utils.errors import Dcase2018Error
from dcase2018.utils.parallel import run_in_subprocess


def test_subprocess_returns_and_raises_what_the_task_does(capfd: pytest.CaptureFixture[str]) -> None:
    assert run_in_subprocess(Path("/"), os.getpid) != os.getpid()
    assert run_in_subprocess(Path("/"), os.getcwd) == "/"
    assert run_in_subprocess(Path("/"), partial(print, "output of the task")) is None
    assert capfd.readouterr() == ("", "output of the task\n")
    with pytest.raises(ValueError, match="invalid literal"):
        run_in_subprocess(Path("/"), partial(int, "three"))
    with pytest.raises(FileNotFoundError, match="/nowhere"):
        run_in_subprocess(Path("/nowhere"), os.getcwd)


def test_killed_subprocess_is_reported_in_one_line() -> None:
    message = r"the system ended a worker process, .* \(exit code -9\); run the same command again"
    with pytest.raises(Dcase2018Error, match=message):
        run_in_subprocess(Path("/"), partial(signal.raise_signal, signal.SIGKILL))
