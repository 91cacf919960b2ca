"""A stand-in for the identity service of Polars Cloud, at the wire: it gives tokens to the accounts it is told of."""

from __future__ import annotations

import base64
import json
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from urllib.parse import parse_qs

from airflow_provider_polars.dev_cluster.certificates import make_certificates

TOKEN_PATH = "/realms/Polars/protocol/openid-connect/token"
DOMAIN_OF_ACCOUNTS = "@sa.cloud.pola.rs"
USER = {
    "id": "00000000-0000-4000-8000-000000000001",
    "avatar_url": "",
    "newsletter_updates": False,
    "personal_emails": False,
}


class IdentityStandIn:
    """Context manager for a TLS server on loopback, with an authority of its own.

    :param folder: for its certificates.
    :param accounts: client secrets by client id.
    """

    def __init__(self, folder: Path, accounts: Mapping[str, str]) -> None:
        """Start to listen."""
        self.accounts = dict(accounts)
        self.asked: list[dict[str, str]] = []
        """Forms that were posted, oldest first."""
        self.headers: list[dict[str, str]] = []
        """What came with them."""
        self.instead: Callable[[BaseHTTPRequestHandler], None] | None = None
        """Answers in place of the stand-in."""
        authority, certificate, key = make_certificates(folder, "127.0.0.1")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        self._server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"stand_in": self}))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.address = f"127.0.0.1:{self._server.server_port}"
        self.environment = {"POLARS_CLOUD_DOMAIN": f"x@{self.address}", "SSL_CERT_FILE": str(authority)}
        """Variables that lead the Polars Cloud client, and us, here."""

    def __enter__(self) -> IdentityStandIn:
        """Begin to answer."""
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()

    @property
    def seen(self) -> list[str]:
        """Client ids that asked for a token, oldest first."""
        return [form["username"].removesuffix(DOMAIN_OF_ACCOUNTS) for form in self.asked]


def answer(status: int, body: object = None, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    """Return what answers each request alike; ``body`` is sent as JSON, or as it is if it is text."""

    def send(handler: BaseHTTPRequestHandler) -> None:
        text = body if isinstance(body, str) else json.dumps(body)
        handler.send_response(status)
        for name, value in {"content-length": str(len(text.encode())), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(text.encode())

    return send


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of callers that hang up, which tests do on purpose."""


class _Handler(BaseHTTPRequestHandler):
    stand_in: IdentityStandIn

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        self.stand_in.asked.append(form)
        self.stand_in.headers.append({name.lower(): value for name, value in self.headers.items()})
        if self.stand_in.instead:
            self.stand_in.instead(self)
        elif self.path != TOKEN_PATH:
            answer(404, {"error": "not_found"})(self)
        elif self._is_known(form):
            answer(200, {"access_token": _token()})(self)
        else:
            answer(401, {"error": "invalid_grant", "error_description": "Invalid user credentials"})(self)

    def do_GET(self) -> None:
        """The one call of the API that the Polars Cloud client makes to sign in."""
        answer(200, USER if self.path == "/api/v1/user/me" else {})(self)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def _is_known(self, form: Mapping[str, str]) -> bool:
        name, _, domain = form.get("username", "").partition("@")
        secret = self.stand_in.accounts.get(name)
        return (
            secret is not None
            and f"@{domain}" == DOMAIN_OF_ACCOUNTS
            and (form.get("client_id"), form.get("grant_type")) == ("PolarsCloud", "password")
            and form.get("password") == secret
        )


def _token() -> str:
    parts: tuple[dict[str, object], ...] = ({"alg": "none"}, {"exp": int(time.time()) + 3600}, {})
    return ".".join(base64.b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)
