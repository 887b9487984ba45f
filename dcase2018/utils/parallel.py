"""What runs tasks: processes of this machine, or a Dask cluster."""

import logging
import multiprocessing
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from itertools import takewhile
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, TypeVar

import joblib
from joblib.externals.loky.process_executor import TerminatedWorkerError

from dcase2018.utils.errors import Dcase2018Error, InputError
from dcase2018.utils.signals import Interrupted, StopFlag, catch_stop_signals, sigterm_as_exception

if TYPE_CHECKING:
    from dask.distributed import Client

PARENT_EVERY = 1.0  # seconds between two looks of a worker at its parent


@contextmanager
def parallel_pool(jobs: int, dask_address: str | None = None) -> Iterator[joblib.Parallel]:
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
    if dask_address is None:
        try:
            yield joblib.Parallel(
                jobs, initializer=exit_when_parent_dies, initargs=(os.getpid(),), **settings
            )
        except TerminatedWorkerError:
            raise Dcase2018Error(
                "the system ended a worker process, which it does when memory runs out; try fewer --jobs"
            ) from None
        return
    with dask_client(dask_address), joblib.parallel_config("dask"):
        yield joblib.Parallel(-1, **settings)


@contextmanager
def dask_client(dask_address: str) -> "Iterator[Client]":
    """Connect to a Dask cluster; raises what `workers` raises of one.

    What it has not begun on leaving is dropped.
    """
    try:
        from dask.distributed import Client
    except ImportError:
        raise InputError("--dask needs Dask; pip install 'dcase2018[cluster]'") from None
    try:
        client = Client(dask_address)
    except (ValueError, TypeError) as error:
        raise InputError(f"--dask {dask_address} is no address ({error}), such as tcp://head:8786") from None
    except OSError as error:
        raise Dcase2018Error(f"--dask {dask_address} does not answer ({error})") from None
    with client:
        yield client


def exit_when_parent_dies(parent: int) -> None:
    """Have this process end when `parent` has, which it would otherwise wait for, idle, for minutes."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_EVERY)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


T = TypeVar("T")

CODE = "from dcase2018.utils.parallel import answer; answer()"


def run_in_subprocess(folder: Path, task: Callable[[], T]) -> T:
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
    exit_when_parent_dies(int(sys.argv[1]))
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


VISIBLE = "CUDA_VISIBLE_DEVICES"  # heeded by all backends; from the first that is none, CUDA sees no more
NAME = re.compile(r"\d+|(GPU|MIG)-.+")
PATIENCE = 30.0  # seconds for the driver to answer, which may have to wake each card


def accelerators() -> list[str]:
    """Name the accelerators as `VISIBLE` takes them: those in it, or all that NVIDIA's driver tells of.

    Those of other makers are not counted.
    """
    visible = os.environ.get(VISIBLE)
    if visible is not None:
        return list(takewhile(NAME.fullmatch, (name.strip() for name in visible.split(","))))
    return [str(number) for number in range(_driver_count())]


def _driver_count() -> int:
    command = ["nvidia-smi", "--list-gpus"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(line.startswith("GPU ") for line in done.stdout.splitlines())


log = logging.getLogger(__name__)

Prepare = Callable[[str], None]
Executors = AbstractContextManager[Sequence[Executor]]

STOPPED = "stopped; what was finished is kept, and the same command goes on"
LOST = "the system ended a process, which it does when memory runs out; the same command goes on"


class InlineExecutor(Executor):
    """This process and thread: what is submitted is done at once, and raises here."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        done: Future[T] = Future()
        done.set_result(fn(*args, **kwargs))
        return done


def run_tasks(tasks: Iterable[Callable[[], T]], executors: Sequence[Executor]) -> Iterator[T]:
    """Run each task in the next place that is free, and give what they return as they end.

    A task is taken from `tasks` when a place is free and all that has ended was given, so that it may depend
    on that.
    """
    waiting, free = iter(tasks), list(executors)
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


def make_executors(most: int, prepare: Prepare, dask_address: str | None = None) -> Executors:
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
    Interrupted
        If a signal came. Tasks of this machine were told, and have ended; those of a cluster go on.
    """
    if dask_address is not None:
        return _on_cluster(dask_address)
    names = accelerators()[:most] if most > 1 else []
    return _on_accelerators(names, prepare) if len(names) > 1 else _here(prepare)


@contextmanager
def _here(prepare: Prepare) -> Iterator[Sequence[Executor]]:
    prepare("")
    yield [InlineExecutor()]


class _Worker(Executor):
    """A worker of a cluster, which runs each task in a process of its own."""

    def __init__(self, worker: Executor) -> None:
        self.worker = worker

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        return self.worker.submit(run_in_subprocess, Path.cwd(), partial(fn, *args, **kwargs))


@contextmanager
def _on_cluster(dask_address: str) -> Iterator[Sequence[Executor]]:
    """Take each worker for a place; another one may help out where one was lost."""
    with sigterm_as_exception(), dask_client(dask_address) as client:
        from dask.distributed import KilledWorker

        if not client.nthreads():
            log.info("waiting for a worker of the cluster at %s ...", dask_address)
            client.wait_for_workers(1)
        near = {"pure": False, "allow_other_workers": True}
        try:
            yield [_Worker(client.get_executor(workers=[at], **near)) for at in client.nthreads()]
        except (KilledWorker, CancelledError) as error:
            raise Dcase2018Error(f"the cluster at {dask_address} lost a task ({error})") from None


class _Process(ProcessPoolExecutor):
    """A process for one accelerator, which takes no more tasks when a signal has come."""

    def __init__(self, name: str, stop_flag: StopFlag) -> None:
        start = multiprocessing.get_context("spawn")  # what is forked has locks that nobody opens
        super().__init__(1, start, _begin, (name, os.getpid()))
        self.stop_flag = stop_flag

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        if self.stop_flag.signum:
            raise Interrupted(self.stop_flag.signum, STOPPED)
        return super().submit(fn, *args, **kwargs)


def _begin(name: str, parent: int) -> None:
    os.environ[VISIBLE] = name
    os.setpgid(0, 0)  # a terminal's Ctrl-C is for the parent alone, which passes it on
    signal.signal(signal.SIGTERM, _leave)
    exit_when_parent_dies(parent)


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

    with ExitStack() as ending, catch_stop_signals(lambda: tell(BaseProcess.terminate)) as stop_flag:
        executors = [_Process(name, stop_flag) for name in names]
        ending.callback(tell, BaseProcess.kill)  # what is left when even the wait was broken off
        ending.callback(_wait, executors)
        try:
            begun = [place.submit(prepare, name) for place, name in zip(executors, names, strict=True)]
            for each in begun:
                each.result()
            yield executors
        except KeyboardInterrupt:
            tell(BaseProcess.kill)
            raise
        except BaseException as error:
            lost = isinstance(error, BrokenProcessPool | SystemExit)
            if stop_flag.signum and (lost or isinstance(error, Interrupted)):
                raise Interrupted(stop_flag.signum, STOPPED) from None
            if not stop_flag.signum:
                tell(BaseProcess.terminate)
            if lost:
                raise Dcase2018Error(LOST) from None
            raise


def _wait(executors: Sequence[Executor]) -> None:
    for place in executors:
        place.shutdown(cancel_futures=True)
