"""``ControlPlane``: a client of Polars Cloud's REST interface, without polars and polars_cloud.

That of ``polars_cloud`` sends what has not been answered up to five times, takes 160 s for a service that hangs, and
gives no status. This one sends each request once, and waits for no answer longer than it is told.
"""

from __future__ import annotations

import functools
import os
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

from airflow_provider_polars.clients.deadlines import within
from airflow_provider_polars.clients.tokens import DEFAULT_DOMAIN, Account, Token, fetch_token
from airflow_provider_polars.exceptions import ConfigurationError, ControlPlaneUnavailableError, CredentialsError

CALL_SECONDS = 10.0
RENEW_SECONDS = 10.0
"""Before a token expires, another one is fetched; as the client does it."""

MOST_RETRY_AFTER_SECONDS = 300.0
PAGE_ROWS = 1000
MOST_PAGES = 100
_DETAILS_LENGTH = 400
_BASE = "/api/v1/"


class Refusal(Exception):
    """A request that the service understood and refused.

    :ivar status: of HTTP.
    """

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class ControlPlane:
    """Calls of the control plane as one service account. Usable from several threads.

    Calls raise :class:`Refusal`, :class:`ControlPlaneUnavailableError` if nothing or nothing sensible comes back, and
    what :func:`fetch_token` raises. A token that is refused is renewed once. A service that asks to be left alone for a
    while (``Retry-After``) is: calls fail until then without being sent.

    :param client_version: version of the Polars Cloud client to pass for.
    :param polars_version: version of Polars on this side.
    :param mask: is told each token, to keep it out of logs.
    """

    # Frames of a traceback may be shown with their variables: tokens are objects there, which hide their text.

    def __init__(
        self, account: Account, *, client_version: str, polars_version: str, mask: Callable[[str], None]
    ) -> None:
        self.account = account
        self.address = api_address()
        self.mask = mask
        self._versions = {"x-client-version": client_version, "x-polars-version": polars_version}
        self._token: Token | None = None
        self._quiet_until = 0.0
        self._lock = threading.RLock()  # a signal handler may come while this thread fetches a token

    def another(self) -> ControlPlane:
        """Return one with connections of its own, for a thread that a signal handler starts."""
        other = ControlPlane(
            self.account,
            client_version=self._versions["x-client-version"],
            polars_version=self._versions["x-polars-version"],
            mask=self.mask,
        )
        other._token = self._token
        return other

    def use(self, token: Token) -> None:
        """Show a token that somebody else has fetched for the same account."""
        self.mask(token.text)
        self._token = token

    def token(self, *, refused: Token | None = None) -> Token:
        """Return what shows who calls.

        :param refused: one that was refused, and is not to be returned again.
        """
        with self._lock:
            token = self._token
            if token is None or token is refused or token.expires - time.time() < RENEW_SECONDS:
                token = self._token = fetch_token(self.account)
                self.mask(token.text)
            return token

    def metadata(self, token: Token) -> tuple[tuple[str, str], ...]:
        """Return what calls over gRPC carry, at the same address."""
        return (*self._versions.items(), ("authorization", token.header))

    def get(self, path: str, parameters: Mapping[str, str] | None = None, seconds: float = CALL_SECONDS) -> Any:
        """Return what a path has."""
        return self._ask("GET", path, seconds, params=dict(parameters or {}))

    def pages(self, path: str, **parameters: str) -> list[Any]:
        """Return all rows of a path that answers in pages."""
        return [row for rows in self.each_page(path, **parameters) for row in rows]

    def each_page(self, path: str, **parameters: str) -> Iterator[list[Any]]:
        """Yield the rows of a path page by page, each when it is asked for."""
        for page in range(1, MOST_PAGES + 1):
            asked = {"page": str(page), "limit": str(PAGE_ROWS), "offset": "0", **parameters}
            found = self.get(path, asked)["result"]
            yield found
            if len(found) < PAGE_ROWS:
                break

    def post(self, path: str, body: Any = None, seconds: float = CALL_SECONDS) -> Any:
        """Send something, once."""
        return self._ask("POST", path, seconds, **({} if body is None else {"json": body}))

    def delete(self, path: str, parameters: Mapping[str, str], seconds: float = CALL_SECONDS) -> None:
        """Remove something."""
        self._ask("DELETE", path, seconds, params=dict(parameters))

    def close(self) -> None:
        """Hang up."""
        if "_client" in self.__dict__:
            self._client.close()

    @functools.cached_property
    def _client(self) -> Any:
        import httpx

        encrypted = self.address.startswith("https://")
        verify = ssl.create_default_context() if encrypted else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        version = self._versions["x-client-version"]
        headers = {**self._versions, "user-agent": f"polars-cloud/{version}"}
        return httpx.Client(base_url=self.address + _BASE, verify=verify, headers=headers, follow_redirects=False)

    def _ask(self, method: str, path: str, seconds: float, **options: Any) -> Any:
        import httpx

        if (left := self._quiet_until - time.monotonic()) > 0:
            raise ControlPlaneUnavailableError(
                f"Polars Cloud ({self.address}) has asked to be left alone for {left:.0f} seconds more: not sent was "
                f"{method} {path}. Try again later.",
                retry_after=left,
            )
        token = self.token()
        for last in (False, True):
            try:
                call = functools.partial(
                    self._client.request, method, path, auth=token.sign, timeout=seconds, **options
                )
                response = within(seconds, call)
            except (httpx.HTTPError, TimeoutError) as error:
                raise ControlPlaneUnavailableError(
                    f"Polars Cloud ({self.address}) gives no answer to {method} {path}: "
                    f"{str(error) or type(error).__name__}. Try again later; if it stays so, check network, "
                    "HTTPS_PROXY and POLARS_CLOUD_API_ADDR where this runs."
                ) from None
            if response.status_code != HTTPStatus.UNAUTHORIZED or last:
                break
            token = self.token(refused=token)
        return self._read(method, path, response)

    def _read(self, method: str, path: str, response: Any) -> Any:
        status, reason = response.status_code, _reason(response)
        if status == HTTPStatus.UNAUTHORIZED:
            raise CredentialsError(
                f"Polars Cloud refuses a token that it has just given to the service account from "
                f"{self.account.source}: {reason}. See whether the account still exists."
            )
        if status == HTTPStatus.TOO_MANY_REQUESTS or status >= 500 or not (200 <= status < 300 or status >= 400):
            seconds = _seconds(response.headers.get("retry-after"))
            self._quiet_until = time.monotonic() + (seconds or 0.0)
            raise ControlPlaneUnavailableError(
                f"Polars Cloud ({self.address}) answers {method} {path} with {status}: {reason}. Try again later.",
                retry_after=seconds,
            )
        if status >= HTTPStatus.BAD_REQUEST:
            raise Refusal(status, reason)
        if not response.content:
            return None
        try:
            return response.json()
        except ValueError:
            raise ControlPlaneUnavailableError(
                f"What answers {method} {path} at {self.address} is not Polars Cloud: no JSON. Check "
                "POLARS_CLOUD_API_ADDR and HTTPS_PROXY."
            ) from None


