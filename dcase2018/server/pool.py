"""A pool of worker processes, each of which processes one recording at a time.

A worker that crashes or hangs fails only its own request, and is replaced. `ProcessPoolExecutor` does not
fit: it cannot stream progress or cancel a running call, and one crash breaks the whole pool.
"""

import asyncio
import json
import logging
import os
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from dcase2018.server.protocol import END, ERROR, MessageReader, RequestError
from dcase2018.utils.errors import Dcase2018Error, InputError
from dcase2018.utils.safe_path import python_command

log = logging.getLogger(__name__)

WORKER_TIMEOUT = 300.0  # seconds between two messages; the first includes importing Keras
CANCEL_TIMEOUT = 20.0  # seconds from a cancellation to the end of the request

# TensorFlow logs nothing, and freed memory is reused. The matrices of log mels are too small for threads.
ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "2", "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1),
}  # fmt: skip


class WorkerDied(RequestError):
    """The worker process crashed, or was killed because it did not respond."""


class WorkerProcess:
    """A worker process, which can be restarted.

    Parameters
    ----------
    runs
        The runs of each tagger. Several runs of one tagger are an ensemble.

    Attributes
    ----------
    taggers : list of dict
        Of each tagger, `classes`, `pooling` (see `describe_pooling`) and `score_meaning` (see
        `describe_scores`).
    """

    def __init__(self, runs: Sequence[Sequence[str]]) -> None:
        self.runs = runs
        self.process: Process | None = None
        self.taggers: list[dict[str, Any]] = []
        self.is_busy = False

    @property
    def is_alive(self) -> bool:
        return self.process is not None and self.process.returncode is None

    async def start(self) -> None:
        """Start the process and load its runs.

        Raises
        ------
        InputError, Dcase2018Error
            If a run cannot be loaded.
        WorkerDied
            If the process ends.
        """
        self.process = await asyncio.create_subprocess_exec(
            *python_command("-m", "dcase2018.server.worker"), stdin=PIPE, stdout=PIPE,
            stderr=None if log.isEnabledFor(logging.DEBUG) else DEVNULL,
            env=os.environ | ENVIRONMENT, start_new_session=True,  # Ctrl-C reaches only the server
        )  # fmt: skip
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._requests, self._responses = self.process.stdin, MessageReader(self.process.stdout)
        self.taggers = [json.loads(message) async for _, message in self.request({"runs": self.runs})]

    async def request(self, values: dict[str, Any]) -> AsyncIterator[tuple[bytes, bytes]]:
        """Send a request and yield the messages of the response: RESULT or PROGRESS, and JSON.

        Raises
        ------
        RequestError
            If the response is an error; a `WorkerDied` if the process crashes or hangs.
        InputError, Dcase2018Error
            If a run cannot be loaded.
        """
        self.is_busy = True
        with suppress(ConnectionError):  # reading the response reports that the process died
            self._requests.write(json.dumps(values).encode() + b"\n")
            await self._requests.drain()
        while True:
            kind, message = await self._read()
            if kind in (END, ERROR):
                self.is_busy = False
            if kind == END:
                return
            if kind == ERROR:
                _raise(**json.loads(message))
            yield kind, message

    async def _read(self) -> tuple[bytes, bytes]:
        assert self.process is not None
        try:
            async with asyncio.timeout(WORKER_TIMEOUT):
                return await self._responses.read()
        except asyncio.IncompleteReadError:
            code = await self.process.wait()
            reason = "the worker process died" + (f" (signal {-code})" if code < 0 else "")
        except TimeoutError:
            reason = f"the worker process did not respond for {WORKER_TIMEOUT:g} seconds"
        await self.kill()
        raise WorkerDied(500, f"{reason}; the file may be damaged, or memory ran out")

    async def make_ready(self) -> None:
        """Cancel the current request, and restart the process if it died."""
        if self.is_alive and self.is_busy:
            await self._cancel()
        if not self.is_alive:
            await self.start()

    async def _cancel(self) -> None:
        with suppress(ConnectionError, RequestError):
            self._requests.write(b"{}\n")
            try:
                async with asyncio.timeout(CANCEL_TIMEOUT):
                    while (await self._read())[0] not in (END, ERROR):
                        pass
                self.is_busy = False
            except TimeoutError:
                await self.kill()

    async def kill(self) -> None:
        """Kill the process if it is alive."""
        if self.process and self.is_alive:
            with suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()
        self.is_busy = False


def _raise(status: int, error: str, exit_code: int = 0) -> None:
    if exit_code == InputError.exit_code:
        raise InputError(error)
    if exit_code:
        raise Dcase2018Error(error)
    raise RequestError(status, error)


class WorkerPool:
    """A fixed number of worker processes.

    Parameters
    ----------
    runs
        The runs of each tagger. Several runs of one tagger are an ensemble.
    jobs
        Number of processes.
    """

    def __init__(self, runs: Sequence[Sequence[str]], jobs: int) -> None:
        self.runs = runs
        self.workers = [WorkerProcess(runs) for _ in range(jobs)]
        self.idle: asyncio.Queue[WorkerProcess] = asyncio.Queue()
        self.is_closing = False
        self.cleanup_tasks: set[asyncio.Task[None]] = set()

    @property
    def taggers(self) -> list[dict[str, Any]]:
        """Descriptions of the taggers (see `WorkerProcess`)."""
        return self.workers[0].taggers

    async def start(self) -> None:
        """Start all processes.

        Raises
        ------
        InputError, Dcase2018Error
            If a process cannot be started.
        """
        try:
            await asyncio.gather(*(worker.start() for worker in self.workers))
        except RequestError as error:
            raise Dcase2018Error(f"the tagger cannot be loaded: {error}") from None
        for worker in self.workers:
            self.idle.put_nowait(worker)

    async def close(self) -> None:
        """Kill all processes. Their requests fail with status 503."""
        self.is_closing = True
        for task in self.cleanup_tasks:
            task.cancel()
        await asyncio.gather(*(worker.kill() for worker in self.workers))

    @asynccontextmanager
    async def submit(
        self, path: Path, response: str, run: int = 0
    ) -> AsyncIterator[AsyncIterator[tuple[bytes, bytes]]]:
        """Process a recording in the next idle worker, and iterate over the messages of the response.

        Leaving the context early cancels the request.

        Parameters
        ----------
        path
            The recording.
        response
            Kind of the response; see `protocol`.
        run
            Index of the tagger.

        Raises
        ------
        RequestError
            If the recording cannot be processed.
        """
        worker = await self.idle.get()
        try:
            if self.is_closing:
                raise WorkerDied(503, "")
            if not worker.is_alive:
                await worker.start()
            yield worker.request({"path": str(path), "response": response, "run": run})
        except (WorkerDied, Dcase2018Error) as error:
            message = "the server is shutting down" if self.is_closing else str(error)
            raise RequestError(503 if self.is_closing else 500, message) from None
        finally:
            task = asyncio.create_task(self._release(worker))
            self.cleanup_tasks.add(task)
            task.add_done_callback(self.cleanup_tasks.discard)

    async def _release(self, worker: WorkerProcess) -> None:
        try:
            if not self.is_closing:
                await worker.make_ready()
        except (RequestError, Dcase2018Error) as error:
            log.error("a worker process cannot be started: %s", error)
        finally:
            self.idle.put_nowait(worker)
