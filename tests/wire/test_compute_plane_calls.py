"""``ComputePlane`` about queries: its calls and its waits, also with a cluster in trouble."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import polars as pl
import pytest

from airflow_provider_polars.clients.access import ClusterAccess
from airflow_provider_polars.clients.compute_plane import ComputePlane, ComputeVersions
from airflow_provider_polars.exceptions import ClusterUnreachableError
from airflow_provider_polars.protocol import compute_plane_pb2 as wire
from airflow_provider_polars.testing import DevCluster, start_dev_cluster
from airflow_provider_polars.testing.environment import REFUSED
from tests.harness.waiting import wait_for
from tests.wire.gates import Gate
from tests.wire.peers import StandInScheduler, aborting, refusing_port, serving
from tests.wire.planes import LONG, Connect, access_to

SCHEDULED, IN_PROGRESS, SUCCESS, FAILED, CANCELED = 1, 2, 3, 4, 5


@pytest.fixture
def plane(polars_dev_cluster: DevCluster, connect: Connect) -> ComputePlane:
    """Return a client of the cluster of the session."""
    return connect(access_to(polars_dev_cluster))


@contextlib.contextmanager
def ringing_when_asked(cluster: DevCluster, handler: Callable[..., Any]) -> Iterator[None]:
    """Have a signal handled once the cluster was asked for something, which is waited for then.

    While a call begins, gRPC stands no exception: its channel may not close any more, and its locks may be held.
    """

    def ring() -> None:
        wait_for(lambda: cluster.recorder.calls() or None, LONG, lambda: "nobody asks", interval=0.02)
        os.kill(os.getpid(), signal.SIGALRM)

    before = signal.signal(signal.SIGALRM, handler)
    cluster.recorder.forget()
    try:
        with ThreadPoolExecutor(1) as thread:
            thread.submit(ring)
            yield
    finally:
        signal.signal(signal.SIGALRM, before)


def submit(context: Any, frame: pl.LazyFrame) -> str:
    """Submit with the real client and return the id of the query."""
    return str(frame.remote(context).single_node().execute(blocking=False)._query_id)


def elapsed(function: Callable[[], Any]) -> float:
    started = time.monotonic()
    function()
    return time.monotonic() - started


# ---- calls


def test_versions_are_those_of_the_cluster(polars_dev_cluster: DevCluster, plane: ComputePlane) -> None:
    found = plane.versions()
    assert isinstance(found, ComputeVersions)
    assert found.polars == polars_dev_cluster.polars
    assert found.compute_plane.startswith("development-cluster ")
    assert found.revision


def test_calls_carry_what_those_of_the_real_client_carry(
    polars_dev_cluster: DevCluster, connect: Connect, context: Any
) -> None:
    connect(
        access_to(polars_dev_cluster, user_name="ada" * 40, headers={"X-Team": "sales", "authorization": "Bearer x"})
    ).versions()
    context._get_direct_client().get_compute_versions()
    ours, theirs = (call["headers"] for call in polars_dev_cluster.recorder.calls("GetComputeVersions"))
    for name in ("x-client-version", "x-polars-version"):
        assert ours[name] == theirs[name]
    assert ours["x-polars-user"] == ("ada" * 40)[:64]
    assert ours["x-team"] == "sales"
    assert ours["authorization"] == "***"
    assert "x-polars-user" not in theirs


def test_a_status_follows_the_query(context: Any, plane: ComputePlane, gate: Gate) -> None:
    query_id = submit(context, gate.frame("held"))
    gate.wait_until_started("held")
    assert plane.status(query_id) == IN_PROGRESS
    gate.open()
    plane.wait([query_id], LONG)
    assert plane.status(query_id) == SUCCESS


def test_a_query_that_the_cluster_does_not_know_has_no_status_and_no_result(plane: ComputePlane) -> None:
    query_id = str(uuid4())
    assert plane.status(query_id) is None
    with pytest.raises(LookupError, match=f"no query {query_id}"):
        plane.result(query_id, LONG)


def test_a_result_is_there_as_soon_as_the_query_has_ended(context: Any, plane: ComputePlane, gate: Gate) -> None:
    query_id = submit(context, gate.frame("held"))
    gate.wait_until_started("held")
    threading.Timer(0.2, gate.open).start()
    found = plane.result(query_id, LONG)
    assert found is not None
    assert found.query_status == SUCCESS
    assert found.query_result.output.n_rows_result == 1


def test_a_result_that_is_not_there_in_time_is_none(context: Any, plane: ComputePlane, gate: Gate) -> None:
    query_id = submit(context, gate.frame("held"))
    assert plane.result(query_id, 0.2) is None
    assert plane.status(query_id) in (SCHEDULED, IN_PROGRESS)


def test_a_result_says_why_a_query_failed(context: Any, plane: ComputePlane) -> None:
    query_id = submit(context, pl.LazyFrame({"a": ["x"]}).select(pl.col("a").cast(pl.Int64)))
    found = plane.result(query_id, LONG)
    assert found is not None
    assert found.query_status == FAILED
    assert "InvalidOperationError" in found.query_result.errors[0].message


def test_a_cancel_ends_a_query_and_harms_none_that_has_ended(context: Any, plane: ComputePlane, gate: Gate) -> None:
    query_id = submit(context, gate.frame("held"))
    gate.wait_until_started("held")
    plane.cancel(query_id)
    plane.wait([query_id], LONG)
    assert plane.status(query_id) == CANCELED
    plane.cancel(query_id)
    assert plane.status(query_id) == CANCELED


def test_a_deleted_result_is_gone(context: Any, plane: ComputePlane) -> None:
    query_id = submit(context, pl.LazyFrame({"a": [1]}))
    found = plane.result(query_id, LONG)
    assert found is not None
    place = Path(found.query_result.output.destination[0].destination.removeprefix("file://"))
    assert place.exists()
    plane.delete(query_id)
    assert not place.exists()


@pytest.mark.parametrize("method", ["cancel", "delete"])
@pytest.mark.parametrize("query_id", [str(uuid4()), "no id"])
def test_a_cancel_or_delete_that_is_refused_raises_nothing(
    plane: ComputePlane, polars_dev_cluster: DevCluster, method: str, query_id: str
) -> None:
    getattr(plane, method)(query_id)
    assert len(polars_dev_cluster.recorder.calls()) == 1


@pytest.mark.parametrize("method", ["cancel", "delete"])
def test_a_cancel_or_delete_without_a_cluster_raises_nothing_and_ends_in_time(connect: Connect, method: str) -> None:
    with refusing_port() as port:
        plane = connect(ClusterAccess(uri=f"http://127.0.0.1:{port}"))
        assert elapsed(lambda: getattr(plane, method)(str(uuid4()))) < 4
    insecure = connect(ClusterAccess(uri="https://cluster.invalid", insecure=True))
    assert elapsed(lambda: getattr(insecure, method)(str(uuid4()))) < 4


def test_one_client_serves_several_threads(polars_dev_cluster: DevCluster, plane: ComputePlane, context: Any) -> None:
    query_id = submit(context, pl.LazyFrame({"a": [1]}))
    plane.wait([query_id], LONG)
    with ThreadPoolExecutor(16) as pool:
        assert set(pool.map(plane.status, [query_id] * 200)) == {SUCCESS}


def test_no_proxy_stands_in_between(
    polars_dev_cluster: DevCluster, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy", "no_grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, f"http://{REFUSED}")
    assert connect(access_to(polars_dev_cluster)).versions().polars == polars_dev_cluster.polars


def test_a_client_that_made_no_call_can_be_closed_and_closed_again(polars_dev_cluster: DevCluster) -> None:
    plane = ComputePlane(access_to(polars_dev_cluster), client_version="0.12.0", polars_version="2.0.0")
    plane.close()
    plane.close()


def test_a_result_of_any_size_arrives(connect: Connect) -> None:
    head = os.urandom(16_000_000)
    answer = wire.GetQueryResultResponse(
        query_status=wire.QUERY_STATUS_SUCCESS, compute_info=wire.ComputeQueryInfo(data=head)
    )
    with serving(StandInScheduler(GetQueryResult=lambda *_: answer)) as port:
        found = connect(ClusterAccess(uri=f"http://127.0.0.1:{port}")).result(str(uuid4()), LONG)
    assert found is not None
    assert found.compute_info.data == head


# ---- waiting


@pytest.mark.parametrize("long_poll", [True, False])
def test_a_wait_ends_when_all_queries_have(
    context: Any, polars_dev_cluster: DevCluster, plane: ComputePlane, gate: Gate, long_poll: bool
) -> None:
    ended = submit(context, pl.LazyFrame({"a": [1]}))
    held = submit(context, gate.frame("held"))
    gate.wait_until_started("held")

    def wait_for_all() -> None:
        threading.Timer(0.3, gate.open).start()
        plane.wait([ended, held, str(uuid4())], LONG, long_poll=long_poll)

    assert 0.3 <= elapsed(wait_for_all) < LONG / 2
    assert [plane.status(query_id) for query_id in (ended, held)] == [SUCCESS, SUCCESS]


def test_a_long_poll_asks_for_each_query_once_and_for_all_at_the_same_time(
    context: Any, polars_dev_cluster: DevCluster, plane: ComputePlane, gate: Gate
) -> None:
    queries = [submit(context, gate.frame(f"held{number}")) for number in range(8)]
    plane.versions()
    polars_dev_cluster.recorder.forget()
    with ThreadPoolExecutor(1) as pool:
        waited = pool.submit(plane.wait, queries, LONG)
        calls = polars_dev_cluster.recorder.calls
        wait_for(lambda: len(calls()) >= len(queries) or None, LONG, lambda: str(calls()), interval=0.02)
        assert not waited.done()
        gate.open()
        waited.result(LONG)
    asked = calls()
    assert [call["call"] for call in asked] == ["GetQueryResult"] * 8
    assert {call["query_id"] for call in asked} == set(queries)


def test_without_a_long_poll_only_the_status_is_asked_for_ever_more_slowly(
    context: Any, polars_dev_cluster: DevCluster, plane: ComputePlane, gate: Gate
) -> None:
    query_id = submit(context, gate.frame("held"))
    polars_dev_cluster.recorder.forget()
    with ThreadPoolExecutor(1) as pool:
        waited = pool.submit(plane.wait, [query_id], LONG, long_poll=False)
        calls = polars_dev_cluster.recorder.calls
        wait_for(lambda: len(calls()) >= 6 or None, LONG, lambda: str(calls()), interval=0.02)
        gate.open()
        waited.result(LONG)
    asked = calls()[:6]
    assert {call["call"] for call in asked} == {"GetQueryStatus"}
    pauses = [later["time"] - earlier["time"] for earlier, later in itertools.pairwise(asked)]
    assert [pause >= 0.05 * 1.5**number for number, pause in enumerate(pauses)] == [True] * 5


@pytest.mark.parametrize("long_poll", [True, False])
def test_a_wait_that_runs_out_leaves_the_query_alone(
    context: Any, polars_dev_cluster: DevCluster, plane: ComputePlane, gate: Gate, long_poll: bool
) -> None:
    query_id = submit(context, gate.frame("held"))
    gate.wait_until_started("held")
    assert 0.25 < elapsed(lambda: plane.wait([query_id], 0.3, long_poll=long_poll)) < LONG / 2
    assert plane.status(query_id) == IN_PROGRESS
    assert polars_dev_cluster.recorder.cancels == []


@pytest.mark.parametrize("long_poll", [True, False])
def test_a_wait_for_nothing_or_for_what_is_not_known_ends_at_once(plane: ComputePlane, long_poll: bool) -> None:
    assert elapsed(lambda: plane.wait([], LONG, long_poll=long_poll)) < LONG / 2
    assert elapsed(lambda: plane.wait([str(uuid4())], LONG, long_poll=long_poll)) < LONG / 2


@pytest.mark.parametrize("long_poll", [True, False])
def test_a_signal_interrupts_a_wait(
    context: Any, polars_dev_cluster: DevCluster, plane: ComputePlane, gate: Gate, long_poll: bool
) -> None:
    query_id = submit(context, gate.frame("held"))

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt), ringing_when_asked(polars_dev_cluster, interrupt):
        plane.wait([query_id], LONG, long_poll=long_poll)
    assert time.monotonic() - started < LONG / 2
    assert plane.status(query_id) in (SCHEDULED, IN_PROGRESS)


@pytest.mark.parametrize("waiting", ["long poll", "poll", "result"])
def test_a_signal_handler_can_cancel_what_is_waited_for(
    context: Any, polars_dev_cluster: DevCluster, plane: ComputePlane, gate: Gate, waiting: str
) -> None:
    query_id = submit(context, gate.frame("held"))
    gate.wait_until_started("held")
    calls: dict[str, Callable[[], Any]] = {
        "long poll": lambda: plane.wait([query_id], LONG),
        "poll": lambda: plane.wait([query_id], LONG, long_poll=False),
        "result": lambda: plane.result(query_id, LONG),
    }
    with ringing_when_asked(polars_dev_cluster, lambda *_: plane.cancel(query_id)):
        assert elapsed(calls[waiting]) < LONG / 2
    assert plane.status(query_id) == CANCELED


@pytest.mark.parametrize("long_poll", [True, False])
def test_a_wait_outlives_its_cluster_and_finds_the_next_one(connect: Connect, long_poll: bool) -> None:
    """The next one has no memory of the query, so the wait ends."""
    with refusing_port() as port, contextlib.ExitStack() as stack:
        options = "--workers", "1", "--port", str(port)
        cluster = stack.enter_context(start_dev_cluster(*options))
        query_id = submit(cluster.context(), _endless())
        plane = connect(access_to(cluster))
        assert plane.status(query_id) in (SCHEDULED, IN_PROGRESS)
        os.kill(cluster.pid, signal.SIGKILL)
        with pytest.raises(RuntimeError, match="did not end cleanly"):
            stack.close()
        assert elapsed(lambda: plane.wait([query_id], 0.7, long_poll=long_poll)) > 0.6
        with pytest.raises(ClusterUnreachableError, match="cannot be reached now"):
            plane.status(query_id)
        with ThreadPoolExecutor(1) as pool:
            waited = pool.submit(plane.wait, [query_id], 6 * LONG, long_poll=long_poll)
            with start_dev_cluster(*options):
                waited.result(LONG)
                assert plane.status(query_id) is None


@pytest.mark.parametrize(
    "code", [grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL]
)
def test_a_cluster_in_trouble_is_asked_again_after_a_pause(connect: Connect, code: grpc.StatusCode) -> None:
    well = wire.GetQueryResultResponse(query_status=wire.QUERY_STATUS_SUCCESS)
    answers = iter([aborting(code), lambda *_: well])
    scheduler = StandInScheduler(GetQueryResult=lambda *asked: next(answers)(*asked))
    with serving(scheduler) as port:
        plane = connect(ClusterAccess(uri=f"http://127.0.0.1:{port}"))
        assert 0.4 < elapsed(lambda: plane.wait([str(uuid4())], LONG)) < LONG / 2
    assert len(scheduler.calls) == 2


@pytest.mark.parametrize("long_poll", [True, False])
def test_a_cluster_that_cannot_show_its_certificate_now_is_asked_again_too(connect: Connect, long_poll: bool) -> None:
    with refusing_port() as port:
        plane = connect(ClusterAccess(uri=f"https://127.0.0.1:{port}", insecure=True))
        assert elapsed(lambda: plane.wait([str(uuid4())], 0.3, long_poll=long_poll)) > 0.25


def test_a_scheduler_that_does_not_hold_the_call_is_asked_again_after_a_pause(connect: Connect) -> None:
    answers = iter([wire.QUERY_STATUS_IN_PROGRESS, wire.QUERY_STATUS_6, wire.QUERY_STATUS_SUCCESS])
    scheduler = StandInScheduler(GetQueryResult=lambda *_: wire.GetQueryResultResponse(query_status=next(answers)))
    with serving(scheduler) as port:
        plane = connect(ClusterAccess(uri=f"http://127.0.0.1:{port}"))
        assert 0.9 < elapsed(lambda: plane.wait([str(uuid4())], LONG)) < LONG / 2
    assert len(scheduler.calls) == 3


def _endless() -> pl.LazyFrame:
    def wait(column: pl.Series) -> pl.Series:
        import time

        while True:
            time.sleep(1)

    return pl.LazyFrame({"a": [1]}).select(pl.col("a").map_batches(wait, return_dtype=pl.Int64))