def api_address() -> str:
    """Return the address of the REST interface, as the client finds it in the environment.

    :raises ConfigurationError: if ``POLARS_CLOUD_API_ADDR`` is none.
    """
    address = os.environ.get("POLARS_CLOUD_API_ADDR")
    if address is None:
        prefix = os.environ.get("POLARS_CLOUD_API_DOMAIN_PREFIX") or "api"
        return f"https://{prefix}.{os.environ.get('POLARS_CLOUD_DOMAIN') or DEFAULT_DOMAIN}"
    if not address.startswith(("http://", "https://")) or " " in address:
        raise ConfigurationError(
            f"The environment variable POLARS_CLOUD_API_ADDR is {address!r}, which is no address such as "
            f"https://api.{DEFAULT_DOMAIN}."
        )
    return address.rstrip("/")


def _seconds(text: str | None) -> float | None:
    """Return the seconds of a header ``Retry-After``, None if it has none; a date counts as none."""
    return min(float(text), MOST_RETRY_AFTER_SECONDS) if text and text.strip().isdecimal() else None


def _reason(response: Any) -> str:
    """Return what an answer says in words: ``message`` and ``errors`` of its JSON, else its text."""
    try:
        told = response.json()
        fields = "; ".join(f"{name}: {', '.join(map(str, words))}" for name, words in told.get("errors", {}).items())
        words = ". ".join(part.rstrip(". ") for part in (str(told["message"] or ""), fields) if part)
    except (ValueError, LookupError, TypeError, AttributeError):
        words = " ".join(response.text.split())
    return words[:_DETAILS_LENGTH] or response.reason_phrase or "no reason given"
