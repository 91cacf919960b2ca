"""Where the outputs of a task go: locations managed by this package, and the events of assets."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider_polars.backends.base import Handle, Output
from airflow_provider_polars.hooks import settings
from airflow_provider_polars.hooks.storage import storage_options
from airflow_provider_polars.operators.arguments import Sinks
from airflow_provider_polars.query.paths import canonical, local_path
from airflow_provider_polars.query.result import ResultRef
from airflow_provider_polars.query.sinks import ParquetSink

if TYPE_CHECKING:
    from airflow.sdk import Context


def make_outputs(sinks: Sinks, context: Context, *, kept_by_compute: bool) -> tuple[Output, ...]:
    """Return the outputs of a task: sinks with the credentials they need, managed locations for the others.

    :param kept_by_compute: the compute has a place of its own for results without a sink.
    """
    ti = context["ti"]
    names = (ti.dag_id, ti.run_id, ti.task_id, str(ti.map_index))
    outputs = []
    for name, given in sinks.items():
        sink = given or (None if kept_by_compute else managed_sink(*names, name))
        storage = storage_options(sink.aws_conn_id) if sink and sink.aws_conn_id else {}
        mark = hashlib.sha256("\0".join((*names, name)).encode()).hexdigest()[:16]
        outputs.append(Output(name=name, sink=sink, mark=mark, storage_options=storage))
    return tuple(outputs)


def managed_sink(dag_id: str, run_id: str, task_id: str, map_index: str, output: str) -> ParquetSink:
    """Return the sink below ``[polars] results_path`` that is this output's over all its tries."""
    root = settings.results_path()
    index = "" if map_index == "-1" else f"{map_index}-"
    path = "/".join([root, _part(dag_id), _part(run_id), _part(task_id), f"{index}{_part(output)}.parquet"])
    return ParquetSink(path, aws_conn_id=None if local_path(root) else settings.results_conn_id())


def _part(name: str) -> str:
    """Return a name as one part of a path; a changed one gets a hash, so that two never become one."""
    safe = re.sub(r"[^\w.-]", "_", name)[:100].lstrip(".")
    return safe if safe == name else f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def announce(
    results: Mapping[str, ResultRef], outputs: tuple[Output, ...], labels: tuple[str, ...], context: Context
) -> None:
    """Describe each written location in the event of the asset among the task's outlets that stands for it."""
    sinks = {output.name: output.sink for output in outputs}
    events: Any = context["outlet_events"]
    for outlet in context["task"].outlets:
        uri = getattr(outlet, "uri", None)
        for name, result in results.items():
            sink = sinks.get(name)
            if uri is not None and sink is not None and _is_part_of(sink.target, uri):
                events[outlet].extra |= {
                    "location": sink.target,
                    "rows": result.rows,
                    "bytes": result.bytes,
                    "schema_hash": result["schema_hash"],
                    "query_id": result.query_id,
                    "labels": list(labels),
                }


def replace_handles(value: Any, results: Mapping[str, ResultRef]) -> Any:
    """Return what a function gave that submitted by itself, with the results of its queries for their handles."""
    if isinstance(value, Handle):
        return dict(results[value.output])
    if isinstance(value, Mapping):
        return {key: replace_handles(item, results) for key, item in value.items()}
    return [replace_handles(item, results) for item in value] if isinstance(value, list) else value


def _is_part_of(target: str, uri: str) -> bool:
    location, root = canonical(target), canonical(uri)
    return location == root or location.startswith(root.rstrip("/") + "/")
