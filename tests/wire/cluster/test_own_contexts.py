"""Which cluster the queries of a function go to that submits by itself, and what is left of it afterwards."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import polars as pl
import polars_cloud as pc
import pytest
from polars.io.cloud.credential_provider import _builder
from polars_cloud import constants
from polars_cloud.context import cache
from polars_cloud.query import query as query_module

from airflow_provider_polars import ParquetSink
from airflow_provider_polars.testing import start_dev_cluster
from tests.unit.outcomes import failure, rows, succeeded
from tests.wire.cluster.own import Tasks, broken, frame
from tests.wire.peers import refusing_port

if TYPE_CHECKING:
    from airflow_provider_polars.testing import DevCluster
    from tests.wire.gates import Gate

TOKEN = "token-of-the-other-cluster"
PROBE_SECONDS = 20.0
"""Seconds within which a busy machine shows what takes three at most."""


@pytest.fixture(scope="module")
def other_cluster() -> Iterator[DevCluster]:
    """Return a second cluster, which wants a token."""
    with start_dev_cluster("--workers", "1", "--token", TOKEN) as cluster:
        yield cluster


def by_call(context: Any) -> None:
    pc.set_compute_context(context)
    frame().remote().execute()


def in_block(context: Any) -> None:
    with pc.set_compute_context(context):
        frame().remote().execute()


def by_decorator(context: Any) -> None:
    @pc.set_compute_context(context)
    def submit() -> None:
        frame().remote().execute()

    submit()


def by_argument(context: Any) -> None:
    frame().remote(context).execute()


def by_engine(context: Any) -> None:
    frame().execute(engine=pl.RemoteEngine(context))


each_way = pytest.mark.parametrize("way", [by_call, in_block, by_decorator, by_argument, by_engine])


@each_way
def test_a_context_that_the_function_makes_for_its_own_cluster_changes_nothing(
    tasks: Tasks, way: Callable[[Any], None]
) -> None:
    stored: list[Any] = []

    def function() -> None:
        way(pc.ClusterContext(tasks.cluster.uri))
        stored.extend(tasks.stored)

    result = succeeded(tasks.run(function))

    (run,) = stored
    assert [run.query_id] == tasks.submitted == [result["query_id"]]
    assert run.link == f"{tasks.cluster.observatory}/api/v1/query/{run.query_id}"
    assert result["timings"]["run"] >= 0


@pytest.mark.own_cluster
@each_way
def test_queries_on_another_cluster_are_asked_about_there_with_its_own_token(
    tasks: Tasks, other_cluster: DevCluster, way: Callable[[Any], None], capsys: pytest.CaptureFixture[str]
) -> None:
    stored: list[Any] = []

    def function() -> None:
        way(other_cluster.context())
        stored.extend(tasks.stored)

    other_cluster.recorder.forget()
    outcome = tasks.run(function)
    result = succeeded(outcome)

    (run,) = stored
    (submission,) = other_cluster.recorder.submissions
    assert tasks.submitted == []
    assert run.query_id == submission["query_id"] == result["query_id"]
    assert run.link == f"{other_cluster.observatory}/api/v1/query/{run.query_id}"
    assert result["rows"] == 3
    assert result["timings"]["run"] >= 0
    assert "dag:in_memory" in submission["labels"]
    written = json.dumps([request.body for request in outcome.requests]) + "".join(capsys.readouterr())
    assert TOKEN not in written


@pytest.mark.own_cluster
def test_a_query_on_another_cluster_is_cancelled_there(tasks: Tasks, other_cluster: DevCluster, gate: Gate) -> None:
    def function() -> None:
        gate.frame("there").remote(other_cluster.context()).execute(blocking=False)
        gate.frame("here").remote().execute(blocking=False)
        raise LookupError("of the function")

    other_cluster.recorder.forget()
    assert failure(tasks.run(function)) == "LookupError: of the function"

    (submission,) = other_cluster.recorder.submissions
    (state,) = [query["state"] for query in other_cluster.queries if query["id"] == submission["query_id"]]
    assert (state, tasks.states) == ("CANCELED", ["CANCELED"])


@pytest.mark.own_cluster
def test_a_failure_on_another_cluster_names_it(tasks: Tasks, other_cluster: DevCluster) -> None:
    def function() -> None:
        pl.scan_parquet("/nowhere/rows.parquet").remote(other_cluster.context()).single_node().execute(blocking=False)

    error = failure(tasks.run(function))

    assert other_cluster.uri in error
    assert tasks.cluster.uri not in error


@pytest.mark.own_cluster
def test_a_retry_goes_on_where_the_token_of_the_other_cluster_is_not_known_any_more(
    tasks: Tasks, other_cluster: DevCluster, caplog: pytest.LogCaptureFixture
) -> None:
    """The token was in the function alone; the earlier query cannot be asked about, and the log says so."""

    def function() -> None:
        frame().remote(other_cluster.context()).execute(blocking=False)

    succeeded(tasks.run(function, wait=False))
    (earlier,) = tasks.stored
    result = succeeded(tasks.run(function, try_number=2))

    assert result["query_id"] != earlier.query_id
    assert f"query {earlier.query_id} cannot be asked about any more" in caplog.text
    assert TOKEN not in json.dumps(earlier.to_dict())


def test_a_context_made_outside_of_the_function_is_refused_before_anything_is_submitted(
    tasks: Tasks, context: Any
) -> None:
    error = failure(tasks.run(lambda: frame().remote(context).execute()))

    assert "QueryDefinitionError" in error
    assert "on a context that was made outside of its function" in error
    assert tasks.submitted == []


class Untouched:
    """Stands for the client of the control plane, and notes what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> Any:
        self.asked.append(name)
        raise AssertionError(name)


