"""``ProxyPlane``: queries that reach an instance through Polars Cloud, watched as ``ComputePlane`` watches others."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Collection, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_polars.clients.access import system_bundle
from airflow_provider_polars.clients.compute_plane import CALL_SECONDS, CANCEL_SECONDS, DONE
from airflow_provider_polars.clients.control_plane import ControlPlane, Refusal
from airflow_provider_polars.clients.deadlines import hang_up
from airflow_provider_polars.clients.pauses import pauses
from airflow_provider_polars.clients.workspaces import Workspace
from airflow_provider_polars.exceptions import ClusterUnreachableError, ControlPlaneUnavailableError

if TYPE_CHECKING:
    from airflow_provider_polars.protocol import compute_plane_pb2 as wire

CODES = {"Queued": 1, "Scheduled": 1, "InProgress": 2, "Success": 3, "Failed": 4, "Canceled": 5}
"""Words of the control plane, and what clusters say for them."""

ASKED_ONE_BY_ONE = 4
LISTED_PAGES = 5

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.2, 15.0
_FIRST_POLL_SECONDS, _POLL_GROWTH, _LONGEST_POLL_SECONDS = 0.05, 1.5, 1.0
_log = logging.getLogger(__name__)


class ProxyPlane:
    """Calls for queries in proxy mode. Its methods are those of ``ComputePlane``.

    Each but :meth:`cancel` and :meth:`close` raises :class:`ClusterUnreachableError` if Polars Cloud does not answer.

    :param plane: closed with this.
    """

    def __init__(self, plane: ControlPlane, workspace: Workspace) -> None:
        self._plane = plane
        self._workspace = workspace
        self._documents: dict[str, dict[str, Any]] = {}
        self._away: tuple[float, str] | None = None
        self._pauses = pauses(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)

    def status(self, query_id: str, seconds: float = CALL_SECONDS) -> int | None:
        """Return the status of a query as a cluster gives it, None if it is not known."""
        if (found := self._find(query_id, seconds)) is not None:
            self._documents[query_id] = found
        return _code(found)

    def _find(self, query_id: str, seconds: float = CALL_SECONDS) -> dict[str, Any] | None:
        """Return what is known of a query; a service that is away is asked after pauses that grow, whoever calls."""
        if self._away is not None and time.monotonic() < self._away[0]:
            raise ClusterUnreachableError(self._away[1])
        try:
            found: dict[str, Any] = self._plane.get(f"{self._workspace.path}/query/{query_id}", seconds=seconds)
        except Refusal as refusal:
            if refusal.status == HTTPStatus.NOT_FOUND:
                return None
            raise _RefusedError(f"Polars Cloud tells nothing of query {query_id}: {refusal}.") from None
        except ControlPlaneUnavailableError as error:
            self._away = time.monotonic() + next(self._pauses), str(error)
            raise ClusterUnreachableError(str(error), retry_after=error.retry_after) from None
        if self._away is not None:
            self._away, self._pauses = None, pauses(_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS)
        return found

    def statuses(self, query_ids: Collection[str]) -> dict[str, int | None]:
        """Return the statuses of queries, of as many as can be asked about now, and of one at least.

        While more than a few are wanted they are looked for in the list of the workspace, its newest first and
        :data:`LISTED_PAGES` pages at most. The others are asked for one by one.
        """
        found = self._listed(set(query_ids))
        refusals = []
        for query_id in query_ids:
            if query_id not in found:
                try:
                    found[query_id] = _code(self._find(query_id))
                except _RefusedError as error:
                    refusals.append(error)
        if refusals and not found:
            raise refusals[0]
        return found

    def _listed(self, wanted: set[str]) -> dict[str, int | None]:
        found: dict[str, int | None] = {}
        pages = self._plane.each_page(f"{self._workspace.path}/query", order="request_time,desc")
        try:
            for _ in range(LISTED_PAGES):
                if len(wanted) - len(found) <= ASKED_ONE_BY_ONE or (rows := next(pages, None)) is None:
                    break
                found |= {str(row["id"]): _code(row) for row in rows if str(row["id"]) in wanted}
        except Refusal as refusal:
            _log.debug("The queries of the workspace cannot be listed: %s", refusal)
        except ControlPlaneUnavailableError as error:
            raise ClusterUnreachableError(str(error), retry_after=error.retry_after) from None
        return found

    def document(self, query_id: str) -> dict[str, Any]:
        """Return what came of a query when its status was last asked for."""
        return self._documents.get(query_id, {})

    def result(self, query_id: str, seconds: float = CALL_SECONDS) -> wire.GetQueryResultResponse | None:
        """Return the result of a query, None if it has not ended.

        :raises LookupError: if it is not known.
        """
        code = self.status(query_id, seconds)
        if code is None:
            raise LookupError(f"query {query_id}")
        return self._ask_result(query_id, code, seconds) if code in DONE else None

    def wait(
        self, query_ids: Sequence[str], seconds: float, *, long_poll: bool = True
    ) -> dict[str, wire.GetQueryResultResponse]:
        """Wait until all queries have ended or are not known, or for ``seconds``. Signals interrupt it.

        :return: the results of those that have ended, by query.
        """
        waiting, pause, deadline = list(query_ids), _FIRST_POLL_SECONDS, time.monotonic() + seconds
        results: dict[str, wire.GetQueryResultResponse] = {}
        while (left := deadline - time.monotonic()) > 0:
            try:
                while waiting and (code := self.status(waiting[0], min(CALL_SECONDS, left + 1))) in (None, *DONE):
                    if code is not None:
                        results[waiting[0]] = self._ask_result(waiting[0], code, CALL_SECONDS)
                    waiting.pop(0)
            except (ClusterUnreachableError, LookupError) as error:
                _log.debug("%s", error)
            if not waiting:
                break
            time.sleep(max(min(pause, deadline - time.monotonic()), 0))
            pause = min(pause * _POLL_GROWTH, _LONGEST_POLL_SECONDS)
        return results

    def cancel(self, query_id: str) -> None:
        """Ask for the end of a query. What becomes of it, its status tells."""
        try:
            self._plane.post(f"{self._workspace.path}/query/{query_id}/cancel", seconds=CANCEL_SECONDS)
        except Exception as error:
            _log.debug("Cancel of %s: %s", query_id, error)

    def close(self) -> None:
        """Hang up."""
        self._plane.close()
        if "_channel" in self.__dict__:
            hang_up(self._channel)

    @functools.cached_property
    def _channel(self) -> Any:
        import grpc

        scheme, _, target = self._plane.address.partition("://")
        if scheme == "http":
            return grpc.insecure_channel(target)
        bundle = system_bundle()
        roots = Path(bundle).read_bytes() if bundle else None
        return grpc.secure_channel(target, grpc.ssl_channel_credentials(roots))

    def _ask_result(self, query_id: str, code: int, seconds: float) -> wire.GetQueryResultResponse:
        import grpc

        from airflow_provider_polars.protocol import compute_plane_pb2 as wire
        from airflow_provider_polars.protocol.control_plane_pb2_grpc import ClientServiceStub

        ask = ClientServiceStub(self._channel).GetQueryResult
        query = wire.QueryRequest(query_id=wire.QueryId(query_id=query_id))
        token = self._plane.token()
        for last in (False, True):
            try:
                answer = ask(query, timeout=seconds, metadata=self._plane.metadata(token))
                return wire.GetQueryResultResponse(query_result=answer.result, query_status=code)  # type: ignore[arg-type]
            except grpc.RpcError as error:
                status = error.code()
                if status is grpc.StatusCode.NOT_FOUND:
                    raise LookupError(f"query {query_id}") from None
                if status is not grpc.StatusCode.UNAUTHENTICATED or last:
                    raise ClusterUnreachableError(
                        f"Polars Cloud ({self._plane.address}) does not give the result of query {query_id}: "
                        f"{status.name}, {error.details()}. Try again."
                    ) from None
            token = self._plane.token(refused=token)
        raise AssertionError


class _RefusedError(ClusterUnreachableError):
    """A query cannot be asked about, others may."""


def _code(document: dict[str, Any] | None) -> int | None:
    return None if document is None else CODES.get(str(document["status_code"]), CODES["InProgress"])
