"""Parallel work: joblib for independent tasks, and one process per GPU or cluster worker for training.

`parallel_pool` covers extraction and reports. Training has needs that joblib does not cover: the next
hyperparameter trial depends on the results so far, while joblib takes tasks ahead in a thread of its own;
and on a signal or an error every training must save a checkpoint, while joblib kills its workers. For
training, `open_workers` and `run_tasks` build on `concurrent.futures` instead.
"""

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

from dcase2018.utils.config import check_number
from dcase2018.utils.errors import Dcase2018Error, InputError
from dcase2018.utils.safe_path import python_command, safe_path_in_children
from dcase2018.utils.signals import (
    MSG_STOPPED,
    Interrupted,
    StopFlag,
    catch_stop_signals,
    sigterm_as_exception,
)

if TYPE_CHECKING:
    from dask.distributed import Client

log = logging.getLogger(__name__)

T = TypeVar("T")
Task = Callable[[], T]
Submit = Callable[[Task[Any]], Future[Any]]  # starts a task on one worker
Workers = AbstractContextManager[Sequence[Submit]]
Initializer = Callable[[str], None]

PARENT_POLL_SECONDS = 1.0
MSG_OUT_OF_MEMORY = "the system ended a worker process, probably because memory ran out"
MSG_RESUME = "run the same command again to resume"


@contextmanager
def parallel_pool(jobs: int, dask_address: str | None = None) -> Iterator[joblib.Parallel]:
    """Open a joblib pool of `jobs` processes (-1: one per core), or on a Dask cluster.

    Results are returned in order of completion. Worker processes exit soon after their parent.

    Raises
    ------
    InputError
        If `jobs` is 0 or less than -1, Dask is not installed, or the address is invalid.
    Dcase2018Error
        If the system ended a worker process, or the cluster does not respond.
    """
    check_number("jobs", jobs, int, ge=-1)
    if jobs == 0:
        raise InputError("jobs must be -1, for one process per core, or at least 1, not 0")
    settings = {"return_as": "generator_unordered"}
    if dask_address is None:
        try:
            with safe_path_in_children():
                yield joblib.Parallel(
                    jobs, initializer=exit_when_parent_dies, initargs=(os.getpid(),), **settings
                )
        except TerminatedWorkerError:
            raise Dcase2018Error(f"{MSG_OUT_OF_MEMORY}; use fewer --jobs") from None
        return
    with dask_client(dask_address), joblib.parallel_config("dask"):
        yield joblib.Parallel(-1, **settings)


@contextmanager
def dask_client(dask_address: str) -> "Iterator[Client]":
    """Connect to a Dask cluster; pending tasks are cancelled on exit.

    Raises
    ------
    InputError
        If Dask is not installed, or the address is invalid.
    Dcase2018Error
        If the cluster does not respond.
    """
    try:
        from dask.distributed import Client
    except ImportError:
        raise InputError("--dask requires Dask; pip install 'dcase2018[cluster]'") from None
    try:
        client = Client(dask_address)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"--dask {dask_address} is not an address ({error}); use one like tcp://head:8786"
        ) from None
    except OSError as error:
        raise Dcase2018Error(f"--dask {dask_address} does not respond ({error})") from None
    with client:
        yield client


