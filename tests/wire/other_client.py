"""What a client of another environment sees: ``python other_client.py SCHEDULER_PORT OBSERVATORY_PORT FOLDER`` tells.

For polars_cloud 0.6.0 and newer; the output is a line of JSON.
"""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["POLARS_CLOUD_ALLOW_LOCAL_SCANS"] = "true"  # read by 0.6.0 as it is imported

import polars as pl
import polars_cloud as pc


def main(port: int, observatory_port: int, folder: Path) -> dict[str, Any]:
    """Run queries and return what came of them."""
    context = _context(port, observatory_port)
    client = context._get_direct_client()
    frame = pl.LazyFrame({"a": [1, 2, 3]})
    frame.collect().write_parquet(folder / "in.parquet")
    scan = pl.scan_parquet(folder / "in.parquet")
    offset = 10

    def failing(_: int) -> int:
        return 1 // 0

    return {
        "polars": pl.__version__,
        "cluster has": client.get_compute_versions(*_token(client.get_compute_versions)).polars_python_version,
        "parquet": _said(
            lambda: scan.remote(context).single_node().sink_parquet(folder / "a.parquet").await_result().status.name
        ),
        "csv": _said(lambda: scan.remote(context).single_node().sink_csv(folder / "a.csv").await_result().status.name),
        "distributed ipc": _said(
            lambda: scan.remote(context).distributed().sink_ipc(f"{folder}/parts/").await_result().status.name
        ),
        "head": _said(lambda: scan.select(pl.sum("a")).remote(context).single_node().execute().head.rows()),
        "scanned": _said(lambda: scan.remote(context).single_node().await_and_scan().collect().rows()),
        "function": _said(
            lambda: (
                frame.select(pl.col("a").map_batches(lambda column: column + offset, return_dtype=pl.Int64))
                .remote(context)
                .single_node()
                .execute()
                .head.rows()
            )
        ),
        "column that is missing": _said(lambda: scan.select("b").remote(context).single_node().execute()),
        "failing function": _said(
            lambda: (
                frame.select(pl.col("a").map_elements(failing, return_dtype=pl.Int64))
                .remote(context)
                .single_node()
                .execute()
            )
        ),
        "followed": _said(lambda: _followed(scan.remote(context, plan_type="plain").single_node(), client)),
    }


def _context(port: int, observatory_port: int) -> Any:
    if "uri" in inspect.signature(pc.ClusterContext).parameters:
        observatory = pc.ClientOptions(uri=f"http://127.0.0.1:{observatory_port}")
        return pc.ClusterContext(uri=f"http://127.0.0.1:{port}", observatory=observatory)
    return pc.ClusterContext("127.0.0.1", scheduler_port=port, observatory_port=observatory_port, insecure=True)


def _followed(remote: Any, client: Any) -> dict[str, Any]:
    """Use a query's own calls, and those for its details."""
    query = remote.execute(blocking=False)
    query.await_result()
    details = pc.QueryDetail._from_inner(client.get_query_details(query._query_id, *_token(client.get_query_details)))
    query.cancel()
    return {
        "id": str(query._query_id),
        "status": query.get_status().name,
        "status in details": details.status,
        "plan": str(query.plan("ir")),
    }


def _token(call: Any) -> tuple[None, ...]:
    """Return what older clients want as their last argument."""
    return (None,) if "token" in (call.__text_signature__ or "") else ()


def _said(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))))
