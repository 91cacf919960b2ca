"""The gRPC service that clients submit queries to in proxy mode (``protocol/control_plane.proto``)."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, NoReturn

import grpc

from airflow_provider_polars.dev_cluster.client_service import result_of, settings_of
from airflow_provider_polars.dev_cluster.control_plane.accounts import Directory, ServiceAccount
from airflow_provider_polars.dev_cluster.control_plane.answers import ApiError
from airflow_provider_polars.dev_cluster.control_plane.instances import LIVE, STARTING, Instances
from airflow_provider_polars.dev_cluster.control_plane.proxied import ProxiedQueries, ProxiedQuery
from airflow_provider_polars.dev_cluster.control_plane.tokens import TokenRefusedError, Tokens
from airflow_provider_polars.dev_cluster.errors import abort_with
from airflow_provider_polars.dev_cluster.faults import present_hit
from airflow_provider_polars.dev_cluster.queries import FAILED, Query
from airflow_provider_polars.dev_cluster.recorder import Recorder
from airflow_provider_polars.dev_cluster.scheduler import PlanRejectedError
from airflow_provider_polars.protocol import compute_plane_pb2 as compute_wire
from airflow_provider_polars.protocol import control_plane_pb2 as wire
from airflow_provider_polars.protocol.control_plane_pb2_grpc import ClientServiceServicer


class ProxyService(ClientServiceServicer):
    """Takes queries for instances in proxy mode."""

    def __init__(
        self,
        directory: Directory,
        tokens: Tokens,
        instances: Instances,
        queries: ProxiedQueries,
        recorder: Recorder,
    ) -> None:
        self._directory = directory
        self._tokens = tokens
        self._instances = instances
        self._queries = queries
        self._recorder = recorder
        self._queued: set[asyncio.Task[None]] = set()

    async def SubmitQuery(self, request: wire.SubmitQueryRequest, context: Any) -> wire.SubmitQueryResponse:
        """Check a query, and give it to its instance."""
        compute_id, headers = request.compute_id.compute_id[:36], dict(context.invocation_metadata())
        asked = {"compute_id": compute_id}
        account = await self._account("SubmitQuery", context, asked)
        try:
            instance = self._instances.get(account.workspace.id, request.compute_id.compute_id)
        except ApiError as error:
            await self._refuse("SubmitQuery", context, grpc.StatusCode.NOT_FOUND, str(error), asked)
        if instance.order.mode != "Proxy" or instance.state not in LIVE:
            state = "in direct mode" if instance.order.mode != "Proxy" else instance.state.lower()
            reason = f"the compute cluster {compute_id} is {state}"
            await self._refuse("SubmitQuery", context, grpc.StatusCode.FAILED_PRECONDITION, reason, asked)
        info = compute_wire.QueryInfo(labels=request.query_info.labels, lineage=request.query_info.lineage)
        settings = settings_of(request.settings, headers.get("x-client-version", ""))
        query = Query(settings, request.plan, headers.get("x-polars-user", ""), info)
        hit = present_hit.get()
        errors = hit.fault.errors if hit is not None else None
        submission = instance.submit(query, headers.get("x-polars-version", ""), errors)
        try:
            if instance.state == STARTING:  # as the client takes it: its start() in proxy mode waits for nothing
                self._queue(query, submission)
            else:
                await submission
        except PlanRejectedError as error:
            self._record("SubmitQuery", context, **asked, refused=str(error))
            await abort_with(context, str(error))
        self._queries.add(ProxiedQuery(query, instance, account.id))
        labels = [label.name for label in info.labels]
        self._record("SubmitQuery", context, **asked, query_id=query.id, labels=labels)
        return wire.SubmitQueryResponse(query_id=compute_wire.QueryId(query_id=query.id))

    async def GetQueryResult(self, request: compute_wire.QueryRequest, context: Any) -> wire.GetQueryResultResponse:
        """Say how a query ended."""
        asked = {"query_id": request.query_id.query_id[:36]}
        account = await self._account("GetQueryResult", context, asked)
        try:
            found = self._queries.get(account.workspace.id, request.query_id.query_id)
        except ApiError as error:
            await self._refuse("GetQueryResult", context, grpc.StatusCode.NOT_FOUND, str(error), asked)
        self._record("GetQueryResult", context, **asked)
        return wire.GetQueryResultResponse(result=result_of(found.query))

    def _queue(self, query: Query, submission: Coroutine[Any, Any, None]) -> None:
        async def submit() -> None:
            try:
                await submission
            except PlanRejectedError as error:
                query.end(FAILED, errors={"scheduler": str(error)})

        task = asyncio.create_task(submit())
        self._queued.add(task)
        task.add_done_callback(self._queued.discard)

    async def _account(self, call: str, context: Any, asked: dict[str, str]) -> ServiceAccount:
        header = dict(context.invocation_metadata()).get("authorization")
        try:
            return self._directory.accounts[self._tokens.bearer(header)]
        except (TokenRefusedError, LookupError) as error:
            reason = f"Authentication failed: {error}"
            await self._refuse(call, context, grpc.StatusCode.UNAUTHENTICATED, reason, asked)

    async def _refuse(
        self, call: str, context: Any, status: grpc.StatusCode, reason: str, asked: dict[str, str]
    ) -> NoReturn:
        self._record(call, context, **asked, refused=reason)
        await context.abort(status, reason)
        raise AssertionError

    def _record(self, call: str, context: Any, **details: Any) -> None:
        self._recorder.add(call, context.invocation_metadata(), **details)
