"""Calls of the REST interface of Polars Cloud, and what tests look at after them."""

from __future__ import annotations

import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from airflow_provider_polars.clients.control_plane import ControlPlane, Refusal
from airflow_provider_polars.credentials import ServiceAccount
from airflow_provider_polars.exceptions import ControlPlaneUnavailableError, CredentialsError
from tests.harness.identity import IdentityStandIn, answer
from tests.unit.clients.jwt import jwt
from tests.unit.service_accounts import everything_in

ACCOUNT = ServiceAccount("some-client", "correct-horse-battery-staple", "Variables A and B")
PATH = "workspace/w/compute"
BOUND = 30.0
"""Seconds within which a busy machine shows what takes a fraction of one."""
Ask = Callable[[ControlPlane], Any]
ASKS: list[Ask] = [
    lambda plane: plane.get(PATH),
    lambda plane: plane.post(PATH, {"name": "etl"}),
    lambda plane: plane.delete(PATH, {"name": "etl"}),
]
each_method = pytest.mark.parametrize("ask", ASKS, ids=["GET", "POST", "DELETE"])


def numbered_tokens(tokens: IdentityStandIn, seconds: float = 3600.0) -> list[str]:
    """Have each token differ from those before; return them as they are given."""
    given: list[str] = []

    def give(handler: BaseHTTPRequestHandler) -> None:
        given.append(jwt(exp=time.time() + seconds, number=len(given)))
        answer(200, {"access_token": given[-1]})(handler)

    tokens.instead = give
    return given


def error_of(plane: ControlPlane, ask: Ask, masked: list[str]) -> Exception:
    """Return the error of a call, which shows neither token nor secret anywhere, and comes soon."""
    begin = time.monotonic()
    with pytest.raises((Refusal, ControlPlaneUnavailableError, CredentialsError)) as caught:
        ask(plane)
    assert time.monotonic() - begin < BOUND
    told = everything_in(caught.value)
    assert masked
    secrets = [ACCOUNT.client_secret, *(part for token in masked for part in token.split(".")[:2])]
    assert [secret for secret in secrets if secret in told] == []
    return caught.value
