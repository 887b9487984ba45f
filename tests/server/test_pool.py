"""Processes that listen: what goes between, and one that hangs."""

import asyncio
import json
import os
import signal
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dcase2018.server import pool as pool_module
from dcase2018.server.pool import Pool, ProblemError
from dcase2018.server.protocol import DONE, END, PART, Inbox, packed

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run it in a thread of its own: this one may have a loop, as it has after tests with a browser."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


@given(st.lists(st.integers(0, 40), min_size=1, max_size=6), st.lists(st.integers(1, 30), max_size=20))
def test_whoever_gives_up_waiting_loses_no_message(lengths: list[int], pieces: list[int]) -> None:
    """Messages come in pieces; after each, somebody begins to wait and gives up."""
    sent = [(DONE, {"text": "x" * length}) for length in lengths]
    stream = b"".join(packed(kind, values) for kind, values in sent)

    async def receive() -> list[tuple[bytes, bytes]]:
        reader = asyncio.StreamReader()
        inbox, found, fed = Inbox(reader), [], 0
        for piece in (*pieces, len(stream)):
            reader.feed_data(stream[fed : fed + piece])
            fed += piece
            while len(found) < len(sent):
                task = asyncio.ensure_future(inbox.read())
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                if not task.done():
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)
                    break
                found.append(task.result())
        return found

    assert [(kind, json.loads(text)) for kind, text in run(receive())] == sent


@pytest.mark.slow
def test_a_process_that_hangs_is_replaced(
    runs: dict[str, Path], recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hear(pool: Pool) -> list[bytes]:
        async with pool.hear(recordings / "one.wav", 0) as messages:
            return [kind async for kind, _ in messages if kind in (PART, END)]

    async def work() -> None:
        pool = Pool([[str(runs["logmel96"])]], 1)
        try:
            await pool.start()
            assert await hear(pool) == [PART]
            process = pool.members[0].process
            assert process
            os.kill(process.pid, signal.SIGSTOP)
            with monkeypatch.context() as patch:
                patch.setattr(pool_module, "SILENCE_SECONDS", 1.0)
                with pytest.raises(ProblemError, match="nothing came of it for 1 seconds"):
                    await hear(pool)
            assert process.returncode == -signal.SIGKILL
            assert await hear(pool) == [PART]
        finally:
            await pool.close()

    run(work())
