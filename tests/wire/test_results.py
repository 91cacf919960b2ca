"""What comes back: rows, heads, plans, figures, and what is deleted."""

from __future__ import annotations

import datetime as dt
import os
import uuid
from pathlib import Path
from typing import Any

import polars as pl
import polars_cloud as pc
import pytest
from polars.testing import assert_frame_equal

from airflow_provider_polars.testing import DevCluster
from tests.harness.waiting import wait_for

FRAME = pl.LazyFrame({"a": [1, 2, 3]})
DTYPES = {
    "int8": pl.Int8,
    "int64": pl.Int64,
    "uint16": pl.UInt16,
    "float32": pl.Float32,
    "string": pl.String,
    "categorical": pl.Categorical(),
    "list": pl.List(pl.Int64),
    "struct": pl.Struct({"x": pl.Int64, "y": pl.String}),
    "decimal": pl.Decimal(10, 2),
    "date": pl.Date,
    "datetime": pl.Datetime("us", "UTC"),
    "duration": pl.Duration("ms"),
    "time": pl.Time,
    "binary": pl.Binary,
    "boolean": pl.Boolean,
    "array": pl.Array(pl.Int8, 2),
    "null": pl.Null,
}
VALUES: dict[str, list[Any]] = {
    "string": ["a", "é" * 300, None],
    "categorical": ["a", "b", None],
    "list": [[1, 2], [], None],
    "struct": [{"x": 1, "y": "a"}, {"x": None, "y": None}, None],
    "date": [dt.date(2026, 1, 1), dt.date(1900, 1, 1), None],
    "datetime": [dt.datetime(2026, 1, 1, tzinfo=dt.timezone.utc)] * 2 + [None],
    "duration": [dt.timedelta(seconds=1), dt.timedelta(0), None],
    "time": [dt.time(1, 2, 3), dt.time(0), None],
    "binary": [b"\x00", b"", None],
    "boolean": [True, False, None],
    "array": [[1, 2], [3, 4], None],
    "null": [None, None, None],
}


@pytest.mark.parametrize("name", DTYPES)
def test_collected_columns_keep_type_and_values(context: Any, name: str) -> None:
    frame = pl.DataFrame({"x": VALUES.get(name, [1, 2, None])}, schema={"x": DTYPES[name]})

    assert_frame_equal(frame.lazy().remote(context).single_node().collect(), frame)


@pytest.mark.parametrize("mode", ["single_node", "distributed"])
def test_many_rows_are_collected_in_order(context: Any, mode: str) -> None:
    frame = pl.LazyFrame({"a": pl.int_range(2_000_000, eager=True)}).with_columns(b=pl.col("a").cast(pl.String))

    assert_frame_equal(getattr(frame.remote(context), mode)().collect(), frame.collect())


def test_wide_rows_are_cut_into_messages_that_the_client_takes(context: Any) -> None:
    frame = pl.LazyFrame({"a": [str(number) * 300_000 for number in range(10)] * 5})

    assert_frame_equal(frame.remote(context).single_node().collect(), frame.collect())


