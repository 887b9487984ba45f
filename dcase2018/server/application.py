"""What is answered to what.

GET /            the page, and what it is made of
GET /api/runs    the runs and their classes, and what is taken at most
POST /api/tag    JSON: what `tag` says of the file in the body; `?run=NAME` asks another run than the first
POST /api/hear   lines of JSON, as they become known: what the page shows of the file in the body

A problem is `{"error": reason}` with a status of 4xx or 5xx; or, if lines were sent before, a line.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from dcase2018.server.middleware import Guard
from dcase2018.server.pool import Pool, ProblemError
from dcase2018.server.protocol import LONGEST_HOURS, PART
from dcase2018.server.uploads import Desk

log = logging.getLogger(__name__)

PAGE = Path(__file__).with_name("static")

T = TypeVar("T")
Messages = AsyncIterator[tuple[bytes, bytes]]


def make_application(pool: Pool, desk: Desk, names: Sequence[str], host: str) -> ASGIApp:
    """Put the application together; `names` are those of the runs."""

    def runs(request: Request) -> Response:
        known = [{"name": name, "classes": of} for name, of in zip(names, pool.classes, strict=True)]
        limits = {"bytes": desk.limits.upload_bytes, "seconds": LONGEST_HOURS * 3600}
        return JSONResponse({"runs": known, "limits": limits})

    application = Starlette(
        routes=[
            Route("/api/runs", runs),
            Route("/api/tag", Tag(pool, desk, names)),
            Route("/api/hear", Hear(pool, desk)),
            Mount("/", StaticFiles(directory=PAGE, html=True)),
        ],
        exception_handlers={
            HTTPException: _refused,
            ProblemError: _problem,
            ClientDisconnect: _gone,
            Exception: _defect,
        },
    )
    return Guard(application, host)


@dataclass(frozen=True)
class Tag:
    """What `tag` says of the body, as one object."""

    pool: Pool
    desk: Desk
    names: Sequence[str]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = _posted(scope, receive)
        run = self._run(request)
        with self.desk.place():
            async with self.desk.received(request) as path, self.pool.hear(path, run) as messages:
                answer = await _unless_gone(request, _next_part(messages))
                await Response(answer, media_type="application/json")(scope, receive, send)

    def _run(self, request: Request) -> int:
        name = request.query_params.get("run", self.names[0])
        if unknown := set(request.query_params) - {"run"}:
            raise HTTPException(400, f"?{min(unknown)} is unknown; ?run=NAME asks another run than the first")
        if name not in self.names:
            raise HTTPException(404, f"there is no run {name!r} here; there are: {', '.join(self.names)}")
        return self.names.index(name)


@dataclass(frozen=True)
class Hear:
    """What the page shows of the body, line by line."""

    pool: Pool
    desk: Desk

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = _posted(scope, receive)
        with self.desk.place():
            async with self.desk.received(request) as path, self.pool.hear(path, None) as messages:
                _, first = await _unless_gone(request, anext(messages))
                lines = _lines(first, messages)
                await StreamingResponse(lines, media_type="application/x-ndjson")(scope, receive, send)


def _posted(scope: Scope, receive: Receive) -> Request:
    request = Request(scope, receive)
    if request.method != "POST":
        raise HTTPException(405, "send an audio file by POST", headers={"Allow": "POST"})
    return request


async def _next_part(messages: Messages) -> bytes:
    async for kind, message in messages:
        if kind == PART:
            return message
    raise AssertionError("an answer without a part")


async def _lines(first: bytes, messages: Messages) -> AsyncIterator[bytes]:
    yield first + b"\n"
    try:
        async for _, message in messages:
            yield message + b"\n"
        yield b'{"end":true}\n'
    except ProblemError as error:
        yield json.dumps({"error": error.problem}).encode() + b"\n"


async def _unless_gone(request: Request, work: Awaitable[T]) -> T:
    """Wait for work, or for the client to go, which ends the work and raises `ClientDisconnect`."""
    done, going = asyncio.ensure_future(work), asyncio.ensure_future(_going(request))
    try:
        await asyncio.wait((done, going), return_when=asyncio.FIRST_COMPLETED)
        if not done.done():
            raise ClientDisconnect
        return done.result()
    finally:
        for task in (done, going):
            task.cancel()
        await asyncio.gather(done, going, return_exceptions=True)


async def _going(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = error.detail
    if detail == HTTPStatus(error.status_code).phrase:  # of Starlette's own, which says no more
        detail = f"{detail}: {request.method} {request.url.path[:200]}"
    return JSONResponse({"error": detail}, error.status_code, headers=error.headers)


def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    if error.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("a recording was not heard: %s", error.problem)
    return JSONResponse({"error": error.problem}, error.status)


def _gone(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # which nobody reads


def _defect(request: Request, error: Exception) -> Response:
    log.error("a defect of dcase2018 in answering %s", request.url.path, exc_info=error)
    return JSONResponse(
        {"error": "this is a defect of dcase2018; the terminal that it runs in tells where"}, 500
    )
