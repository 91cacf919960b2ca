"""Lineage of queries on a cluster: what the task tells of them, and what the cluster is told of the task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from polars_cloud import LazyFrameRemote

from airflow_provider_polars import ParquetSink, PolarsQuerySensor, polars_task
from airflow_provider_polars.backends.remote import RemoteBackend
from airflow_provider_polars.exceptions import ClusterUnreachableError
from tests.harness.lineage import names
from tests.unit.outcomes import failure, succeeded
from tests.wire.cluster.own import Tasks, broken, frame
from tests.wire.sensing import DEFERRABLE, SOON, Sensing, event_of

if TYPE_CHECKING:
    from pathlib import Path

    from airflow_provider_polars.testing import DevCluster
    from tests.harness.lineage import Events
    from tests.wire.cluster.conftest import Plans, Run
    from tests.wire.gates import Gate

JOB = "in_memory.query"


@pytest.fixture
def orders(tmp_path: Path) -> Path:
    """Return a folder with a Parquet file."""
    folder = tmp_path / "orders"
    folder.mkdir()
    pl.DataFrame({"a": [1, 2, 3]}).write_parquet(folder / "orders.parquet")
    return folder


def test_a_query_on_a_cluster_tells_what_it_reads_and_writes(
    run: Run, events: Events, orders: Path, tmp_path: Path
) -> None:
    target = tmp_path / "lake" / "result.parquet"

    result = succeeded(run(pl.scan_parquet(orders / "*.parquet"), sink=ParquetSink(str(target)), engine="streaming"))

    completed = events.one(JOB, "COMPLETE")
    assert names(completed["inputs"]) == [("file", str(orders))]
    (output,) = completed["outputs"]
    assert (output["namespace"], output["name"]) == ("file", str(target))
    assert output["outputFacets"]["outputStatistics"]["rowCount"] == 3
    facets = completed["run"]["facets"]
    assert (facets["polars"]["compute"], facets["polars"]["engine"]) == ("cluster", "streaming")
    assert facets["polars"]["queries"][0]["queryId"] == result["query_id"]
    assert facets["polars"]["queries"][0]["link"].startswith("http://127.0.0.1:")
    assert facets["externalQuery"]["externalQueryId"] == result["query_id"]


def test_a_task_that_was_deferred_tells_all_once_it_has_gone_on(
    tasks: Tasks, events: Events, gate: Gate, orders: Path, tmp_path: Path
) -> None:
    target = tmp_path / "lake" / "result.parquet"
    tasks.options |= {"deferrable": True, "defer_after": 0.2, "sink": ParquetSink(str(target))}

    def function() -> Any:
        return pl.concat([gate.frame("held"), pl.scan_parquet(orders / "*.parquet")], how="diagonal")

    deferred = tasks.run(function)
    assert deferred.state == "deferred"
    assert [event["eventType"] for event in events.of(JOB)] == ["START"]

    event = event_of(deferred.trigger(), gate.open)
    outcome = tasks.airflow.resume(polars_task(**tasks.options)(function)(), deferred, event)

    result = succeeded(outcome)
    completed = events.one(JOB, "COMPLETE")
    assert names(completed["inputs"]) == [("file", str(orders))]
    (output,) = completed["outputs"]
    assert (output["name"], output["outputFacets"]["outputStatistics"]["rowCount"]) == (str(target), 4)
    assert completed["run"]["facets"]["polars"]["queries"][0]["queryId"] == result["query_id"] == tasks.submitted[0]
    assert [each["eventType"] for each in events.of(JOB)] == ["START", "START", "COMPLETE"]
    assert {each["run"]["runId"] for each in events.of(JOB)} == {completed["run"]["runId"]}


def test_a_query_that_fails_tells_what_it_has_read_and_why(run: Run, events: Events, orders: Path) -> None:
    query = pl.concat([broken(), pl.scan_parquet(orders / "*.parquet")])

    reason = failure(run(query, sink=ParquetSink(f"{orders.parent}/never.parquet")))

    failed = events.one(JOB, "FAIL")
    assert names(failed["inputs"]) == [("file", str(orders))]
    (output,) = failed["outputs"]
    assert (output["name"], output.get("outputFacets", {})) == (f"{orders.parent}/never.parquet", {})
    assert failed["run"]["facets"]["errorMessage"]["message"] in reason
    assert failed["run"]["facets"]["polars"]["queries"][0]["state"] == "failed"


def test_queries_that_a_function_submits_by_itself_are_told_each(
    tasks: Tasks, events: Events, orders: Path, tmp_path: Path
) -> None:
    def function() -> Any:
        for name in ("first", "second"):
            pl.scan_parquet(orders / "*.parquet").remote().single_node().sink_parquet(f"{tmp_path}/{name}.parquet")

    succeeded(tasks.run(function))

    completed = events.one(JOB, "COMPLETE")
    assert names(completed["inputs"]) == [("file", str(orders))]
    assert names(completed["outputs"]) == [("file", f"{tmp_path}/{name}.parquet") for name in ("first", "second")]
    told = completed["run"]["facets"]["polars"]["queries"]
    assert [query["queryId"] for query in told] == tasks.submitted


def test_two_results_in_one_folder_are_two_inputs(run: Run, events: Events, tmp_path: Path) -> None:
    sinks = [ParquetSink(f"{tmp_path}/{name}") for name in ("paid.parquet", "customers.parquet", "by_customer/")]
    results = [succeeded(run(frame(), sink=sink, task_id=f"task_{n}")) for n, sink in enumerate(sinks)]

    succeeded(run(lambda one, two, three: one.join(two, on="a").join(three, on="a"), *results))

    for event in events.of(JOB):
        assert names(event["inputs"]) == [("file", sink.path.rstrip("/")) for sink in sinks]


def test_two_files_of_one_folder_that_a_query_joins_are_two_inputs(run: Run, events: Events, orders: Path) -> None:
    pl.DataFrame({"a": [1, 2]}).write_parquet(orders / "returns.parquet")

    succeeded(run(pl.scan_parquet(orders / "orders.parquet").join(pl.scan_parquet(orders / "returns.parquet"), on="a")))

    told = events.one(JOB, "COMPLETE")["inputs"]
    assert names(told) == [("file", f"{orders}/orders.parquet"), ("file", f"{orders}/returns.parquet")]


def test_a_task_that_does_not_wait_tells_what_its_query_reads_and_nothing_as_written(
    run: Run, events: Events, orders: Path
) -> None:
    succeeded(run(pl.scan_parquet(orders / "*.parquet"), sink=ParquetSink(f"{orders.parent}/later/"), wait=False))

    completed = events.one(JOB, "COMPLETE")
    assert names(completed["inputs"]) == [("file", str(orders))]
    assert completed["run"]["facets"]["polars"]["queries"][0]["state"] == "queued"
    assert [event["outputs"] for event in events.of(JOB)] == [[], []]


@pytest.mark.parametrize("options", [SOON, DEFERRABLE], ids=["poke", "deferrable"])
def test_a_sensor_tells_what_the_query_has_read_and_written_that_it_has_waited_for(
    tasks: Tasks, events: Events, gate: Gate, orders: Path, options: dict[str, Any]
) -> None:
    sink = ParquetSink(f"{orders.parent}/later.parquet")
    run = succeeded(
        tasks.run(
            lambda: pl.concat([gate.frame("held"), pl.scan_parquet(orders / "*.parquet")], how="diagonal"),
            sink=sink,
            wait=False,
        )
    )
    gate.open()

    ended = Sensing(tasks.airflow, lambda: PolarsQuerySensor(task_id="ended", run=run, **options)).end()

    assert succeeded(ended)["rows"] == 4
    completed = events.one("in_memory.ended", "COMPLETE")
    assert names(completed["inputs"]) == [("file", str(orders))]
    (output,) = completed["outputs"]
    assert (output["name"], output["outputFacets"]["outputStatistics"]["rowCount"]) == (sink.path, 4)
    assert [field["name"] for field in output["facets"]["schema"]["fields"]] == ["name", "a"]
    facets = completed["run"]["facets"]
    (told,) = facets["polars"]["queries"]
    assert told == {
        "queryId": run["query_id"],
        "output": "return_value",
        "state": "succeeded",
        "link": run["link"],
    }
    assert (facets["polars"]["compute"], facets["polars"].get("engine")) == ("cluster", None)
    assert facets["externalQuery"]["externalQueryId"] == run["query_id"]


def test_a_sensor_tells_each_query_once_and_of_those_that_failed_why(
    tasks: Tasks, events: Events, orders: Path
) -> None:
    tasks.options |= {"wait": False}
    targets = [f"{orders.parent}/{name}.parquet" for name in ("good", "bad")]
    good, bad = (
        succeeded(tasks.run(function, task_id=f"query_{number}", sink=ParquetSink(targets[number])))
        for number, function in enumerate([frame, lambda: pl.concat([broken(), pl.scan_parquet(orders / "*.parquet")])])
    )

    reason = failure(
        Sensing(tasks.airflow, lambda: PolarsQuerySensor(task_id="ended", run=[good, bad, good], **SOON)).end()
    )

    failed = events.one("in_memory.ended", "FAIL")
    assert names(failed["inputs"]) == [("file", str(orders))]
    assert names(failed["outputs"]) == [("file", target) for target in targets]
    assert [output.get("outputFacets", {}) for output in failed["outputs"]] == [{}, {}]
    told = failed["run"]["facets"]["polars"]["queries"]
    assert [(each["queryId"], each["state"]) for each in told] == [
        (good["query_id"], "succeeded"),
        (bad["query_id"], "failed"),
    ]
    assert failed["run"]["facets"]["errorMessage"]["message"] in reason


def test_a_source_that_lineage_cannot_read_keeps_no_query_from_being_submitted(
    tasks: Tasks, events: Events, orders: Path
) -> None:
    def function() -> Any:
        unreadable = pl.scan_parquet("foo://[ab]c/x.parquet", schema={"a": pl.Int64})
        return {"first": pl.scan_parquet(orders / "*.parquet"), "second": unreadable}

    succeeded(tasks.run(function, sink={"first": None, "second": None}))

    first, second = (run.details["inputs"] for run in tasks.stored)
    assert first == [["files", str(orders)]]
    assert first[0] not in second
    assert ("file", str(orders)) in names(events.one(JOB, "COMPLETE")["inputs"])


def test_a_retry_that_takes_a_query_over_tells_what_it_reads(
    tasks: Tasks, events: Events, gate: Gate, orders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def function() -> Any:
        return pl.concat([gate.frame("held"), pl.scan_parquet(orders / "*.parquet")], how="diagonal")

    def lose_cluster(*_: Any) -> Any:
        raise ClusterUnreachableError("by design")

    with monkeypatch.context() as lost:
        lost.setattr(RemoteBackend, "poll", lose_cluster)
        assert tasks.run(function, max_tries=1).state == "up_for_retry"
    gate.open()
    succeeded(tasks.run(function, try_number=2, max_tries=1))

    assert len(tasks.submitted) == 1
    for kind in ("FAIL", "COMPLETE"):
        assert names(events.one(JOB, kind)["inputs"]) == [("file", str(orders))]


def test_no_secret_of_a_plan_is_kept_with_the_query_or_told(
    tasks: Tasks, plans: Plans, events: Events, orders: Path
) -> None:
    secret = "correct-horse-battery-staple"
    pl.DataFrame({"a": [1]}).write_delta(orders.parent / "prices")

    def function() -> Any:
        options = {"aws_secret_access_key": secret}
        return pl.concat(
            [
                pl.scan_parquet(orders / "*.parquet", storage_options=options),
                pl.scan_delta(str(orders.parent / "prices"), storage_options=options),
            ]
        )

    outcome = tasks.run(function)

    succeeded(outcome)
    assert secret.encode() in plans[0]
    (run,) = tasks.stored
    assert run.details["inputs"] == [["files", str(orders)], ["delta", f"{orders.parent}/prices"]]
    assert secret not in events.text + repr(run) + str(outcome.requests)


@pytest.mark.parametrize("tells", [True, False])
def test_a_cluster_is_told_of_the_run_of_the_task_if_the_task_says_so(
    run: Run, events: Events, polars_dev_cluster: DevCluster, tells: bool
) -> None:
    succeeded(run(frame(), openlineage_inject_parent_job_info=tells))

    (submitted,) = polars_dev_cluster.recorder.submissions
    run_id = events.one(JOB, "COMPLETE")["run"]["runId"]
    told = {
        "job_namespace": "tests",
        "job_name": "in_memory.query.return_value",
        "parent_run_id": run_id,
        "parent_job_namespace": "tests",
        "parent_job_name": "in_memory.query",
    }
    assert submitted["lineage"] == (told if tells else {})


def test_a_client_that_cannot_tell_of_the_run_of_the_task_says_so_and_submits(
    run: Run,
    events: Events,
    polars_dev_cluster: DevCluster,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.delattr(LazyFrameRemote, "with_lineage", raising=False)

    with caplog.at_level("INFO"):
        succeeded(run(frame(), openlineage_inject_parent_job_info=True))

    (submitted,) = polars_dev_cluster.recorder.submissions
    assert submitted["lineage"] == {}
    assert "is too old to tell a cluster of the run of the task" in caplog.text


def test_nothing_is_looked_for_where_nobody_listens(tasks: Tasks, orders: Path) -> None:
    succeeded(tasks.run(lambda: pl.scan_parquet(orders / "*.parquet")))

    (kept,) = tasks.stored
    assert "inputs" not in kept.details
