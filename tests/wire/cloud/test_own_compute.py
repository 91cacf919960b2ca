"""A task with a compute of its own that has to be started: started, used, stopped, whatever becomes of the task."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from airflow_provider_polars import ParquetSink
from airflow_provider_polars.operators import own_compute
from tests.harness.waiting import wait_for
from tests.wire.cloud.tasks import REGISTER_CALL, START_CALL, STOP_CALL, CloudTasks, compute, refused, retried

if TYPE_CHECKING:
    from tests.wire.gates import Gate


@pytest.fixture
def ignored_sigterm() -> Iterator[None]:
    """Keep a signal that comes when no task runs from ending the tests."""
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    yield
    signal.signal(signal.SIGTERM, before)


def test_it_is_started_and_stopped(cloud: CloudTasks, mode: str) -> None:
    outcome = cloud.query(compute(connection_mode=mode))

    assert outcome.result["rows"] == 3
    assert cloud.plane.stopped == cloud.plane.started
    assert len(cloud.plane.started) == 1
    assert outcome.xcoms["polars_compute_link"].endswith(f"/compute/{cloud.plane.started[0]}")


@pytest.mark.parametrize("kept", [True, False], ids=["sink", "no sink"])
def test_the_log_says_that_a_result_without_a_sink_may_go_with_it(
    cloud: CloudTasks, tmp_path: Path, capfd: pytest.CaptureFixture[str], kept: bool
) -> None:
    sink = ParquetSink(str(tmp_path / "a.parquet")) if kept else None

    assert cloud.query(compute(), sink=sink).result["rows"] == 3

    assert ("return_value of this task has no sink" in capfd.readouterr().out) is not kept


def test_a_price_that_is_none_keeps_it_from_its_start_and_not_from_its_stop(
    cloud: CloudTasks, monkeypatch: pytest.MonkeyPatch
) -> None:
    def edited_meanwhile() -> Any:
        monkeypatch.setenv("AIRFLOW__POLARS__VCPU_HOUR_PRICE", "0,05")
        return pl.LazyFrame({"a": [1]})

    assert cloud.query(compute(), edited_meanwhile).state == "success"
    assert cloud.plane.stopped == cloud.plane.started
    monkeypatch.setenv("AIRFLOW__POLARS__VCPU_HOUR_PRICE", "0,05")
    assert "vcpu_hour_price must be a number" in refused(cloud.query(compute(), task_id="other"))
    assert len(cloud.plane.started) == 1


@pytest.mark.parametrize("durable", [True, False])
def test_a_retry_after_a_stop_that_is_not_confirmed_takes_the_result_if_it_is_durable(
    cloud: CloudTasks, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, durable: bool
) -> None:
    monkeypatch.setattr(own_compute, "STOP_SECONDS", 0.5)
    cloud.plane.faults.add(STOP_CALL, "answer", status=409, body={"message": "busy", "errors": {}}, times=None)
    asked = compute(connection_mode="proxy")
    task: dict[str, Any] = {"sink": ParquetSink(str(tmp_path / "a.parquet")), "durable": durable}
    assert retried(cloud.query(asked, max_tries=1, **task)).startswith("ComputeStopError: ")
    cloud.plane.faults.clear()

    assert cloud.query(asked, try_number=2, max_tries=1, **task).result["rows"] == 3

    assert len(cloud.plane.recorder.submissions) == (1 if durable else 2)
    assert cloud.plane.stopped == cloud.plane.started
    assert len(cloud.plane.started) == 1


def test_it_is_stopped_if_the_query_fails(cloud: CloudTasks) -> None:
    refused(cloud.query(compute(), lambda: pl.LazyFrame({"a": [1]}).select("b"), max_tries=1))
    cloud.wait_until_ended()
    assert cloud.plane.stopped == cloud.plane.started
    assert len(cloud.plane.started) == 1


def test_it_is_stopped_if_the_function_raises(cloud: CloudTasks) -> None:
    def broken() -> Any:
        raise KeyError("by design")

    outcome = cloud.query(compute(), broken, max_tries=1)

    assert isinstance(outcome.error, KeyError)
    assert cloud.plane.running == []


def test_a_try_that_was_lost_is_adopted_with_its_query(cloud: CloudTasks, gate: Gate) -> None:
    """As a worker that was killed leaves them: an instance of the task's mark, and a query in its store."""
    handle = cloud.started(task_id="query")
    lost = cloud.query(handle, lambda: gate.frame("held"), wait=False)
    gate.wait_until_started("held")
    gate.open()

    outcome = cloud.query(compute(), lambda: gate.frame("held"), try_number=2)

    assert outcome.result["query_id"] == lost.result["query_id"]
    assert cloud.plane.stopped == cloud.plane.started == [handle["compute_id"]]


