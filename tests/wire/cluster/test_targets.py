"""Where results go: files, directories, partitions, many files, on one node and on all workers."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from airflow_provider_polars import ClusterCompute, CsvSink, IpcSink, LocalCompute, ParquetSink
from airflow_provider_polars.query.sinks import FileSink
from tests.unit.outcomes import failure, rows, succeeded

if TYPE_CHECKING:
    from airflow_provider_polars.testing import DevCluster
    from tests.wire.cluster.conftest import Run

FORMATS = [ParquetSink, CsvSink, IpcSink]
FRAME = pl.DataFrame({"id": range(100), "part": [0, 1] * 50})
QUERY = "tests.wire.cluster.conftest.run.run.<lambda>"
SINGLE_FILE = {"sink_to_single_file": True}
either = pytest.mark.parametrize("distributed", [False, True])
reader = pytest.mark.parametrize("reader", ["cluster", "worker"])


def read_by(run: Run, reader: str, result: Any) -> list[dict[str, Any]]:
    """Return the sum of what the next task reads: on the cluster or on the Airflow worker."""
    options = {} if reader == "cluster" else {"compute": LocalCompute()}
    return rows(succeeded(run(lambda frame: frame.select(pl.len(), pl.col("id").sum()), result, **options)))


@either
@pytest.mark.parametrize("kind", FORMATS)
def test_a_directory_gets_files_of_the_query(run: Run, tmp_path: Path, kind: type[FileSink], distributed: bool) -> None:
    result = succeeded(run(FRAME.lazy(), sink=kind(f"{tmp_path}/new/"), distributed=distributed))

    (location,) = result["locations"]
    assert [str(file) for file in (tmp_path / "new").iterdir()] == [location]
    assert result["query_id"] in location
    assert read_by(run, "cluster", result) == [{"len": 100, "id": 4950}]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_directory_that_is_there_gets_more_files_and_the_result_names_its_own(
    run: Run, tmp_path: Path, kind: type[FileSink]
) -> None:
    sink = kind(f"{tmp_path}/rows/")
    first = succeeded(run(FRAME.lazy(), sink=sink))

    second = succeeded(run(FRAME.lazy().head(10), sink=sink))

    assert {str(file) for file in (tmp_path / "rows").iterdir()} == {*first["locations"], *second["locations"]}
    assert read_by(run, "cluster", first) == [{"len": 100, "id": 4950}]
    assert read_by(run, "cluster", second) == [{"len": 10, "id": 45}]


@either
@pytest.mark.parametrize("kind", FORMATS)
def test_partitions_are_named_and_read_back(run: Run, tmp_path: Path, kind: type[FileSink], distributed: bool) -> None:
    sink = kind(f"{tmp_path}/by_part/", partition_by=["part"])

    result = succeeded(run(FRAME.lazy(), sink=sink, distributed=distributed))

    assert result["files"] == 2
    assert [Path(location).parent.name for location in result["locations"]] == ["part=0", "part=1"]
    read = succeeded(run(lambda frame: frame.select("id", "part").sort("id"), result))
    assert_frame_equal(pl.read_parquet(read["locations"]), FRAME)


@either
@pytest.mark.parametrize("kind", FORMATS)
def test_files_have_no_more_rows_than_allowed(
    run: Run, tmp_path: Path, kind: type[FileSink], distributed: bool
) -> None:
    sink = kind(f"{tmp_path}/rows", max_rows_per_file=30)

    result = succeeded(run(FRAME.lazy(), sink=sink, distributed=distributed))

    scan = getattr(pl, f"scan_{sink.kind}")
    assert [scan(file).collect().height for file in result["locations"]] == [30, 30, 30, 10]
    assert (result["files"], result["rows"]) == (4, 100)
    assert read_by(run, "cluster", result) == [{"len": 100, "id": 4950}]


@reader
@pytest.mark.parametrize("kind", FORMATS)
def test_many_files_are_named_by_a_pattern_that_the_next_task_reads(
    run: Run, tmp_path: Path, kind: type[FileSink], reader: str
) -> None:
    sink = kind(f"{tmp_path}/an [odd] *name/", max_rows_per_file=3)

    result = succeeded(run(FRAME.lazy(), sink=sink))

    assert (result["files"], result["rows"]) == (34, 100)
    assert result["locations"] == [f"{tmp_path}/an [[]odd] [*]name/000000*.{kind.extension}"]
    assert read_by(run, reader, result) == [{"len": 100, "id": 4950}]


@reader
def test_many_partitions_are_named_by_a_pattern_that_the_next_task_reads(run: Run, tmp_path: Path, reader: str) -> None:
    result = succeeded(run(FRAME.lazy(), sink=ParquetSink(f"{tmp_path}/by_id/", partition_by=["id"])))

    assert (result["files"], result["locations"]) == (100, [f"{tmp_path}/by_id/**/*.parquet"])
    assert read_by(run, reader, result) == [{"len": 100, "id": 4950}]


def test_a_file_is_refused_for_a_query_that_is_to_be_distributed(
    run: Run, polars_dev_cluster: DevCluster, tmp_path: Path
) -> None:
    outcome = run(FRAME.lazy(), sink=ParquetSink(f"{tmp_path}/rows.parquet"), distributed=True)

    assert failure(outcome) == (
        f"ConfigurationError: A distributed query writes a directory of files, and '{tmp_path}/rows.parquet' looks "
        'like one file. End the path with a slash, or give distributed={"sink_to_single_file": True}, which leaves '
        "the writing to one worker, or distributed=False."
    )
    assert polars_dev_cluster.recorder.calls() == []


@pytest.mark.parametrize("distributed", [None, SINGLE_FILE, {"max_workers": 2, **SINGLE_FILE}])
def test_a_file_is_written_by_a_distributed_query_that_may(
    run: Run, polars_dev_cluster: DevCluster, tmp_path: Path, distributed: Any
) -> None:
    """Left to the compute, or with the setting that allows it."""
    sink = ParquetSink(f"{tmp_path}/rows.parquet")

    result = succeeded(run(FRAME.lazy(), sink=sink, distributed=distributed))

    (submitted,) = polars_dev_cluster.recorder.submissions
    assert submitted["distributed"]
    assert result["locations"] == [sink.path]
    assert_frame_equal(pl.read_parquet(sink.path), FRAME)


@pytest.mark.parametrize("distributed", [None, True, SINGLE_FILE])
def test_a_path_that_could_be_either_is_refused_for_a_distributed_query(
    run: Run, polars_dev_cluster: DevCluster, tmp_path: Path, distributed: Any
) -> None:
    outcome = run(FRAME.lazy(), sink=ParquetSink(f"{tmp_path}/rows"), distributed=distributed)

    assert failure(outcome) == (
        f"ConfigurationError: '{tmp_path}/rows' is one file to its sink, and a distributed query would make a "
        "directory of it. End the path with a slash for a directory, or with an extension for one file, or give "
        "distributed=False."
    )
    assert polars_dev_cluster.recorder.calls() == []


@pytest.mark.parametrize(("scaling", "distributed"), [("auto", False), ("single-node", None)])
def test_one_node_writes_a_file_of_any_name(
    run: Run, cluster: ClusterCompute, tmp_path: Path, scaling: Any, distributed: Any
) -> None:
    sink, compute = ParquetSink(f"{tmp_path}/rows"), dataclasses.replace(cluster, scaling=scaling)

    result = succeeded(run(FRAME.lazy(), sink=sink, compute=compute, distributed=distributed))

    assert result["locations"] == [sink.path]
    assert_frame_equal(pl.read_parquet(sink.path), FRAME)


def test_a_target_that_cannot_be_written_is_an_error_about_the_target(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    outcome = run(FRAME.lazy(), sink=ParquetSink(f"{tmp_path}/file/below.parquet"))

    assert failure(outcome).startswith("SinkWriteError: The cluster at http://127.0.0.1:")
    assert f"cannot write the result of the query {QUERY} to {tmp_path}/file/below.parquet: Not a d" in failure(outcome)
