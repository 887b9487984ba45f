"""Processes that listen, and others in place of those that died.

A recording is heard by a process of its own kind (`worker`), of which there are as many as recordings
are heard at a time. One that dies, or says nothing for too long, takes its recording with it and nothing
else: another one is started.
"""

import asyncio
import json
import logging
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from dcase2018.server.protocol import END, PROBLEM, Inbox
from dcase2018.utils.errors import Dcase2018Error, InputError

log = logging.getLogger(__name__)

SILENCE_SECONDS = 300.0  # between two messages of an answer, or to load Keras
STOP_SECONDS = 20.0  # from the wish to end a work to its end

# Keras is loaded without greetings and keeps the memory that it works with (see `loading`); the matrices of
# log mels are too small for threads, which wait for each other when the machine is busy.
ENVIRONMENT = {
    "OPENBLAS_NUM_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "2", "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1),
}  # fmt: skip


class ProblemError(Exception):
    """What is answered in place of scores; `status` is that of HTTP."""

    def __init__(self, status: int, problem: str) -> None:
        super().__init__(problem)
        self.status, self.problem = status, problem


class LostError(ProblemError):
    """The process died, or hangs."""


class Listening:
    """A process that listens, from its start to its end."""

    def __init__(self, runs: Sequence[Sequence[str]]) -> None:
        self.runs = runs
        self.process: Process | None = None
        self.classes: list[list[str]] = []
        self.answering = False

    @property
    def lives(self) -> bool:
        return self.process is not None and self.process.returncode is None

    async def start(self) -> None:
        """Start the process and have it load its runs.

        Raises
        ------
        InputError, Dcase2018Error
            If it says that it cannot.
        LostError
            If it dies on the way.
        """
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "dcase2018.server.worker", stdin=PIPE, stdout=PIPE,
            stderr=None if log.isEnabledFor(logging.DEBUG) else DEVNULL,
            env=os.environ | ENVIRONMENT, start_new_session=True,  # Ctrl-C is for the server alone
        )  # fmt: skip
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self._asked, self._inbox = self.process.stdin, Inbox(self.process.stdout)
        self.classes = [json.loads(part)["classes"] async for _, part in self.ask({"runs": self.runs})]

    async def ask(self, task: dict[str, Any]) -> AsyncIterator[tuple[bytes, bytes]]:
        """Set a task, and walk the messages of the answer: DONE or PART, and JSON.

        Raises
        ------
        ProblemError
            If it answers with a problem; a `LostError` if it dies or hangs.
        InputError, Dcase2018Error
            If it cannot open its runs.
        """
        self.answering = True
        with suppress(ConnectionError):  # its death is told by what it does not answer
            self._asked.write(json.dumps(task).encode() + b"\n")
            await self._asked.drain()
        while True:
            kind, message = await self._message()
            if kind in (END, PROBLEM):
                self.answering = False
            if kind == END:
                return
            if kind == PROBLEM:
                _raise(**json.loads(message))
            yield kind, message

    async def _message(self) -> tuple[bytes, bytes]:
        assert self.process is not None
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                return await self._inbox.read()
        except asyncio.IncompleteReadError:
            code = await self.process.wait()
            reason = "the process that heard it was ended" + (f" (signal {-code})" if code < 0 else "")
        except TimeoutError:
            reason = f"nothing came of it for {SILENCE_SECONDS:g} seconds"
        await self.end()
        raise LostError(500, f"{reason}; the file may be damaged, or memory have run out")

    async def come_back(self) -> None:
        """Be ready for the next task: end the work that is under way, or start again."""
        if self.lives and self.answering:
            await self._give_up()
        if not self.lives:
            await self.start()

    async def _give_up(self) -> None:
        with suppress(ConnectionError, ProblemError):
            self._asked.write(b"{}\n")
            try:
                async with asyncio.timeout(STOP_SECONDS):
                    while (await self._message())[0] not in (END, PROBLEM):
                        pass
                self.answering = False
            except TimeoutError:
                await self.end()

    async def end(self) -> None:
        """Kill the process, if it lives."""
        if self.process and self.lives:
            with suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()
        self.answering = False


def _raise(status: int, error: str, exit_code: int = 0) -> None:
    if exit_code == InputError.exit_code:
        raise InputError(error)
    if exit_code:
        raise Dcase2018Error(error)
    raise ProblemError(status, error)


class Pool:
    """Some processes that listen.

    Parameters
    ----------
    runs
        The runs of each tagger; those of one are an ensemble.
    jobs
        Recordings heard at a time.
    """

    def __init__(self, runs: Sequence[Sequence[str]], jobs: int) -> None:
        self.members = [Listening(runs) for _ in range(jobs)]
        self.free: asyncio.Queue[Listening] = asyncio.Queue()
        self.ending = False
        self.returning: set[asyncio.Task[None]] = set()

    @property
    def classes(self) -> list[list[str]]:
        """The classes of each tagger."""
        return self.members[0].classes

    async def start(self) -> None:
        """Start all processes.

        Raises
        ------
        InputError, Dcase2018Error
            If one cannot be started.
        """
        try:
            await asyncio.gather(*(member.start() for member in self.members))
        except ProblemError as error:
            raise Dcase2018Error(f"the tagger cannot be loaded: {error}") from None
        for member in self.members:
            self.free.put_nowait(member)

    async def close(self) -> None:
        """End all processes; what they were asked is not answered."""
        self.ending = True
        for task in self.returning:
            task.cancel()
        await asyncio.gather(*(member.end() for member in self.members))

    @asynccontextmanager
    async def hear(self, path: Path, run: int | None) -> AsyncIterator[AsyncIterator[tuple[bytes, bytes]]]:
        """Have a recording heard by the next process that is free, and walk the messages of its answer.

        Leaving early ends the work.

        Raises
        ------
        ProblemError
            If it cannot be heard.
        """
        member = await self.free.get()
        try:
            if self.ending:
                raise LostError(503, "")
            if not member.lives:
                await member.start()
            yield member.ask({"path": str(path)} | ({} if run is None else {"run": run}))
        except (LostError, Dcase2018Error) as error:
            problem = "the server is ending" if self.ending else str(error)
            raise ProblemError(503 if self.ending else 500, problem) from None
        finally:
            task = asyncio.create_task(self._take_back(member))
            self.returning.add(task)
            task.add_done_callback(self.returning.discard)

    async def _take_back(self, member: Listening) -> None:
        try:
            if not self.ending:
                await member.come_back()
        except (ProblemError, Dcase2018Error) as error:
            log.error("a process that listens cannot be started: %s", error)
        finally:
            self.free.put_nowait(member)
