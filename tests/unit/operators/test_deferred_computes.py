"""The tasks that start and stop a compute, deferred and resumed, with a manager that follows a script."""

from __future__ import annotations

import os
import signal
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.bases.operator import TRIGGER_FAIL_REPR

from airflow_provider_polars import PolarsRemoteOperator, polars_compute
from airflow_provider_polars.exceptions import ConfigurationError
from airflow_provider_polars.marks import Owner
from airflow_provider_polars.triggers.compute import PolarsComputeTrigger
from tests.harness.execution_api import XComKey
from tests.unit.operators.compute_tasks import MINE, start, stop
from tests.unit.outcomes import failure, succeeded
from tests.unit.scripted_backend import RUNNING, Cluster, ScriptedBackend
from tests.unit.scripted_manager import (
    ASKED,
    AWAY,
    FAILED,
    HANDLE,
    INSTANCE,
    READY,
    REQUESTED,
    STARTING,
    STOPPED,
    STOPPING,
    Service,
)

if TYPE_CHECKING:
    from tests.harness.in_memory import InMemoryAirflow, TaskOutcome

pytestmark = pytest.mark.usefixtures("service")
AT_ONCE: dict[str, Any] = {"deferrable": True, "defer_after": 0}
AGAIN: dict[str, Any] = {"max_tries": 1}
START_TIMEOUT, STOP_TIMEOUT = 900, 600


def deferred(outcome: TaskOutcome) -> PolarsComputeTrigger:
    """Return the trigger that a task has deferred to."""
    assert outcome.state == "deferred", f"{outcome.state}: {outcome.error}"
    trigger = outcome.trigger()
    assert isinstance(trigger, PolarsComputeTrigger)
    return trigger


def told(trigger: PolarsComputeTrigger, status: str, **fields: Any) -> dict[str, Any]:
    """Return the payload of an event of a trigger."""
    given = {name: getattr(trigger, name) for name in ("handle", "since", "deadline", "adopted")}
    return {"status": status, "message": "", "at": time.time(), **given, **fields}


@pytest.fixture
def started(in_memory_airflow: InMemoryAirflow, service: Service) -> TaskOutcome:
    """Return a start that is deferred."""
    service.statuses = [STARTING]
    return in_memory_airflow.run_task(start(**AT_ONCE), **AGAIN)


@pytest.fixture
def stopped(in_memory_airflow: InMemoryAirflow, service: Service) -> TaskOutcome:
    """Return a stop that is deferred."""
    service.after_stop = [STOPPING]
    return in_memory_airflow.run_task(stop(**AT_ONCE), **AGAIN)


# ---- when


def test_a_compute_that_is_ready_soon_is_waited_for_on_the_worker(
    in_memory_airflow: InMemoryAirflow, service: Service
) -> None:
    service.statuses = [STARTING, STARTING, READY]
    succeeded(in_memory_airflow.run_task(start(deferrable=True)))


def test_nothing_is_deferred_unless_that_is_asked_for(in_memory_airflow: InMemoryAirflow, service: Service) -> None:
    service.statuses = [STARTING, STARTING, READY]
    succeeded(in_memory_airflow.run_task(start(defer_after=0)))
    service.after_stop = [STOPPING, STOPPED]
    succeeded(in_memory_airflow.run_task(stop(defer_after=0)))


@pytest.mark.parametrize("seconds", [-1, "soon", None, True])
def test_a_patience_that_is_none_is_refused_by_a_start_and_keeps_nothing_from_its_stop(
    in_memory_airflow: InMemoryAirflow, service: Service, seconds: Any
) -> None:
    refused = failure(in_memory_airflow.run_task(start(deferrable=True, defer_after=seconds)))
    assert "defer_after= must be a number of seconds" in refused
    assert service.events == []
    succeeded(in_memory_airflow.run_task(stop(deferrable=True, defer_after=seconds)))
    assert service.events == ["stop", "forget"]


