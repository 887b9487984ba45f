"""Run the server until a signal arrives."""

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from dcase2018.server.application import make_application
from dcase2018.server.middleware import is_loopback
from dcase2018.server.pool import WorkerPool
from dcase2018.server.uploads import UploadLimits, UploadReceiver
from dcase2018.utils.atomic import StrPath
from dcase2018.utils.config import check_number
from dcase2018.utils.errors import InputError
from dcase2018.utils.input_files import as_paths
from dcase2018.utils.signals import Interrupted, StopFlag, catch_stop_signals

log = logging.getLogger(__name__)

IDLE_TIMEOUT = 15.0  # seconds for a connection without a request
MAX_CONNECTIONS = 256


def serve(
    runs: StrPath | Sequence[StrPath],
    host: str = "127.0.0.1",
    port: int = 8000,
    jobs: int = 1,
    limits: UploadLimits | None = None,
    on_ready: Callable[[str], object] = print,
    examples: StrPath | None = None,
) -> None:
    """Serve a page and an API to try runs, until a signal arrives.

    Parameters
    ----------
    runs
        Run folders, each a tagger of its own. A folder of folds is an ensemble.
    host, port
        Address to bind to. Port 0 takes any free port.
    jobs
        Recordings processed at a time, each in its own process.
    limits
        Limits of the uploads.
    on_ready
        Called with the address of the page.
    examples
        Folder of clips; the page offers three that the runs were not trained on.

    Raises
    ------
    InputError
        If the address cannot be bound, or a folder is not a run.
    Dcase2018Error
        If a worker process cannot be started.
    Interrupted
        At the end; `serve` never returns.
    """
    paths = as_paths(runs, "runs")
    check_number("jobs", jobs, int, ge=1)
    pool = WorkerPool([[str(run)] for run in paths], jobs)
    receiver = UploadReceiver(limits or UploadLimits())
    chosen: dict[str, Path] = {}
    if examples is not None:
        from dcase2018.server.examples import choose_examples  # imports NumPy

        chosen = choose_examples(examples, paths)
    app = make_application(pool, receiver, display_names(paths), host, chosen)
    run_server(app, pool, host, port, on_ready)


def run_server(
    app: ASGIApp, pool: WorkerPool, host: str, port: int, on_ready: Callable[[str], object]
) -> None:
    """Start the workers and run an application until a signal arrives; see `serve`."""
    with catch_stop_signals() as stop_flag, _bind(host, port) as listener:
        log.info("loading the tagger%s ...", "s" if len(pool.runs) > 1 else "")
        server = Server(app, pool, stop_flag)
        url = page_url(host, listener.getsockname()[1])
        asyncio.run(_run(server, listener, lambda: _announce(host, url, pool, on_ready)))
    raise Interrupted(stop_flag.signum, "stopped")


def _announce(host: str, url: str, pool: WorkerPool, on_ready: Callable[[str], object]) -> None:
    for runs, tagger in zip(pool.runs, pool.taggers, strict=True):
        if tagger["pooling"]:
            log.info("%s: %s", ", ".join(runs), tagger["pooling"])
    if not is_loopback(host):
        log.warning("everyone who can reach this machine can use the server, without a password")
    on_ready(url)


async def _run(server: "Server", listener: socket.socket, on_ready: Callable[[], object]) -> None:
    """Start the workers, then serve. A signal stops both."""
    try:
        if await _until_stopped(server.stop_flag, server.pool.start()):
            on_ready()
            await server.serve(sockets=[listener])
    finally:
        await server.pool.close()


async def _until_stopped(stop_flag: StopFlag, work: Coroutine[Any, Any, None]) -> bool:
    """Wait for work or a signal; return whether the work is done."""
    task = asyncio.create_task(work)
    while not task.done() and not stop_flag.signum:
        await asyncio.wait([task], timeout=0.1)
    if task.done():
        task.result()
        return True
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    return False


@contextlib.contextmanager
def _bind(host: str, port: int) -> Iterator[socket.socket]:
    if not host:
        raise InputError("--host is empty; give an address such as 127.0.0.1, or 0.0.0.0 for all addresses")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise InputError(f"port {port} of {host} is in use; give another --port") from None
        raise InputError(f"cannot bind to {host}:{port}: {error.strerror or error}") from None
    with listener:
        yield listener


def page_url(host: str, port: int) -> str:
    """Return the address of the page for a browser on this machine."""
    name = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{name}:{port}/"


def display_names(runs: Sequence[StrPath]) -> list[str]:
    """Return the folder names of the runs, or their paths if two names are equal."""
    names = [Path(run).resolve().name for run in runs]
    return names if len(set(names)) == len(names) else [str(run) for run in runs]


class Server(uvicorn.Server):
    """A uvicorn server that stops, with its workers, when the stop flag is set."""

    def __init__(self, app: Any, pool: WorkerPool, stop_flag: StopFlag) -> None:
        logging.getLogger("uvicorn").setLevel(logging.CRITICAL)  # errors of clients are only in the responses
        super().__init__(
            uvicorn.Config(
                app,
                http=Connection,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                limit_concurrency=MAX_CONNECTIONS,
                timeout_graceful_shutdown=2,
                server_header=False,
                proxy_headers=False,
            )
        )
        self.pool, self.stop_flag = pool, stop_flag

    def capture_signals(self) -> contextlib.AbstractContextManager[None]:  # type: ignore[override]
        return contextlib.nullcontext()

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or bool(self.stop_flag.signum)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self.pool.close()
        await super().shutdown(sockets)


class Connection(H11Protocol):
    """An HTTP connection with a timeout for the request head and for unread bodies."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.last_activity = self.loop.time()
        self._check_idle()

    def on_response_complete(self) -> None:
        self.last_activity = self.loop.time()
        super().on_response_complete()

    def _check_idle(self) -> None:
        if self.transport.is_closing():
            return
        is_idle = self.cycle is None or self.cycle.response_complete
        if is_idle and self.loop.time() - self.last_activity > IDLE_TIMEOUT:
            self.transport.abort()
        else:
            self.loop.call_later(IDLE_TIMEOUT / 3, self._check_idle)
