"""Mapped tasks over mapped tasks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG

from airflow_provider_polars import polars_task
from tests.harness.dag_run import task_states, xcom
from tests.unit.outcomes import rows

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun


def test_a_task_can_be_mapped_over_the_results_of_a_mapped_task(
    dag_test: Callable[..., DagRun], results_path: Path
) -> None:
    with DAG("chain", schedule=None) as dag:

        @polars_task
        def month(number: int) -> Any:
            import polars as pl

            return pl.LazyFrame({"month": [number]})

        @polars_task
        def doubled(frame: Any) -> Any:
            import polars as pl

            return frame.select(pl.col("month") * 2)

        doubled.expand(frame=month.expand(number=[3, 4]))
    run = dag_test(dag)
    assert set(task_states(run).values()) == {"success"}
    assert [rows(xcom(run, "doubled", map_index=index)) for index in (0, 1)] == [[{"month": 6}], [{"month": 8}]]
