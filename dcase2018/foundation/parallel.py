"""What runs tasks: processes of this machine, or a Dask cluster."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError

from dcase2018.foundation.errors import Dcase2018Error, InputError

if TYPE_CHECKING:
    from dask.distributed import Client

PARENT_EVERY = 1.0  # seconds between two looks of a worker at its parent


@contextmanager
def workers(jobs: int, scheduler: str | None = None) -> Iterator[joblib.Parallel]:
    """Start `jobs` processes (-1: one a core), or use the cluster at `scheduler`.

    Results come in the order in which they are done. A process ends soon after the one that started it.

    Raises
    ------
    InputError
        If a cluster is asked for and Dask is not installed, or the address is none.
    Dcase2018Error
        If the system ends a process, or the cluster does not answer.
    """
    settings = {"return_as": "generator_unordered"}
    if scheduler is None:
        try:
            yield joblib.Parallel(jobs, initializer=end_with, initargs=(os.getpid(),), **settings)
        except TerminatedWorkerError:
            raise Dcase2018Error(
                "the system ended a worker process, which it does when memory runs out; try fewer --jobs"
            ) from None
        return
    with cluster(scheduler), joblib.parallel_config("dask"):
        yield joblib.Parallel(-1, **settings)


@contextmanager
def cluster(scheduler: str) -> "Iterator[Client]":
    """Connect to a Dask cluster; raises what `workers` raises of one.

    What it has not begun on leaving is dropped.
    """
    try:
        from dask.distributed import Client
    except ImportError:
        raise InputError("--scheduler needs Dask; pip install 'dcase2018[cluster]'") from None
    try:
        client = Client(scheduler)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"--scheduler {scheduler} is no address ({error}), such as tcp://head:8786"
        ) from None
    except OSError as error:
        raise Dcase2018Error(f"--scheduler {scheduler} does not answer ({error})") from None
    with client:
        yield client


def end_with(parent: int) -> None:
    """Have this process end when `parent` has, which it would otherwise wait for, idle, for minutes."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_EVERY)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()
