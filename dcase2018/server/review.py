"""Serve the page on which a person reviews labels.

    GET /                       the page and its static files
    GET /api/review             the clips under review, their decisions, and the classes
    GET /api/clips/ID           preview and scores of a clip
    GET /api/clips/ID/audio     the clip as FLAC
    POST /api/decisions         store a decision: `{"id", "decision", "label", "revision"}`
    POST /api/undo              withdraw the last decision

Only the clips of the list and the verified examples are accessible, by identifiers instead of names.
"""

import base64
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from dcase2018.server.application import cancel_on_disconnect, next_result, protect
from dcase2018.server.decision_log import DecisionLog
from dcase2018.server.pool import WorkerPool
from dcase2018.server.protocol import AUDIO, CLIP
from dcase2018.server.review_session import ReviewSession, open_review_list
from dcase2018.server.serve import run_server
from dcase2018.utils.errors import InputError
from dcase2018.utils.signals import Interrupted

log = logging.getLogger(__name__)

MAX_BODY_BYTES = 1 << 16


def review(
    labels_csv: Path,
    issues_csv: Path,
    run: Path,
    audio: Path,
    output: Path,
    reviewer: str,
    host: str,
    port: int,
    on_ready: Callable[[str], object],
) -> None:
    """Serve a page to review labels until a signal arrives.

    Parameters
    ----------
    labels_csv, issues_csv, run, audio
        See `open_review_list`.
    output, reviewer
        Decisions file to append to, and name of the reviewer.
    host, port, on_ready
        See `serve`.

    Raises
    ------
    InputError
        If an input or the address is invalid.
    Dcase2018Error
        If another process writes the decisions file, or a worker process cannot be started.
    OSError
        If the decisions file cannot be written.
    Interrupted
        At the end; `review` never returns.
    """
    if not reviewer.strip():
        raise InputError("--reviewer is empty; give a name")
    review_list = open_review_list(labels_csv, issues_csv, run, audio)
    pool = WorkerPool([[str(run)]], 1)
    with DecisionLog(output) as decisions:
        session = ReviewSession(review_list, decisions, reviewer)
        try:
            run_server(make_review_application(pool, session, host), pool, host, port, on_ready)
        except Interrupted as error:
            n_decided = f"{session.n_decided} of {len(review_list.clips)}"
            message = f"stopped; {output} has the decisions on {n_decided} clips"
            raise Interrupted(error.exit_code - 128, message) from None


def make_review_application(pool: WorkerPool, session: ReviewSession, host: str) -> ASGIApp:
    """Build the ASGI application; see `make_application`."""
    endpoints = ReviewEndpoints(pool, session)
    return protect(
        [
            Route("/review", endpoints.state),
            Route("/clips/{id}", endpoints.clip),
            Route("/clips/{id}/audio", endpoints.audio),
            Route("/decisions", endpoints.decide, methods=["POST"]),
            Route("/undo", endpoints.undo, methods=["POST"]),
        ],
        "review.html",
        host,
    )


@dataclass(frozen=True)
class ReviewEndpoints:
    """The API of a review. Decisions are written one after the other, by the thread of the event loop."""

    pool: WorkerPool
    session: ReviewSession

    async def state(self, request: Request) -> Response:
        return _json(self.session.state())

    async def clip(self, request: Request) -> Response:
        result = await cancel_on_disconnect(request, self._process(request, CLIP))
        return Response(result, media_type="application/json")

    async def audio(self, request: Request) -> Response:
        result = await cancel_on_disconnect(request, self._process(request, AUDIO))
        return Response(base64.b64decode(json.loads(result)["flac"]), media_type="audio/flac")

    async def decide(self, request: Request) -> Response:
        return _json(self.session.decide(await _read_json(request)))

    async def undo(self, request: Request) -> Response:
        await _read_json(request)
        return _json(self.session.undo())

    async def _process(self, request: Request, response: str) -> bytes:
        path = self.session.list.paths.get(request.path_params["id"])
        if path is None:
            raise HTTPException(404, "the clip is not in the list; reload the page")
        async with self.pool.submit(path, response) as messages:
            return await next_result(messages)


async def _read_json(request: Request) -> dict[str, Any]:
    """Read a JSON object. Its media type excludes forms, which other sites can send."""
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415, "send JSON with the content type application/json")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise HTTPException(413, f"the body is too large; the limit is {MAX_BODY_BYTES} bytes")
    try:
        values = json.loads(body)
    except ValueError as error:
        raise HTTPException(400, f"the body is not JSON: {error}") from None
    if not isinstance(values, dict):
        raise HTTPException(400, "the body is not a JSON object")
    return values


def _json(values: dict[str, Any]) -> Response:
    """Format JSON. Starlette's response cannot encode file names that are not UTF-8."""
    return Response(json.dumps(values), media_type="application/json")
