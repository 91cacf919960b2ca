"""The identity service of Polars Cloud: tokens for a service account, and whether it accepts one.

The Polars Cloud client cannot tell: a wrong secret and a service that is down raise the same error there.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import functools
import json
import os
import ssl
import time
from http import HTTPStatus
from typing import Any, Protocol

from airflow_provider_polars.clients.deadlines import within
from airflow_provider_polars.exceptions import ConfigurationError, CredentialsError, CredentialsUnavailableError

DEFAULT_DOMAIN = "prd.cloud.pola.rs"
SECONDS = 3.5
UNREADABLE_SECONDS = 60.0
"""How long a token is taken to hold that does not say it."""

_PATH = "/realms/Polars/protocol/openid-connect/token"
_LARGEST_ANSWER = 65_536
_REFUSALS = ("access_denied", "invalid_client", "invalid_grant", "unauthorized_client")


class Account(Protocol):
    """A service account."""

    @property
    def client_id(self) -> str:
        """Its id."""

    @property
    def client_secret(self) -> str:
        """Its secret."""

    @property
    def source(self) -> str:
        """Where it comes from, as words."""


@dataclasses.dataclass(frozen=True)
class _Answer:
    """What came back; ``failure`` says why nothing did."""

    status: int = 0
    body: bytes = dataclasses.field(default=b"", repr=False)
    failure: str = ""


@dataclasses.dataclass(frozen=True)
class Token:
    """An access token.

    :param expires: epoch seconds; what the token says, else :data:`UNREADABLE_SECONDS` from now.
    """

    text: str = dataclasses.field(repr=False)
    expires: float

    @classmethod
    def of(cls, text: str) -> Token:
        """Return a token; when it expires stands in its middle part (JWT, claim ``exp``)."""
        expires = time.time() + UNREADABLE_SECONDS
        with contextlib.suppress(ValueError, IndexError, KeyError, TypeError, RecursionError):
            claims = text.split(".")[1].replace("+", "-").replace("/", "_")
            expires = float(json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))["exp"])
        return cls(text, expires)

    @property
    def header(self) -> str:
        """The value of ``authorization``."""
        return f"Bearer {self.text}"

    def sign(self, request: Any) -> Any:
        """Put the token into a request of httpx, which hides it wherever it shows requests."""
        request.headers["authorization"] = self.header
        return request


def check_service_account(account: Account, seconds: float = SECONDS) -> None:
    """Return if the identity service gives a token for ``account``. The token is thrown away.

    Raises what :func:`fetch_token` raises.
    """
    fetch_token(account, seconds)


def fetch_token(account: Account, seconds: float = SECONDS) -> Token:
    """Return a token that the identity service gives for ``account``.

    The address is that of the client: ``POLARS_CLOUD_DOMAIN``, else the one of Polars Cloud. Like the client it goes
    through a proxy of the environment and trusts what ``SSL_CERT_FILE`` names. It follows no redirect.

    :param seconds: that this may take in all.
    :raises CredentialsError: if the service refuses the account.
    :raises CredentialsUnavailableError: if it does not answer, or answers something else.
    :raises ConfigurationError: if ``POLARS_CLOUD_DOMAIN`` makes no address.
    """
    # Frames of a traceback may be shown with their variables: here these hold an account, which hides its secret.
    url = _token_url()
    try:
        answer = within(seconds, functools.partial(_post, url, account, seconds))
    except TimeoutError:
        answer = _Answer(failure=f"no answer within {seconds:g} seconds")
    verdict = _read(answer)
    if verdict == "accepted":
        return Token.of(str(_json_object(answer.body)["access_token"]))
    host = _host(url)
    if verdict == "refused":
        raise CredentialsError(
            f"Polars Cloud refuses the service account from {account.source}: the identity service {host} answered "
            f"{answer.status}. Client id and client secret do not belong together, or the account was deleted. Compare "
            "both with the service accounts in the settings of the workspace, or make a new one there."
        )
    raise CredentialsUnavailableError(
        f"Whether Polars Cloud accepts the service account from {account.source} cannot be known now: the identity "
        f"service {host} gave {verdict}. Try again later. If it stays so, check network, HTTPS_PROXY, SSL_CERT_FILE "
        "and POLARS_CLOUD_DOMAIN where this runs."
    )


def _token_url() -> str:
    import httpx

    domain = os.environ.get("POLARS_CLOUD_DOMAIN") or DEFAULT_DOMAIN
    url = f"https://auth.{domain}{_PATH}"
    try:
        right = httpx.URL(url).path == _PATH and domain.split() == [domain]
    except httpx.InvalidURL:
        right = False
    if not right:
        raise ConfigurationError(
            f"The environment variable POLARS_CLOUD_DOMAIN is {domain!r}, which is no domain such as {DEFAULT_DOMAIN}."
        )
    return url


def _host(url: str) -> str:
    """Return host and port, without a user name."""
    import httpx

    return httpx.URL(url).netloc.decode()


def _post(url: str, account: Account, seconds: float) -> _Answer:
    """Return the answer to the form that the client posts. Raises nothing: an error would carry the form."""
    import httpx

    deadline = time.monotonic() + seconds
    try:
        form = {
            "client_id": "PolarsCloud",
            "grant_type": "password",
            "username": f"{account.client_id}@sa.cloud.pola.rs",
            "password": account.client_secret,
        }
        body = bytearray()
        with (
            httpx.Client(verify=ssl.create_default_context(), timeout=seconds, follow_redirects=False) as client,
            client.stream("POST", url, data=form, headers={"accept-encoding": "identity"}) as response,
        ):
            for part in response.iter_raw():
                body += part
                if len(body) > _LARGEST_ANSWER or time.monotonic() > deadline:
                    return _Answer(failure="an answer without an end")
        return _Answer(response.status_code, bytes(body))
    except (httpx.HTTPError, ImportError) as error:
        return _Answer(failure=f"no answer ({type(error).__name__}: {error})")
    except Exception as error:
        return _Answer(failure=f"no answer ({type(error).__name__})")


def _read(answer: _Answer) -> str:
    """Return ``accepted``, ``refused``, or what came instead, as words."""
    if answer.failure:
        return answer.failure
    told = _json_object(answer.body)
    status = answer.status
    if 200 <= status < 300:
        token = told.get("access_token")
        return "accepted" if isinstance(token, str) and token else f"status {status} without a token"
    if status == HTTPStatus.UNAUTHORIZED:
        return "refused"
    if status in (HTTPStatus.BAD_REQUEST, HTTPStatus.FORBIDDEN) and told.get("error") in _REFUSALS:
        return "refused"
    return f"status {status}"


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
