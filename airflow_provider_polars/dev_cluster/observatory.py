"""The REST interface: ``/api/v1`` as clients know it, with ``/_dev`` beside it for tests of this cluster."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from airflow_provider_polars.dev_cluster import dev_api
from airflow_provider_polars.dev_cluster.cluster import Cluster
from airflow_provider_polars.dev_cluster.queries import Query
from airflow_provider_polars.protocol import compute_plane_pb2 as wire

QUERIES = "/api/v1/query/"
_STATUS = {1: "Scheduled", 2: "InProgress", 3: "Success", 4: "Failed", 5: "Canceled"}
_ENGINES = {wire.ENGINE_IN_MEMORY: "InMemory", wire.ENGINE_STREAMING: "Streaming", wire.ENGINE_GPU: "Gpu"}


def application(cluster: Cluster, admits: Callable[[str | None], bool]) -> Starlette:
    """Return the web application.

    :param admits: decides on the ``authorization`` header of a request.
    """
    scheduler, recorder = cluster.scheduler, cluster.recorder

    async def query(request: Request) -> Response:
        given = request.path_params["query_id"]
        recorder.add("GET query", request.headers.items(), query_id=given[:36])
        try:
            found = scheduler.queries.get(str(uuid.UUID(given)))
        except ValueError:
            return JSONResponse({"error": f"{given[:80]!r} is no UUID"}, 400)
        return JSONResponse(details(found)) if found else JSONResponse({"error": f"no query {given}"}, 404)

    async def check_token(request: Request, call_next: RequestResponseEndpoint) -> Response:
        if not admits(request.headers.get("authorization")):
            recorder.add(f"GET {request.url.path}"[:80], request.headers.items(), refused="401")
            return JSONResponse({"error": "the bearer token is missing or wrong"}, 401)
        return await call_next(request)

    return Starlette(
        routes=[
            Route(QUERIES + "{query_id}", query),
            *dev_api.routes(cluster),
        ],
        middleware=[Middleware(BaseHTTPMiddleware, dispatch=check_token)],
    )


def call_name(scope: Mapping[str, Any]) -> str:
    """Return what the recorder and faults call a request."""
    path: str = scope["path"]
    return f"{scope['method']} {'query' if path.startswith(QUERIES) else path}"


def details(query: Query) -> dict[str, Any]:
    """Return a query as the client decodes it; null where this cluster does not know."""
    settings, output = query.settings, query.output
    done = query.ended.is_set()
    return {
        "id": query.id,
        "user": {"name": query.user},
        "status": _STATUS[query.state],
        "request_time": _time(query.requested),
        "start_time": _time(query.started),
        "end_time": _time(query.ended_at),
        "query_plan_timing": {"plan_start_time": _time(query.requested), "plan_end_time": _time(query.planned)},
        "in_progress_stages": [0] if query.started and not done else [],
        "finished_stages": [0] if output is not None else [],
        "total_num_stages": 1,
        "failed_stage": 0 if query.errors else None,
        "total_node_time_ns": int(output.seconds * 1e9) if output else 0,
        "engine": _ENGINES.get(settings.engine, "Auto"),
        "query_type": "Distributed" if query.distributed else "Single",
        "total_bytes_shuffled": None,
        "percentage_time_shuffling": None,
        "total_rows_read": None,
        "total_bytes_read": None,
        "total_num_files": None,
        "original_num_files": None,
        "output_files": len(output.files) if output and output.files else None,
        "output_rows": output.rows if output else None,
        "output_location": output.files[0] if output and output.files else None,
        "errors": list(dict.fromkeys(query.errors.values())),
    }


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else dt.datetime.fromtimestamp(seconds, dt.timezone.utc).isoformat()
