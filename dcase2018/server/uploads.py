"""Recordings that come over HTTP: streamed to files that have no name, so that nothing is left of them
however the program ends, within bounds of size, time and number.
"""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from starlette.exceptions import HTTPException
from starlette.requests import Request


@dataclass(frozen=True)
class UploadLimits:
    """What is taken at most.

    Attributes
    ----------
    upload_bytes, held_bytes
        Of one recording, and of all that lie here at a time.
    requests
        Recordings that come, wait or are heard at a time.
    chunk_seconds, upload_seconds
        To wait for the next bytes of a recording, and for all of it.
    """

    upload_bytes: int = 1_000_000_000
    held_bytes: int = 4_000_000_000
    requests: int = 16
    chunk_seconds: float = 20.0
    upload_seconds: float = 1800.0


class Desk:
    """Takes recordings in."""

    def __init__(self, limits: UploadLimits) -> None:
        self.limits = limits
        self.requests, self.held = 0, 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place for a request.

        Raises
        ------
        HTTPException
            429, if all are taken.
        """
        if self.requests >= self.limits.requests:
            raise _busy(f"{self.requests} recordings are being heard or wait")
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1

    @asynccontextmanager
    async def received(self, request: Request) -> AsyncIterator[Path]:
        """Take the body of a request in, and yield the path that it can be read from until then.

        Raises
        ------
        HTTPException
            400 without a body, 408 if it comes too slowly, 413 if it is too large, 415 if it is a form or
            compressed, 429 if too much lies here already, 507 if the disk is full.
        ClientDisconnect
            If the client goes.
        """
        _check_headers(request, self.limits)
        size = 0
        with tempfile.TemporaryFile(buffering=0) as file:
            try:
                async for chunk in self._chunks(request):
                    size += len(chunk)
                    self.held += len(chunk)
                    self._check_size(size)
                    await _write(file, chunk)
                if not size:
                    raise HTTPException(400, "the body is empty; send an audio file as the body")
                yield Path(f"/proc/{os.getpid()}/fd/{file.fileno()}")
            finally:
                self.held -= size

    async def _chunks(self, request: Request) -> AsyncIterator[bytes]:
        stream = aiter(request.stream())
        clock = asyncio.get_running_loop().time
        deadline = clock() + self.limits.upload_seconds
        with suppress(StopAsyncIteration):
            while True:
                try:
                    async with asyncio.timeout_at(min(deadline, clock() + self.limits.chunk_seconds)):
                        chunk = await anext(stream)
                except TimeoutError:
                    raise HTTPException(408, "the recording came too slowly") from None
                yield chunk

    def _check_size(self, size: int) -> None:
        if size > self.limits.upload_bytes:
            raise _too_large(self.limits)
        if self.held > self.limits.held_bytes:
            raise _busy("too many large recordings wait")


async def _write(file: IO[bytes], chunk: bytes) -> None:
    try:
        while chunk:
            chunk = chunk[await asyncio.to_thread(file.write, chunk) :]
    except OSError as error:
        raise HTTPException(507, f"the recording cannot be held here: {error.strerror}") from None


def _check_headers(request: Request, limits: UploadLimits) -> None:
    kind = request.headers.get("content-type", "")
    if kind.startswith("multipart/"):
        raise HTTPException(415, "a form was sent; send the audio file itself as the body")
    if request.headers.get("content-encoding", "identity") != "identity":
        raise HTTPException(415, "the body is compressed; send the audio file as it is")
    if int(request.headers.get("content-length", 0)) > limits.upload_bytes:
        raise _too_large(limits)


def _too_large(limits: UploadLimits) -> HTTPException:
    return HTTPException(
        413, f"the file is too large; up to {limits.upload_bytes / 1e6:.0f} MB are taken here"
    )


def _busy(reason: str) -> HTTPException:
    return HTTPException(429, f"{reason}; try again in a moment", headers={"Retry-After": "5"})
