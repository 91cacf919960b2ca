"""``/_dev``: what tests of this cluster ask and tell it, beside what a real one answers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from airflow_provider_polars.dev_cluster.faults import Fault, FaultError, Faults
from airflow_provider_polars.dev_cluster.recorder import Recorder

if TYPE_CHECKING:
    from airflow_provider_polars.dev_cluster.cluster import Cluster

Body = TypeVar("Body")


class _Restart(msgspec.Struct, forbid_unknown_fields=True):
    memory: bool = True
    seconds: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 0.0
    wait: bool = True


class _Versions(msgspec.Struct, forbid_unknown_fields=True):
    polars: Annotated[str, msgspec.Meta(min_length=1)] | None


def fault_routes(faults: Faults) -> list[Route]:
    """Return the routes below ``/_dev/faults``, for this cluster and for other servers with faults."""

    async def listed(_: Request) -> Response:
        return JSONResponse(faults.to_json())

    async def add(request: Request) -> Response:
        try:
            fault = Fault.from_json(msgspec.json.decode(await request.body()))
        except FaultError as error:
            return _problem(400, str(error))
        except msgspec.DecodeError as error:
            return _problem(400, f"the body is no JSON: {error}")
        return JSONResponse({"id": faults.add(fault)}, 201)

    async def clear(_: Request) -> Response:
        faults.clear()
        return Response(status_code=204)

    async def lift(request: Request) -> Response:
        try:
            faults.lift(request.path_params["fault_id"])
        except KeyError:
            return _problem(404, f"no fault {request.path_params['fault_id']}")
        return Response(status_code=204)

    return [
        Route("/_dev/faults", listed),
        Route("/_dev/faults", add, methods=["POST"]),
        Route("/_dev/faults", clear, methods=["DELETE"]),
        Route("/_dev/faults/{fault_id:int}", lift, methods=["DELETE"]),
    ]


def records_route(recorder: Recorder) -> Route:
    """Return the route ``/_dev/records``."""

    async def records(request: Request) -> Response:
        try:
            return JSONResponse(recorder.since(int(request.query_params.get("since", "0"))))
        except ValueError:
            return _problem(400, "since= must be a whole number")

    return Route("/_dev/records", records)


def routes(cluster: Cluster) -> list[Route]:
    """Return all routes of a cluster."""
    scheduler = cluster.scheduler
    restarts: set[asyncio.Task[None]] = set()  # for the loop itself keeps no task alive

    async def status(_: Request) -> Response:
        workers = [*scheduler.workers.values(), *filter(None, [scheduler.planner])]
        return JSONResponse(
            {
                "ready": scheduler.ready.is_set(),
                "polars": scheduler.polars,
                "python": scheduler.python,
                "workers": [
                    {
                        "name": worker.name,
                        "pid": worker.pid,
                        "query_id": worker.query_id,
                        "resident_bytes": worker.resident_bytes,
                    }
                    for worker in workers
                ],
            }
        )

    async def queries(_: Request) -> Response:
        return JSONResponse([query.summary() for query in scheduler.queries])

    async def kill(request: Request) -> Response:
        name = request.path_params["name"]
        pid = cluster.pool.pids.get(name)
        if pid is None:
            return _problem(404, f"no worker {name[:80]!r}; there are {', '.join(cluster.pool.pids)}")
        cluster.pool.kill(name)
        return JSONResponse({"pid": pid})

    async def restart(request: Request) -> Response:
        try:
            asked = await _body(request, _Restart)
        except msgspec.DecodeError as error:
            return _problem(400, str(error))
        down = asyncio.Event()
        restarted = asyncio.create_task(cluster.restart(memory=asked.memory, seconds=asked.seconds, down=down))
        restarts.add(restarted)
        restarted.add_done_callback(restarts.discard)
        await (restarted if asked.wait else down.wait())
        return JSONResponse({"listens": restarted.done()})

    async def versions(request: Request) -> Response:
        try:
            scheduler.told_polars = (await _body(request, _Versions)).polars
        except msgspec.DecodeError as error:
            return _problem(400, str(error))
        return JSONResponse({"polars": scheduler.told_polars or scheduler.polars})

    return [
        Route("/_dev/status", status),
        Route("/_dev/queries", queries),
        records_route(cluster.recorder),
        *fault_routes(cluster.faults),
        Route("/_dev/workers/{name}/kill", kill, methods=["POST"]),
        Route("/_dev/restart", restart, methods=["POST"]),
        Route("/_dev/versions", versions, methods=["POST"]),
    ]


async def _body(request: Request, kind: type[Body]) -> Body:
    return msgspec.json.decode(await request.body(), type=kind)


def _problem(status: int, reason: str) -> Response:
    return JSONResponse({"error": reason}, status)
