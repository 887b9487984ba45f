"""A task in a process of its own, where `multiprocessing` allows none, as in the workers of a cluster.

There it is alone with what a process has once: the random numbers from which Keras takes its seeds, which a
worker's other threads draw from, and the signals.
"""

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from dcase2018.foundation.errors import Dcase2018Error
from dcase2018.foundation.parallel import end_with

T = TypeVar("T")

CODE = "from dcase2018.foundation.apart import answer; answer()"


def run_apart(folder: Path, task: Callable[[], T]) -> T:
    """Run a task that can be pickled; return what it returns, and raise what it raises.

    Parameters
    ----------
    folder
        Where relative paths begin.

    Raises
    ------
    Dcase2018Error
        If the system ends the process.
    OSError
        If there is no such folder here.
    """
    command = [sys.executable, "-c", CODE, str(os.getpid())]
    question = pickle.dumps(task)
    done = subprocess.run(command, input=question, stdout=subprocess.PIPE, cwd=folder, check=False)
    if done.returncode:
        raise Dcase2018Error(
            f"a process ended with {done.returncode}, as the system ends one when memory runs out;"
            " the same command goes on"
        )
    value, error = pickle.loads(done.stdout)
    if error:
        raise error
    return value


def answer() -> None:
    """Read a task from standard input, and write to standard output what came of it."""
    end_with(int(sys.argv[1]))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what the task prints is no answer
    value: Any = None
    error: Exception | None = None
    try:
        value = pickle.load(sys.stdin.buffer)()
    except Exception as problem:
        error = problem
    with answers:
        pickle.dump((value, error), answers)
