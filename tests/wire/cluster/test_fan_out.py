"""Several queries of one task on one cluster: side by side, and told apart when they fail."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from airflow_provider_polars import ClusterCompute, CsvSink, ParquetSink
from tests.harness.waiting import wait_for
from tests.unit.outcomes import failure, rows, succeeded
from tests.wire.cluster.own import Tasks, broken, frame, kill_task, let_pass, when_kept, when_started

if TYPE_CHECKING:
    from airflow_provider_polars.testing import DevCluster
    from tests.harness.in_memory import InMemoryAirflow
    from tests.wire.gates import Gate

START_SECONDS = 60.0


@pytest.fixture
def tasks(in_memory_airflow: InMemoryAirflow, polars_dev_cluster: DevCluster) -> Tasks:
    """Return tasks whose queries take one worker each, of the two that there are."""
    compute = ClusterCompute(
        uri=polars_dev_cluster.uri, observatory=polars_dev_cluster.observatory, scaling="single-node"
    )
    return Tasks(in_memory_airflow, polars_dev_cluster, compute)


def sinks(folder: Path, *names: str) -> dict[str, Any]:
    """Return a sink for each output."""
    return {name: ParquetSink(str(folder / f"{name}.parquet")) for name in names}


def spans(cluster: DevCluster, query_ids: list[str]) -> list[tuple[float, float]]:
    """Return when queries started and ended."""
    by_id = {query["id"]: query for query in cluster.queries}
    return [(by_id[query_id]["started"], by_id[query_id]["ended"]) for query_id in query_ids]


@pytest.mark.parametrize("by_itself", [False, True], ids=["outputs", "own submissions"])
def test_the_queries_of_one_task_run_side_by_side(tasks: Tasks, gate: Gate, tmp_path: Path, by_itself: bool) -> None:
    def open_when_both_run() -> None:
        gate.wait_until_started("b")
        gate.open()

    def function() -> Any:
        frames = {name: gate.frame(name) for name in "ab"}
        if not by_itself:
            return frames
        return {name: lf.remote().single_node().execute(blocking=False) for name, lf in frames.items()}

    opening = when_started(gate, "a", open_when_both_run)
    result = succeeded(tasks.run(function, **({} if by_itself else {"sink": sinks(tmp_path, "a", "b")})))
    opening.join()

    (start_a, end_a), (start_b, end_b) = spans(tasks.cluster, tasks.submitted)
    assert max(start_a, start_b) < min(end_a, end_b)
    assert {name: rows(ref) for name, ref in result.items()} == {"a": [{"name": "a"}], "b": [{"name": "b"}]}


def test_more_queries_than_workers_all_end(tasks: Tasks, tmp_path: Path) -> None:
    names = [f"part_{n}" for n in range(12)]

    result = succeeded(
        tasks.run(lambda: {name: frame(n) for n, name in enumerate(names)}, sink=sinks(tmp_path, *names))
    )

    assert [ref["rows"] for ref in result.values()] == list(range(12))
    assert tasks.states == ["SUCCESS"] * 12


def test_each_failure_is_reported_by_name_and_what_succeeded_stays(tasks: Tasks, tmp_path: Path) -> None:
    frames = {"good": frame(), "bad": broken("first"), "fine": frame(2), "worse": broken("second")}
    given = {**sinks(tmp_path, "good", "bad", "worse"), "fine": CsvSink(str(tmp_path / "fine.csv"))}

    error = failure(tasks.run(lambda: frames, sink=given))

    assert error.startswith("QueryFailedError: 2 of 4 outputs failed. bad: ")
    assert error.index("bad: ") < error.index("first") < error.index("worse: ") < error.index("second")
    assert "Without error: good, fine; what has succeeded stays in its place" in error
    assert pl.read_parquet(tmp_path / "good.parquet").height == 3
    assert pl.read_csv(tmp_path / "fine.csv").height == 2
    assert sorted(tasks.states) == ["FAILED", "FAILED", "SUCCESS", "SUCCESS"]


def test_all_are_waited_for_before_the_task_fails(tasks: Tasks, gate: Gate, tmp_path: Path) -> None:
    def open_when_bad_has_failed() -> None:
        wait_for(lambda: "FAILED" in tasks.states or None, START_SECONDS, lambda: str(tasks.states))
        gate.open()

    opening = when_started(gate, "slow", open_when_bad_has_failed)
    error = failure(
        tasks.run(lambda: {"slow": gate.frame("slow"), "bad": broken()}, sink=sinks(tmp_path, "slow", "bad"))
    )
    opening.join()

    assert "1 of 2 outputs failed. bad: " in error
    assert tasks.states == ["SUCCESS", "FAILED"]
    assert pl.read_parquet(tmp_path / "slow.parquet")["name"].to_list() == ["slow"]


def test_a_query_that_is_refused_ends_those_that_were_submitted_before_it(
    tasks: Tasks, gate: Gate, tmp_path: Path
) -> None:
    error = failure(
        tasks.run(
            lambda: {"first": gate.frame("first"), "second": frame().select("no such column")},
            sink=sinks(tmp_path, "first", "second"),
        )
    )

    assert error.startswith("SchemaError: ")
    assert "no such column" in error
    assert tasks.states == ["CANCELED"]
    assert not (tmp_path / "second.parquet").exists()


def test_a_killed_task_ends_all_its_queries(tasks: Tasks, gate: Gate, tmp_path: Path) -> None:
    names = ("a", "b", "c")
    killing = when_kept(tasks, gate, "b", kill_task, runs=len(names))

    error = failure(tasks.run(lambda: {name: gate.frame(name) for name in names}, sink=sinks(tmp_path, *names)))

    killing.join()
    assert all(f"({name})" in error for name in names)
    assert tasks.states == ["CANCELED"] * 3


def test_a_time_limit_ends_those_that_are_left_and_keeps_the_results_of_the_others(
    tasks: Tasks, gate: Gate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def let_pass_when_quick_has_ended() -> None:
        wait_for(lambda: "SUCCESS" in tasks.states or None, START_SECONDS, lambda: str(tasks.states), interval=0.02)
        let_pass(monkeypatch, 3600)

    passing = when_kept(tasks, gate, "slow", let_pass_when_quick_has_ended, runs=2)
    error = failure(
        tasks.run(
            lambda: {"quick": frame(), "slow": gate.frame("slow")}, sink=sinks(tmp_path, "quick", "slow"), timeout=600.0
        )
    )
    passing.join()

    assert error.startswith(f"QueryTimeoutError: query {tasks.submitted[1]} (slow) did not end within timeout=600 ")
    assert tasks.states == ["SUCCESS", "CANCELED"]
    assert pl.read_parquet(tmp_path / "quick.parquet").height == 3


def test_without_waiting_all_runs_are_handed_on_and_a_clear_ends_them(tasks: Tasks, gate: Gate, tmp_path: Path) -> None:
    given = sinks(tmp_path, "a", "b")

    result = succeeded(tasks.run(lambda: {name: gate.frame(name) for name in "ab"}, sink=given, wait=False))

    assert {name: run["query_id"] for name, run in result.items()} == dict(zip("ab", tasks.submitted, strict=True))
    assert [run.query_id for run in tasks.stored] == tasks.submitted

    succeeded(tasks.run(lambda: {name: frame() for name in "ab"}, sink=given, max_tries=1, try_number=2))
    assert tasks.states == ["CANCELED", "CANCELED", "SUCCESS", "SUCCESS"]


def test_a_retry_adopts_all_queries_of_a_lost_worker(tasks: Tasks, gate: Gate, tmp_path: Path) -> None:
    given = sinks(tmp_path, "a", "b")
    succeeded(tasks.run(lambda: {name: gate.frame(name) for name in "ab"}, sink=given, wait=False))
    lost = tasks.submitted
    gate.open()

    result = succeeded(tasks.run(lambda: pytest.fail("built again"), sink=given, try_number=2))

    assert [ref["query_id"] for ref in result.values()] == lost == tasks.submitted


def test_a_retry_adopts_none_where_one_of_them_has_ended_badly(
    tasks: Tasks, context: Any, gate: Gate, tmp_path: Path
) -> None:
    given = sinks(tmp_path, "a", "b")
    succeeded(tasks.run(lambda: {name: gate.frame(name) for name in "ab"}, sink=given, wait=False))
    context._get_direct_client().cancel_direct_query(uuid.UUID(tasks.submitted[1]))

    result = succeeded(tasks.run(lambda: {name: frame() for name in "ab"}, sink=given, try_number=2))

    assert tasks.states == ["CANCELED", "CANCELED", "SUCCESS", "SUCCESS"]
    assert [ref["query_id"] for ref in result.values()] == tasks.submitted[2:]