def test_categories_that_come_batch_by_batch_are_collected(context: Any) -> None:
    frame = pl.LazyFrame({"a": pl.int_range(400_000, eager=True)}).select(
        (pl.col("a") // 1000).cast(pl.String).cast(pl.Categorical()).alias("c")
    )

    collected = frame.remote(context).single_node().collect()

    assert_frame_equal(collected.cast(pl.String), frame.collect().cast(pl.String))


def test_rows_are_collected_in_batches(context: Any) -> None:
    frame = pl.LazyFrame({"a": pl.int_range(1_000_000, eager=True)})

    batches = list(frame.remote(context).single_node().collect_batches())

    assert len(batches) > 1
    assert_frame_equal(pl.concat(batches).sort("a"), frame.collect())


def test_show_prints_the_first_rows(context: Any) -> None:
    assert FRAME.remote(context).single_node().show(2).equals(FRAME.head(2).collect())


def test_status_goes_from_scheduled_to_success(context: Any) -> None:
    query = FRAME.remote(context).single_node().execute(blocking=False)

    assert query.get_status() in (
        pc.QueryStatus.SCHEDULED,
        pc.QueryStatus.INPROGRESS,
        pc.QueryStatus.SUCCESS,
    )
    assert query.await_result().status == pc.QueryStatus.SUCCESS
    assert query.get_status() == pc.QueryStatus.SUCCESS


def test_another_process_picks_a_query_up_by_its_id(polars_dev_cluster: DevCluster, context: Any) -> None:
    query = FRAME.remote(context).single_node().execute(blocking=False)
    other = polars_dev_cluster.context()

    again = pc.DirectQuery(query._query_id, other._get_direct_client(), other)

    assert again.await_result().n_rows_total == 3


def test_an_unknown_id_is_refused(context: Any) -> None:
    query = pc.DirectQuery(uuid.uuid4(), context._get_direct_client(), context)

    with pytest.raises(RuntimeError, match="was not submitted to this cluster"):
        query.get_status()


def test_a_kept_result_can_be_deleted_and_a_named_one_not(context: Any, tmp_path: Path) -> None:
    kept = FRAME.remote(context).single_node().execute(blocking=False)
    (file,) = kept.await_result().location
    named = FRAME.remote(context).single_node().sink_parquet(str(tmp_path / "a.parquet"))
    named.await_result()

    kept.delete_result()
    named.delete_result()

    assert not os.path.exists(file)
    assert (tmp_path / "a.parquet").exists()


def test_explain_says_what_would_run_and_runs_nothing(polars_dev_cluster: DevCluster, context: Any) -> None:
    def fail(_: pl.Series) -> pl.Series:
        raise AssertionError("it ran")

    frame = FRAME.filter(pl.col("a") > 1).select(pl.col("a").map_batches(fail, return_dtype=pl.Int64))
    query = frame.remote(context).single_node()

    assert "FILTER" in query.explain(plan_stage="ir")
    assert "filter" in query.explain(plan_stage="physical")
    assert [query["state"] for query in polars_dev_cluster.queries[-2:]] == ["SUCCESS"] * 2


def test_plans_come_as_text(context: Any) -> None:
    joined = FRAME.join(FRAME, on="a").remote(context, plan_type="plain").single_node().execute(blocking=False)
    joined.await_result()

    assert "INNER JOIN" in joined.plan("ir")
    assert "equi-join" in joined.plan("physical")


def test_plans_come_as_graphs(context: Any) -> None:
    query = FRAME.join(FRAME, on="a").remote(context, plan_type="dot").single_node().execute(blocking=False)
    query.await_result()

    assert "INNER" in query.graph("ir", raw_output=True, show=False)
    physical = query.graph("physical", raw_output=True, show=False)
    assert "equi-join" in physical
    assert physical.count("->") >= 3


def test_a_distributed_query_says_that_its_stages_are_simulated(context: Any) -> None:
    query = FRAME.remote(context, plan_type="dot").distributed().execute(blocking=False)
    query.await_result()

    assert "simulates distributed stages" in query.graph("physical", raw_output=True, show=False)


def test_the_observatory_knows_times_rows_and_places(context: Any, tmp_path: Path) -> None:
    before = dt.datetime.now(dt.timezone.utc)
    query = FRAME.remote(context).distributed().sink_parquet(f"{tmp_path}/rows/")
    result = query.await_result()

    detail = pc.QueryDetail._from_inner(context._get_direct_client().get_query_details(query._query_id))

    assert str(detail.status).endswith("Success")
    assert detail.output_rows == 3
    assert detail.output_location == result.location[0]
    assert detail.query_type == "Distributed"
    assert detail.total_num_stages == len(detail.finished_stages) == 1
    assert detail.total_node_time_ns > 0
    assert before <= detail.request_time <= detail.start_time <= detail.end_time <= dt.datetime.now(dt.timezone.utc)


def test_versions_are_those_of_the_workers(polars_dev_cluster: DevCluster, context: Any) -> None:
    versions = context._get_direct_client().get_compute_versions()

    assert versions.polars_python_version == polars_dev_cluster.polars == pl.__version__
    assert versions.compute_plane_version.startswith("development-cluster")


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_results_are_awaited_without_blocking_the_loop(context: Any) -> None:
    query = FRAME.remote(context).single_node().execute(blocking=False)

    assert (await query.await_result_async()).n_rows_total == 3


def test_rows_for_the_client_are_deleted_after_their_time(polars_dev_cluster: DevCluster, context: Any) -> None:
    reader = FRAME.remote(context).single_node().collect_batches(ttl=1)
    assert next(iter(reader)).height == 3
    query_id = polars_dev_cluster.recorder.submissions[-1]["query_id"]

    def deleted() -> bool | None:
        flight = context._get_direct_client()
        try:
            list(pl.scan_arrow_c_stream(flight.scan_flight(query_id=uuid.UUID(query_id))).collect())
        except RuntimeError as error:
            return "deleted" in str(error) or None
        return None

    assert wait_for(deleted, 10, lambda: "the rows are still there")
