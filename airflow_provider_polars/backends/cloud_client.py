"""The installed client as one service account of Polars Cloud, and its context for an instance that runs."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Iterator
from typing import Any

from airflow_provider_polars.backends.polars_client import PolarsClient
from airflow_provider_polars.clients.deadlines import within
from airflow_provider_polars.clients.tokens import Account, Token, check_service_account
from airflow_provider_polars.exceptions import (
    ComputeLostError,
    ControlPlaneUnavailableError,
    CredentialsUnavailableError,
    PolarsProviderError,
)

CALL_SECONDS = 30.0
"""For what the client asks of Polars Cloud; by itself it would take 160 s for a service that hangs."""

_identity = threading.Lock()
"""All clients of a process are one account (measured with polars_cloud 0.12): who signs in does so for all."""


@contextlib.contextmanager
def signed_in(client: PolarsClient, account: Account) -> Iterator[Token | None]:
    """Have the client be ``account`` within the block, and nobody after it. Other threads wait for their turn.

    Gives the token that the client has fetched, None for clients that do not tell.

    :raises CredentialsError: if the account is refused.
    :raises CredentialsUnavailableError: if the client gets no token.
    """
    api = client.part("constants").API_CLIENT
    with _identity:
        _clear(api)
        try:
            within(CALL_SECONDS, lambda: api.authenticate(account.client_id, account.client_secret, False))
        except Exception as error:
            _clear(api)  # or what comes next would run as the account of the environment
            check_service_account(account)  # which tells a wrong secret from a service that is down; the client cannot
            raise CredentialsUnavailableError(
                f"The Polars Cloud client could not sign in with the service account from {account.source} "
                f"({type(error).__name__}), which is accepted now: try again."
            ) from None
        try:
            yield Token.of(api.get_auth_header().removeprefix("Bearer ")) if hasattr(api, "get_auth_header") else None
        finally:
            _clear(api)


def connect(client: PolarsClient, compute_id: str, workspace_id: str) -> Any:
    """Return a ``ComputeContext`` for an instance that is ready. See that it is before.

    The client starts another instance for a context that it takes for one that has not started: this one has.

    :raises ComputeLostError: if the instance has ended meanwhile.
    :raises ControlPlaneUnavailableError: if Polars Cloud does not answer.
    """
    connecting = client.module.ComputeContext.connect
    try:
        return within(CALL_SECONDS, lambda: connecting(uuid.UUID(compute_id), uuid.UUID(workspace_id)))
    except PolarsProviderError:
        raise
    except Exception as error:
        text = " ".join(str(error).split()) or type(error).__name__
        if "incorrect state" in text or type(error).__name__ == "NotFoundError":
            raise ComputeLostError(f"The instance {compute_id} is not there any more: {text}.") from error
        raise ControlPlaneUnavailableError(
            f"The Polars Cloud client could not connect to the instance {compute_id}: {text}. Try again."
        ) from error


def _clear(api: Any) -> None:
    if hasattr(api, "clear_authentication"):
        api.clear_authentication()
