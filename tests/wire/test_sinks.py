"""Where a query writes: every sink of the client, single and distributed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import polars_cloud as pc
import pytest
from polars.testing import assert_frame_equal
from pyiceberg.catalog.sql import SqlCatalog

ROWS = pl.DataFrame({"id": range(100), "name": [f"n{number}" for number in range(100)], "part": [0, 1] * 50})
SCANS: dict[str, Callable[..., pl.LazyFrame]] = {
    "parquet": pl.scan_parquet,
    "csv": pl.scan_csv,
    "ipc": pl.scan_ipc,
}
both = pytest.mark.parametrize("mode", ["single_node", "distributed"])


def remote(frame: pl.LazyFrame, context: Any, mode: str = "single_node", **options: Any) -> Any:
    return getattr(frame.remote(context, **options), mode)()


@both
@pytest.mark.parametrize("kind", SCANS)
@pytest.mark.parametrize("engine", ["auto", "streaming"])
def test_a_file_holds_the_rows_and_the_result_says_so(
    context: Any, tmp_path: Path, mode: str, kind: str, engine: str
) -> None:
    path = tmp_path / f"rows.{kind}"
    options = {"sink_to_single_file": True} if mode == "distributed" else {}

    query = getattr(remote(ROWS.lazy(), context, mode, engine=engine), f"sink_{kind}")(str(path), **options)
    result = query.await_result()

    assert_frame_equal(SCANS[kind](path).collect(), ROWS)
    assert result.location == [str(path)]
    assert result.file_type == kind
    assert result.n_rows_total == ROWS.height
    assert_frame_equal(result.head, ROWS.head(10))
    assert (result.total_stages, result.finished_stages, result.failed_stages) == (1, 1, 0)


def test_the_in_memory_engine_runs_single_queries(context: Any, tmp_path: Path) -> None:
    query = remote(ROWS.lazy(), context, engine="in-memory").sink_parquet(str(tmp_path / "rows.parquet"))

    assert query.await_result().n_rows_total == ROWS.height


@both
@pytest.mark.parametrize("kind", SCANS)
def test_a_directory_gets_a_file_named_after_the_query(context: Any, tmp_path: Path, mode: str, kind: str) -> None:
    folder = tmp_path / "new" / "rows"

    query = getattr(remote(ROWS.lazy(), context, mode), f"sink_{kind}")(f"{folder}/")
    result = query.await_result()

    (file,) = folder.iterdir()
    assert file.name.startswith(f"{query._query_id}-0000.")
    assert result.location == [str(file)]
    assert_frame_equal(SCANS[kind](file).collect(), ROWS)


@both
def test_partitions_are_all_named(context: Any, tmp_path: Path, mode: str) -> None:
    target = pl.PartitionBy(f"{tmp_path}/by_part/", key="part")

    result = remote(ROWS.lazy(), context, mode).sink_parquet(target).await_result()

    assert sorted(os.path.relpath(file, tmp_path) for file in result.location) == [
        "by_part/part=0/00000000.parquet",
        "by_part/part=1/00000000.parquet",
    ]
    assert result.n_rows_total == ROWS.height


def test_only_the_files_of_this_query_are_named(context: Any, tmp_path: Path) -> None:
    (tmp_path / "by_part" / "part=7").mkdir(parents=True)
    ROWS.write_parquet(tmp_path / "by_part" / "part=7" / "earlier.parquet")
    os.utime(tmp_path / "by_part" / "part=7" / "earlier.parquet", (0, 0))

    result = (
        remote(ROWS.lazy(), context).sink_parquet(pl.PartitionBy(f"{tmp_path}/by_part/", key="part")).await_result()
    )

    assert result.n_rows_total == ROWS.height
    assert len(result.location) == 2


def test_batches_go_to_a_function(context: Any, tmp_path: Path) -> None:
    folder = str(tmp_path)

    def write(batch: pl.DataFrame) -> None:
        batch.write_csv(f"{folder}/batch.csv")

    result = remote(ROWS.lazy(), context).sink_batches(write).await_result()

    assert result.status == pc.QueryStatus.SUCCESS
    assert_frame_equal(pl.read_csv(tmp_path / "batch.csv"), ROWS)


def test_an_iceberg_table_is_appended_to(context: Any, tmp_path: Path) -> None:
    catalog = SqlCatalog("lake", uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=f"file://{tmp_path}/lake")
    catalog.create_namespace("sales")
    table = catalog.create_table("sales.orders", schema=ROWS.to_arrow(compat_level=pl.CompatLevel.oldest()).schema)

    query = remote(ROWS.lazy(), context).sink_iceberg(table, mode="append")
    query.await_result()

    assert_frame_equal(pl.scan_iceberg(table.refresh()).collect(), ROWS)
    detail = pc.QueryDetail._from_inner(context._get_direct_client().get_query_details(query._query_id))
    assert detail.output_rows is None


def test_an_output_that_cannot_be_read_back_says_so(context: Any) -> None:
    query = remote(ROWS.lazy(), context).sink_parquet("/dev/null")
    result = query.await_result()

    assert result.status == pc.QueryStatus.SUCCESS
    with pytest.raises(RuntimeError, match="cannot be read back"):
        _ = result.head
    detail = pc.QueryDetail._from_inner(context._get_direct_client().get_query_details(query._query_id))
    assert detail.output_rows is None


def test_relative_paths_are_those_of_the_folder_of_the_cluster(context: Any, tmp_path: Path) -> None:
    path = os.path.relpath(tmp_path / "rows.parquet")

    result = remote(ROWS.lazy(), context).sink_parquet(path).await_result()

    assert result.location == [path]
    assert_frame_equal(pl.read_parquet(tmp_path / "rows.parquet"), ROWS)


def test_rows_without_a_place_are_kept_by_the_cluster(context: Any) -> None:
    result = remote(ROWS.lazy(), context).execute()

    (file,) = result.location
    assert os.path.isabs(file)
    assert_frame_equal(result.lazy().collect(), ROWS)
    assert_frame_equal(remote(ROWS.lazy(), context, "distributed").await_and_scan().collect(), ROWS)


def test_several_sinks_run_as_one_query(context: Any, tmp_path: Path) -> None:
    sinks = [ROWS.lazy().sink_csv(tmp_path / name, lazy=True) for name in ("a.csv", "b.csv")]

    query = remote(pl.collect_all(sinks, lazy=True), context).execute(blocking=False)

    assert query.await_result().status == pc.QueryStatus.SUCCESS
    assert sorted(os.listdir(tmp_path)) == ["a.csv", "b.csv"]


def test_options_of_the_writer_arrive(context: Any, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"

    query = remote(ROWS.lazy().head(2), context).sink_csv(str(path), separator=";", include_header=False)
    query.await_result()

    assert path.read_text() == "0;n0;0\n1;n1;1\n"


def test_a_csv_without_a_header_is_counted_right(context: Any, tmp_path: Path) -> None:
    query = remote(ROWS.lazy(), context).sink_csv(str(tmp_path / "rows.csv"), include_header=False, separator="|")

    result = query.await_result()

    assert result.n_rows_total == ROWS.height
    assert result.head.shape == (10, 3)


def test_an_empty_result_is_a_result(context: Any, tmp_path: Path) -> None:
    empty = ROWS.lazy().filter(pl.col("id") < 0)

    result = remote(empty, context).sink_parquet(str(tmp_path / "empty.parquet")).await_result()

    assert result.n_rows_total == 0
    assert result.head.shape == (0, 3)
    assert remote(empty, context).collect().equals(empty.collect())
