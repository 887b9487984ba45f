"""A task in a process of its own."""

import os
import signal
from functools import partial
from pathlib import Path

import pytest

from dcase2018.utils.errors import Dcase2018Error
from dcase2018.utils.parallel import run_in_subprocess


def test_it_returns_and_raises_what_the_task_does(capfd: pytest.CaptureFixture[str]) -> None:
    assert run_in_subprocess(Path("/"), os.getpid) != os.getpid()
    assert run_in_subprocess(Path("/"), os.getcwd) == "/"
    assert run_in_subprocess(Path("/"), partial(print, "a greeting")) is None
    assert capfd.readouterr() == ("", "a greeting\n")
    with pytest.raises(ValueError, match="invalid literal"):
        run_in_subprocess(Path("/"), partial(int, "three"))
    with pytest.raises(FileNotFoundError, match="/nowhere"):
        run_in_subprocess(Path("/nowhere"), os.getcwd)


def test_one_that_the_system_ends() -> None:
    with pytest.raises(Dcase2018Error, match="a process ended with -9, as the system ends one"):
        run_in_subprocess(Path("/"), partial(signal.raise_signal, signal.SIGKILL))
