"""``PolarsQueryTrigger`` on the development cluster, as the triggerer runs it."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_polars import ClusterCompute
from airflow_provider_polars.backends import query_watch
from airflow_provider_polars.backends.base import Run
from airflow_provider_polars.backends.query_watch import QueryWatch
from airflow_provider_polars.triggers import query, sharing, watches
from airflow_provider_polars.triggers.query import PolarsQueryTrigger
from tests.wire.fault_calls import submit
from tests.wire.peers import refusing_port
from tests.wire.watch.watching import Held, on_a_loop, polled, until

if TYPE_CHECKING:
    from airflow_provider_polars.testing import DevCluster
    from tests.harness.in_memory import InMemoryAirflow
    from tests.wire.gates import Gate

pytestmark = pytest.mark.usefixtures("in_memory_airflow")
REPOSITORY = Path(__file__).resolve().parents[3]
UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture(autouse=True)
def _no_lingering(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "LINGER_SECONDS", 0.0)


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the lines that triggers log."""
    lines: list[str] = []

    class Log:
        def info(self, event: str, *args: Any) -> None:
            lines.append(event % args)

        warning = info

    monkeypatch.setattr(PolarsQueryTrigger, "log", Log())
    return lines


def run_on(uri: str, query_id: str, **fields: Any) -> dict[str, Any]:
    """Return the handle of a query as triggers get it."""
    compute = ClusterCompute(uri=uri, **fields).to_dict()
    return Run(query_id=query_id, output="return_value", compute=compute, submitted_at=time.time()).to_dict()


def again(trigger: PolarsQueryTrigger) -> PolarsQueryTrigger:
    """Return the trigger that the triggerer makes of what Airflow keeps of one."""
    path, arguments = trigger.serialize()
    assert path == "airflow_provider_polars.triggers.query.PolarsQueryTrigger"
    return PolarsQueryTrigger(**json.loads(json.dumps(arguments)))


def waiting(trigger: PolarsQueryTrigger) -> asyncio.Task[dict[str, Any]]:
    """Run a trigger to its event, and return the payload of that."""

    async def first() -> dict[str, Any]:
        (event,) = [event async for event in again(trigger).run()]
        payload: dict[str, Any] = event.payload
        return payload

    return asyncio.create_task(first())


def event_of(trigger: PolarsQueryTrigger) -> dict[str, Any]:
    async def run() -> dict[str, Any]:
        return await waiting(trigger)

    return on_a_loop(run())


def state_of(cluster: DevCluster, query_id: str) -> str:
    (state,) = [query["state"] for query in cluster.queries if query["id"] == query_id]
    return str(state)


def test_the_event_has_the_states_of_all_queries(polars_dev_cluster: DevCluster, context: Any) -> None:
    runs = [run_on(polars_dev_cluster.uri, str(submit(context)._query_id)) for _ in range(2)]
    runs.append(run_on(polars_dev_cluster.uri, UNKNOWN))

    event = event_of(PolarsQueryTrigger(runs=runs))

    assert event["status"] == "ended"
    assert event["states"] == {run["query_id"]: "succeeded" for run in runs[:2]} | {UNKNOWN: "lost"}
    assert event["runs"] == runs


