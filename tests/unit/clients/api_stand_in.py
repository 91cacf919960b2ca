"""A stand-in for the REST interface of Polars Cloud, at the wire: it answers what a test says, and keeps the calls."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import parse_qsl, urlsplit

from tests.harness.identity import answer

Reply = Callable[[BaseHTTPRequestHandler], None]
BASE = "/api/v1/"


@dataclass(frozen=True)
class Call:
    """One request: ``path`` is relative to the root of the interface, ``headers`` have small names."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def __str__(self) -> str:
        """Return method and path."""
        return f"{self.method} {self.path}"


class ApiStandIn:
    """Context manager for a server on loopback that speaks plain HTTP.

    :ivar calls: what was asked, oldest first.
    :ivar replies: answers by method and path. Of a list each is given once, and the last one from then on. A function
        of a :class:`Call` that returns a reply may stand for one. Without any the answer is 404.
    """

    def __init__(self) -> None:
        """Start to listen."""
        self.calls: list[Call] = []
        self.replies: dict[str, list[Reply]] = {}
        self.by_call: dict[str, Callable[[Call], Reply]] = {}
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"stand_in": self}))
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> ApiStandIn:
        """Begin to answer."""
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()

    def forget(self) -> None:
        """Be as new."""
        self.calls.clear()
        self.replies.clear()
        self.by_call.clear()

    def reply(self, path: str, *replies: Reply) -> None:
        """Answer calls to a path so, whatever the method; the last answer stays."""
        self.replies.update({f"{method} {path}": list(replies) for method in ("GET", "POST", "DELETE")})

    def reply_to(self, call: Call) -> Reply:
        """Return what answers a call."""
        if str(call) in self.by_call:
            return self.by_call[str(call)](call)
        replies = self.replies.get(str(call), [])
        if len(replies) > 1:
            return replies.pop(0)
        return replies[0] if replies else answer(404, {"message": f"no {call.path}", "errors": {}})

    @property
    def asked(self) -> list[str]:
        """Method and path of each call, oldest first."""
        return [str(call) for call in self.calls]

    @property
    def tokens(self) -> list[str]:
        """What each call showed for who sends it, oldest first."""
        return [call.headers["authorization"].removeprefix("Bearer ") for call in self.calls]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of callers that hang up, which tests do on purpose."""


class _Handler(BaseHTTPRequestHandler):
    stand_in: ApiStandIn
    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        url = urlsplit(self.path)
        headers = {name.lower(): value for name, value in self.headers.items()}
        call = Call(self.command, url.path.removeprefix(BASE), dict(parse_qsl(url.query)), headers, body)
        self.stand_in.calls.append(call)
        self.stand_in.reply_to(call)(self)

    do_GET = do_POST = do_DELETE = _answer

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
