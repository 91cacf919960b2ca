"""Service accounts as tests look for them: in a task, and in everything that an error carries."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import task

from airflow_provider_polars.credentials import ServiceAccount
from airflow_provider_polars.exceptions import CredentialsError
from airflow_provider_polars.hooks.cloud import PolarsCloudHook

if TYPE_CHECKING:
    from tests.harness.in_memory import InMemoryAirflow


def find_account(airflow: InMemoryAirflow, conn_id: str | None = None, **names: str) -> ServiceAccount:
    """Return what the hook finds in a running task; raise what it raises there."""
    found: list[ServiceAccount] = []

    @task
    def find() -> str:
        account = PolarsCloudHook(conn_id, **names).service_account()
        found.append(account)
        return account.source

    outcome = airflow.run_task(find())
    if outcome.error is not None:
        raise outcome.error
    (account,) = found
    assert outcome.result == account.source
    return account


def everything_in(error: BaseException) -> str:
    """Return all that can be shown of an error: its chain, its attributes, and its frames with their variables."""
    return "\n".join(_shown(error, set()))


def _shown(error: BaseException | None, known: set[int]) -> Iterator[str]:
    if error is None or id(error) in known:
        return
    known.add(id(error))
    yield from traceback.format_exception(error)
    yield from (repr(value) for value in (error, error.args, vars(error)))
    for frame, _ in traceback.walk_tb(error.__traceback__):
        if "/airflow_provider_polars/" in frame.f_code.co_filename:
            yield from (f"{name}={_repr(value)}" for name, value in frame.f_locals.items())
    yield from _shown(error.__cause__, known)
    yield from _shown(error.__context__, known)


def _repr(value: Any) -> str:
    try:
        return repr(value)
    except Exception as error:
        return f"<{type(error).__name__}>"


def values(account: ServiceAccount) -> tuple[str, str]:
    """Return client id and client secret."""
    return account.client_id, account.client_secret


def refusal(airflow: InMemoryAirflow, conn_id: str | None = None, hidden: str = "hidden-value", **names: str) -> str:
    """Return the message of the error of a search, which shows the hidden value nowhere."""
    with pytest.raises(CredentialsError) as caught:
        find_account(airflow, conn_id, **names)
    assert hidden not in everything_in(caught.value)
    return str(caught.value)


class Safe:
    """A vault that a deployment might add: a dict."""

    title = "Safe"
    secrets: dict[str, str | bytes]

    def __init__(self, conn_id: str | None) -> None:
        self.conn_id = conn_id

    def read(self, name: str, where: str) -> str | bytes:
        """Return a secret."""
        return self.secrets[name]


def connect_to_safe(airflow: InMemoryAirflow, login: str | None = None, **extra: Any) -> None:
    """Make a connection whose secrets are in the safe."""
    airflow.add_connection("cloud", "polars_cloud", login=login, extra={"vault": "safe", **extra})
