"""From a cluster's answer about a query to its error, or to the reference to its result."""

from __future__ import annotations

import contextlib
import glob
import io
import json
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow_provider_polars.backends.base import Run
from airflow_provider_polars.backends.errors import translate
from airflow_provider_polars.query.paths import public_text
from airflow_provider_polars.query.result import ResultRef
from airflow_provider_polars.query.sinks import Sink
from airflow_provider_polars.query.table_sinks import IcebergSink

if TYPE_CHECKING:
    from airflow_provider_polars.protocol import compute_plane_pb2 as wire

FORMATS = {1: "parquet", 2: "ipc", 3: "csv", 4: "ndjson"}


def failure(run: Run, messages: Sequence[str], cluster: str) -> Exception | None:
    """Return the error of ours for a query that failed, None if the cluster gave no reason.

    :param messages: each a JSON object of ``"Type: text"`` by ``scheduler`` or the name of a worker.
    """
    reasons: dict[str, str] = {}
    for message in messages:
        with contextlib.suppress(ValueError, AttributeError):
            reasons |= {str(where): str(text) for where, text in json.loads(message).items()}
    workers = {where: text for where, text in reasons.items() if where != "scheduler"}
    text = next(iter((workers or reasons).values()), "") or next(iter(messages), "")
    if not text:
        return None
    kind, colon, words = text.partition(": ")
    if not colon or not kind.isidentifier():
        kind, words = "ComputeError", text
    sink = _sink(run)
    described = {"classes": [kind], "message": words, "errno": None}
    error = translate(described, query=run.details["query"], target=sink.target if sink else "", cluster=cluster)
    told = "\n".join(f"{where}: {text}" for where, text in reasons.items()) or text
    error.__cause__ = RuntimeError(public_text(told))
    return error


def reference(run: Run, answer: wire.GetQueryResultResponse, figures: Callable[[], dict[str, Any]]) -> ResultRef:
    """Return the reference to the result of a query that succeeded.

    The schema is that of the rows that the cluster sends along; where it sends none the reference has no schema.

    :param figures: called late, waits for what the observatory tells: ``timings``, and counts.
    """
    import polars as pl

    details, output, sink = run.details, answer.query_result.output, _sink(run)
    sent = bytes(answer.compute_info.data)
    schema = pl.read_ipc_schema(io.BytesIO(sent)) if sent else {}
    told = figures()
    locations = [_without_signature(place.destination) for place in output.destination]
    common: dict[str, Any] = {
        "rows": output.n_rows_result if answer.query_result.HasField("output") else None,
        "bytes": None,
        "schema": [(name, str(dtype)) for name, dtype in schema.items()],
        "query_id": run.query_id,
        "timings": told.pop("timings", {}),
        "statistics": told,
        "conn_id": sink.aws_conn_id if sink else None,
        "signed": locations != [place.destination for place in output.destination],
    }
    if isinstance(sink, IcebergSink):
        return ResultRef.build(
            locations=[sink.target], root=sink.target, format=sink.kind, scan_options=_snapshot(sink), **common
        )
    rows: list[dict[str, Any]] = []
    if sent and details.get("head_rows"):
        rows = json.loads(pl.read_ipc(sent).head(details["head_rows"]).write_json())
    return ResultRef.build(
        locations=locations,
        root=_pattern(locations),
        format=sink.kind if sink else FORMATS.get(output.file_type, "unknown"),
        scan_options=sink.scan_options() if sink else None,
        head=rows,
        **common,
    )


def _sink(run: Run) -> Sink | None:
    return Sink.from_dict(run.details["sink"]) if run.details.get("sink") else None


def _without_signature(location: str) -> str:
    parts = urlsplit(location)
    return parts._replace(query="", fragment="").geturl() if parts.scheme in ("http", "https") else location


def _pattern(locations: Sequence[str]) -> str:
    """Return what stands for many files: a pattern as narrow as their names allow, for there may be other files."""
    if not locations:
        return ""
    folder, _, beginning = os.path.commonprefix(locations).rpartition("/")  # noqa: RUF071
    nested = any("/" in location[len(folder) + 1 :] for location in locations)
    names = "**/*" if nested else f"{glob.escape(beginning)}*"
    return f"{glob.escape(folder)}/{names}.{locations[0].rpartition('.')[2]}"


def _snapshot(sink: IcebergSink) -> dict[str, Any]:
    from airflow_provider_polars import runner

    snapshot = runner.iceberg_table(sink.scan_options()).current_snapshot()
    return {**sink.scan_options(), **({"snapshot_id": snapshot.snapshot_id} if snapshot else {})}
