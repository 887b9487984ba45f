"""Uploads, streamed to unnamed temporary files within limits of size, time and number.

The system deletes unnamed files when the process ends, even if it is killed.
"""

import asyncio
import dataclasses
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from starlette.exceptions import HTTPException
from starlette.requests import Request

from dcase2018.utils.config import check_number


@dataclass(frozen=True)
class UploadLimits:
    """Limits of the uploads.

    Attributes
    ----------
    upload_bytes, total_bytes
        Maximum size of an upload, and of all uploads stored at a time.
    requests
        Maximum number of requests at a time.
    chunk_seconds, upload_seconds
        Timeout of the next bytes of an upload, and of the whole upload.
    """

    upload_bytes: int = 1_000_000_000
    total_bytes: int = 4_000_000_000
    requests: int = 16
    chunk_seconds: float = 20.0
    upload_seconds: float = 1800.0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            check_number(field.name, getattr(self, field.name), float, gt=0)


class UploadReceiver:
    """Store uploads in temporary files."""

    def __init__(self, limits: UploadLimits) -> None:
        self.limits = limits
        self.n_requests, self.bytes_in_use = 0, 0

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Reserve a slot for a request.

        Raises
        ------
        HTTPException
            429 if all slots are in use.
        """
        if self.n_requests >= self.limits.requests:
            raise _busy(f"{self.n_requests} recordings are being processed")
        self.n_requests += 1
        try:
            yield
        finally:
            self.n_requests -= 1

    @asynccontextmanager
    async def receive(self, request: Request) -> AsyncIterator[Path]:
        """Store the body of a request, and yield its path, which is valid within the context.

        Raises
        ------
        HTTPException
            400 without a body, 408 if the upload is too slow, 413 if it is too large, 415 if it is a form or
            compressed, 429 if all uploads are too large together, 507 if the disk is full.
        ClientDisconnect
            If the client disconnects.
        """
        _check_headers(request, self.limits)
        size = 0
        with tempfile.TemporaryFile(buffering=0) as file:
            try:
                async for chunk in self._chunks(request):
                    size += len(chunk)
                    self.bytes_in_use += len(chunk)
                    self._check_size(size)
                    await _write(file, chunk)
                if not size:
                    raise HTTPException(400, "the body is empty; send an audio file as the body")
                yield Path(f"/proc/{os.getpid()}/fd/{file.fileno()}")
            finally:
                self.bytes_in_use -= size

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
                    raise HTTPException(408, "the upload is too slow") from None
                yield chunk

    def _check_size(self, size: int) -> None:
        if size > self.limits.upload_bytes:
            raise _too_large(self.limits)
        if self.bytes_in_use > self.limits.total_bytes:
            raise _busy("too many large recordings are being processed")


async def _write(file: IO[bytes], chunk: bytes) -> None:
    try:
        while chunk:
            chunk = chunk[await asyncio.to_thread(file.write, chunk) :]
    except OSError as error:
        raise HTTPException(507, f"the upload cannot be stored: {error.strerror}") from None


def _check_headers(request: Request, limits: UploadLimits) -> None:
    content_type = request.headers.get("content-type", "")
    if content_type.startswith("multipart/"):
        raise HTTPException(415, "the body is a form; send the audio file itself as the body")
    if request.headers.get("content-encoding", "identity") != "identity":
        raise HTTPException(415, "the body is compressed; send the audio file itself as the body")
    if int(request.headers.get("content-length", 0)) > limits.upload_bytes:
        raise _too_large(limits)


def _too_large(limits: UploadLimits) -> HTTPException:
    return HTTPException(413, f"the file is too large; the limit is {limits.upload_bytes / 1e6:.0f} MB")


def _busy(reason: str) -> HTTPException:
    return HTTPException(429, f"{reason}; try again later", headers={"Retry-After": "5"})
