"""``QueryWatch`` and credentials that are refused: they are read anew, once for all who wait."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider_polars.backends import query_watch, watch_connections
from airflow_provider_polars.backends.base import RunState
from airflow_provider_polars.backends.query_watch import QueryWatch
from airflow_provider_polars.clients import async_compute_plane
from airflow_provider_polars.exceptions import (
    ClusterAccessError,
    ConfigurationError,
    CredentialsUnavailableError,
)
from airflow_provider_polars.testing import DevCluster
from tests.wire.fault_calls import FRAME, submit
from tests.wire.gates import Gate
from tests.wire.relay import relay_to
from tests.wire.watch.watching import (
    Held,
    awaited,
    backend_for,
    connections_to,
    on_a_loop,
    outcome_of,
    polled,
    run_of,
    until,
    watch_of,
)

UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def guarded(start_cluster: Callable[..., DevCluster]) -> DevCluster:
    """Return a cluster that asks for a token."""
    return start_cluster("--workers", "1", "--token", "right")


class Tokens:
    """Makes backends, each with the next token; the last one again and again."""

    def __init__(self, cluster: DevCluster, *tokens: str | Exception) -> None:
        self._uri = cluster.uri
        self._tokens = list(tokens)
        self.read = 0

    def __call__(self) -> Any:
        token = self._tokens[min(self.read, len(self._tokens) - 1)]
        self.read += 1
        if isinstance(token, Exception):
            raise token
        return backend_for(self._uri, headers={"authorization": f"Bearer {token}"})


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch_connections, "RENEW_SECONDS", 0.2)
    monkeypatch.setattr(query_watch, "_FIRST_PAUSE_SECONDS", 0.3)


@pytest.mark.usefixtures("_quick")
@pytest.mark.parametrize("trouble", [[], [CredentialsUnavailableError("the vault is away")]])
def test_a_token_that_is_refused_is_read_anew_once_for_all(guarded: DevCluster, trouble: list[Exception]) -> None:
    query_ids = [str(submit(guarded.context(), FRAME)._query_id) for _ in range(20)]
    tokens = Tokens(guarded, "expired", *trouble, "right")

    async def wait() -> list[RunState]:
        watch = QueryWatch(tokens)
        try:
            return await asyncio.gather(*await awaited(watch, *query_ids))
        finally:
            await watch.close()

    assert set(on_a_loop(wait())) == {RunState.SUCCEEDED}
    assert tokens.read == 2 + len(trouble)


@pytest.mark.usefixtures("_quick")
def test_a_token_that_expires_while_a_query_is_awaited_is_read_anew(
    guarded: DevCluster, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(async_compute_plane, "POLL_SECONDS", 1.0)
    query_id = str(submit(guarded.context(), gate.frame("held"))._query_id)
    tokens = Tokens(guarded, "right")

    async def wait() -> RunState:
        watch = QueryWatch(tokens)
        try:
            (ended,) = await awaited(watch, query_id)
            await until(polled(guarded))
            refusal = await asyncio.to_thread(guarded.faults.add, "GetQuery*", "answer", status="UNAUTHENTICATED")
            await until(lambda: guarded.faults.hits(refusal))
            gate.open()
            return await ended
        finally:
            await watch.close()

    assert on_a_loop(wait()) is RunState.SUCCEEDED
    assert tokens.read == 2


@pytest.mark.usefixtures("_quick")
def test_a_token_that_stays_refused_is_told_after_the_grace(guarded: DevCluster) -> None:
    tokens = Tokens(guarded, "wrong")

    async def wait() -> tuple[list[Any], float]:
        watch, begun = QueryWatch(tokens, grace=1.0), time.monotonic()
        try:
            outcomes = await asyncio.gather(*await awaited(watch, *[UNKNOWN] * 50), return_exceptions=True)
            return outcomes, time.monotonic() - begun
        finally:
            await watch.close()

    outcomes, took = on_a_loop(wait())
    assert {type(outcome) for outcome in outcomes} == {ClusterAccessError}
    assert "refuses the token" in str(outcomes[0])
    assert 1.0 < took < 5.0
    assert 2 <= tokens.read <= 5


def test_a_connection_that_is_wrong_is_told_at_once(polars_dev_cluster: DevCluster) -> None:
    tokens = Tokens(polars_dev_cluster, ConfigurationError("there is no such connection"))

    async def wait() -> Any:
        watch = QueryWatch(tokens)
        try:
            return await outcome_of(watch.ended(run_of(UNKNOWN)))
        finally:
            await watch.close()

    assert isinstance(on_a_loop(wait()), ConfigurationError)


def test_a_connection_that_leads_elsewhere_now_is_followed(
    polars_dev_cluster: DevCluster, held: Held, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_connections, "RENEW_SECONDS", 0.0)
    query_id = held()
    with relay_to(polars_dev_cluster.uri) as relay:
        uris = [relay.uri, polars_dev_cluster.uri]

        async def wait() -> RunState:
            watch = QueryWatch(lambda: backend_for(uris.pop(0)))
            try:
                (ended,) = await awaited(watch, query_id)
                await until(polled(polars_dev_cluster))
                await asyncio.to_thread(
                    polars_dev_cluster.faults.add, "GetQueryStatus", "answer", status="UNAUTHENTICATED"
                )
                other = await awaited(watch, query_id)
                await until(polled(polars_dev_cluster, 3))
                assert connections_to(relay.uri) == 0
                gate.open()
                assert await other[0] is RunState.SUCCEEDED
                return await ended
            finally:
                await watch.close()

        assert on_a_loop(wait()) is RunState.SUCCEEDED
    assert uris == []


def test_what_is_no_scheduler_is_no_end(polars_dev_cluster: DevCluster) -> None:
    polars_dev_cluster.faults.add("GetQueryStatus", "answer", status="UNIMPLEMENTED", times=None)

    async def wait() -> Any:
        async with watch_of(polars_dev_cluster.uri, grace=0.2) as watch:
            return await outcome_of(watch.ended(run_of(UNKNOWN)))

    assert isinstance(on_a_loop(wait()), ClusterAccessError)
