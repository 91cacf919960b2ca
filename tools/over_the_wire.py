"""Run the queries of a DAG file once more, by the real Polars Cloud client on a development cluster, and compare.

``over_the_wire.py DAG_FILE OUT_FOLDER`` reads from standard input, as JSON, where each task's local result lies.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any


def build(task: Any, frames: dict[str, Any]) -> Any:
    """Return the query of a task, over the results of its upstream tasks on the cluster."""
    arguments = [frames[given.operator.task_id] if hasattr(given, "operator") else given for given in task.op_args]
    return task.python_callable(*arguments)


def main(dag_file: Path, out: Path) -> None:
    """Run the queries; the last line says how many rows are equal.

    :raises AssertionError: if a result differs from the local one.
    """
    from airflow.dag_processing.dagbag import DagBag

    local: dict[str, list[str]] = json.load(sys.stdin)
    (dag,) = DagBag(dag_folder=str(dag_file), bundle_name="dags-folder").dags.values()
    out.mkdir(parents=True, exist_ok=True)

    from airflow_provider_polars.testing import start_dev_cluster

    started = time.monotonic()
    with start_dev_cluster() as cluster:
        import polars as pl
        from polars.testing import assert_frame_equal

        ready = time.monotonic() - started
        context, rows = cluster.context(), 0
        frames: dict[str, Any] = {}
        for task in dag.topological_sort():  # type: ignore[no-untyped-call]
            query = build(task, frames).remote(context).single_node().sink_parquet(str(out / f"{task.task_id}.parquet"))
            result = query.await_result()
            frames[task.task_id] = result.lazy()
            assert_frame_equal(
                result.lazy().collect(),
                pl.read_parquet(local[task.task_id]),
                check_row_order=False,
                check_column_order=False,
            )
            rows += result.n_rows_total
    print(
        f"over the wire: {len(frames)} queries, {rows:,} rows, each equal to the local result; "
        f"{ready:.1f} s until the cluster was ready, {time.monotonic() - started - ready:.1f} s of queries"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
