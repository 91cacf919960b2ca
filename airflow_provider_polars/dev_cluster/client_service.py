"""The gRPC service that clients submit queries to (``protocol/compute_plane.proto``)."""

from __future__ import annotations

import json
import re
import uuid
from typing import Any

import grpc

from airflow_provider_polars import __version__
from airflow_provider_polars.dev_cluster import stage_graph
from airflow_provider_polars.dev_cluster.errors import abort_with
from airflow_provider_polars.dev_cluster.faults import present_hit
from airflow_provider_polars.dev_cluster.queries import CANCELED, FAILED, SUCCESS, Query
from airflow_provider_polars.dev_cluster.recorder import Recorder
from airflow_provider_polars.dev_cluster.scheduler import ClosedError, PlanRejectedError, Scheduler
from airflow_provider_polars.protocol import compute_plane_pb2 as wire
from airflow_provider_polars.protocol.compute_plane_pb2_grpc import ClientServiceServicer

FLAGS_SINCE = (0, 10)
"""Clients before 0.10 always send 83 as optimization flags, which means nothing."""

FORMATS_SINCE = (0, 10)
"""Clients before 0.10 say 1 for plain text."""

ENGINES = {
    wire.ENGINE_AUTO: "auto",
    wire.ENGINE_STREAMING: "streaming",
    wire.ENGINE_IN_MEMORY: "in-memory",
    wire.ENGINE_GPU: "gpu",
}
FILE_TYPES = {
    "parquet": wire.FILE_TYPE_PARQUET,
    "ipc": wire.FILE_TYPE_IPC,
    "csv": wire.FILE_TYPE_CSV,
    "ndjson": wire.FILE_TYPE_NDJSON,
}


class ClientService(ClientServiceServicer):
    """Answers clients 0.6.0 to 0.12.0."""

    def __init__(self, scheduler: Scheduler, recorder: Recorder) -> None:
        self._scheduler = scheduler
        self._recorder = recorder

    async def SubmitQuery(self, request: wire.SubmitQueryRequest, context: Any) -> wire.SubmitQueryResponse:
        """Check a query, and take it in."""
        headers = _headers(context)
        settings, info = settings_of(request.settings, headers.get("x-client-version", "")), wire.QueryInfo()
        info.CopyFrom(request.query_info)  # a part of a message keeps all of it in memory, here the plan
        query = Query(settings, request.plan, headers.get("x-polars-user", ""), info)
        received = _received(query)
        if self._scheduler.settings.deny_anonymous_users and not query.user:
            self._record("SubmitQuery", context, **received, refused="PERMISSION_DENIED")
            await context.abort(
                grpc.StatusCode.PERMISSION_DENIED,
                "this cluster refuses anonymous users: set POLARS_CLOUD_USER_NAME for the client",
            )
        try:
            hit = present_hit.get()
            errors = hit.fault.errors if hit is not None else None
            await self._scheduler.submit(query, client_polars=headers.get("x-polars-version", ""), errors=errors)
        except PlanRejectedError as error:
            self._record("SubmitQuery", context, **received, refused=str(error))
            await abort_with(context, str(error))
        except ClosedError as error:
            self._record("SubmitQuery", context, **received, refused=str(error))
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        self._record("SubmitQuery", context, **received)
        return wire.SubmitQueryResponse(query_id=wire.QueryId(query_id=query.id))

    async def GetQueryStatus(self, request: wire.QueryRequest, context: Any) -> wire.GetQueryStatusResponse:
        """Say where a query stands."""
        query = await self._query("GetQueryStatus", request, context)
        return wire.GetQueryStatusResponse(status=query.state)  # type: ignore[arg-type]

    async def GetQueryResult(self, request: wire.QueryRequest, context: Any) -> wire.GetQueryResultResponse:
        """Say how a query ended, as soon as it has."""
        query = await self._query("GetQueryResult", request, context)
        await query.ended.wait()
        info = wire.ComputeQueryInfo(execute_until=query.settings.execute_until)
        if query.state == SUCCESS:
            statistics = wire.StageStatistics(num_workers_used=1)
            info.stage_statistics.stage_statistics[0].CopyFrom(statistics)
        if query.output is not None and query.output.head_error is not None:
            info.error = query.output.head_error
        elif query.output is not None and query.output.head:
            info.data = query.output.head
        return wire.GetQueryResultResponse(
            query_result=result_of(query),
            compute_info=info,
            query_status=query.state,  # type: ignore[arg-type]
        )

    async def GetQueryPlans(self, request: wire.GetQueryPlansRequest, context: Any) -> wire.GetQueryPlansResponse:
        """Return the plans, in the shapes of older and of newer clients."""
        query = await self._query("GetQueryPlans", request, context)
        dot = query.settings.graph_format == wire.GRAPH_FORMAT_DOT
        plan_format = wire.PLAN_FORMAT_DOT if dot else wire.PLAN_FORMAT_EXPLAIN
        graph = stage_graph.encode(query.plans, distributed=query.distributed)
        return wire.GetQueryPlansResponse(
            plans_old=wire.OldPlans(format=plan_format, ir_plan=query.plans.ir, phys_plan=query.plans.physical),
            plans=wire.ClientQueryPlans(format=plan_format, ir_plan=query.plans.ir, stage_graph=graph),
        )

    async def CancelQuery(self, request: wire.QueryRequest, context: Any) -> wire.Empty:
        """End a query; nothing happens to one that has ended."""
        self._scheduler.cancel(await self._query("CancelQuery", request, context))
        return wire.Empty()

    async def DeleteQueryResult(self, request: wire.QueryRequest, context: Any) -> wire.Empty:
        """Remove a result that has no place of its own."""
        query = await self._query("DeleteQueryResult", request, context)
        if not query.ended.is_set():
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "the query has not ended")
        if query.state != CANCELED and not query.plans.target.startswith("<"):
            await context.abort(
                grpc.StatusCode.FAILED_PRECONDITION, "the result was written where the query says; only you delete it"
            )
        self._scheduler.delete_result(query)
        return wire.Empty()

    async def GetComputeVersions(self, request: wire.Empty, context: Any) -> wire.GetComputeVersionsResponse:
        """Say what runs here."""
        self._record("GetComputeVersions", context)
        await self._scheduler.ready.wait()
        return wire.GetComputeVersionsResponse(
            versions=wire.ComputeVersions(
                compute_plane_version=f"development-cluster {__version__}",
                polars_python_version=self._scheduler.told_polars or self._scheduler.polars,
                polars_rust_revision="of the Python package",
            )
        )

    async def _query(self, call: str, request: Any, context: Any) -> Query:
        given = request.query_id.query_id
        self._record(call, context, query_id=given[:36])
        try:
            query = self._scheduler.queries.get(str(uuid.UUID(given)))
        except ValueError:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"the query id {given[:80]!r} is no UUID")
        if query is None:
            await context.abort(
                grpc.StatusCode.NOT_FOUND,
                f"no query {given[:80]}: it was not submitted to this cluster since its start, or is forgotten: that "
                f"is {self._scheduler.settings.result_ttl:g} s after its end",
            )
        assert query is not None
        return query

    def _record(self, call: str, context: Any, **details: Any) -> None:
        self._recorder.add(call, context.invocation_metadata(), **details)


