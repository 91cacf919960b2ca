"""Keeps web pages that a browser on this machine shows away from what listens on loopback without a token."""

from __future__ import annotations

from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

LOOPBACK_HOSTS = ("127.0.0.1", "localhost", "::1")
_NAMES = frozenset({"127.0.0.1", "localhost", "[::1]"})
REFUSAL = "no request with an Origin, or with a Host that is not loopback's, is answered here"


class OwnHostOnly:
    """Refuses, with 403, what a browser sends for a web page: to a name of its own (DNS rebinding), or with an Origin.

    :param prefix: of the paths that it looks at.
    """

    def __init__(self, app: ASGIApp, prefix: str = "") -> None:
        self._app = app
        self._prefix = prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer by ASGI."""
        foreign = (
            scope["type"] == "http" and scope["path"].startswith(self._prefix) and _is_foreign(Headers(scope=scope))
        )
        answer = JSONResponse({"error": REFUSAL}, HTTPStatus.FORBIDDEN) if foreign else self._app
        await answer(scope, receive, send)


def _is_foreign(headers: Headers) -> bool:
    hosts = headers.getlist("host")
    return "origin" in headers or len(hosts) != 1 or _name(hosts[0]) not in _NAMES


def _name(host: str) -> str:
    """Return a ``Host`` without its port."""
    name, _, port = host.rpartition(":")
    return (name if name and port.isdecimal() else host).lower()
