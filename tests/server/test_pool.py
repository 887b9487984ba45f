"""Worker processes: messages, and a process that hangs."""

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
from dcase2018.server.pool import WorkerPool
from dcase2018.server.protocol import END, PROGRESS, RESULT, TAG, MessageReader, RequestError, encode

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in a new thread: the tests with a browser leave an event loop in this one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


@given(st.lists(st.integers(0, 40), min_size=1, max_size=6), st.lists(st.integers(1, 30), max_size=20))
def test_cancelled_reads_lose_no_message(lengths: list[int], chunk_sizes: list[int]) -> None:
    """Messages arrive in chunks; after each chunk, a read is started and cancelled."""
    sent = [(PROGRESS, {"text": "x" * length}) for length in lengths]
    stream = b"".join(encode(kind, values) for kind, values in sent)

    async def receive() -> list[tuple[bytes, bytes]]:
        stream_reader = asyncio.StreamReader()
        reader, messages, position = MessageReader(stream_reader), [], 0
        for size in (*chunk_sizes, len(stream)):
            stream_reader.feed_data(stream[position : position + size])
            position += size
            while len(messages) < len(sent):
                task = asyncio.ensure_future(reader.read())
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                if not task.done():
                    task.cancel()
                    await asyncio.gather(task, return_exceptions=True)
                    break
                messages.append(task.result())
        return messages

    assert [(kind, json.loads(text)) for kind, text in run(receive())] == sent


@pytest.mark.slow
def test_hanging_worker_is_replaced(
    runs: dict[str, Path], recordings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def submit(pool: WorkerPool) -> list[bytes]:
        async with pool.submit(recordings / "one.wav", TAG) as messages:
            return [kind async for kind, _ in messages if kind in (RESULT, END)]

    async def check() -> None:
        pool = WorkerPool([[str(runs["logmel96"])]], 1)
        try:
            await pool.start()
            assert await submit(pool) == [RESULT]
            process = pool.workers[0].process
            assert process
            os.kill(process.pid, signal.SIGSTOP)
            with monkeypatch.context() as patch:
                patch.setattr(pool_module, "WORKER_TIMEOUT", 1.0)
                with pytest.raises(RequestError, match="did not respond for 1 seconds"):
                    await submit(pool)
            assert process.returncode == -signal.SIGKILL
            assert await submit(pool) == [RESULT]
        finally:
            await pool.close()

    run(check())
