"""Failures arrive as the class that Polars raised, wherever they happen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import polars_cloud as pc
import pytest
from polars import exceptions

FRAME = pl.LazyFrame({"a": [1, 2, 3], "s": ["1", "x", "3"], "l": [[1], [2], [3]]})


def raising(error: BaseException) -> pl.LazyFrame:
    def fail(_: pl.Series) -> pl.Series:
        raise error

    return FRAME.select(pl.col("a").map_batches(fail, return_dtype=pl.Int64))


PLANNED: dict[type[Exception], Callable[[], pl.LazyFrame]] = {
    exceptions.ColumnNotFoundError: lambda: FRAME.select("b"),
    exceptions.DuplicateError: lambda: FRAME.select(pl.col("a"), pl.col("s").alias("a")),
    exceptions.InvalidOperationError: lambda: FRAME.select(pl.col("s").str.to_date().dt.hour().list.sum()),
    exceptions.SchemaError: lambda: FRAME.join(FRAME, left_on="a", right_on="s"),
    exceptions.StructFieldNotFoundError: lambda: FRAME.select(pl.struct("a").struct.field("z")),
}
EXECUTED: dict[type[Exception], Callable[[], pl.LazyFrame]] = {
    exceptions.InvalidOperationError: lambda: FRAME.select(pl.col("s").cast(pl.Int64)),
    exceptions.OutOfBoundsError: lambda: FRAME.select(pl.col("a").gather([10])),
    exceptions.ShapeError: lambda: FRAME.select("a", b=pl.col("a").filter(pl.col("a") > 1)),
    exceptions.ComputeError: lambda: FRAME.select(pl.col("l").list.get(5)),
    ZeroDivisionError: lambda: raising(ZeroDivisionError("by zero")),
    KeyError: lambda: raising(KeyError("missing")),
    exceptions.NoDataError: lambda: raising(exceptions.NoDataError("nothing")),
    exceptions.SchemaFieldNotFoundError: lambda: raising(exceptions.SchemaFieldNotFoundError("no such field")),
    exceptions.SQLInterfaceError: lambda: raising(exceptions.SQLInterfaceError("no such function")),
    exceptions.StringCacheMismatchError: lambda: raising(exceptions.StringCacheMismatchError("two caches")),
}


@pytest.mark.parametrize("expected", PLANNED, ids=lambda kind: kind.__name__)
def test_a_plan_that_cannot_run_is_refused_with_its_class(context: Any, expected: type[Exception]) -> None:
    frame = PLANNED[expected]()

    with pytest.raises(expected) as local:
        frame.collect()
    with pytest.raises(expected) as remote:
        frame.remote(context).single_node().execute(blocking=False)

    assert str(remote.value).splitlines()[0] == str(local.value).splitlines()[0]


@pytest.mark.parametrize("expected", EXECUTED, ids=lambda kind: kind.__name__)
def test_a_query_that_fails_raises_its_class(context: Any, expected: type[Exception]) -> None:
    query = EXECUTED[expected]().remote(context).single_node().execute(blocking=False)

    with pytest.raises(expected):
        query.await_result()

    assert query.get_status() == pc.QueryStatus.FAILED


def test_the_worker_is_named_with_its_error(context: Any) -> None:
    query = raising(ValueError("of no use")).remote(context).single_node().execute(blocking=False)

    (error,) = query.await_result(raise_on_failure=False).finished_task_info.errors

    assert "ValueError" in error
    assert "of no use" in error
    assert '"scheduler"' in error
    assert '"worker-' in error


@pytest.mark.parametrize("error", [KeyboardInterrupt("stop"), SystemExit(3)])
def test_an_exit_in_a_query_does_not_end_the_client(context: Any, error: BaseException) -> None:
    query = raising(error).remote(context).single_node().execute(blocking=False)

    with pytest.raises(exceptions.ComputeError, match=type(error).__name__):
        query.await_result()


def test_a_panic_in_a_query_is_a_compute_error(context: Any) -> None:
    query = raising(exceptions.PanicException("index out of range")).remote(context).single_node()

    with pytest.raises(exceptions.ComputeError, match="index out of range"):
        query.execute()


def test_a_missing_input_is_named_when_the_query_is_submitted_or_run(context: Any) -> None:
    with pytest.raises(FileNotFoundError, match="nonexistent"):
        pl.scan_parquet("/nonexistent/rows.parquet").remote(context).single_node().execute()


def test_a_sink_that_cannot_be_written_fails_with_its_class(context: Any, tmp_path: Path) -> None:
    query = FRAME.remote(context).single_node().sink_parquet(str(tmp_path / "missing" / "rows.parquet"))

    with pytest.raises(FileNotFoundError):
        query.await_result()


def test_no_gpu_is_said_to_be_missing(context: Any) -> None:
    query = submit_to_gpu(FRAME, context)

    with pytest.raises(ModuleNotFoundError, match="cudf_polars"):
        query.await_result()


def submit_to_gpu(frame: pl.LazyFrame, context: Any) -> Any:
    """Submit with the engine that the client's public interface refuses."""
    from unittest import mock

    from polars_cloud.polars_cloud import serialize_query_settings

    def with_gpu(**options: Any) -> Any:
        return serialize_query_settings(**{**options, "engine": "gpu"})

    with mock.patch("polars_cloud.query._utils.pc_core.serialize_query_settings", with_gpu):
        return frame.remote(context).single_node().execute(blocking=False)


def test_a_failed_collect_names_the_class(context: Any) -> None:
    query = raising(ValueError("of no use")).remote(context).single_node()

    with pytest.raises((ValueError, pc.polars_cloud.EncodedPolarsError), match="of no use"):
        query.collect()
