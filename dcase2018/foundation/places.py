"""Where trainings run, one at a time in each place: here, a process an accelerator, a Dask cluster.

A place is an executor as `concurrent.futures` has it. A task is called without arguments; for other places
than this process it can be pickled, and so can what it returns or raises.
"""

import logging
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Any, TypeVar

from dcase2018.foundation.accelerators import VISIBLE, accelerators
from dcase2018.foundation.apart import run_apart
from dcase2018.foundation.errors import Dcase2018Error
from dcase2018.foundation.parallel import cluster, end_with
from dcase2018.foundation.signals import StoppedError, Wish, ended_in_order, wish_to_end

log = logging.getLogger(__name__)

T = TypeVar("T")
Prepare = Callable[[str], None]
Places = AbstractContextManager[Sequence[Executor]]

STOPPED = "stopped; what was finished is kept, and the same command goes on"
LOST = "the system ended a process, which it does when memory runs out; the same command goes on"


class Here(Executor):
    """This process and thread: what is submitted is done at once, and raises here."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        done: Future[T] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


def results(tasks: Iterable[Callable[[], T]], places: Sequence[Executor]) -> Iterator[T]:
    """Run each task in the next place that is free, and give what they return as they end.

    A task is taken from `tasks` when a place is free and all that has ended was given, so that it may depend
    on that.
    """
    waiting, free = iter(tasks), list(places)
    busy: dict[Future[T], Executor] = {}
    while True:
        for place, task in zip(free, waiting):  # noqa: B905
            busy[place.submit(task)] = place
        if not busy:
            return
        done = wait(busy, return_when=FIRST_COMPLETED).done
        free = [busy.pop(future) for future in done]
        for future in done:
            yield future.result()


def find_places(most: int, prepare: Prepare, scheduler: str | None = None) -> Places:
    """Find places for `most` tasks at a time: a cluster's workers, this machine's accelerators, or here.

    Parameters
    ----------
    prepare
        Is called in each process of this machine in which tasks will run, with the name of its accelerator,
        or "" for this process.
    scheduler
        Address of a Dask cluster. Each worker that it has now is a place.

    Raises
    ------
    InputError
        If a cluster is asked for and Dask is not installed, or the address is none.
    Dcase2018Error
        If a process was ended by the system, or the cluster does not answer or lost a task.
    StoppedError
        If a signal came. Tasks of this machine were told, and have ended; those of a cluster go on.
    """
    if scheduler is not None:
        return _on_cluster(scheduler)
    names = accelerators()[:most] if most > 1 else []
    return _on_accelerators(names, prepare) if len(names) > 1 else _here(prepare)


@contextmanager
def _here(prepare: Prepare) -> Iterator[Sequence[Executor]]:
    prepare("")
    yield [Here()]


class _Worker(Executor):
    """A worker of a cluster, which runs each task in a process of its own."""

    def __init__(self, worker: Executor) -> None:
        self.worker = worker

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        return self.worker.submit(run_apart, Path.cwd(), partial(fn, *args, **kwargs))


@contextmanager
def _on_cluster(scheduler: str) -> Iterator[Sequence[Executor]]:
    """Take each worker for a place; another one may help out where one was lost."""
    with ended_in_order(), cluster(scheduler) as client:
        from dask.distributed import KilledWorker

        if not client.nthreads():
            log.info("waiting for a worker of the cluster at %s ...", scheduler)
            client.wait_for_workers(1)
        near = {"pure": False, "allow_other_workers": True}
        try:
            yield [_Worker(client.get_executor(workers=[at], **near)) for at in client.nthreads()]
        except (KilledWorker, CancelledError) as error:
            raise Dcase2018Error(f"the cluster at {scheduler} lost a task ({error})") from None


class _Process(ProcessPoolExecutor):
    """A process for one accelerator, which takes no more tasks when a signal has come."""

    def __init__(self, name: str, wish: Wish) -> None:
        start = multiprocessing.get_context("spawn")  # what is forked has locks that nobody opens
        super().__init__(1, start, _begin, (name, os.getpid()))
        self.wish = wish

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        if self.wish.number:
            raise StoppedError(self.wish.number, STOPPED)
        return super().submit(fn, *args, **kwargs)


def _begin(name: str, parent: int) -> None:
    os.environ[VISIBLE] = name
    os.setpgid(0, 0)  # a terminal's Ctrl-C is for the parent alone, which passes it on
    signal.signal(signal.SIGTERM, _leave)
    end_with(parent)


def _leave(number: int, frame: FrameType | None) -> None:
    """End with what Python does at an end, where no task minds the signal: it gives locks back."""
    raise SystemExit(128 + number)


@contextmanager
def _on_accelerators(names: Sequence[str], prepare: Prepare) -> Iterator[Sequence[Executor]]:
    """Start a process for each accelerator, which sees no other.

    A signal, or an error of one, has all end in order; a second signal has them end at once.
    """
    log.info("accelerators %s: as many trainings at a time", ", ".join(names))
    before = set(multiprocessing.active_children())

    def tell(end: Callable[[BaseProcess], None]) -> None:
        for process in set(multiprocessing.active_children()) - before:
            end(process)

    with ExitStack() as ending, wish_to_end(lambda: tell(BaseProcess.terminate)) as wish:
        places = [_Process(name, wish) for name in names]
        ending.callback(tell, BaseProcess.kill)  # what is left when even the wait was broken off
        ending.callback(_wait, places)
        try:
            begun = [place.submit(prepare, name) for place, name in zip(places, names, strict=True)]
            for each in begun:
                each.result()
            yield places
        except KeyboardInterrupt:
            tell(BaseProcess.kill)
            raise
        except BaseException as error:
            lost = isinstance(error, BrokenProcessPool | SystemExit)
            if wish.number and (lost or isinstance(error, StoppedError)):
                raise StoppedError(wish.number, STOPPED) from None
            if not wish.number:
                tell(BaseProcess.terminate)
            if lost:
                raise Dcase2018Error(LOST) from None
            raise


def _wait(places: Sequence[Executor]) -> None:
    for place in places:
        place.shutdown(cancel_futures=True)
