"""Faults of calls, each as the real client sees it: what it raises, what it asks again, and what the cluster did."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import polars as pl
import polars_cloud as pc
import pytest

from airflow_provider_polars.protocol import compute_plane_pb2 as wire
from airflow_provider_polars.protocol import flight_pb2 as flight
from airflow_provider_polars.protocol.compute_plane_pb2_grpc import ClientServiceStub
from airflow_provider_polars.protocol.flight_pb2_grpc import FlightServiceStub
from airflow_provider_polars.testing import DevCluster
from tests.wire.fault_calls import FRAME, SECONDS, anew, lifting_when_hit, recorded, submit, versions, wait_until_hit

LOST = "Unknown error, transport error"
"""What the client says of a connection that has ended."""


CALLS: dict[str, Callable[[Any, Any], Any]] = {
    "SubmitQuery": lambda context, query: submit(context),
    "GetQueryStatus": lambda context, query: query.get_status(),
    "GetQueryResult": lambda context, query: query.await_result(),
    "GetComputeVersions": lambda context, query: versions(context),
}
each_call = pytest.mark.parametrize("call", CALLS)


# ---- what becomes of one call


@each_call
def test_a_call_that_is_delayed_is_answered_later(
    polars_dev_cluster: DevCluster, context: Any, ended_query: Any, call: str
) -> None:
    fault = polars_dev_cluster.faults.add(call, "delay", seconds=0.2)

    begun = time.monotonic()
    assert CALLS[call](context, ended_query) is not None

    assert 0.2 <= time.monotonic() - begun < SECONDS
    assert polars_dev_cluster.faults.hits(fault) == 1
    assert recorded(polars_dev_cluster) == [(call, "delay")]


def test_a_delay_ends_when_it_is_lifted(polars_dev_cluster: DevCluster, context: Any) -> None:
    fault = polars_dev_cluster.faults.add("SubmitQuery", "delay", seconds=600)

    with lifting_when_hit(polars_dev_cluster, fault):
        assert submit(context).await_result().status is pc.QueryStatus.SUCCESS


@each_call
@pytest.mark.parametrize("do", ["reset", "drop"])
def test_a_connection_that_is_lost_before_or_after_a_call_acts_is_an_error_at_once(
    polars_dev_cluster: DevCluster, context: Any, ended_query: Any, call: str, do: str
) -> None:
    polars_dev_cluster.faults.add(call, do)

    with pytest.raises(RuntimeError, match=LOST):
        CALLS[call](context, ended_query)

    assert recorded(polars_dev_cluster) == [(call, do)]
    assert CALLS[call](polars_dev_cluster.context(), anew(polars_dev_cluster, ended_query._query_id)) is not None


def test_a_submission_whose_answer_is_lost_runs_all_the_same(
    polars_dev_cluster: DevCluster, context: Any, tmp_path: Path
) -> None:
    polars_dev_cluster.faults.add("SubmitQuery", "drop")

    with pytest.raises(RuntimeError, match=LOST):
        FRAME.remote(context).single_node().sink_parquet(tmp_path / "a.parquet")

    (submitted,) = polars_dev_cluster.recorder.submissions
    query = anew(polars_dev_cluster, submitted["query_id"])
    assert query.await_result().status is pc.QueryStatus.SUCCESS
    assert pl.read_parquet(tmp_path / "a.parquet").height == 3


def test_a_submission_whose_connection_is_reset_does_not_run(polars_dev_cluster: DevCluster, context: Any) -> None:
    known = len(polars_dev_cluster.queries)
    polars_dev_cluster.faults.add("SubmitQuery", "reset")

    with pytest.raises(RuntimeError, match=LOST):
        submit(context)

    assert len(polars_dev_cluster.queries) == known


def test_a_refusal_can_be_lost_too(polars_dev_cluster: DevCluster, context: Any) -> None:
    polars_dev_cluster.faults.add("SubmitQuery", "drop")

    with pytest.raises(RuntimeError, match=LOST):
        submit(context, FRAME.select("b"))

    (submission,) = polars_dev_cluster.recorder.submissions
    assert submission["fault"] == "drop"
    assert submission["refused"].startswith("ColumnNotFoundError")


@pytest.mark.parametrize(("do", "reason"), [("drop", r"Socket closed"), ("reset", r"reset by peer|Broken pipe")])
def test_a_caller_can_tell_a_reset_from_an_end(polars_dev_cluster: DevCluster, do: str, reason: str) -> None:
    polars_dev_cluster.faults.add("GetComputeVersions", do)

    with (
        grpc.insecure_channel(polars_dev_cluster.uri.removeprefix("http://")) as channel,
        pytest.raises(grpc.RpcError, match=reason),
    ):
        ClientServiceStub(channel).GetComputeVersions(wire.Empty(), timeout=SECONDS)


def test_only_the_connection_of_the_call_ends(polars_dev_cluster: DevCluster, context: Any, gate: Any) -> None:
    other = polars_dev_cluster.context()
    with ThreadPoolExecutor(1) as thread:
        held = submit(other, gate.frame("held"))
        result = thread.submit(held.await_result)
        gate.wait_until_started("held")
        polars_dev_cluster.faults.add("GetComputeVersions", "reset")
        with pytest.raises(RuntimeError, match=LOST):
            versions(context)
        gate.open()

        assert result.result(SECONDS).status is pc.QueryStatus.SUCCESS


@pytest.mark.parametrize("call", ["SubmitQuery", "GetQueryStatus", "GetComputeVersions"])
def test_a_call_that_hangs_is_unavailable_when_the_fault_is_lifted(
    polars_dev_cluster: DevCluster, context: Any, ended_query: Any, call: str
) -> None:
    fault = polars_dev_cluster.faults.add(call, "hang")

    with (
        lifting_when_hit(polars_dev_cluster, fault),
        pytest.raises(RuntimeError, match="currently unavailable, the call hung until its fault was lifted"),
    ):
        CALLS[call](context, ended_query)

    assert recorded(polars_dev_cluster) == [(call, "hang")]


def test_calls_hang_until_the_caller_hangs_up(polars_dev_cluster: DevCluster) -> None:
    fault = polars_dev_cluster.faults.add("*", "hang", times=None)
    with grpc.insecure_channel(polars_dev_cluster.uri.removeprefix("http://")) as channel:
        for attempt in range(2):
            call = ClientServiceStub(channel).GetComputeVersions.future(wire.Empty())
            wait_until_hit(polars_dev_cluster, fault, attempt + 1)
            assert not call.done()
            call.cancel()
            assert polars_dev_cluster.faults.hits(fault) == attempt + 1


@pytest.mark.parametrize(
    ("status", "sentence"),
    [
        ("UNAVAILABLE", "The service is currently unavailable"),
        ("RESOURCE_EXHAUSTED", "Some resource has been exhausted"),
        ("UNAUTHENTICATED", "The request does not have valid authentication credentials"),
        ("INTERNAL", "Internal error"),
    ],
)
@pytest.mark.parametrize("call", ["SubmitQuery", "GetQueryStatus", "GetComputeVersions"])
def test_a_status_is_answered_and_the_call_does_not_act(
    polars_dev_cluster: DevCluster, context: Any, ended_query: Any, call: str, status: str, sentence: str
) -> None:
    known = len(polars_dev_cluster.queries)
    polars_dev_cluster.faults.add(call, "answer", status=status, message="as the test says")

    with pytest.raises(RuntimeError, match=f"{sentence}, as the test says"):
        CALLS[call](context, ended_query)

    assert recorded(polars_dev_cluster) == [(call, "answer")]
    assert len(polars_dev_cluster.queries) == known


def test_an_invalid_argument_that_names_an_exception_raises_it(polars_dev_cluster: DevCluster, context: Any) -> None:
    polars_dev_cluster.faults.add("SubmitQuery", "answer", status="INVALID_ARGUMENT", message="SchemaError: no")

    with pytest.raises(pl.exceptions.SchemaError, match="no"):
        submit(context)


def test_waiting_goes_on_while_the_result_is_unavailable(polars_dev_cluster: DevCluster, ended_query: Any) -> None:
    polars_dev_cluster.faults.add("GetQueryResult", "answer", status="UNAVAILABLE")

    assert ended_query.await_result().status is pc.QueryStatus.SUCCESS
    assert recorded(polars_dev_cluster) == [("GetQueryResult", "answer"), ("GetQueryResult", None)]


def test_a_cancel_that_fails_goes_unnoticed_by_the_client(
    polars_dev_cluster: DevCluster, context: Any, gate: Any
) -> None:
    query_id = submit(context, gate.frame("held"))._query_id
    gate.wait_until_started("held")
    faults: list[tuple[str, dict[str, Any]]] = [("reset", {}), ("answer", {"status": "INTERNAL"}), ("drop", {})]
    for do, fields in faults:
        assert anew(polars_dev_cluster, query_id).get_status() is pc.QueryStatus.INPROGRESS
        polars_dev_cluster.faults.add("CancelQuery", do, **fields)
        assert anew(polars_dev_cluster, query_id).cancel() is None
    assert anew(polars_dev_cluster, query_id).get_status() is pc.QueryStatus.CANCELED


def test_plans_are_asked_for_again_while_they_are_unavailable(polars_dev_cluster: DevCluster, context: Any) -> None:
    query: Any = FRAME.remote(context, plan_type="plain").single_node().execute(blocking=False)
    fault = polars_dev_cluster.faults.add("GetQueryPlans", "answer", status="UNAVAILABLE", times=2)

    assert query.plan("ir")

    assert polars_dev_cluster.faults.hits(fault) == 2
    assert len(polars_dev_cluster.recorder.calls("GetQueryPlans")) == 3


# ---- rows


@pytest.mark.parametrize("call", ["PollFlightInfo", "DoGet"])
@pytest.mark.parametrize(
    ("do", "fields"), [("delay", {"seconds": 0.1}), ("drop", {}), ("reset", {}), ("answer", {"status": "UNAVAILABLE"})]
)
def test_rows_arrive_all_the_same(
    polars_dev_cluster: DevCluster, context: Any, call: str, do: str, fields: dict[str, Any]
) -> None:
    fault = polars_dev_cluster.faults.add(call, do, **fields)

    assert FRAME.remote(context).single_node().collect()["a"].to_list() == [1, 2, 3]

    assert polars_dev_cluster.faults.hits(fault) == 1
    again = [] if do == "delay" else [(call, None)]
    assert [each for each in recorded(polars_dev_cluster) if each[0] == call] == [(call, do), *again]


@pytest.mark.parametrize(("call", "error"), [("PollFlightInfo", RuntimeError), ("DoGet", pl.exceptions.ComputeError)])
def test_rows_that_are_refused_are_an_error(
    polars_dev_cluster: DevCluster, context: Any, call: str, error: type[Exception]
) -> None:
    polars_dev_cluster.faults.add(call, "answer", status="INTERNAL", message="as the test says")

    with pytest.raises(error, match="as the test says"):
        FRAME.remote(context).single_node().collect()


def test_rows_hang_until_the_fault_is_lifted(polars_dev_cluster: DevCluster) -> None:
    """Without the real client, which holds the lock of Python meanwhile, so that nobody could lift the fault."""
    fault = polars_dev_cluster.faults.add("DoGet", "hang")
    with (
        grpc.insecure_channel(polars_dev_cluster.uri.removeprefix("http://")) as channel,
        lifting_when_hit(polars_dev_cluster, fault),
        pytest.raises(grpc.RpcError, match="hung until its fault was lifted"),
    ):
        list(FlightServiceStub(channel).DoGet(flight.Ticket(ticket=b"any"), timeout=SECONDS))


# ---- queries that fail


def test_a_query_that_is_to_fail_is_taken_in_and_fails_without_running(
    polars_dev_cluster: DevCluster, context: Any, tmp_path: Path
) -> None:
    errors = ["ComputeError: the disk is full", "OSError: gone"]
    polars_dev_cluster.faults.add("SubmitQuery", "fail", errors=errors)

    query = FRAME.remote(context).single_node().sink_parquet(tmp_path / "a.parquet")

    assert query.get_status() is pc.QueryStatus.FAILED
    with pytest.raises(pl.exceptions.ComputeError, match="the disk is full"):
        query.await_result()
    result = query.await_result(raise_on_failure=False)
    assert result.finished_task_info is not None
    assert json.loads(result.finished_task_info.errors[0]) == {
        "scheduler": errors[0],
        "worker-1": errors[0],
        "worker-2": errors[1],
    }
    assert not (tmp_path / "a.parquet").exists()
    (submitted,) = polars_dev_cluster.recorder.submissions
    assert submitted["fault"] == "fail"


def test_a_failure_without_errors_does_not_raise_in_the_client(polars_dev_cluster: DevCluster, context: Any) -> None:
    polars_dev_cluster.faults.add("SubmitQuery", "fail", errors=[], times=2)

    assert submit(context).await_result().status is pc.QueryStatus.FAILED
    with pytest.raises(AssertionError):
        FRAME.remote(context).single_node().collect()
