"""A mapped task whose instances would all replace one result is refused before it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_provider_polars import DeltaSink, ParquetSink, PolarsRemoteOperator, polars_task
from tests.harness.in_memory import InMemoryAirflow
from tests.unit.outcomes import failure, succeeded


@polars_task
def numbers(rows: int) -> Any:
    import polars as pl

    return pl.LazyFrame({"a": range(rows)})


@pytest.mark.parametrize("path", ["/all.parquet", "/{{ run_id }}.parquet", "/{{ dag_run.run_after | ds }}/"])
def test_one_place_for_all_instances_is_refused(in_memory_airflow: InMemoryAirflow, tmp_path: Path, path: str) -> None:
    """Each would replace the others' result, and the last one would win."""
    with DAG("mapped", schedule=None):
        work = numbers.override(sink=ParquetSink(f"{tmp_path}{path}")).expand(rows=[1, 2])
    outcome = in_memory_airflow.run_task(work, map_index=1, max_tries=2)
    assert outcome.state == "failed"
    assert "Every instance of the mapped task 'numbers' would replace" in failure(outcome)
    assert "{{ ti.map_index }}" in failure(outcome)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["{{ ti.map_index }}", "{{ task.op_kwargs.rows }}", "{{ task_instance.map_index }}"])
def test_a_place_for_each_instance_is_written(in_memory_airflow: InMemoryAirflow, tmp_path: Path, name: str) -> None:
    """Whatever of the instance the path is made of."""
    with DAG("mapped", schedule=None):
        work = numbers.override(sink=ParquetSink(f"{tmp_path}/{name}.parquet")).expand(rows=[5, 6])
    locations = [succeeded(in_memory_airflow.run_task(work, map_index=index))["locations"] for index in (0, 1)]
    assert locations[0] != locations[1]


def test_all_instances_may_append_to_one_table(in_memory_airflow: InMemoryAirflow, tmp_path: Path) -> None:
    """Each does it once."""
    with DAG("mapped", schedule=None):
        sink = DeltaSink(f"{tmp_path}/table", mode="append")
        work = numbers.override(sink=sink).expand(rows=[2, 3])
    rows = [succeeded(in_memory_airflow.run_task(work, map_index=index))["rows"] for index in (0, 1, 1)]
    assert rows == [2, 5, 5]


def test_a_mapped_sink_may_be_anything(in_memory_airflow: InMemoryAirflow, tmp_path: Path) -> None:
    """Each instance has its own."""
    sinks = [ParquetSink(f"{tmp_path}/{name}.parquet") for name in "ab"]
    with DAG("mapped", schedule=None):
        work = PolarsRemoteOperator.partial(task_id="t", query=numbers.function, query_kwargs={"rows": 1}).expand(
            sink=sinks
        )
    assert succeeded(in_memory_airflow.run_task(work, map_index=1))["locations"] == [f"{tmp_path}/b.parquet"]
