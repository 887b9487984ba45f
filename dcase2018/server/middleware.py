"""Who may ask, and what a browser may do with the answer.

A page of another site can have a browser send requests here, and by a name of its own that it lets point at
this machine (DNS rebinding) it could read the answers. So the name that is asked for must be one of this
machine's, and a page that asks must come from here.
"""

import asyncio
import ipaddress
import socket
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "media-src": "blob:",
    "connect-src": "'self'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
}
HEADERS = {
    "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in POLICY.items()),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Cache-Control": "no-store",
}

SEND_SECONDS = 60.0  # for a client to take the next part of an answer


class Guard:
    """Answers what may not be asked with 403, and puts the headers of `HEADERS` on every answer.

    Parameters
    ----------
    host
        The address that is served at. If it is not of this machine alone, the machine's names and all
        numeric addresses may be asked for, which no name of another site can pose as.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        self.app = app
        self.loopback = is_loopback(host)
        self.names = {"localhost", host.lower()}
        if not self.loopback:
            name = socket.gethostname().lower()
            self.names |= {name, f"{name}.local"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            async with asyncio.timeout(SEND_SECONDS):
                await send(message)

        refused = self.refuses(Headers(scope=scope))
        app = JSONResponse({"error": refused}, 403) if refused else self.app
        await app(scope, receive, send_with_headers)

    def refuses(self, headers: Headers) -> str:
        """Why a request is refused; "" if it is not."""
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or not self._is_ours(host):
            return f"this is not {host[:100]!r}; ask for localhost, or the address that it was started at"
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in (f"http://{host}".lower(), f"https://{host}".lower()):
            return "a page from elsewhere may not ask here"
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none") and (
            headers.get("sec-fetch-mode") != "navigate"
        ):
            return "a page from elsewhere may not ask here"
        return ""

    def _is_ours(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in self.names:
            return True
        return is_loopback(name) if self.loopback else _is_numeric(name)


def is_loopback(host: str) -> bool:
    """Whether an address is one that only this machine can reach."""
    return host == "localhost" or (_is_numeric(host) and ipaddress.ip_address(host).is_loopback)


def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
