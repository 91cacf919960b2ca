"""The tasks that start and stop a compute, run one by one in Airflow, with a manager that follows a script."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG

from airflow_provider_polars import (
    CloudCompute,
    Compute,
    PolarsStartComputeOperator,
    PolarsSweepComputeOperator,
    compute_lifecycle,
    polars_compute,
)
from airflow_provider_polars.backends.managing import ComputeState, Found
from airflow_provider_polars.exceptions import ClusterUnreachableError, ConfigurationError
from airflow_provider_polars.hooks.cloud import PolarsCloudHook
from tests.harness.execution_api import TaskKey, XComKey
from tests.unit.operators.compute_tasks import MINE, SOMEBODY_ELSES, start, stop
from tests.unit.outcomes import failure, succeeded
from tests.unit.scripted_backend import RUNNING, SUCCEEDED, Cluster, ScriptedBackend
from tests.unit.scripted_manager import (
    ASKED,
    HANDLE,
    INSTANCE,
    READY,
    REQUESTED,
    STARTING,
    STOPPING,
    Service,
    status,
)

if TYPE_CHECKING:
    from tests.harness.in_memory import InMemoryAirflow

pytestmark = pytest.mark.usefixtures("service")
SOON = 10.0
RUN = "manual"


@pytest.fixture
def queries(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    """Let a scripted cluster take the place of what runs the queries of the compute; return it."""
    cluster = Cluster()
    monkeypatch.setattr(PolarsCloudHook, "get_backend", lambda hook, compute: ScriptedBackend(cluster))
    return cluster


def tell_states(airflow: InMemoryAirflow, **states: str | None) -> None:
    """Let the tasks of the run have these states; ``name_0`` is the first instance of a mapped task."""
    for name, state in states.items():
        task_id, _, index = name.partition("_")
        airflow.task_states[TaskKey(task_id, RUN, int(index or -1))] = state  # type: ignore[assignment]


# ---- start


def test_a_start_returns_a_handle_that_other_tasks_take_for_their_compute(
    in_memory_airflow: InMemoryAirflow, service: Service
) -> None:
    result = succeeded(in_memory_airflow.run_task(start()))
    handle = Compute.from_dict(result)
    assert isinstance(handle, CloudCompute)
    assert (handle.compute_id, handle.cpus, handle.needs_start) == (INSTANCE, 2, False)
    assert handle.ready_at is not None
    assert service.events == ["find", "start"]
    assert service.closed == 1


@pytest.mark.parametrize("state", ["success", "failed", "skipped", "upstream_failed", "removed"])
def test_nothing_is_started_where_no_user_is_left_to_run(
    in_memory_airflow: InMemoryAirflow, service: Service, state: str
) -> None:
    tell_states(in_memory_airflow, a="success", b=state)
    outcome = in_memory_airflow.run_task(start(users=["a", "b"]))
    assert outcome.state == "skipped"
    assert outcome.result is None
    assert service.events == ["find"]
    assert service.closed == 1


@pytest.mark.parametrize(
    "state", [None, "scheduled", "queued", "running", "restarting", "up_for_retry", "up_for_reschedule", "deferred"]
)
def test_a_compute_is_started_where_one_user_waits(
    in_memory_airflow: InMemoryAirflow, service: Service, state: str | None
) -> None:
    tell_states(in_memory_airflow, a="success", b=state)
    succeeded(in_memory_airflow.run_task(start(users=["a", "b"])))
    assert service.events == ["find", "start"]


def test_a_user_of_which_nothing_is_known_yet_is_waited_for(
    in_memory_airflow: InMemoryAirflow, service: Service
) -> None:
    """As a mapped task that is not expanded, in an Airflow that has not made its instances."""
    tell_states(in_memory_airflow, a="success")
    succeeded(in_memory_airflow.run_task(start(users=["a", "mapped"])))
    assert service.events == ["find", "start"]


@pytest.mark.parametrize(("last", "state"), [("success", "skipped"), ("queued", "success"), (None, "success")])
def test_each_instance_of_a_mapped_user_counts(
    in_memory_airflow: InMemoryAirflow, last: str | None, state: str
) -> None:
    tell_states(in_memory_airflow, mapped_0="success", mapped_1="failed", mapped_12=last)
    assert in_memory_airflow.run_task(start(users=["mapped"])).state == state


def test_a_task_whose_name_begins_with_that_of_a_user_does_not_count(in_memory_airflow: InMemoryAirflow) -> None:
    in_memory_airflow.task_states |= {
        TaskKey("load", RUN): "success",
        TaskKey("load_all", RUN): "queued",
        TaskKey("preload", RUN): "queued",
        TaskKey("load", "another run"): "queued",
    }
    assert in_memory_airflow.run_task(start(users=["load"])).state == "skipped"


def test_of_a_mapped_group_the_users_of_the_same_index_are_asked_about(in_memory_airflow: InMemoryAirflow) -> None:
    tell_states(in_memory_airflow, a_2="success")
    outcome = in_memory_airflow.run_task(start(users=["a"]), map_index=2)
    (asked,) = [request for request in outcome.requests if request.path == "task-instances/states"]
    assert (asked.params["map_index"], asked.params["task_ids"], asked.params["run_ids"]) == ("2", "a", RUN)
    assert outcome.state == "skipped"


def test_what_lives_is_adopted_whoever_is_left_to_use_it(in_memory_airflow: InMemoryAirflow, service: Service) -> None:
    """A stop that follows needs its handle, and would not find it otherwise."""
    service.lives = True
    tell_states(in_memory_airflow, a="success")
    assert succeeded(in_memory_airflow.run_task(start(users=["a"])))["compute_id"] == INSTANCE
    assert service.events == ["find"]


def test_a_start_of_its_own_has_no_users_to_ask_about(in_memory_airflow: InMemoryAirflow) -> None:
    outcome = in_memory_airflow.run_task(start())
    assert [request.path for request in outcome.requests if "states" in request.path] == []
    succeeded(outcome)


def test_the_page_of_a_compute_is_there_before_it_is_ready(
    in_memory_airflow: InMemoryAirflow, service: Service
) -> None:
    service.page, service.statuses = "https://portal.example/compute/1", [status(ComputeState.FAILED, "no capacity")]
    outcome = in_memory_airflow.run_task(start(retries=1), max_tries=1)
    assert outcome.state == "up_for_retry"
    assert outcome.xcoms["polars_compute_link"] == service.page
    assert service.events == ["find", "start", "stop", "forget"]


def test_a_compute_without_a_page_has_no_link(in_memory_airflow: InMemoryAirflow) -> None:
    assert set(in_memory_airflow.run_task(start()).xcoms) == {"return_value"}


def test_a_start_that_is_killed_is_undone(
    in_memory_airflow: InMemoryAirflow, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compute_lifecycle, "LOOK_SECONDS", 0.2)
    service.statuses = [STARTING]
    killer = threading.Thread(target=lambda: service.looked.wait(SOON) and os.kill(os.getpid(), signal.SIGTERM))
    killer.start()
    outcome = in_memory_airflow.run_task(start(retries=1), max_tries=1)
    killer.join(SOON)
    assert "The task was killed" in str(outcome.error)
    assert service.events[:3] == ["find", "start", "give up"]
    assert service.closed == 1


@pytest.mark.parametrize(("lives", "events"), [(True, ["find"]), (False, ["find", "start", "give up"])])
def test_a_start_that_is_killed_at_its_end_fails(
    in_memory_airflow: InMemoryAirflow, service: Service, lives: bool, events: list[str]
) -> None:
    """What it has adopted is left alone: other tasks may use it."""
    service.lives = lives
    service.before_close = lambda: os.kill(os.getpid(), signal.SIGTERM)
    outcome = in_memory_airflow.run_task(start(retries=1), max_tries=1)
    assert str(outcome.error).startswith("The task was killed; CloudCompute(")
    assert outcome.result is None
    assert service.events == events


# ---- stop


def test_a_stop_tells_what_the_compute_has_cost(
    in_memory_airflow: InMemoryAirflow, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__POLARS__VCPU_HOUR_PRICE", "0.05")
    service.after_stop = [status(ComputeState.STOPPED, "StoppedByUser", ended=REQUESTED + 5400, vcpus=8)]
    assert succeeded(in_memory_airflow.run_task(stop(MINE.to_dict()))) == {
        "compute_id": INSTANCE,
        "minutes": 90.0,
        "vcpus": 8,
        "end": "StoppedByUser",
        "cancelled": [],
        "cost": 0.6,
    }
    assert service.events == ["stop", "forget"]
    assert service.closed == 1


def test_without_a_price_there_is_no_cost(in_memory_airflow: InMemoryAirflow) -> None:
    assert "cost" not in succeeded(in_memory_airflow.run_task(stop()))


@pytest.fixture
def wrong_price(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the price be none."""
    monkeypatch.setenv("AIRFLOW__POLARS__VCPU_HOUR_PRICE", "0,05")


