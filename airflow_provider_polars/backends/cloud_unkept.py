"""Queries that a try has submitted and was lost before it could keep them: found in the list of the workspace.

The list tells id, instance, account and time of queries in proxy mode; whether the real service lists those of direct
mode is not known. That a query is the right one is certain when it has ended, by where it has written.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from airflow_provider_polars.backends.base import Run, Submission
from airflow_provider_polars.clients.control_plane import ControlPlane
from airflow_provider_polars.clients.times import parse_time
from airflow_provider_polars.clients.workspaces import Workspace
from airflow_provider_polars.compute.cloud import CloudCompute
from airflow_provider_polars.query.paths import canonical, is_below
from airflow_provider_polars.query.result import ResultRef
from airflow_provider_polars.query.sinks import FileSink

CLOCK_SECONDS = 30.0
"""By which the clocks of the service and of workers may differ."""

PAGES = 5
FOUND = "found"
"""Key of the details of a Run that was found in this way."""


def unkept(
    plane: ControlPlane, workspace: Workspace, compute: CloudCompute, submission: Submission, since: float
) -> list[Run]:
    """Return the queries on an instance that a lost try may have submitted for a submission.

    :param since: before which it had not, in epoch seconds.
    """
    output, sink = submission.outputs[0], submission.outputs[0].sink
    if len(submission.outputs) != 1 or not isinstance(sink, FileSink):
        return []
    details: dict[str, Any] = {"query": repr(submission.query.source), "sink": sink.to_dict(), FOUND: True}
    if submission.options.head_rows:
        details["head_rows"] = submission.options.head_rows
    account = plane.get("user/me")["id"]
    return [
        Run(
            query_id=str(row["id"]),
            output=output.name,
            compute=compute.to_dict(),
            submitted_at=at,
            details=details,
        )
        for at, row in _rows(plane, workspace, since - CLOCK_SECONDS)
        if row.get("cluster_id") == compute.compute_id and row.get("user_id") in (account, None)
    ]


def has_written(run: Run, result: ResultRef) -> bool:
    """Return whether a query that was found has written where it was to write."""
    target = canonical(FileSink.from_dict(run.details["sink"]).target)
    return all(is_below(canonical(location), target) for location in result.locations)


def _rows(plane: ControlPlane, workspace: Workspace, since: float) -> Iterator[tuple[float, dict[str, Any]]]:
    """Yield the queries of a workspace since a time, with their time, the newest first."""
    for rows in itertools.islice(plane.each_page(f"{workspace.path}/query", order="request_time,desc"), PAGES):
        for row in rows:
            requested = parse_time(row.get("request_time"))
            if requested is None or requested.timestamp() < since:
                return
            yield requested.timestamp(), row
