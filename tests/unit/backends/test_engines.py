"""Engines of the embedded compute, and outputs that run side by side."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from airflow_provider_polars.compute.local import LocalCompute
from airflow_provider_polars.exceptions import GpuUnavailableError
from airflow_provider_polars.query.sinks import ParquetSink
from tests.unit.backends.local_runs import IN_CHILD, IN_PROCESS, read, run_all, run_one


def rows() -> pl.LazyFrame:
    return pl.LazyFrame({"id": [1, 2]})


def test_the_gpu_engine_without_its_library_is_an_error_and_nothing_runs_on_the_cpu(tmp_path: Path) -> None:
    def leaves_a_trace(trace: str) -> pl.LazyFrame:
        def ran(frame: pl.DataFrame) -> pl.DataFrame:
            open(trace, "w").close()
            return frame

        return pl.LazyFrame({"id": [1]}).map_batches(ran)

    with pytest.raises(
        GpuUnavailableError,
        match=r'engine="gpu" cannot run the query .*cudf_polars.*Nothing was run on the CPU',
    ):
        run_one(
            leaves_a_trace,
            ParquetSink(str(tmp_path / "a.parquet")),
            engine="gpu",
            kwargs={"trace": str(tmp_path / "trace")},
        )

    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("compute", [IN_PROCESS, IN_CHILD], ids=["in process", "in a child"])
def test_all_cpu_engines_give_equal_results(tmp_path: Path, compute: LocalCompute) -> None:
    def sums() -> pl.LazyFrame:
        frame = pl.LazyFrame({"id": pl.int_range(100_000, eager=True)})
        return frame.group_by(pl.col("id") % 100).agg(total=pl.col("id").sum()).sort("id")

    found = [
        read(run_one(sums, ParquetSink(str(tmp_path / engine)), compute, engine=engine))
        for engine in ("auto", "streaming", "in-memory")
    ]

    assert found[0].height == 100
    assert found[0].equals(found[1])
    assert found[0].equals(found[2])


def test_the_engine_of_a_task_wins_over_that_of_its_compute(tmp_path: Path) -> None:
    sink = ParquetSink(str(tmp_path / "a.parquet"))

    assert run_one(rows, sink, LocalCompute(engine="gpu"), engine="streaming").rows == 2
    with pytest.raises(GpuUnavailableError):
        run_one(rows, sink, LocalCompute(engine="gpu"))


def test_outputs_run_side_by_side(tmp_path: Path) -> None:
    def meets() -> dict[str, pl.LazyFrame]:
        import threading

        barrier = threading.Barrier(3)

        def wait(frame: pl.DataFrame) -> pl.DataFrame:
            barrier.wait(timeout=60)
            return frame

        return {name: pl.LazyFrame({"id": [name]}).map_batches(wait) for name in "abc"}

    sinks = {name: ParquetSink(str(tmp_path / name)) for name in "abc"}
    for compute in (IN_PROCESS, LocalCompute(threads=3)):
        results = run_all(meets, sinks, compute)
        assert [read(results[name])["id"].item() for name in "abc"] == ["a", "b", "c"]