def test_tasks_of_a_group_defer_where_they_are_told_to(in_memory_airflow: InMemoryAirflow, service: Service) -> None:
    with (
        DAG("group", schedule=None),
        polars_compute("etl", ASKED, start_kwargs=AT_ONCE, stop_kwargs=AT_ONCE) as group,
    ):
        PolarsRemoteOperator(task_id="user", sql="SELECT 1")
    service.statuses, service.after_stop = [STARTING], [STOPPING]

    assert deferred(in_memory_airflow.run_task(group.start)).until == "ready"
    outcome = in_memory_airflow.run_task(group.stop, xcoms={"etl.start_compute": MINE.to_dict()})
    assert deferred(outcome).until == "over"
    service.after_stop = [STOPPED]
    done = in_memory_airflow.resume(group.stop, outcome, told(outcome.trigger(), "over"))

    assert done.state == "success"


# ---- start


def test_a_start_that_takes_long_says_what_is_waited_for_and_for_whom(started: TaskOutcome) -> None:
    trigger = deferred(started)
    owner = Owner(deployment="tests", dag_id="in_memory", run_id="manual", task_id="start")
    assert trigger.handle == HANDLE.to_dict()
    assert (trigger.until, trigger.adopted, trigger.shared) == ("ready", False, True)
    assert Owner(**(trigger.owner or {})) == owner
    assert trigger.deadline == trigger.since + START_TIMEOUT


def test_nothing_secret_is_in_what_airflow_keeps_of_a_deferral(
    in_memory_airflow: InMemoryAirflow, service: Service
) -> None:
    service.statuses = [STARTING]
    in_memory_airflow.add_connection("cloud", "polars_cloud", login="account", password="much-too-secret")
    outcome = in_memory_airflow.run_task(start(conn_id="cloud", **AT_ONCE))
    assert deferred(outcome).conn_id == "cloud"
    assert "much-too-secret" not in f"{outcome.msg} {outcome.state_store}"


def test_the_end_of_the_task_is_a_deadline_while_it_is_deferred(
    in_memory_airflow: InMemoryAirflow, service: Service
) -> None:
    service.statuses = [STARTING]
    outcome = in_memory_airflow.run_task(start(execution_timeout=timedelta(seconds=60), **AT_ONCE))
    assert deferred(outcome).deadline == pytest.approx(time.time() + 60, abs=10)


def test_a_resumed_start_returns_the_handle(
    in_memory_airflow: InMemoryAirflow, service: Service, started: TaskOutcome
) -> None:
    service.statuses = [READY]
    event = told(started.trigger(), "ready", at=REQUESTED + 30)
    result = succeeded(in_memory_airflow.resume(start(**AT_ONCE), started, event))
    assert (result["compute_id"], result["ready_at"]) == (INSTANCE, REQUESTED + 30)
    assert service.events == ["find", "start"]
    assert service.closed == 2


def test_what_a_trigger_says_is_checked(
    in_memory_airflow: InMemoryAirflow, service: Service, started: TaskOutcome
) -> None:
    service.statuses = [FAILED]
    outcome = in_memory_airflow.resume(start(**AT_ONCE), started, told(started.trigger(), "ready"), **AGAIN)
    assert outcome.state == "up_for_retry"
    assert "did not become ready: it is Failed (Failed: no capacity)" in str(outcome.error)
    assert service.events == ["find", "start", "stop", "forget"]


@pytest.mark.parametrize(
    ("options", "limit"),
    [({}, "within 900 seconds"), ({"execution_timeout": timedelta(seconds=60)}, "the execution_timeout of the task")],
)
def test_a_start_that_is_late_is_undone(
    in_memory_airflow: InMemoryAirflow,
    service: Service,
    started: TaskOutcome,
    options: dict[str, Any],
    limit: str,
) -> None:
    since = time.time() - 1000
    deadline = since + 60 if options else since + START_TIMEOUT
    event = told(started.trigger(), "timeout", since=since, deadline=deadline)
    outcome = in_memory_airflow.resume(start(**AT_ONCE, **options), started, event, **AGAIN)
    assert outcome.state == "up_for_retry"
    assert limit in str(outcome.error)
    assert service.events == ["find", "start", "stop", "forget"]


