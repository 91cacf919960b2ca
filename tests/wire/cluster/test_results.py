"""What a task hands on of a query on a cluster, and what people see of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from airflow_provider_polars import ClusterCompute, CsvSink, LocalCompute, ParquetSink, ResultRef, __version__
from tests.harness.summaries import lines_of_summary, summary
from tests.unit.outcomes import failure, rows, succeeded

if TYPE_CHECKING:
    from airflow_provider_polars.testing import DevCluster
    from tests.harness.in_memory import InMemoryAirflow
    from tests.wire.cluster.conftest import Run

FRAME = pl.LazyFrame({"id": range(100), "part": ["a", "b"] * 50})


def test_a_reference_tells_what_was_written(run: Run, tmp_path: Path) -> None:
    outcome = run(FRAME, sink=ParquetSink(f"{tmp_path}/rows.parquet"), head_rows=2)

    result = succeeded(outcome)
    timings = result.pop("timings")
    assert set(timings) == {"queue", "plan", "run"}
    assert all(0 <= seconds < 30 for seconds in timings.values())
    assert len(result.pop("query_id")) == 36
    assert len(result.pop("schema_hash")) == 16
    assert result == {
        "polars_result": 1,
        "locations": [f"{tmp_path}/rows.parquet"],
        "format": "parquet",
        "rows": 100,
        "bytes": None,
        "files": 1,
        "schema": [["id", "Int64"], ["part", "String"]],
        "statistics": {"stages": 1},
        "head": [{"id": 0, "part": "a"}, {"id": 1, "part": "b"}],
    }


def test_a_reference_has_rows_only_if_asked_for_and_is_small(run: Run) -> None:
    wide = pl.LazyFrame({f"a_rather_long_name_of_a_column_{number}": range(10) for number in range(300)})

    assert "head" not in succeeded(run(FRAME))
    result = succeeded(run(wide, head_rows=10))
    assert len(json.dumps(result)) <= 4096
    assert len(result["schema"]) + result["schema_omitted"] == 300


def test_the_log_says_what_runs_where_and_ends_with_a_summary(
    run: Run, polars_dev_cluster: DevCluster, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    result = succeeded(run(FRAME, sink=ParquetSink(f"{tmp_path}/rows.parquet")))

    output = capfd.readouterr().out
    cluster = (
        f"cluster {polars_dev_cluster.uri}, version development-cluster {__version__}, "
        f"Polars {polars_dev_cluster.polars}"
    )
    assert f"Submitted query {result['query_id']} to {cluster}" in output
    split = ", ".join(f"{name} {seconds:.2f}" for name, seconds in result["timings"].items())
    told = summary(output)
    assert told.pop("time").endswith(f" s: {split}")
    assert told == {
        "query": result["query_id"],
        "rows": "100",
        "size": "1 file, parquet",
        "written": f"{tmp_path}/rows.parquet",
        "work": "1 stage",
        "ran on": cluster,
        "link": f"{polars_dev_cluster.observatory}/api/v1/query/{result['query_id']}",
    }


def test_several_outputs_are_the_rows_of_one_table(run: Run, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    sinks = {name: ParquetSink(f"{tmp_path}/{name}.parquet") for name in ("all", "few")}

    results = succeeded(run(lambda: {"all": FRAME, "few": FRAME.head(3)}, sink=sinks))

    lines = lines_of_summary(capfd.readouterr().out)
    assert lines[0] == "Summary of 2 queries"
    assert lines[1].split()[:2] == ["output", "rows"]
    cells = {line.split()[0]: line.split() for line in lines[2:4]}
    assert {name: row[1] for name, row in cells.items()} == {"all": "100", "few": "3"}
    assert {name: results[name]["query_id"] in row for name, row in cells.items()} == {"all": True, "few": True}
    assert lines[4].startswith("  ran on  cluster ")


@pytest.mark.parametrize(
    ("frame", "state"), [(FRAME, "success"), (FRAME.select(pl.col("part").str.to_date(strict=True)), "failed")]
)
def test_the_link_is_there_from_the_moment_of_submission(
    run: Run, polars_dev_cluster: DevCluster, frame: pl.LazyFrame, state: str
) -> None:
    outcome = run(frame)

    (submitted,) = polars_dev_cluster.recorder.submissions
    assert outcome.state == state
    address = f"/api/v1/query/{submitted['query_id']}"
    assert outcome.xcoms["polars_query_link"] == f"{polars_dev_cluster.observatory}{address}"
    assert polars_dev_cluster.get(address)["id"] == submitted["query_id"]
    written = [request.path.rpartition("/")[2] for request in outcome.requests if request.method != "GET"]
    assert written.index("polars_runs") < written.index("polars_query_link")


def test_no_query_no_link(run: Run) -> None:
    outcome = run(lambda: 1 / 0)

    assert "ZeroDivisionError" in failure(outcome)
    assert not outcome.xcoms.get("polars_query_link")


@pytest.mark.parametrize("observatory", ["http://127.0.0.1:1", "http://nowhere.invalid:3001", "the scheduler itself"])
def test_all_works_without_an_observatory(
    run: Run, polars_dev_cluster: DevCluster, observatory: str, capfd: pytest.CaptureFixture[str]
) -> None:
    away = polars_dev_cluster.uri if observatory.startswith("the") else observatory
    compute = ClusterCompute(uri=polars_dev_cluster.uri, observatory=away)

    outcome = run(FRAME, compute=compute, head_rows=1)

    result = succeeded(outcome)
    assert (result["rows"], result["timings"], result["head"]) == (100, {}, [{"id": 0, "part": "a"}])
    assert "statistics" not in result
    assert outcome.xcoms["polars_query_link"] == f"{away}/api/v1/query/{result['query_id']}"
    assert summary(capfd.readouterr().out)["rows"] == "100"


def test_rows_without_a_sink_are_kept_by_the_cluster_and_read_by_the_next_task(run: Run) -> None:
    kept = succeeded(run(FRAME))

    assert (kept["format"], kept["rows"], kept["files"]) == ("parquet", 100, 1)
    total = run(lambda frame: frame.select(pl.col("id").sum()), kept, head_rows=1)
    assert succeeded(total)["head"] == [{"id": 4950}]


def test_rows_that_the_cluster_keeps_are_read_on_the_worker(run: Run) -> None:
    kept = succeeded(run(FRAME))

    def eager(frame: pl.DataFrame) -> pl.LazyFrame:
        assert isinstance(frame, pl.DataFrame)
        return frame.lazy().select(pl.col("id").max())

    def reference(kept: ResultRef) -> pl.LazyFrame:
        return pl.LazyFrame({"rows": [kept.rows], "columns": [len(kept.schema)]})

    local = run(lambda frame: frame.select(pl.col("id").min()), kept, compute=LocalCompute())
    assert rows(succeeded(local)) == [{"id": 0}]
    assert rows(succeeded(run(eager, kept, compute=LocalCompute()))) == [{"id": 99}]
    assert rows(succeeded(run(eager, kept))) == [{"id": 99}]
    assert rows(succeeded(run(reference, kept))) == [{"rows": 100, "columns": 2}]


def test_what_a_worker_wrote_is_read_by_the_cluster(run: Run) -> None:
    local = succeeded(run(FRAME, compute=LocalCompute()))

    assert rows(succeeded(run(lambda frame: frame.select(pl.len()), local))) == [{"len": 100}]


def test_text_files_are_read_with_the_options_they_were_written_with(run: Run, tmp_path: Path) -> None:
    sink = CsvSink(f"{tmp_path}/rows.csv", separator=";", include_header=False, null_value="NA")
    written = succeeded(run(FRAME, sink=sink))

    head = succeeded(run(lambda frame: frame.tail(1), written, head_rows=1))["head"]

    assert [list(row.values()) for row in head] == [[99, "b"]]


def test_the_asset_of_the_sink_is_told_what_was_written(run: Run, tmp_path: Path) -> None:
    sink = ParquetSink(f"{tmp_path}/rows/")

    outcome = run(FRAME, sink=sink, outlets=[sink.asset()], labels=["nightly"])

    (event,) = outcome.msg.outlet_events
    assert event["extra"] == {
        "location": sink.path,
        "rows": 100,
        "bytes": None,
        "schema_hash": succeeded(outcome)["schema_hash"],
        "query_id": succeeded(outcome)["query_id"],
        "labels": ["nightly"],
    }


def test_sql_over_results_and_files_runs_on_the_cluster(
    run: Run, in_memory_airflow: InMemoryAirflow, cluster: ClusterCompute, tmp_path: Path
) -> None:
    from airflow_provider_polars import PolarsRemoteOperator

    FRAME.collect().write_parquet(tmp_path / "rows.parquet")
    tables: dict[str, Any] = {"kept": succeeded(run(FRAME)), "file": f"{tmp_path}/rows.parquet"}
    sql = "SELECT count(*) AS n FROM kept JOIN file ON kept.id = file.id"
    task = PolarsRemoteOperator(task_id="sql", sql=sql, tables=tables, compute=cluster, head_rows=1)

    assert succeeded(in_memory_airflow.run_task(task))["head"] == [{"n": 100}]
