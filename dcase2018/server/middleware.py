"""Protection against requests from other sites, and security headers.

A page of another site can send requests to this server. With DNS rebinding, a host name of its own that
resolves to this machine, it can also read the responses. The middleware therefore accepts only the host names
of this machine, and only requests from its own page.
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

SEND_TIMEOUT = 60.0  # seconds for a client to receive a part of a response


class HostOriginMiddleware:
    """Reject requests with another host or origin with 403, and add `HEADERS` to every response.

    Starlette's `TrustedHostMiddleware` cannot allow all numeric addresses, and does not parse IPv6 hosts.

    Parameters
    ----------
    app
        The application.
    host
        Address to which the server is bound. If it is not a loopback address, the machine's names and all
        numeric addresses are allowed, too: DNS rebinding needs a name.
    """

    def __init__(self, app: ASGIApp, host: str) -> None:
        self.app = app
        self.is_loopback = is_loopback(host)
        self.names = {"localhost", host.lower()}
        if not self.is_loopback:
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
            async with asyncio.timeout(SEND_TIMEOUT):
                await send(message)

        reason = self.rejection_reason(Headers(scope=scope))
        app = JSONResponse({"error": reason}, 403) if reason else self.app
        await app(scope, receive, send_with_headers)

    def rejection_reason(self, headers: Headers) -> str:
        """Return why a request is rejected; "" if it is not."""
        host = headers.get("host", "")
        if len(headers.getlist("host")) != 1 or not self._is_allowed_host(host):
            return f"the host {host[:100]!r} is not allowed; use localhost or the address of the server"
        origin = headers.get("origin")
        if origin is not None and origin.lower() not in (f"http://{host}".lower(), f"https://{host}".lower()):
            return "requests from another site are not allowed"
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none") and (
            headers.get("sec-fetch-mode") != "navigate"
        ):
            return "requests from another site are not allowed"
        return ""

    def _is_allowed_host(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        if name in self.names:
            return True
        return is_loopback(name) if self.is_loopback else _is_numeric(name)


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address."""
    return host == "localhost" or (_is_numeric(host) and ipaddress.ip_address(host).is_loopback)


def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
