"""Queries in proxy mode: submitted to the control plane, run on an instance, and remembered beyond its end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from airflow_provider_polars.dev_cluster.client_service import FILE_TYPES, result_of
from airflow_provider_polars.dev_cluster.control_plane.accounts import timestamp
from airflow_provider_polars.dev_cluster.control_plane.answers import ApiError
from airflow_provider_polars.dev_cluster.control_plane.instances import STARTING, Instance
from airflow_provider_polars.dev_cluster.queries import CANCELED, FAILED, IN_PROGRESS, SCHEDULED, SUCCESS, Query

QUEUED = "Queued"
"""Until the instance is up, as the stand-in takes it."""

WORDS: dict[int, str] = {
    SCHEDULED: "Scheduled",
    IN_PROGRESS: "InProgress",
    SUCCESS: "Success",
    FAILED: "Failed",
    CANCELED: "Canceled",
}
_FILE_TYPES = {"parquet": "Parquet", "ipc": "IPC", "csv": "Csv", "ndjson": "NDJSON"}
assert _FILE_TYPES.keys() == FILE_TYPES.keys()


@dataclass(frozen=True, eq=False)
class ProxiedQuery:
    """A query and where it runs."""

    query: Query
    instance: Instance
    account_id: str

    @property
    def workspace_id(self) -> str:
        """Workspace of the instance."""
        return self.instance.account.workspace.id

    def model(self) -> dict[str, Any]:
        """Return it as QueryModel with its timing and result."""
        query = self.query
        changed = timestamp(query.ended_at or query.started or query.requested)
        word = QUEUED if query.state == SCHEDULED and self.instance.state == STARTING else WORDS[query.state]
        return {
            "id": query.id,
            "workspace_id": self.workspace_id,
            "cluster_id": self.instance.id,
            "user_id": self.account_id,
            "request_time": timestamp(query.requested),
            "started_at": timestamp(query.started) if query.started else None,
            "ended_at": timestamp(query.ended_at) if query.ended_at else None,
            "status_code": word,
            "status_updated_at": changed,
            "created_at": timestamp(query.requested),
            "updated_at": changed,
            "latest_status": word,
            "latest_status_time": changed,
            "result": self._result() if query.ended.is_set() else None,
        }

    def _result(self) -> dict[str, Any]:
        result, output = result_of(self.query), self.query.output
        return {
            "total_stages": result.total_stages,
            "finished_stages": result.finished_stages,
            "failed_stages": result.failed_stages,
            "errors": [error.message for error in result.errors],
            "n_rows_result": output.rows if output else None,
            "file_type_sink": _FILE_TYPES.get(output.format) if output else None,
        }


class ProxiedQueries:
    """All of them, by id, in the order of their submission."""

    def __init__(self) -> None:
        self._queries: dict[str, ProxiedQuery] = {}

    def __iter__(self) -> Iterator[ProxiedQuery]:
        return iter(self._queries.values())

    def add(self, query: ProxiedQuery) -> None:
        """Remember one."""
        self._queries[query.query.id] = query

    def of(self, workspace_id: str) -> list[ProxiedQuery]:
        """Return those of a workspace."""
        return [query for query in self if query.workspace_id == workspace_id]

    def get(self, workspace_id: str, query_id: str) -> ProxiedQuery:
        """Return one of a workspace.

        :raises ApiError: 404 if there is none.
        """
        found = self._queries.get(query_id.lower())
        if found is None or found.workspace_id != workspace_id:
            raise ApiError(404, f"no query {query_id[:40]}")
        return found

    def cancel(self, workspace_id: str, query_id: str) -> None:
        """End one; nothing happens to one that has ended."""
        found = self.get(workspace_id, query_id)
        if found.instance.cluster is not None:
            found.instance.cluster.scheduler.cancel(found.query)
        found.query.end(CANCELED)

    def clear(self) -> None:
        """Forget all."""
        self._queries.clear()