@pytest.mark.parametrize(
    "way",
    [
        lambda: pc.ComputeContext(cpus=4, memory=16),
        lambda: pc.ComputeContext(workspace="mine", name="etl"),
        lambda: (pc.set_compute_context(None), frame().remote().execute()),
    ],
    ids=["by size", "by name", "by default"],
)
def test_a_context_that_would_start_instances_is_refused_before_any_call(
    tasks: Tasks, monkeypatch: pytest.MonkeyPatch, way: Callable[[], Any]
) -> None:
    control_plane = Untouched()
    monkeypatch.setattr(constants, "API_CLIENT", control_plane)

    error = failure(tasks.run(way))

    assert "QueryDefinitionError" in error
    assert "makes or starts a ComputeContext, an instance that nobody would stop" in error
    assert (control_plane.asked, tasks.submitted) == ([], [])


def test_an_address_at_which_nothing_answers_is_told_at_once(tasks: Tasks, gate: Gate) -> None:
    """The client alone would wait for a minute; the function's other query does not run on without its task."""

    def function(port: int) -> None:
        gate.frame("held").remote().execute(blocking=False)
        pc.ClusterContext(f"http://127.0.0.1:{port}")

    with refusing_port() as port:
        begun = time.monotonic()
        error = failure(tasks.run(lambda: function(port)))

    assert error.startswith("ClusterUnreachableError: ")
    assert str(port) in error
    assert time.monotonic() - begun < PROBE_SECONDS
    assert tasks.states == ["CANCELED"]


def test_a_cluster_without_tls_is_refused_where_plans_may_have_secrets(tasks: Tasks) -> None:
    compute = dataclasses.replace(tasks.options["compute"], send_credentials=True)

    error = failure(tasks.run(lambda: pc.ClusterContext(tasks.cluster.uri), compute=compute))

    assert error.startswith(
        "ConfigurationError: send_credentials=True would send the secrets of upstream results in clear"
    )
    assert tasks.submitted == []


def all_that_is_changed() -> list[Any]:
    """Return what a task changes in Polars and its client for as long as its function runs."""
    return [
        cache.cached_context,
        _builder.DEFAULT_CREDENTIAL_PROVIDER,
        *(getattr(query_module, name) for name in ("prepare_query", "DirectQuery", "ProxyQuery")),
        *(vars(pc.DirectQuery)[name] for name in ("await_result", "await_result_async", "get_status", "_get_stream")),
        *(getattr(pc.ClusterContext, name) for name in ("__init__", "_get_direct_client")),
        *(getattr(pc.ComputeContext, name) for name in ("__init__", "start", "_get_direct_client")),
    ]


@pytest.mark.parametrize("ends", ["well", "with an error", "with a query that fails", "outside of Exception"])
def test_polars_and_its_client_are_as_before_afterwards(
    tasks: Tasks, context: Any, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    own_provider = pl.CredentialProviderAWS
    monkeypatch.setattr(_builder, "DEFAULT_CREDENTIAL_PROVIDER", own_provider)
    monkeypatch.setattr(cache, "cached_context", context)
    before = all_that_is_changed()
    during: list[Any] = []

    def function() -> pl.LazyFrame:
        during.extend(all_that_is_changed())
        pc.set_compute_context(pc.ClusterContext(tasks.cluster.uri))
        if ends == "with an error":
            raise LookupError("of the function")
        if ends == "outside of Exception":
            raise KeyboardInterrupt
        return broken() if ends == "with a query that fails" else frame()

    outcome = tasks.run(function)

    assert (outcome.error is None) == (ends == "well")
    assert all_that_is_changed() == before
    assert during[1] is None
    assert not [value for value, changed in zip(before, during, strict=True) if value == changed]


def test_the_result_of_a_query_on_the_default_context_can_be_read_on(tasks: Tasks, tmp_path: Any) -> None:
    upstream = succeeded(tasks.run(lambda: frame(5).remote().execute()))

    ref = succeeded(
        tasks.run(lambda: pl.scan_parquet(upstream["locations"]).sum(), sink=ParquetSink(str(tmp_path / "x.parquet")))
    )

    assert rows(ref) == [{"a": 10}]
