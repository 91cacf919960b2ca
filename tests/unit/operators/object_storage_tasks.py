"""Runs two tasks that hand results on, and prints what they and Airflow's XCom table hold, as JSON."""

from __future__ import annotations

import json
import sys

import polars as pl
from airflow.sdk import DAG

from airflow_provider_polars import polars_task
from tests.harness.in_memory import InMemoryAirflow
from tests.unit.outcomes import rows, succeeded

airflow = InMemoryAirflow()
with DAG("stored", schedule=None):

    @polars_task(sink={"a": None, "b": None})
    def split() -> dict[str, pl.LazyFrame]:
        """Give two outputs."""
        return {"a": pl.LazyFrame({"x": [1]}), "b": pl.LazyFrame({"x": [2]})}

    @polars_task
    def joined(whole: dict[str, pl.LazyFrame], b: pl.DataFrame) -> pl.LazyFrame:
        """Read both."""
        return pl.concat([*whole.values(), b.lazy()])

    first = split()
    second = joined(first, b=first["b"])
succeeded(airflow.run_task(first))
result = succeeded(airflow.run_task(second))
table = {f"{key.task_id}.{key.key}": value for key, value in airflow.xcoms.items()}
print(json.dumps({"rows": rows(result), "table": table}), file=sys.stderr)
