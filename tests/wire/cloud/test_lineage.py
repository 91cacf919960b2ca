"""Lineage of queries on an instance, in direct and in proxy mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import polars as pl

from airflow_provider_polars import ParquetSink
from tests.harness.lineage import names
from tests.wire.cloud.tasks import CloudTasks, compute

if TYPE_CHECKING:
    from pathlib import Path

    from tests.harness.lineage import Events


def test_a_query_on_an_instance_tells_what_it_reads_and_writes_and_where_it_ran(
    cloud: CloudTasks, mode: str, events: Events, tmp_path: Path
) -> None:
    pl.DataFrame({"a": [1, 2]}).write_parquet(tmp_path / "orders.parquet")
    handle = cloud.started(compute(connection_mode=mode))

    def function() -> Any:
        return pl.scan_parquet(tmp_path / "orders.parquet")

    sink = ParquetSink(f"{tmp_path}/result.parquet")
    outcome = cloud.query(handle, function, sink=sink, openlineage_inject_parent_job_info=True)

    assert outcome.error is None
    completed = events.one("in_memory.query", "COMPLETE")
    assert names(completed["inputs"]) == [("file", f"{tmp_path}/orders.parquet")]
    assert names(completed["outputs"]) == [("file", f"{tmp_path}/result.parquet")]
    facet = completed["run"]["facets"]["polars"]
    assert (facet["compute"], facet["computeId"]) == ("cloud", handle["compute_id"])
    (record,) = cloud.records(handle)
    assert not record.get("lineage")
