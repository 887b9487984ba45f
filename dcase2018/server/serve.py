"""From a socket to the signal that ends it."""

import asyncio
import contextlib
import errno
import logging
import socket
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from dcase2018.server.application import make_application
from dcase2018.server.middleware import is_loopback
from dcase2018.server.pool import Pool
from dcase2018.server.uploads import Desk, UploadLimits
from dcase2018.utils.atomic import StrPath
from dcase2018.utils.errors import InputError
from dcase2018.utils.signals import Interrupted, StopFlag, catch_stop_signals

log = logging.getLogger(__name__)

IDLE_SECONDS = 15.0  # that a connection may take to ask
CONNECTIONS = 256


def serve(
    runs: Sequence[StrPath],
    host: str = "127.0.0.1",
    port: int = 8000,
    jobs: int = 1,
    limits: UploadLimits | None = None,
    tell: Callable[[str], object] = print,
) -> None:
    """Serve a page to try runs with, each a tagger of its own, until a signal comes.

    Parameters
    ----------
    runs
        Folders of runs; a folder of folds is an ensemble.
    port
        0 takes any that is free.
    jobs
        Recordings heard at a time, each by a process of its own.
    tell
        Is given the address of the page when it is there.

    Raises
    ------
    InputError
        If the address cannot be served at, or one is no run.
    Dcase2018Error
        If a process that listens cannot be started.
    Interrupted
        In the end: it is the only one.
    """
    pool = Pool([[str(run)] for run in runs], jobs)
    app = make_application(pool, Desk(limits or UploadLimits()), names_of(runs), host)

    async def work() -> None:
        try:
            log.info("loading the tagger%s ...", "s" if len(runs) > 1 else "")
            if await _unless_wished(stop_flag, pool.start()):
                if not is_loopback(host):
                    log.warning("everybody who reaches this machine can use it: it asks for no password")
                tell(address(host, listening.getsockname()[1]))
                await Server(app, pool, stop_flag).serve(sockets=[listening])
        finally:
            await pool.close()

    with catch_stop_signals() as stop_flag, _bound(host, port) as listening:
        asyncio.run(work())
    raise Interrupted(stop_flag.signum, "stopped")


async def _unless_wished(stop_flag: StopFlag, work: Coroutine[Any, Any, None]) -> bool:
    """Wait for work until a signal comes; say whether it was done."""
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
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    if not host:
        raise InputError("--host needs an address, such as 127.0.0.1; 0.0.0.0 is all that this machine has")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise InputError(f"port {port} of {host} is taken; name another by --port") from None
        raise InputError(f"{host}:{port} cannot be served at: {error.strerror or error}") from None
    with listening:
        yield listening


def address(host: str, port: int) -> str:
    """The page's address in a browser of this machine."""
    name = {"0.0.0.0": "localhost", "::": "localhost"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{name}:{port}/"


def names_of(runs: Sequence[StrPath]) -> list[str]:
    """Names of runs: those of their folders, or their paths if two folders have one name."""
    names = [Path(run).resolve().name for run in runs]
    return names if len(set(names)) == len(names) else [str(run) for run in runs]


class Server(uvicorn.Server):
    """Ends when a signal was noted, and what listens with it."""

    def __init__(self, app: Any, pool: Pool, stop_flag: StopFlag) -> None:
        logging.getLogger("uvicorn").setLevel(logging.CRITICAL)  # what clients do wrong is told to them
        super().__init__(
            uvicorn.Config(
                app,
                http=Connection,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                limit_concurrency=CONNECTIONS,
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
    """A connection that is given up if its client takes too long to ask, or sends what nobody reads."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.asked = self.loop.time()
        self._look()

    def on_response_complete(self) -> None:
        self.asked = self.loop.time()
        super().on_response_complete()

    def _look(self) -> None:
        if self.transport.is_closing():
            return
        idle = self.cycle is None or self.cycle.response_complete
        if idle and self.loop.time() - self.asked > IDLE_SECONDS:
            self.transport.abort()
        else:
            self.loop.call_later(IDLE_SECONDS / 3, self._look)
