"""The queries that a workspace of Polars Cloud lists. It lists those of proxy mode; whether others too is not known."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Any

from airflow_provider_polars.clients.control_plane import ControlPlane, Refusal
from airflow_provider_polars.clients.times import parse_time
from airflow_provider_polars.clients.workspaces import Workspace


@dataclasses.dataclass(frozen=True)
class ListedQuery:
    """What a workspace tells of a query. Times are in epoch seconds.

    :param status: ``Queued``, ``Scheduled``, ``InProgress``, ``Success``, ``Failed``, ``Canceled``.
    """

    id: str
    compute_id: str | None
    status: str
    requested: float | None
    ended: float | None

    @classmethod
    def of(cls, model: Mapping[str, Any]) -> ListedQuery:
        """Read a model."""
        requested, ended = (parse_time(model.get(name)) for name in ("request_time", "ended_at"))
        return cls(
            id=str(model["id"]),
            compute_id=str(model["cluster_id"]) if model.get("cluster_id") else None,
            status=str(model["status_code"]),
            requested=requested.timestamp() if requested else None,
            ended=ended.timestamp() if ended else None,
        )


def newest(plane: ControlPlane, workspace: Workspace, pages: int) -> Iterator[ListedQuery]:
    """Yield the queries of a workspace, the newest first, of so many pages at most."""
    for rows in itertools.islice(plane.each_page(f"{workspace.path}/query", order="request_time,desc"), pages):
        yield from map(ListedQuery.of, rows)


def find(plane: ControlPlane, workspace: Workspace, query_id: str) -> ListedQuery | None:
    """Return a query, None if the workspace does not know it."""
    try:
        return ListedQuery.of(plane.get(f"{workspace.path}/query/{query_id}"))
    except Refusal as refusal:
        if refusal.status in (HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST):
            return None
        raise
