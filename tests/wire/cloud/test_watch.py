"""``QueryWatch`` on instances: of queries in proxy mode Polars Cloud is asked, and of all of them at once."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_polars.backends import query_watch, rounds, watch_connections
from airflow_provider_polars.backends.base import Run, RunState
from airflow_provider_polars.backends.query_watch import QueryWatch
from airflow_provider_polars.compute.base import Compute
from airflow_provider_polars.hooks.polars import make_hook
from airflow_provider_polars.triggers.watches import watching
from tests.wire.cloud.tasks import CloudTasks, compute
from tests.wire.watch.watching import on_a_loop, outcome_of, until

if TYPE_CHECKING:
    from tests.wire.gates import Gate

LIST, LOOK = "GET workspace/*/query", "GET workspace/*/query/*"
MANY = 6

Submit = Callable[[int], list[Run]]


@pytest.fixture
def handle(cloud: CloudTasks) -> dict[str, Any]:
    """Return an instance in proxy mode."""
    return cloud.started(compute(connection_mode="proxy"))


@pytest.fixture
def submit(cloud: CloudTasks, handle: dict[str, Any], gate: Gate) -> Submit:
    """Return ``submit(number)``, which submits queries that the gate holds, with nothing recorded of them."""

    def submit(number: int) -> list[Run]:
        outcomes = [
            cloud.query(handle, lambda name=f"held-{index}": gate.frame(name), task_id=f"query-{index}", wait=False)
            for index in range(number)
        ]
        gate.wait_until_started("held-0")
        cloud.plane.recorder.forget()
        return [Run.from_dict(outcome.result) for outcome in outcomes]

    return submit


@asynccontextmanager
async def watch_of(handle: dict[str, Any], **options: Any) -> AsyncIterator[QueryWatch]:
    """Give a watch of an instance; close it at the end."""
    wanted = Compute.from_dict(handle)
    watch = QueryWatch(lambda: make_hook(wanted, None).get_backend(wanted), **options)  # type: ignore[arg-type,return-value]
    try:
        yield watch
    finally:
        await watch.close()


def awaiting(watch: QueryWatch, runs: list[Run]) -> list[asyncio.Task[RunState]]:
    return [asyncio.create_task(watch.ended(run)) for run in runs]


def looks_since_all_are_listed(cloud: CloudTasks) -> list[str]:
    """Return the requests for single queries; the first round may be before all are awaited."""
    calls = [call["call"] for call in cloud.plane.recorder.calls()]
    return [call for call in calls[calls.index(LIST) :] if call == LOOK]


def test_many_queries_are_asked_for_by_one_request_a_round(
    cloud: CloudTasks, handle: dict[str, Any], submit: Submit, gate: Gate
) -> None:
    runs, recorder = submit(MANY), cloud.plane.recorder

    async def wait() -> list[RunState]:
        async with watch_of(handle) as watch:
            ended = awaiting(watch, runs)
            await until(lambda: len(recorder.calls(LIST)) >= 3)
            assert looks_since_all_are_listed(cloud) == []
            gate.open()
            return await asyncio.gather(*ended)

    assert on_a_loop(wait()) == [RunState.SUCCEEDED] * MANY
    times = [call["time"] for call in recorder.calls(LIST)]
    assert min(later - earlier for earlier, later in itertools.pairwise(times)) > 0.8 * rounds.PAUSE_SECONDS


def test_queries_on_two_instances_of_a_workspace_are_asked_for_together(cloud: CloudTasks, gate: Gate) -> None:
    handles = [cloud.started(compute(connection_mode="proxy"), run_id=f"run-{number}") for number in range(2)]
    runs = {
        index: [
            Run.from_dict(cloud.query(handle, lambda: gate.frame("held"), task_id=f"query-{number}", wait=False).result)
            for number in range(MANY // 2)
        ]
        for index, handle in enumerate(handles)
    }
    recorder = cloud.plane.recorder
    recorder.forget()

    async def wait() -> list[RunState]:
        async with watching(handles[0], None) as one, watching(handles[1], None) as other:
            assert one is not other
            ended = awaiting(one, runs[0]) + awaiting(other, runs[1])
            await until(lambda: len(recorder.calls(LIST)) >= 3)
            assert looks_since_all_are_listed(cloud) == []
            gate.open()
            return await asyncio.gather(*ended)

    assert on_a_loop(wait()) == [RunState.SUCCEEDED] * MANY
    times = [call["time"] for call in recorder.calls(LIST)]
    assert min(later - earlier for earlier, later in itertools.pairwise(times)) > 0.8 * rounds.PAUSE_SECONDS


def test_a_service_that_asks_to_be_left_alone_is_asked_again_by_one(
    cloud: CloudTasks, handle: dict[str, Any], submit: Submit, gate: Gate
) -> None:
    runs, recorder = submit(MANY), cloud.plane.recorder
    cloud.plane.faults.add(LIST, "answer", status=429, message="slow down")

    async def wait() -> list[RunState]:
        async with watch_of(handle) as watch:
            ended = awaiting(watch, runs)
            await until(lambda: len(recorder.calls(LIST)) >= 2)
            assert looks_since_all_are_listed(cloud) == []
            gate.open()
            return await asyncio.gather(*ended)

    assert on_a_loop(wait()) == [RunState.SUCCEEDED] * MANY


@pytest.mark.parametrize("port", ["api", "token"])
def test_a_service_that_is_away_for_a_while_is_ridden_out(
    cloud: CloudTasks, handle: dict[str, Any], submit: Submit, gate: Gate, port: str
) -> None:
    runs, recorder = submit(MANY), cloud.plane.recorder

    async def wait() -> list[RunState]:
        async with watch_of(handle) as watch:
            ended = awaiting(watch, runs)
            await until(lambda: recorder.calls(LIST))
            await asyncio.to_thread(cloud.plane.shut, port)
            await asyncio.to_thread(cloud.plane.expire_tokens)
            gate.open()
            await asyncio.sleep(1.5)
            await asyncio.to_thread(cloud.plane.open, port)
            return await asyncio.gather(*ended)

    assert on_a_loop(wait()) == [RunState.SUCCEEDED] * MANY


def test_a_token_that_has_expired_is_renewed(
    cloud: CloudTasks, handle: dict[str, Any], submit: Submit, gate: Gate
) -> None:
    runs, recorder = submit(MANY), cloud.plane.recorder

    async def wait() -> tuple[int, list[RunState]]:
        async with watch_of(handle) as watch:
            ended = awaiting(watch, runs)
            await until(lambda: recorder.calls(LIST))
            fetched = len(recorder.calls("POST token"))
            await asyncio.to_thread(cloud.plane.expire_tokens)
            gate.open()
            states = await asyncio.gather(*ended)
            return len(recorder.calls("POST token")) - fetched, states

    assert on_a_loop(wait()) == (1, [RunState.SUCCEEDED] * MANY)


def test_queries_of_an_instance_that_dies_are_lost(
    cloud: CloudTasks, handle: dict[str, Any], submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query_watch, "LOOK_SECONDS", 0.1)
    runs, recorder = submit(MANY), cloud.plane.recorder

    async def wait() -> list[RunState]:
        async with watch_of(handle) as watch:
            ended = awaiting(watch, runs)
            await until(lambda: recorder.calls(LIST))
            await asyncio.to_thread(cloud.plane.kill, handle["compute_id"])
            states = await asyncio.gather(*ended)
            assert await watch.cancel(runs) == []
            return states

    assert set(on_a_loop(wait())) <= {RunState.LOST, RunState.FAILED}


def test_a_query_that_is_taken_for_running_is_lost_with_its_instance(
    cloud: CloudTasks, handle: dict[str, Any], submit: Submit, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query_watch, "LOOK_SECONDS", 0.1)
    (run,) = submit(1)
    told = {"id": run.query_id, "status_code": "InProgress"}
    cloud.plane.faults.add(LOOK, "answer", status=200, body=told, times=None)

    async def wait() -> RunState:
        async with watch_of(handle) as watch:
            (ended,) = awaiting(watch, [run])
            await until(lambda: cloud.plane.recorder.calls(LOOK))
            await asyncio.to_thread(cloud.plane.kill, handle["compute_id"])
            return await ended

    assert on_a_loop(wait()) is RunState.LOST


def test_a_cancel_is_confirmed_in_either_mode(cloud: CloudTasks, gate: Gate, mode: str) -> None:
    handle = cloud.started(compute(connection_mode=mode))
    run = Run.from_dict(cloud.query(handle, lambda: gate.frame("held"), wait=False).result)
    gate.wait_until_started("held")

    async def cancel() -> tuple[list[Run], RunState]:
        async with watch_of(handle) as watch:
            return await watch.cancel([run]), await watch.ended(run)

    assert on_a_loop(cancel()) == ([], RunState.CANCELLED)


@pytest.mark.parametrize("status", [503, 429])
def test_a_service_that_does_not_answer_once_ends_no_cancel(
    cloud: CloudTasks, handle: dict[str, Any], submit: Submit, status: int
) -> None:
    runs = submit(1)
    fault = cloud.plane.faults.add(LOOK, "answer", status=status, message="not now")

    async def cancel() -> list[Run]:
        async with watch_of(handle) as watch:
            return await watch.cancel(runs)

    assert on_a_loop(cancel()) == []
    assert cloud.plane.faults.hits(fault) == 1


def test_an_instance_that_refuses_its_token_is_shown_a_new_one(
    cloud: CloudTasks, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch_connections, "RENEW_SECONDS", 0.1)
    handle = cloud.started(compute(connection_mode="direct"))
    run = Run.from_dict(cloud.query(handle, lambda: gate.frame("held"), wait=False).result)
    gate.wait_until_started("held")
    faults = cloud.plane.faults_of(handle["compute_id"])
    refusal = faults.add("GetQueryStatus", "answer", status="UNAUTHENTICATED")

    async def wait() -> RunState:
        async with watch_of(handle) as watch:
            (ended,) = awaiting(watch, [run])
            await until(lambda: faults.hits(refusal))
            gate.open()
            return await ended

    assert on_a_loop(wait()) is RunState.SUCCEEDED


def test_a_direct_instance_that_dies_loses_its_queries(cloud: CloudTasks, gate: Gate) -> None:
    handle = cloud.started(compute(connection_mode="direct"))
    run = Run.from_dict(cloud.query(handle, lambda: gate.frame("held"), wait=False).result)
    gate.wait_until_started("held")

    async def wait() -> Any:
        async with watch_of(handle) as watch:
            (ended,) = awaiting(watch, [run])
            await until(lambda: cloud.records(handle, "GetQueryResult"))
            await asyncio.to_thread(cloud.plane.kill, handle["compute_id"])
            return await outcome_of(ended)

    assert on_a_loop(wait()) is RunState.LOST