def test_triggers_of_one_cluster_share_a_watch(
    polars_dev_cluster: DevCluster, held: Held, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [run_on(polars_dev_cluster.uri, held(name)) for name in ("first", "second")]
    made: list[Any] = []
    backend = watches._backend
    monkeypatch.setattr(watches, "_backend", lambda *given: made.append(given) or backend(*given))

    async def run() -> list[dict[str, Any]]:
        tasks = [waiting(PolarsQueryTrigger(runs=[run])) for run in runs]
        await until(polled(polars_dev_cluster, 2))
        gate.open()
        return await asyncio.gather(*tasks)

    assert [event["status"] for event in on_a_loop(run())] == ["ended", "ended"]
    assert len(made) == 1


def test_the_deadline_is_an_event_and_tells_the_query_to_end(polars_dev_cluster: DevCluster, held: Held) -> None:
    """The task may be marked before a worker goes on with it."""
    run = run_on(polars_dev_cluster.uri, query_id := held())
    deadline = time.time() + 0.5

    event = event_of(PolarsQueryTrigger(runs=[run], deadline=deadline))

    assert (event["status"], event["states"], event["deadline"]) == ("timeout", {}, deadline)
    assert time.time() >= deadline
    assert state_of(polars_dev_cluster, query_id) == "CANCELED"


def test_a_deadline_of_a_task_that_cancels_nothing_leaves_the_query_alone(
    polars_dev_cluster: DevCluster, held: Held
) -> None:
    """As a sensor has it."""
    run = run_on(polars_dev_cluster.uri, query_id := held())

    event = event_of(PolarsQueryTrigger(runs=[run], deadline=time.time() + 0.2, cancel_on_kill=False))

    assert event["status"] == "timeout"
    assert polars_dev_cluster.recorder.calls("CancelQuery") == []
    assert state_of(polars_dev_cluster, query_id) == "IN_PROGRESS"


def test_a_cluster_that_is_away_at_the_deadline_keeps_no_task(
    polars_dev_cluster: DevCluster, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    polars_dev_cluster.faults.add("CancelQuery", "hang", times=None)
    monkeypatch.setattr(query_watch, "_ASK_SECONDS", 0.1)
    run, deadline = run_on(polars_dev_cluster.uri, held()), time.time() + 0.2

    assert event_of(PolarsQueryTrigger(runs=[run], deadline=deadline))["status"] == "timeout"


def test_a_cluster_that_stays_away_is_an_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__POLARS__UNREACHABLE_SECONDS", "0.2")
    with refusing_port() as port:
        event = event_of(PolarsQueryTrigger(runs=[run_on(f"http://127.0.0.1:{port}", UNKNOWN)]))
    assert event["status"] == "unreachable"
    assert "cannot be reached now" in event["message"]


def test_a_connection_that_does_not_exist_is_an_event() -> None:
    event = event_of(PolarsQueryTrigger(runs=[run_on("http://127.0.0.1:1", UNKNOWN)], conn_id="nowhere"))
    assert event["status"] == "failed"
    assert "'nowhere'" in event["message"]


@pytest.mark.parametrize("cancels", [True, False])
def test_a_task_that_a_person_has_ended_ends_its_query_if_it_is_to(
    polars_dev_cluster: DevCluster, held: Held, gate: Gate, said: list[str], cancels: bool
) -> None:
    trigger = PolarsQueryTrigger(runs=[run_on(polars_dev_cluster.uri, query_id := held())], cancel_on_kill=cancels)

    async def run() -> None:
        task = waiting(trigger)
        await until(polled(polars_dev_cluster))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await again(trigger).on_kill()
        await trigger.cleanup()

    on_a_loop(run())
    assert state_of(polars_dev_cluster, query_id) == ("CANCELED" if cancels else "IN_PROGRESS")
    assert said == ([f"Cancelled query {query_id}: its task was marked or cleared"] if cancels else [])


def test_a_cancel_that_is_not_confirmed_is_said(
    polars_dev_cluster: DevCluster, held: Held, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    polars_dev_cluster.faults.add("CancelQuery", "answer", status="UNAVAILABLE", times=None)
    monkeypatch.setattr(QueryWatch.cancel, "__defaults__", (0.5,))
    trigger = PolarsQueryTrigger(runs=[run_on(polars_dev_cluster.uri, query_id := held())])

    on_a_loop(trigger.on_kill())

    assert said == [f"query {query_id} was told to end, which is not confirmed: look at its compute"]


def test_a_triggerer_that_ends_cancels_nothing(polars_dev_cluster: DevCluster, held: Held) -> None:
    trigger = PolarsQueryTrigger(runs=[run_on(polars_dev_cluster.uri, query_id := held())])

    async def run() -> None:
        task = waiting(trigger)
        await until(polled(polars_dev_cluster))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await trigger.cleanup()

    on_a_loop(run())
    assert polars_dev_cluster.recorder.cancels == []
    assert state_of(polars_dev_cluster, query_id) == "IN_PROGRESS"


def test_a_trigger_that_has_fired_cancels_nothing(polars_dev_cluster: DevCluster, context: Any) -> None:
    trigger = PolarsQueryTrigger(runs=[run_on(polars_dev_cluster.uri, str(submit(context)._query_id))])

    async def run() -> None:
        assert [event.payload["status"] async for event in trigger.run()] == ["ended"]
        await trigger.on_kill()

    on_a_loop(run())
    assert polars_dev_cluster.recorder.cancels == []


def test_progress_is_said_ever_more_rarely(
    polars_dev_cluster: DevCluster, held: Held, said: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "FIRST_WORD_SECONDS", 0.1)
    monkeypatch.setattr(query, "LONGEST_SILENCE_SECONDS", 0.4)
    run = run_on(polars_dev_cluster.uri, query_id := held(), observatory=polars_dev_cluster.observatory)

    event_of(PolarsQueryTrigger(runs=[run], deadline=time.time() + 1.4))

    # After 0.1 s, and after 0.2, 0.4 and 0.4 s more.
    assert 2 <= len(said) <= 4
    assert set(said) == {f"query {query_id} runs for 0.0 minutes: 0 of 1 stages done"}


def test_an_observatory_that_hangs_delays_no_end(
    polars_dev_cluster: DevCluster, held: Held, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "FIRST_WORD_SECONDS", 0.05)
    hanging = polars_dev_cluster.faults.add("GET query", "hang", times=None)
    run = run_on(polars_dev_cluster.uri, held(), observatory=polars_dev_cluster.observatory)

    async def wait() -> float:
        task = waiting(PolarsQueryTrigger(runs=[run]))
        await until(lambda: polars_dev_cluster.faults.hits(hanging))
        gate.open()
        begun = time.monotonic()
        assert (await task)["status"] == "ended"
        return time.monotonic() - begun

    assert on_a_loop(wait()) < 1.5


@pytest.fixture
def guarded(
    start_cluster: Callable[..., DevCluster], in_memory_airflow: InMemoryAirflow, monkeypatch: pytest.MonkeyPatch
) -> Iterator[DevCluster]:
    """Return a cluster that asks for a token, which the connection ``guarded`` has."""
    cluster = start_cluster("--workers", "1", "--token", "correct-horse")
    connection = {"conn_type": "polars_cluster", "host": cluster.uri, "password": "correct-horse"}
    monkeypatch.setenv("AIRFLOW_CONN_GUARDED", json.dumps(connection))
    yield cluster
    from airflow.sdk._shared.secrets_masker import reset_secrets_masker

    reset_secrets_masker()


def test_no_secret_is_in_what_is_kept_of_a_trigger_or_in_its_event(guarded: DevCluster) -> None:
    run = run_on(guarded.uri, str(submit(guarded.context())._query_id))
    trigger = PolarsQueryTrigger(runs=[run], conn_id="guarded")

    event = event_of(trigger)

    assert event["status"] == "ended"
    assert "correct-horse" not in json.dumps([trigger.serialize(), event]) + repr(trigger)


ALONE = """
import asyncio, json, sys
from airflow_provider_polars.triggers.query import PolarsQueryTrigger

async def run():
    trigger = PolarsQueryTrigger(**json.loads(sys.argv[1]))
    return [event.payload["status"] async for event in trigger.run()]

status = asyncio.run(run())
print(json.dumps([status, [name for name in ("polars", "polars_cloud", "pyarrow") if name in sys.modules]]))
"""


def test_a_process_that_waits_has_neither_polars_nor_its_client(polars_dev_cluster: DevCluster, context: Any) -> None:
    run = run_on(polars_dev_cluster.uri, str(submit(context)._query_id))
    command = [sys.executable, "-c", ALONE, json.dumps({"runs": [run]})]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == [["ended"], []]