def test_an_instance_that_is_lost_is_replaced_by_a_retry(cloud: CloudTasks, gate: Gate) -> None:
    killer = threading.Thread(target=lambda: (gate.wait_until_started("held"), cloud.wait_until_kept(), kill(cloud)))
    killer.start()

    message = retried(cloud.query(compute(connection_mode="proxy"), lambda: gate.frame("held"), max_tries=1))
    killer.join()
    again = cloud.query(compute(), try_number=2, max_tries=1)

    assert message.startswith("ComputeLostError: ")
    assert again.state == "success"
    assert len(cloud.plane.started) == 2
    assert cloud.plane.running == []


def kill(cloud: CloudTasks) -> None:
    cloud.plane.kill(cloud.plane.started[-1], "the machine was lost")


def test_it_cannot_be_left_behind(cloud: CloudTasks) -> None:
    with pytest.raises(Exception, match="wait=False has no place with CloudCompute"):
        cloud.query(compute(), wait=False)
    assert cloud.plane.started == []


@pytest.mark.parametrize("moment", ["starting", "running"])
def test_a_kill_stops_it(cloud: CloudTasks, gate: Gate, ignored_sigterm: None, moment: str) -> None:
    """The task runner calls ``on_kill`` on SIGTERM, and the task goes on for five seconds at most."""
    if moment == "starting":
        cloud.plane.faults.add(START_CALL, "delay", seconds=0.5)

    def terminate() -> None:
        if moment == "running":
            gate.wait_until_started("held")
        else:
            wait_for(lambda: cloud.plane.recorder.calls("POST workspace/*/manifest") or None, 60, lambda: "register")
        os.kill(os.getpid(), signal.SIGTERM)

    killer = threading.Thread(target=terminate)
    killer.start()
    outcome = cloud.query(compute(), lambda: gate.frame("held"), max_tries=1)
    killer.join()

    assert outcome.state != "success"
    cloud.wait_until_ended()
    assert cloud.plane.running == []


@pytest.mark.parametrize("task", ["query", "start"])
@pytest.mark.parametrize("call", [REGISTER_CALL, START_CALL])
def test_a_kill_that_finds_no_instance_yet_leaves_none(
    cloud: CloudTasks, ignored_sigterm: None, call: str, task: str
) -> None:
    """The call is on its way when the task is killed: what it makes comes after all that the signal handler does."""
    find_call = "GET workspace/*/manifest/find"
    held = cloud.plane.faults.add(call, "delay", seconds=600.0)
    started: list[list[str]] = []

    def looks() -> int:
        return len(cloud.plane.recorder.calls(find_call))

    def given_up() -> bool:
        return all(thread.name != "polars-give-up" for thread in threading.enumerate())

    def terminate() -> None:
        try:
            wait_for(lambda: cloud.plane.faults.hits(held) or None, 60, lambda: call, interval=0.02)
            before = looks()
            os.kill(os.getpid(), signal.SIGTERM)
            wait_for(lambda: (looks() > before and given_up()) or None, 60, lambda: find_call, interval=0.02)
            started.append(cloud.plane.started)
        finally:
            cloud.plane.faults.lift(held)

    killer = threading.Thread(target=terminate)
    killer.start()
    outcome = cloud.query(compute(), max_tries=1) if task == "query" else cloud.start(max_tries=1)
    killer.join()

    assert started == [[]]
    assert "The task was killed" in retried(outcome)
    cloud.wait_until_ended()
    assert cloud.plane.stopped == cloud.plane.started