def exit_when_parent_dies(parent: int) -> None:
    """Start a thread that ends this process when its parent process has ended."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(PARENT_POLL_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


_ENTRY_POINT = "from dcase2018.utils.parallel import _subprocess_main; _subprocess_main()"


def run_in_subprocess(folder: Path, task: Task[T]) -> T:
    """Run a picklable task in a new process; return its result or raise its exception.

    Parameters
    ----------
    folder
        Working directory of the process.
    task
        Function without arguments.

    Raises
    ------
    Dcase2018Error
        If the system ended the process.
    OSError
        If the folder does not exist.
    """
    command = python_command("-c", _ENTRY_POINT, str(os.getpid()))
    payload = pickle.dumps(task)
    process = subprocess.run(command, input=payload, stdout=subprocess.PIPE, cwd=folder, check=False)
    if process.returncode:
        raise Dcase2018Error(f"{MSG_OUT_OF_MEMORY} (exit code {process.returncode}); {MSG_RESUME}")
    value, error = pickle.loads(process.stdout)
    if error:
        raise error
    return value


def _subprocess_main() -> None:
    """Read a pickled task from standard input and write its result or exception to standard output."""
    exit_when_parent_dies(int(sys.argv[1]))
    output = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # the task prints to standard error
    value: Any = None
    error: Exception | None = None
    try:
        value = pickle.load(sys.stdin.buffer)()
    except Exception as task_error:
        error = task_error
    with output:
        pickle.dump((value, error), output)


CUDA_VISIBLE_DEVICES = "CUDA_VISIBLE_DEVICES"  # CUDA ignores all devices after the first invalid one
DEVICE_ID = re.compile(r"\d+|(GPU|MIG)-.+")
NVIDIA_SMI_TIMEOUT = 30.0  # seconds; the driver may have to wake each GPU


def visible_gpus() -> list[str]:
    """List the GPUs of `CUDA_VISIBLE_DEVICES`, or all NVIDIA GPUs if it is not set."""
    visible = os.environ.get(CUDA_VISIBLE_DEVICES)
    if visible is not None:
        return list(takewhile(DEVICE_ID.fullmatch, (name.strip() for name in visible.split(","))))
    command = ["nvidia-smi", "--list-gpus"]
    try:
        smi = subprocess.run(command, capture_output=True, text=True, timeout=NVIDIA_SMI_TIMEOUT, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return []
    n_gpus = sum(line.startswith("GPU ") for line in smi.stdout.splitlines())
    return [str(index) for index in range(n_gpus)]


def run_inline(task: Task[T]) -> Future[T]:
    """Run a task in this process; its exception is raised here."""
    future: Future[T] = Future()
    future.set_result(task())
    return future


INLINE: Sequence[Submit] = (run_inline,)


def run_tasks(tasks: Iterable[Task[T]], workers: Sequence[Submit] = INLINE) -> Iterator[T]:
    """Run tasks, one at a time per worker, and yield the results in order of completion.

    The next task is taken from `tasks` when a worker is free and all earlier results have been consumed, so
    that a task may depend on these results.
    """
    pending, free = iter(tasks), list(workers)
    running: dict[Future[T], Submit] = {}
    while True:
        for submit, task in zip(free, pending):  # noqa: B905
            running[submit(task)] = submit
        if not running:
            return
        done = wait(running, return_when=FIRST_COMPLETED).done
        free = [running.pop(future) for future in done]
        for future in done:
            yield future.result()


def open_workers(max_workers: int, initializer: Initializer, dask_address: str | None = None) -> Workers:
    """Open the workers of a Dask cluster, one process per GPU, or this process for at most one GPU.

    Parameters
    ----------
    max_workers
        Maximum number of GPU processes.
    initializer
        Called in each process of this machine that runs tasks, with its GPU, or "" in this process.
    dask_address
        Address of a Dask cluster. All its current workers are used.

    Raises
    ------
    InputError
        If Dask is not installed, or the address is invalid.
    Dcase2018Error
        If the system ended a process, or the cluster does not respond or lost a task.
    Interrupted
        After a signal, when all tasks of this machine have stopped. Tasks of a cluster continue.
    """
    if dask_address is not None:
        return _dask_workers(dask_address)
    gpus = visible_gpus()[:max_workers] if max_workers > 1 else []
    return _gpu_workers(gpus, initializer) if len(gpus) > 1 else _inline_worker(initializer)


@contextmanager
def _inline_worker(initializer: Initializer) -> Iterator[Sequence[Submit]]:
    initializer("")
    yield INLINE


@contextmanager
def _dask_workers(dask_address: str) -> Iterator[Sequence[Submit]]:
    """Open the workers of a cluster; each runs a task in a new process, and may replace a lost worker."""
    with sigterm_as_exception(), dask_client(dask_address) as client:
        from dask.distributed import KilledWorker

        if not client.nthreads():
            log.info("waiting for a worker of the cluster at %s ...", dask_address)
            client.wait_for_workers(1)
        settings = {"pure": False, "allow_other_workers": True}
        executors = [client.get_executor(workers=[address], **settings) for address in client.nthreads()]
        try:
            yield [partial(executor.submit, run_in_subprocess, Path.cwd()) for executor in executors]
        except (KilledWorker, CancelledError) as error:
            raise Dcase2018Error(f"the cluster at {dask_address} lost a task ({error})") from None


@contextmanager
def _gpu_workers(gpus: Sequence[str], initializer: Initializer) -> Iterator[Sequence[Submit]]:
    """Start one process per GPU. A signal or an error stops all gracefully, a second signal at once."""
    log.info("GPUs %s: training in %d processes", ", ".join(gpus), len(gpus))
    others = set(multiprocessing.active_children())

    def signal_children(action: Callable[[BaseProcess], None]) -> None:
        for process in set(multiprocessing.active_children()) - others:
            action(process)

    with (
        ExitStack() as cleanup,
        safe_path_in_children(),
        catch_stop_signals(lambda: signal_children(BaseProcess.terminate)) as stop,
    ):
        pools = [_start_gpu_process(gpu) for gpu in gpus]
        cleanup.callback(signal_children, BaseProcess.kill)  # after an interrupted shutdown
        cleanup.callback(_shutdown_all, pools)
        try:
            for future in [pool.submit(initializer, gpu) for pool, gpu in zip(pools, gpus, strict=True)]:
                future.result()
            yield [partial(_submit_unless_stopped, pool, stop) for pool in pools]
        except KeyboardInterrupt:
            signal_children(BaseProcess.kill)
            raise
        except BaseException as error:
            worker_died = isinstance(error, BrokenProcessPool | SystemExit)
            if stop.signum and (worker_died or isinstance(error, Interrupted)):
                raise Interrupted(stop.signum, MSG_STOPPED) from None
            if not stop.signum:
                signal_children(BaseProcess.terminate)
            if worker_died:
                raise Dcase2018Error(f"{MSG_OUT_OF_MEMORY}; {MSG_RESUME}") from None
            raise


def _start_gpu_process(gpu: str) -> ProcessPoolExecutor:
    spawn = multiprocessing.get_context("spawn")  # a forked process may inherit locks that stay locked
    return ProcessPoolExecutor(1, spawn, _init_gpu_process, (gpu, os.getpid()))


def _init_gpu_process(gpu: str, parent: int) -> None:
    os.environ[CUDA_VISIBLE_DEVICES] = gpu
    os.setpgid(0, 0)  # a terminal sends Ctrl-C to the parent alone, which forwards it
    signal.signal(signal.SIGTERM, _exit_on_sigterm)
    exit_when_parent_dies(parent)


def _exit_on_sigterm(signum: int, frame: FrameType | None) -> None:
    """Exit with Python's cleanup, which releases locks, when no task handles the signal."""
    raise SystemExit(128 + signum)


def _submit_unless_stopped(pool: Executor, stop: StopFlag, task: Task[T]) -> Future[T]:
    if stop.signum:
        raise Interrupted(stop.signum, MSG_STOPPED)
    return pool.submit(task)


def _shutdown_all(pools: Sequence[Executor]) -> None:
    for pool in pools:
        pool.shutdown(cancel_futures=True)