@pytest.mark.usefixtures("wrong_price")
def test_with_a_price_that_is_none_nothing_is_started(in_memory_airflow: InMemoryAirflow, service: Service) -> None:
    text = failure(in_memory_airflow.run_task(start(), max_tries=3))
    assert text.startswith("ConfigurationError: [polars] vcpu_hour_price must be a number such as 0.05")
    assert service.events == ["find"]


@pytest.mark.usefixtures("wrong_price")
def test_with_a_price_that_is_none_what_lives_is_adopted(in_memory_airflow: InMemoryAirflow, service: Service) -> None:
    """The stop needs its handle."""
    service.lives = True
    assert succeeded(in_memory_airflow.run_task(start()))["compute_id"] == INSTANCE


@pytest.mark.usefixtures("wrong_price")
def test_a_price_that_is_none_keeps_nothing_from_its_stop(
    in_memory_airflow: InMemoryAirflow, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    assert "cost" not in succeeded(in_memory_airflow.run_task(stop()))
    assert service.events == ["stop", "forget"]
    assert "What computes have cost is not told: [polars] vcpu_hour_price must be a number" in caplog.text


@pytest.mark.parametrize("value", [0, "soon", None, "{{ 0 }}", "{{ 1 / 0 }}", "{{ params.absent.name }}"])
def test_a_time_limit_that_is_none_keeps_nothing_from_its_stop(
    in_memory_airflow: InMemoryAirflow, service: Service, capsys: pytest.CaptureFixture[str], value: Any
) -> None:
    succeeded(in_memory_airflow.run_task(stop(stop_timeout=value)))
    assert service.events == ["stop", "forget"]
    assert "It counts as 600: no argument keeps a compute from its stop." in capsys.readouterr().out


def test_a_page_that_cannot_be_shown_keeps_nothing_from_its_stop(
    in_memory_airflow: InMemoryAirflow, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(context: object, url: str) -> None:
        raise OSError("XCom is away")

    monkeypatch.setattr("airflow_provider_polars.operators.stop_compute.push", fail)
    service.page = "https://portal.example/compute/1"
    outcome = in_memory_airflow.run_task(stop())
    assert succeeded(outcome)["compute_id"] == INSTANCE
    assert set(outcome.xcoms) == {"return_value"}
    assert service.events == ["stop", "forget"]


def test_where_nothing_was_started_there_is_nothing_to_stop(
    in_memory_airflow: InMemoryAirflow, service: Service
) -> None:
    """As after a start that was skipped, whose output is None."""
    with DAG("skipped", schedule=None), polars_compute("etl", ASKED) as group:
        PolarsStartComputeOperator(task_id="user", compute=ASKED)
    assert succeeded(in_memory_airflow.run_task(group.stop, xcoms={"etl.start_compute": None})) is None
    assert succeeded(in_memory_airflow.run_task(stop(None))) is None
    assert service.events == []


def test_a_stop_of_a_group_takes_what_its_start_has_returned(
    in_memory_airflow: InMemoryAirflow, service: Service
) -> None:
    with DAG("started", schedule=None), polars_compute("etl", ASKED) as group:
        PolarsStartComputeOperator(task_id="user", compute=ASKED)
    result = succeeded(in_memory_airflow.run_task(group.stop, xcoms={"etl.start_compute": MINE.to_dict()}))
    assert result["compute_id"] == INSTANCE
    assert service.events == ["stop", "forget"]


@pytest.mark.parametrize("compute", [SOMEBODY_ELSES, SOMEBODY_ELSES.to_dict()])
def test_a_compute_that_was_not_started_here_is_left_alone(
    in_memory_airflow: InMemoryAirflow, service: Service, compute: Any
) -> None:
    assert succeeded(in_memory_airflow.run_task(stop(compute))) is None
    assert service.events == []


def test_a_compute_of_another_deployment_is_told_and_left_alone(
    in_memory_airflow: InMemoryAirflow, service: Service
) -> None:
    service.errors["is ours"] = ConfigurationError("it carries the mark of another deployment")
    text = failure(in_memory_airflow.run_task(stop(), max_tries=3))
    assert text == "ConfigurationError: it carries the mark of another deployment"
    assert service.events == []
    assert service.closed == 1


def test_a_compute_that_was_never_started_cannot_be_stopped(
    in_memory_airflow: InMemoryAirflow, service: Service
) -> None:
    text = failure(in_memory_airflow.run_task(stop(ASKED), max_tries=3))
    assert text == (
        "ConfigurationError: CloudCompute(cpus=2, memory=4) is not one that was started. Give compute= what "
        "PolarsStartComputeOperator returns."
    )
    assert service.events == []


def test_a_stop_that_is_not_confirmed_is_tried_again(in_memory_airflow: InMemoryAirflow, service: Service) -> None:
    service.after_stop = [STOPPING]
    outcome = in_memory_airflow.run_task(stop(stop_timeout=0.05), max_tries=3)
    assert outcome.state == "up_for_retry"
    assert f"{INSTANCE!r}" in str(outcome.error)
    assert service.closed == 1


def tell_queries(airflow: InMemoryAirflow, **ids: list[str]) -> None:
    """Let tasks have told of queries."""
    for task_id, queries in ids.items():
        airflow.push_xcom(XComKey("in_memory", RUN, task_id, "polars_queries"), queries)


def test_queries_of_users_that_still_run_are_cancelled_first(
    in_memory_airflow: InMemoryAirflow, service: Service, queries: Cluster
) -> None:
    tell_queries(in_memory_airflow, a=["q1", "q2"], b=["q3"], other=["q4"])
    queries.statuses = {"q1": [SUCCEEDED], "q2": [RUNNING], "q3": [RUNNING], "q4": [RUNNING]}
    result = succeeded(in_memory_airflow.run_task(stop(users=["a", "b", "silent"])))
    assert result["cancelled"] == ["q2", "q3"]
    assert queries.events == ["cancel q2", "cancel q3", "close"]
    assert service.events == ["stop", "forget"]


@pytest.mark.parametrize("error", [ClusterUnreachableError("nothing answers"), ZeroDivisionError()])
def test_queries_that_cannot_be_asked_about_do_not_keep_a_compute_alive(
    in_memory_airflow: InMemoryAirflow, service: Service, queries: Cluster, error: Exception
) -> None:
    tell_queries(in_memory_airflow, a=["q1"])
    queries.statuses = {"q1": [error]}
    assert succeeded(in_memory_airflow.run_task(stop(users=["a"])))["cancelled"] == []
    assert service.events == ["stop", "forget"]


def test_a_query_that_does_not_end_is_not_waited_for_for_long(
    in_memory_airflow: InMemoryAirflow, service: Service, queries: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airflow_provider_polars.operators.stop_compute.QUERIES_SECONDS", 0.05)
    tell_queries(in_memory_airflow, a=["q1"])
    queries.obeys, queries.statuses = False, {"q1": [RUNNING]}
    assert succeeded(in_memory_airflow.run_task(stop(users=["a"])))["cancelled"] == ["q1"]
    assert service.events == ["stop", "forget"]


# ---- sweep


@pytest.mark.parametrize(("hours", "limit", "place"), [(23, None, "kept"), (25, None, "stopped"), (25, 48, "kept")])
def test_what_nobody_can_be_asked_about_is_stopped_after_a_day(
    in_memory_airflow: InMemoryAirflow, service: Service, hours: float, limit: float | None, place: str
) -> None:
    """It carries our mark, and its manifest, which says whose it is and for how long, is gone."""
    service.all = [Found(status=dataclasses.replace(READY, requested=time.time() - hours * 3600), handle=HANDLE)]
    sweep = PolarsSweepComputeOperator(task_id="sweep", compute=CloudCompute(), max_lifetime=limit)
    report = succeeded(in_memory_airflow.run_task(sweep))
    (row,) = report[place]
    assert row["compute_id"] == INSTANCE
    assert row["age_minutes"] == row["billable_minutes_at_most"] == pytest.approx(hours * 60, abs=1)
    assert service.events == (["stop", "forget"] if place == "stopped" else [])


def test_a_lifetime_that_is_known_comes_before_that_day(in_memory_airflow: InMemoryAirflow, service: Service) -> None:
    asked = dataclasses.replace(READY, requested=time.time() - 2 * 3600)
    service.all = [Found(status=asked, handle=HANDLE, max_lifetime=1.0)]
    report = succeeded(in_memory_airflow.run_task(PolarsSweepComputeOperator(task_id="sweep", compute=CloudCompute())))
    assert report["stopped"][0]["why"] == "it lives for 2.0 hours, more than 1"
    assert service.events == ["stop", "forget"]


@pytest.mark.usefixtures("wrong_price")
def test_a_price_that_is_none_keeps_nothing_from_being_swept(
    in_memory_airflow: InMemoryAirflow, service: Service
) -> None:
    asked = dataclasses.replace(READY, requested=time.time() - 25 * 3600)
    service.all = [Found(status=asked, handle=HANDLE)]
    report = succeeded(in_memory_airflow.run_task(PolarsSweepComputeOperator(task_id="sweep", compute=CloudCompute())))
    assert "cost_at_most" not in report["stopped"][0]
    assert service.events == ["stop", "forget"]
