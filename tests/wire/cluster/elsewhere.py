"""Tasks in an environment of their own: ``python elsewhere.py SCHEDULER OBSERVATORY FOLDER`` tells how they end.

For polars_cloud 0.6.0 and newer; the last line of the output is JSON: an error or a few facts of the result by task.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.harness.environment import library_environment

if TYPE_CHECKING:
    import polars as pl

    from airflow_provider_polars.testing import DevCluster

REPOSITORY = Path(__file__).resolve().parents[3]


def run_elsewhere(python: Path, cluster: DevCluster, folder: Path, **environment: str) -> dict[str, Any]:
    """Run the tasks of this module with another interpreter and return what came of them.

    :param folder: an empty one, but for the certificate of the cluster.
    """
    if cluster.authority:
        (folder / "ca.pem").write_bytes(cluster.authority)
    tasks = subprocess.run(
        [python, __file__, cluster.uri, cluster.observatory, folder],
        env={**cluster.environment, "PYTHONPATH": str(REPOSITORY), **environment},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert tasks.returncode == 0, tasks.stderr
    ended: dict[str, Any] = json.loads(tasks.stdout.splitlines()[-1])
    return ended


def main(uri: str, observatory: str, folder: Path) -> dict[str, Any]:
    """Run the tasks on a cluster and return what came of them; the others are left out if the first one fails."""
    (folder / "dags").mkdir()
    os.environ.update(library_environment(folder))

    from airflow_provider_polars import ClusterCompute, CsvSink, IcebergSink, IpcSink, ParquetSink, polars_task
    from tests.harness.in_memory import InMemoryAirflow

    airflow, authority = InMemoryAirflow(), folder / "ca.pem"
    cluster = ClusterCompute(uri=uri, observatory=observatory, ca_cert=str(authority) if authority.exists() else None)
    airflow.add_connection("with_token", "polars_cluster", host=uri, password="s3cr3t-t0k3n", extra={})
    ended: dict[str, Any] = {}

    def run(name: str, query: Any, *inputs: Any, **options: Any) -> Any:
        task = polars_task(**{"compute": cluster, "task_id": "query", **options})(query)
        outcome = airflow.run_task(task(*inputs))
        ended[name] = _facts(outcome.result) or f"{type(outcome.error).__name__}: {outcome.error}"
        return outcome.result

    kept = run("kept rows", _numbers, head_rows=1, n_retries=1, engine="streaming")
    if kept is None:
        return ended
    run("read", lambda rows: rows.sum(), kept, head_rows=1)
    run("parquet file", _numbers, sink=ParquetSink(f"{folder}/a.parquet"), distributed=False)
    run("csv file", _numbers, sink=CsvSink(f"{folder}/a.csv", separator=";"), distributed={"sink_to_single_file": True})
    for number in (1, 2):
        run(f"ipc directory {number}", _numbers, sink=IpcSink(f"{folder}/parts/"), distributed=True)
    run("partitions", _numbers, sink=ParquetSink(f"{folder}/by_a/", partition_by=["a"]))
    run("setting", _numbers, distributed={"shuffle_compression": "zstd", "single_worker_ops": "allow"})
    run("scan of a file", lambda: _polars().scan_parquet(f"{folder}/a.parquet"), head_rows=1)
    run("function", _with_function, head_rows=1)
    run("missing column", lambda: _numbers().select("missing"))
    run("failing function", _with_failing_function)
    run("object column", lambda: _polars().LazyFrame({"thing": [object()]}))
    run("unknown setting", _numbers, distributed={"shuffle_compresion": "zstd"})
    run("gpu", _numbers, engine="gpu")
    run("priority", _numbers, priority=1)
    run("labels", _numbers, labels=["nightly"])
    run("user name", _numbers, compute=ClusterCompute(uri=uri, observatory=observatory, user_name="ada"))
    run("headers", _numbers, compute=ClusterCompute(uri=uri, observatory=observatory, headers={"x-team": "a"}))
    run("token", _numbers, compute=None, conn_id="with_token")
    run("workers", _numbers, distributed={"min_workers": 1, "max_workers": 2})
    run("iceberg", _numbers, sink=IcebergSink("a.b", mode="append", catalog_properties={"type": "in-memory"}))
    return ended


def _polars() -> Any:
    import polars as pl

    return pl


def _numbers() -> pl.LazyFrame:
    import polars as pl

    return pl.LazyFrame({"a": [1, 2, 3]})


def _with_function() -> pl.LazyFrame:
    import polars as pl

    offset = 10
    return _numbers().select(pl.col("a").map_batches(lambda column: column + offset, return_dtype=pl.Int64))


def _with_failing_function() -> pl.LazyFrame:
    import polars as pl

    def fail(_: int) -> int:
        return 1 // 0

    return _numbers().select(pl.col("a").map_elements(fail, return_dtype=pl.Int64))


def _facts(result: Any) -> dict[str, Any] | None:
    if not isinstance(result, Mapping):
        return None
    return {name: result[name] for name in ("format", "rows", "files", "head", "locations") if name in result}


if __name__ == "__main__":
    print("\n" + json.dumps(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))))
