"""One task without a database: what the harness shows of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk import Asset, BaseHook, BaseOperator, Context, Metadata, Variable, task
from sqlalchemy import event
from sqlalchemy.pool import Pool

from tests.harness.execution_api import ApiRequest, TaskKey, XComKey

if TYPE_CHECKING:
    from tests.harness.in_memory import InMemoryAirflow


MOMENT = datetime(2026, 1, 2, tzinfo=timezone.utc)


@pytest.fixture(autouse=True)
def no_database() -> Iterator[None]:
    """Fail the test when anything opened a database connection."""
    opened: list[object] = []

    def record(connection: object, *_: object) -> None:
        opened.append(connection)

    event.listen(Pool, "checkout", record)
    yield
    event.remove(Pool, "checkout", record)
    assert opened == []


class Wait(BaseOperator):
    """Defers once, then returns what it handed to itself and what the trigger sent."""

    def execute(self, context: Context) -> Any:
        """Defer until a fixed moment."""
        self.defer(trigger=DateTimeTrigger(MOMENT), method_name="done", kwargs={"since": "yesterday"})

    def done(self, context: Context, since: str, event: Any) -> list[Any]:
        """Return both arguments."""
        return [since, event]


def test_success_returns_xcom_and_rendered_fields(in_memory_airflow: InMemoryAirflow) -> None:
    """The value, the rendered templates and the order of requests are there."""

    @task
    def greet(name: str) -> str:
        return f"hello {name}"

    outcome = in_memory_airflow.run_task(greet("{{ run_id }} {{ dag_run.conf.who }}"), run_id="r1", conf={"who": "me"})
    assert (outcome.state, outcome.result, outcome.error) == ("success", "hello r1 me", None)
    assert outcome.rendered_fields["op_args"] == ["r1 me"]
    assert [request.path.rpartition("/")[2] for request in outcome.requests] == ["run", "rtif", "return_value", "state"]


def test_failure_keeps_the_exception(in_memory_airflow: InMemoryAirflow) -> None:
    """Without tries left the task fails with what it raised."""

    @task
    def fail() -> None:
        raise ValueError("on purpose")

    outcome = in_memory_airflow.run_task(fail())
    assert (outcome.state, str(outcome.error), outcome.xcoms) == ("failed", "on purpose", {})


def test_xcom_variable_and_connection_are_read(in_memory_airflow: InMemoryAirflow) -> None:
    """All three come from the harness's dictionaries, also through templates."""
    in_memory_airflow.variables["colour"] = "green"
    in_memory_airflow.add_connection("store", "http", host="example.invalid", port=8443, extra={"depth": 3})

    @task
    def read(templated: str, ti: Any = None) -> list[Any]:
        connection = BaseHook.get_connection("store")
        pulled = ti.xcom_pull(task_ids="upstream")
        return [templated, pulled, Variable.get("colour"), connection.port, connection.extra_dejson]

    outcome = in_memory_airflow.run_task(
        read("{{ conn.store.host }} {{ var.value.colour }}"), xcoms={"upstream": {"rows": 7}}
    )
    assert outcome.result == ["example.invalid green", {"rows": 7}, "green", 8443, {"depth": 3}]


def test_unknown_variable_is_the_error_a_server_causes(in_memory_airflow: InMemoryAirflow) -> None:
    """A missing Variable fails the task and is not retried as a server error."""

    @task
    def read() -> str:
        return str(Variable.get("absent"))

    outcome = in_memory_airflow.run_task(read())
    assert outcome.state == "failed"
    assert "VARIABLE_NOT_FOUND" in str(outcome.error)


def test_unknown_route_is_not_found(in_memory_airflow: InMemoryAirflow) -> None:
    """What the harness does not serve is recorded and answered with 404, which Airflow's client does not repeat."""
    with httpx.Client(base_url="http://in-memory.invalid", transport=httpx.MockTransport(in_memory_airflow)) as client:
        answer = client.get("/hitlDetails/1", params={"full": "yes"})
    assert (answer.status_code, answer.json()["detail"]["reason"]) == (404, "not_found")
    assert in_memory_airflow.requests == [ApiRequest("GET", "hitlDetails/1", httpx.QueryParams(full="yes"), None)]


