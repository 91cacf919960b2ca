"""Anything at all, sent to every gRPC method: each call ends soon with a clean status, and the cluster goes on.

The inputs are the same in each run; hypothesis prints the smallest one that fails.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

import grpc
import polars as pl
import psutil
import pytest
from google.protobuf.message import Message
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_polars.dev_cluster.worker import plans
from airflow_provider_polars.dev_cluster.worker.frames import CONNECT
from airflow_provider_polars.protocol import compute_plane_pb2 as wire
from airflow_provider_polars.protocol import flight_pb2 as flight
from airflow_provider_polars.testing import DevCluster, start_dev_cluster
from tests.harness.cloud_plans import plan_of
from tests.harness.waiting import wait_for
from tests.wire.fuzzing import PREFACE, Budget, call, exchange, frame, messages, mutations, repeatable

pytestmark = pytest.mark.own_cluster

WORKERS = 2
CALL_SECONDS = 60.0
BUDGET_SECONDS = 8.0
"""For each of the six tests; together they have a minute."""

CLIENT = "/polars_cloud.compute_plane.client.v1.ClientService/"
FLIGHT = "/arrow.flight.protocol.FlightService/"
METHODS: dict[str, type[Message]] = {
    CLIENT + "SubmitQuery": wire.SubmitQueryRequest,
    CLIENT + "GetQueryStatus": wire.QueryRequest,
    CLIENT + "GetQueryResult": wire.QueryRequest,
    CLIENT + "GetQueryPlans": wire.GetQueryPlansRequest,
    CLIENT + "CancelQuery": wire.QueryRequest,
    CLIENT + "DeleteQueryResult": wire.QueryRequest,
    CLIENT + "GetComputeVersions": wire.Empty,
    FLIGHT + "PollFlightInfo": flight.FlightDescriptor,
    FLIGHT + "DoGet": flight.Ticket,
}
CLEAN = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.FAILED_PRECONDITION,
}
FRAME = pl.LazyFrame({"k": ["x", "y", "x"], "a": [1, 2, 3], "d": [dt.date(2024, 1, 1)] * 3})


class Target:
    """A cluster, called with bytes."""

    def __init__(self, cluster: DevCluster) -> None:
        self.cluster = cluster
        self.port = int(cluster.uri.rpartition(":")[2])
        listening = {
            each.laddr.port for each in psutil.Process(cluster.pid).net_connections("inet") if each.status == "LISTEN"
        }
        (self.registration_port,) = listening - {self.port, int(cluster.observatory.rpartition(":")[2])}
        self._channel = grpc.insecure_channel(f"127.0.0.1:{self.port}")

    def call(self, method: str, request: bytes) -> tuple[grpc.StatusCode, bytes]:
        """Return status and first answer of a call; fail if the status is not a clean one."""
        answers: list[bytes] = []
        with contextlib.suppress(grpc.RpcError):
            answers.extend(answered := self._channel.unary_stream(method)(request, timeout=CALL_SECONDS))
        assert answered.code() in CLEAN, f"{method}: {answered.code()}: {answered.details()}"
        return answered.code(), b"".join(answers[:1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@pytest.fixture(scope="module")
def cluster(folder: Path) -> Iterator[DevCluster]:
    before = Path.cwd()
    os.chdir(folder)  # the sinks of the plans are relative, and so are those of their mutations
    try:
        with start_dev_cluster("--workers", str(WORKERS), "--result-ttl", "1") as cluster:
            yield cluster
    finally:
        os.chdir(before)


@pytest.fixture
def target(cluster: DevCluster) -> Iterator[Target]:
    """Return the cluster; it still works as it should when the test is over."""
    born = psutil.Process(cluster.pid).create_time()
    names = {worker["name"] for worker in cluster.workers}

    yield Target(cluster)

    assert psutil.Process(cluster.pid).create_time() == born
    wait_for(lambda: {worker["name"] for worker in cluster.workers} == names or None, 20, lambda: str(cluster.workers))
    query = FRAME.select(pl.col("a").sum()).remote(cluster.context()).single_node()
    assert query.collect().item() == 6
    wait_for(lambda: all(not each["ended"] for each in cluster.queries) or None, 20, lambda: "nothing is forgotten")


@pytest.fixture(scope="module")
def real_plans() -> list[bytes]:
    """Return the plans of small queries with each kind of sink."""
    grouped = FRAME.group_by("k").agg(pl.col("a").sum(), pl.col("d").max()).sort("k")
    joined = FRAME.join(grouped, on="k").filter(pl.col("a") > 1).with_columns(text=pl.format("{}-{}", "k", "a"))
    frames = [
        joined.sink_parquet("out.parquet", lazy=True),
        grouped.sink_csv("out.csv", lazy=True),
        joined.head(2).sink_ipc("out.arrow", lazy=True),
        grouped.sink_parquet("<in-memory>", lazy=True),
        joined.sink_parquet("<flight>", lazy=True),
        joined.sink_parquet(pl.PartitionBy("out", key="k"), lazy=True, mkdir=True),
    ]
    return [plan_of(frame) for frame in frames]


def test_bytes_that_are_no_message_are_refused(target: Target) -> None:
    budget = Budget(BUDGET_SECONDS)

    @repeatable
    @given(st.sampled_from(sorted(METHODS)), st.binary(max_size=200))
    def send(method: str, request: bytes) -> None:
        with budget:
            budget.outcomes[target.call(method, request)[0]] += 1

    budget.spend(send)
    print(budget.outcomes)
    assert set(budget.outcomes) >= {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND}, budget.outcomes


def spellings(query_id: str) -> st.SearchStrategy[str]:
    """Return texts of an id, right and wrong ones."""
    right = [query_id, query_id.upper(), f"urn:uuid:{{{query_id}}}", query_id.replace("-", "")]
    wrong = [query_id[1:], query_id + "0", query_id.replace("-", "\u2010"), "{" * 100_000 + query_id, "-" * 1_000_000]
    return st.sampled_from(right + wrong)


def test_well_formed_messages_with_anything_in_them_are_answered(target: Target, real_plans: list[bytes]) -> None:
    budget = Budget(BUDGET_SECONDS)
    request = wire.SubmitQueryRequest(plan=real_plans[3]).SerializeToString()
    _, answer = target.call(CLIENT + "SubmitQuery", request)
    known = wire.SubmitQueryResponse.FromString(answer).query_id.query_id
    ids = spellings(known) | st.uuids().map(str) | spellings(str(uuid.UUID(int=0))) | st.text(max_size=50)

    @repeatable
    @given(st.data(), st.sampled_from(sorted(METHODS)), ids)
    def send(data: st.DataObject, method: str, query_id: str) -> None:
        message = data.draw(messages(METHODS[method].DESCRIPTOR))
        with budget:
            if isinstance(message, wire.QueryRequest | wire.GetQueryPlansRequest):
                message.query_id.query_id = query_id
            elif isinstance(message, flight.FlightDescriptor):
                message.path.insert(0, query_id)
            elif isinstance(message, flight.Ticket):
                message.ticket = query_id.encode()
            budget.outcomes[target.call(method, message.SerializeToString())[0]] += 1

    budget.spend(send)
    print(budget.outcomes)
    assert len(set(budget.outcomes)) >= 3, budget.outcomes


AFTERWARDS = ["GetQueryStatus", "GetQueryPlans", "CancelQuery", "DeleteQueryResult", "GetQueryResult"]


def test_plans_that_are_cut_off_or_changed_end_as_errors_or_run(target: Target, real_plans: list[bytes]) -> None:
    budget = Budget(BUDGET_SECONDS)
    header = len(plans.header())
    changed = mutations(real_plans, protected=header) | mutations(real_plans, protected=0)

    @repeatable
    @given(messages(wire.QuerySettings.DESCRIPTOR), changed | st.sampled_from(real_plans), st.permutations(AFTERWARDS))
    def submit(options: wire.QuerySettings, plan: bytes, afterwards: list[str]) -> None:
        with budget:
            request = wire.SubmitQueryRequest(settings=options, plan=plan)
            status, answer = target.call(CLIENT + "SubmitQuery", request.SerializeToString())
            if status is not grpc.StatusCode.OK:
                budget.outcomes[status] += 1
                return
            query = wire.SubmitQueryResponse.FromString(answer).query_id
            asked = wire.QueryRequest(query_id=query).SerializeToString()
            workers = options.n_workers.min or options.n_workers_old
            for_ever = options.WhichOneof("query_type") == "distributed" and workers > WORKERS
            target.call(CLIENT + ("CancelQuery" if for_ever else "GetQueryResult"), asked)
            for method in afterwards:
                _, answer = target.call(CLIENT + method, asked)
            target.call(FLIGHT + "PollFlightInfo", flight.FlightDescriptor(path=[query.query_id]).SerializeToString())
            target.call(FLIGHT + "DoGet", flight.Ticket(ticket=query.query_id.encode()).SerializeToString())
            _, answer = target.call(CLIENT + "GetQueryStatus", asked)
            budget.outcomes[wire.GetQueryStatusResponse.FromString(answer).status] += 1

    budget.spend(submit)
    print(budget.outcomes)
    assert set(budget.outcomes) >= {grpc.StatusCode.INVALID_ARGUMENT, wire.QUERY_STATUS_SUCCESS}, budget.outcomes


def test_metadata_and_lengths_that_no_client_sends_do_no_harm(target: Target, real_plans: list[bytes]) -> None:
    budget = Budget(BUDGET_SECONDS)
    names = st.sampled_from(
        ["x-client-version", "x-polars-version", "x-polars-user", "authorization", "x-bin", "grpc-timeout", "te", "x y"]
    )
    metadata = st.lists(st.tuples(names.map(str.encode) | st.binary(max_size=8), st.binary(max_size=40)), max_size=4)
    versions = st.sampled_from([b"\xb2.1", b"9" * 6000, b"0.10", b"\xff\xfe", b"-1.5", b"1e5.2"])
    body = wire.SubmitQueryRequest(plan=real_plans[3]).SerializeToString()
    sizes = st.sampled_from([len(body)] * 9 + [0, 1, len(body) - 1, len(body) + 1, 2**31 - 1, 2**31, 2**32 - 1])

    @repeatable
    @given(st.sampled_from(sorted(METHODS)), metadata, versions, sizes, st.sampled_from([0, 0, 0, 1, 255]))
    def send(method: str, pairs: list[tuple[bytes, bytes]], version: bytes, size: int, compressed: int) -> None:
        with budget:
            framed = bytes([compressed]) + size.to_bytes(4, "big") + body
            sent = call(method.encode(), [(b"x-client-version", version), *pairs], framed)
            received = exchange(target.port, sent, CALL_SECONDS)
            assert b"Unexpected <class" not in received
            budget.outcomes[b"grpc-status" in received] += 1

    budget.spend(send)
    print(budget.outcomes)
    assert set(budget.outcomes) == {True, False}, budget.outcomes


def test_connections_that_speak_no_grpc_do_no_harm(target: Target) -> None:
    budget = Budget(BUDGET_SECONDS)
    frames = st.builds(
        frame, st.integers(0, 12), st.integers(0, 255), st.integers(0, 2**32 - 1), st.binary(max_size=40)
    )
    speech = st.binary(max_size=200) | st.lists(frames, max_size=6).map(b"".join).map(PREFACE.__add__)
    ports = st.sampled_from([target.port, target.registration_port])

    @repeatable
    @given(ports, speech)
    def send(port: int, sent: bytes) -> None:
        with budget:
            budget.outcomes[bool(exchange(port, sent, CALL_SECONDS))] += 1

    budget.spend(send)
    print(budget.outcomes)
    assert budget.outcomes[True] > 0


def test_nobody_registers_as_a_worker_without_the_token(target: Target) -> None:
    budget = Budget(BUDGET_SECONDS)
    before = target.cluster.workers
    tokens = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60)

    with grpc.insecure_channel(f"127.0.0.1:{target.registration_port}") as channel:
        connect = channel.stream_stream(CONNECT)

        @repeatable
        @given(st.none() | tokens, st.lists(st.binary(max_size=100), max_size=3))
        def register(token: str | None, sent: list[bytes]) -> None:
            with budget:
                metadata = () if token is None else (("x-worker-token", token),)
                with pytest.raises(grpc.RpcError) as refusal:
                    list(connect(iter(sent), metadata=metadata, timeout=CALL_SECONDS))
                assert refusal.value.code() is grpc.StatusCode.UNAUTHENTICATED
                budget.outcomes[refusal.value.code()] += 1

        budget.spend(register)
    print(budget.outcomes)
    assert budget.outcomes[grpc.StatusCode.UNAUTHENTICATED] > 0
    assert [worker["pid"] for worker in target.cluster.workers] == [worker["pid"] for worker in before]
