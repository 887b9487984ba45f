"""What runs tasks: processes of this machine, or a Dask cluster."""

from collections.abc import Iterator
from contextlib import contextmanager

import joblib

from dcase2018.foundation.errors import InputError


@contextmanager
def workers(jobs: int, scheduler: str | None = None) -> Iterator[joblib.Parallel]:
    """Start `jobs` processes (-1: one a core), or use the cluster at `scheduler`.

    Results come in the order in which they are done.

    Raises
    ------
    InputError
        If a cluster is asked for and Dask is not installed.
    """
    settings = {"return_as": "generator_unordered"}
    if scheduler is None:
        yield joblib.Parallel(jobs, **settings)
        return
    try:
        from dask.distributed import Client
    except ImportError:
        raise InputError("--scheduler needs Dask; pip install 'dcase2018[cluster]'") from None
    with Client(scheduler), joblib.parallel_config("dask"):
        yield joblib.Parallel(-1, **settings)