def test_mapped_upstream_is_pulled_as_a_sequence(in_memory_airflow: InMemoryAirflow) -> None:
    """Values of map indexes arrive in their order, by slice and by item."""
    for index in (2, 0, 1):
        in_memory_airflow.push_xcom(XComKey("in_memory", "manual", "parts", map_index=index), index * 10)

    @task
    def pull(ti: Any = None) -> list[Any]:
        return [ti.xcom_pull(task_ids="parts"), ti.xcom_pull(task_ids="parts", map_indexes=2)]

    assert in_memory_airflow.run_task(pull()).result == [[0, 10, 20], 20]


def test_state_store_survives_a_retry_and_xcoms_do_not(in_memory_airflow: InMemoryAirflow) -> None:
    """The second try finds what the first stored; the first's XCom is gone."""

    @task
    def submit(ti: Any = None, task_state_store: Any = None) -> str:
        if found := task_state_store.get("query/id"):
            task_state_store.delete("query/id")
            return str(found)
        task_state_store.set("query/id", "q-1")
        ti.xcom_push("progress", 1)
        raise RuntimeError("lost")

    work = submit()
    first = in_memory_airflow.run_task(work, try_number=1, max_tries=1)
    assert (first.state, first.state_store, first.xcoms) == ("up_for_retry", {"query/id": "q-1"}, {"progress": 1})
    second = in_memory_airflow.run_task(work, try_number=2, max_tries=1)
    assert (second.state, second.state_store, second.xcoms) == ("success", {}, {"return_value": "q-1"})
    assert list(in_memory_airflow.task_state_store) == [TaskKey("submit", "manual")]


def test_last_try_is_not_retried(in_memory_airflow: InMemoryAirflow) -> None:
    """``max_tries`` counts retries, so try 2 of 1 + 1 is the last."""

    @task
    def fail() -> None:
        raise ValueError

    work = fail()
    states = [in_memory_airflow.run_task(work, try_number=number, max_tries=1).state for number in (1, 2)]
    assert states == ["up_for_retry", "failed"]


def test_deferral_is_resumed_with_kwargs_and_event(in_memory_airflow: InMemoryAirflow) -> None:
    """The trigger can be rebuilt, and the method gets the operator's kwargs as well as the event."""
    wait = Wait(task_id="wait")
    deferred = in_memory_airflow.run_task(wait)
    assert deferred.state == "deferred"
    trigger = deferred.trigger()
    assert (type(trigger), trigger.moment) == (DateTimeTrigger, MOMENT)
    resumed = in_memory_airflow.resume(wait, deferred, {"rows": 1})
    assert (resumed.state, resumed.result) == ("success", ["yesterday", {"rows": 1}])


def test_outlet_events_and_inlets(in_memory_airflow: InMemoryAirflow) -> None:
    """An event of one task is in its final message, and inlet events come from the harness."""
    asset = Asset("table", uri="s3://bucket/table")
    in_memory_airflow.assets.append({"name": "table", "uri": "s3://bucket/table"})
    in_memory_airflow.asset_events.append(
        {
            "id": 1,
            "timestamp": "2026-01-01T00:00:00Z",
            "extra": {"rows": 5},
            "asset": {"name": "table", "uri": "s3://bucket/table", "group": "asset", "extra": {}},
            "created_dagruns": [],
        }
    )

    @task(inlets=[asset], outlets=[asset])
    def write(inlet_events: Any = None) -> Any:
        yield Metadata(asset, {"rows": inlet_events[asset][-1].extra["rows"] + 1})

    outcome = in_memory_airflow.run_task(write())
    assert outcome.state == "success"
    assert [profile.name for profile in outcome.msg.task_outlets] == ["table"]
    assert [item["extra"] for item in outcome.msg.outlet_events] == [{"rows": 6}]


def test_process_is_left_as_found(in_memory_airflow: InMemoryAirflow) -> None:
    """Neither the task runner's signal handler nor its variables outlive the task."""
    before = (signal.getsignal(signal.SIGTERM), dict(os.environ))

    @task
    def look() -> list[bool]:
        return [signal.getsignal(signal.SIGTERM) != before[0], "AIRFLOW_CTX_DAG_ID" in os.environ]

    assert in_memory_airflow.run_task(look()).result == [True, True]
    assert (signal.getsignal(signal.SIGTERM), dict(os.environ)) == before
