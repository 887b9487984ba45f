"""The web application of `serve`, and what it shares with that of `review`.

    GET /              the page and its static files
    GET /api/runs      the runs with their classes, the names of the examples, and the limits
    GET /api/examples/NUMBER
                       the file of an example
    POST /api/tag      JSON: the scores of the audio file in the body; `?run=NAME` selects a run, by default
                       the first
    POST /api/stream   lines of JSON: the results for the page, sent as they become available

An error is `{"error": reason}`, with a status of 4xx or 5xx, or as a line after the first results.
"""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from dcase2018.server.middleware import HostOriginMiddleware
from dcase2018.server.pool import WorkerPool
from dcase2018.server.protocol import MAX_HOURS, RESULT, STREAM, TAG, RequestError
from dcase2018.server.uploads import UploadReceiver

log = logging.getLogger(__name__)

STATIC = Path(__file__).with_name("static")

Result = TypeVar("Result")
Messages = AsyncIterator[tuple[bytes, bytes]]


def make_application(
    pool: WorkerPool,
    receiver: UploadReceiver,
    names: Sequence[str],
    host: str,
    examples: Mapping[str, Path],
) -> ASGIApp:
    """Build the ASGI application.

    Parameters
    ----------
    pool
        Started by the caller.
    receiver
        Stores the uploads.
    names
        Names of the runs, in the order of the pool.
    host
        Address to which the server is bound.
    examples
        Names and paths of recordings to try.
    """

    def example(request: Request) -> Response:
        number = request.path_params["number"]
        if number >= len(examples) or not (path := list(examples.values())[number]).is_file():
            raise HTTPException(404, "the example does not exist")
        return FileResponse(path, media_type="application/octet-stream")

    def runs(request: Request) -> Response:
        values = [
            {"name": name, "classes": tagger["classes"], "score_meaning": tagger["score_meaning"]}
            for name, tagger in zip(names, pool.taggers, strict=True)
        ]
        limits = {"bytes": receiver.limits.upload_bytes, "seconds": MAX_HOURS * 3600}
        return JSONResponse({"runs": values, "limits": limits, "examples": list(examples)})

    routes = [
        Route("/runs", runs),
        Route("/examples/{number:int}", example),
        Route("/tag", TagEndpoint(pool, receiver, names)),
        Route("/stream", StreamEndpoint(pool, receiver)),
    ]
    return protect(routes, "serve.html", host)


def protect(routes: Sequence[BaseRoute], page: str, host: str) -> ASGIApp:
    """Build an application of routes, a page with its static files, error responses, and protection.

    Parameters
    ----------
    routes
        The API, below `/api`.
    page
        The file in the folder `static` that `/` returns.
    host
        Address to which the server is bound.
    """
    application = Starlette(
        routes=[
            Mount("/api", routes=routes),
            Route("/", lambda request: FileResponse(STATIC / page)),
            Mount("/", StaticFiles(directory=STATIC)),
        ],
        exception_handlers={
            HTTPException: _http_error,
            RequestError: _request_error,
            ClientDisconnect: _client_closed,
            Exception: _internal_error,
        },
    )
    return HostOriginMiddleware(application, host)


@dataclass(frozen=True)
class TagEndpoint:
    """Respond with the scores of one run as a JSON object."""

    pool: WorkerPool
    receiver: UploadReceiver
    names: Sequence[str]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = _require_post(scope, receive)
        run = self._run_index(request)
        with self.receiver.slot():
            async with self.receiver.receive(request) as path, self.pool.submit(path, TAG, run) as messages:
                result = await cancel_on_disconnect(request, next_result(messages))
                await Response(result, media_type="application/json")(scope, receive, send)

    def _run_index(self, request: Request) -> int:
        name = request.query_params.get("run", self.names[0])
        if unknown := set(request.query_params) - {"run"}:
            raise HTTPException(400, f"unknown parameter {min(unknown)!r}; the only one is ?run=NAME")
        if name not in self.names:
            raise HTTPException(404, f"unknown run {name!r}; the runs are {', '.join(self.names)}")
        return self.names.index(name)


@dataclass(frozen=True)
class StreamEndpoint:
    """Respond with the results of all runs as lines of JSON."""

    pool: WorkerPool
    receiver: UploadReceiver

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = _require_post(scope, receive)
        with self.receiver.slot():
            async with self.receiver.receive(request) as path, self.pool.submit(path, STREAM) as messages:
                _, first = await cancel_on_disconnect(request, anext(messages))
                lines = _lines(first, messages)
                await StreamingResponse(lines, media_type="application/x-ndjson")(scope, receive, send)


def _require_post(scope: Scope, receive: Receive) -> Request:
    request = Request(scope, receive)
    if request.method != "POST":
        raise HTTPException(405, "send an audio file by POST", headers={"Allow": "POST"})
    return request


async def next_result(messages: Messages) -> bytes:
    """Return the first result of a response as JSON."""
    async for kind, message in messages:
        if kind == RESULT:
            return message
    raise AssertionError("a response without a result")


async def _lines(first: bytes, messages: Messages) -> AsyncIterator[bytes]:
    yield first + b"\n"
    try:
        async for _, message in messages:
            yield message + b"\n"
        yield b'{"end":true}\n'
    except RequestError as error:
        yield json.dumps({"error": error.message}).encode() + b"\n"


async def cancel_on_disconnect(request: Request, work: Awaitable[Result]) -> Result:
    """Wait for work. If the client disconnects first, cancel the work and raise `ClientDisconnect`."""
    result, disconnect = asyncio.ensure_future(work), asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait((result, disconnect), return_when=asyncio.FIRST_COMPLETED)
        if not result.done():
            raise ClientDisconnect
        return result.result()
    finally:
        for task in (result, disconnect):
            task.cancel()
        await asyncio.gather(result, disconnect, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = error.detail
    if detail == HTTPStatus(error.status_code).phrase:  # raised by Starlette without details
        detail = f"{detail}: {request.method} {request.url.path[:200]}"
    return JSONResponse({"error": detail}, error.status_code, headers=error.headers)


def _request_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    if error.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        log.error("a recording could not be processed: %s", error.message)
    return JSONResponse({"error": error.message}, error.status)


def _client_closed(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # never sent


def _internal_error(request: Request, error: Exception) -> Response:
    log.error("internal error in %s", request.url.path, exc_info=error)
    return JSONResponse({"error": "internal error of dcase2018; see the log of the server"}, 500)