def test_after_an_outage_the_task_looks_for_itself_and_waits_on_elsewhere(
    in_memory_airflow: InMemoryAirflow, service: Service, started: TaskOutcome
) -> None:
    service.statuses = [AWAY]
    event = told(started.trigger(), "unreachable", message="it is away")
    again = in_memory_airflow.resume(start(**AT_ONCE), started, event, **AGAIN)
    assert deferred(again).since == started.trigger().since
    assert service.events == ["find", "start"]


def test_where_no_trigger_can_wait_the_worker_does(
    in_memory_airflow: InMemoryAirflow, service: Service, started: TaskOutcome
) -> None:
    """As with a connection that the triggerer does not know."""
    service.statuses = [STARTING, STARTING, READY]
    event = told(started.trigger(), "failed", message="there is no such connection")
    succeeded(in_memory_airflow.resume(start(**AT_ONCE), started, event))
    assert service.looks == 4


@pytest.mark.parametrize("moment", ["first", "resumed"])
def test_a_start_that_is_killed_on_its_worker_is_undone(
    in_memory_airflow: InMemoryAirflow, service: Service, started: TaskOutcome, moment: str
) -> None:
    service.statuses = [STARTING]
    service.before_close = lambda: os.kill(os.getpid(), signal.SIGTERM)
    if moment == "resumed":
        outcome = in_memory_airflow.resume(start(**AT_ONCE), started, told(started.trigger(), "unreachable"), **AGAIN)
    else:
        outcome = in_memory_airflow.run_task(start(**AT_ONCE), **AGAIN)
    assert str(outcome.error).startswith("The task was killed; CloudCompute(")
    assert service.events[-1] == "give up"


@pytest.mark.parametrize("adopted", [False, True])
def test_a_trigger_that_fails_undoes_the_start(
    in_memory_airflow: InMemoryAirflow, service: Service, adopted: bool
) -> None:
    service.lives, service.statuses = adopted, [STARTING]
    outcome = in_memory_airflow.run_task(start(**AT_ONCE), **AGAIN)
    deferred(outcome)
    failed = in_memory_airflow.run_task(
        start(**AT_ONCE), next_method=TRIGGER_FAIL_REPR, next_kwargs={"error": "Trigger failure"}, **AGAIN
    )
    assert (failed.state, type(failed.error).__name__) == ("up_for_retry", "TaskDeferralError")
    assert service.events[-3:] == ["give up", "stop", "forget"]


def test_a_trigger_that_fails_leaves_alone_what_was_adopted_and_is_ready(
    in_memory_airflow: InMemoryAirflow, service: Service
) -> None:
    service.lives, service.statuses = True, [AWAY]
    deferred(in_memory_airflow.run_task(start(**AT_ONCE), **AGAIN))
    service.statuses = [READY]
    in_memory_airflow.run_task(start(**AT_ONCE), next_method=TRIGGER_FAIL_REPR, next_kwargs={}, **AGAIN)
    assert service.events == ["find"]