def settings_of(given: wire.QuerySettings, client_version: str) -> wire.QuerySettings:
    """Return the settings that a client means."""
    settings, version = wire.QuerySettings(), version_numbers(client_version)
    settings.CopyFrom(given)
    if version < FLAGS_SINCE:
        settings.ClearField("optimization_flags")
    if version < FORMATS_SINCE and settings.graph_format == wire.GRAPH_FORMAT_OLD_PLAIN:
        settings.graph_format = wire.GRAPH_FORMAT_PLAIN
    return settings


def result_of(query: Query) -> wire.QueryResult:
    """Return how a query has ended, or how far it is."""
    result = wire.QueryResult(
        total_stages=1, finished_stages=int(query.state == SUCCESS), failed_stages=int(query.state == FAILED)
    )
    if query.errors:
        result.errors.append(wire.Error(message=json.dumps(query.errors)))
    if query.output is not None and query.output.files:
        result.output.CopyFrom(
            wire.QueryOutput(
                destination=[wire.Destination(destination=file) for file in query.output.files],
                file_type=FILE_TYPES.get(query.output.format, wire.FILE_TYPE_UNSPECIFIED),
                n_rows_result=query.output.rows or 0,
            )
        )
    return result


def _received(query: Query) -> dict[str, Any]:
    """Return what a client asked for, for the recorder: nothing of the plan but its size."""
    settings, info = query.settings, query.info
    return {
        "query_id": query.id,
        "user": query.user,
        "engine": ENGINES.get(settings.engine, f"unknown ({settings.engine})"),
        "distributed": query.distributed,
        "priority": settings.priority,
        "n_retries": settings.n_retries,
        "min_workers": settings.n_workers.min or settings.n_workers_old,
        "max_workers": settings.n_workers.max,
        "labels": [label.name for label in info.labels],
        "lineage": _fields(info.lineage),
        "settings": _fields(settings.distributed),
        "plan_bytes": len(query.plan),
    }


def _fields(message: Any) -> dict[str, Any]:
    """Return the fields of a message that are set, as JSON values."""
    return {field.name: _fields(value) if field.message_type else value for field, value in message.ListFields()}


def _headers(context: Any) -> dict[str, str]:
    return {name: value for name, value in context.invocation_metadata() if isinstance(value, str)}


def version_numbers(text: str) -> tuple[int, ...]:
    """Return major and minor number of a client's version; higher ones than any for what is none."""
    numbers = re.match(r"(\d{1,4})\.(\d{1,4})", text, re.ASCII)
    return (int(numbers[1]), int(numbers[2])) if numbers else (99,)
