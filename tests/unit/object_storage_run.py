"""A run with XComs in object storage; for a process of its own, as Airflow chooses its XCom backend at import."""

from __future__ import annotations

import json
from typing import Any

from airflow.models.xcom import XComModel
from airflow.sdk import DAG
from airflow.utils.session import create_session
from sqlalchemy import select

from airflow_provider_polars import polars_task
from tests.harness.dag_run import run_dag, task_states


def main() -> None:
    """Run a chain with mapped tasks; print the states of its tasks and what Airflow's database holds as XComs."""
    with DAG("object_storage", schedule=None) as dag:

        @polars_task
        def numbers() -> Any:
            import polars as pl

            return pl.LazyFrame({"number": [1, 2, 3]})

        @polars_task
        def times(numbers: Any, factor: int) -> Any:
            import polars as pl

            return numbers.select(pl.col("number") * factor)

        @polars_task(sink={"total": None, "longest": None})
        def totals(parts: Any) -> Any:
            import polars as pl

            both = pl.concat(parts)
            return {"total": both.sum(), "longest": both.max()}

        @polars_task
        def together(total: Any, longest: Any) -> Any:
            import polars as pl

            return pl.concat([total, longest])

        outputs: Any = totals(times.partial(numbers=numbers()).expand(factor=[10, 100]))
        together(outputs["total"], outputs["longest"])

    run = run_dag(dag)
    with create_session() as session:
        rows = session.execute(select(XComModel.task_id, XComModel.key, XComModel.value)).all()
    print(json.dumps({"states": task_states(run), "xcoms": [list(row) for row in rows]}))