def test_a_trigger_that_fails_is_told_although_what_it_waited_for_cannot_be_stopped(
    in_memory_airflow: InMemoryAirflow, service: Service, started: TaskOutcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__POLARS__DEPLOYMENT_ID", "")
    failed = in_memory_airflow.run_task(
        start(**AT_ONCE), next_method=TRIGGER_FAIL_REPR, next_kwargs={"error": "Trigger failure"}, **AGAIN
    )
    assert type(failed.error).__name__ == "TaskDeferralError"


def test_the_next_try_adopts_what_a_lost_one_has_left_to_a_trigger(
    in_memory_airflow: InMemoryAirflow, service: Service, started: TaskOutcome
) -> None:
    again = in_memory_airflow.run_task(start(**AT_ONCE), try_number=2, **AGAIN)
    assert deferred(again).adopted
    assert service.events == ["find", "start", "find"]


# ---- stop


@pytest.fixture
def queries(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Let a scripted cluster take the place of what runs the queries of the compute; return it."""
    from airflow_provider_polars.hooks.cloud import PolarsCloudHook

    cluster = Cluster()
    monkeypatch.setattr(PolarsCloudHook, "get_backend", lambda hook, compute: ScriptedBackend(cluster))
    return cluster


def test_a_stop_that_takes_long_was_told_and_is_nobodys_to_undo(service: Service, stopped: TaskOutcome) -> None:
    trigger = deferred(stopped)
    assert (trigger.until, trigger.owner) == ("over", None)
    assert trigger.deadline == trigger.since + STOP_TIMEOUT
    assert service.events == ["stop"]


def test_a_resumed_stop_tells_what_it_has_cost_and_cancelled(
    in_memory_airflow: InMemoryAirflow, service: Service, queries: Cluster
) -> None:
    in_memory_airflow.push_xcom(XComKey("in_memory", "manual", "a", "polars_queries"), ["q1"])
    queries.statuses = {"q1": [RUNNING]}
    service.after_stop = [STOPPING]
    task = stop(users=["a"], **AT_ONCE)
    outcome = in_memory_airflow.run_task(task)
    service.after_stop = [STOPPED]

    report = succeeded(in_memory_airflow.resume(task, outcome, told(deferred(outcome), "over")))

    assert (report["compute_id"], report["end"], report["cancelled"]) == (INSTANCE, "Stopped", ["q1"])
    assert service.events == ["stop", "stop", "forget"]


def test_an_end_that_a_trigger_has_seen_is_checked(
    in_memory_airflow: InMemoryAirflow, service: Service, stopped: TaskOutcome
) -> None:
    again = in_memory_airflow.resume(stop(**AT_ONCE), stopped, told(stopped.trigger(), "over"))
    assert deferred(again).since == stopped.trigger().since
    assert service.events == ["stop", "stop"]


def test_a_stop_that_is_late_is_told_and_tried_again(
    in_memory_airflow: InMemoryAirflow, service: Service, stopped: TaskOutcome
) -> None:
    since = time.time() - 1000
    event = told(stopped.trigger(), "timeout", since=since, deadline=since + STOP_TIMEOUT)
    outcome = in_memory_airflow.resume(stop(**AT_ONCE), stopped, event, **AGAIN)
    assert outcome.state == "up_for_retry"
    assert "was told to stop, and has not within 600 seconds" in str(outcome.error)


def test_a_trigger_that_fails_makes_the_stop_tell_again(
    in_memory_airflow: InMemoryAirflow, service: Service, stopped: TaskOutcome
) -> None:
    failed = in_memory_airflow.run_task(
        stop(**AT_ONCE), next_method=TRIGGER_FAIL_REPR, next_kwargs={"error": "Trigger failure"}, **AGAIN
    )
    assert (failed.state, type(failed.error).__name__) == ("up_for_retry", "TaskDeferralError")
    service.after_stop = [STOPPED]
    succeeded(in_memory_airflow.run_task(stop(**AT_ONCE), try_number=2, **AGAIN))
    assert service.events == ["stop", "stop", "forget"]


def test_a_mark_that_is_not_ours_any_more_is_told_after_a_deferral_too(
    in_memory_airflow: InMemoryAirflow, service: Service, stopped: TaskOutcome
) -> None:
    service.errors["stop"] = ConfigurationError("it carries another mark")
    outcome = in_memory_airflow.resume(stop(**AT_ONCE), stopped, told(stopped.trigger(), "over"), **AGAIN)
    assert failure(outcome) == "ConfigurationError: it carries another mark"
