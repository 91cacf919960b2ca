"""``/_dev``: what the stand-in can be told and asked beyond the protocol. It has a port of its own, and no secret.

``/instances/{id}/_dev`` is that of the development cluster which an instance is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from airflow_provider_polars.dev_cluster import dev_api as cluster_dev_api
from airflow_provider_polars.dev_cluster.control_plane.answers import ApiError, answer, body

if TYPE_CHECKING:
    from airflow_provider_polars.dev_cluster.control_plane.server import ControlPlane

INSTANCE = "/_dev/instances/{instance}"
Handler = Callable[[Request], Awaitable[Response]]


class FailingStart(msgspec.Struct):
    """Body of ``POST /_dev/failing-starts``."""

    message: str
    times: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 1


class Withdrawal(msgspec.Struct):
    """Body of ``POST /_dev/tokens``: what becomes of the tokens that were issued."""

    reason: Literal["expired", "revoked"]
    account_id: str | None = None


class Shutting(msgspec.Struct):
    """Body of ``POST /_dev/ports``: whether a port takes connections."""

    port: Literal["api", "token"]
    open: bool


class Death(msgspec.Struct):
    """Body of ``POST /_dev/instances/{id}/die``."""

    message: str = "the machine was lost"


def application(plane: ControlPlane) -> Starlette:
    """Return the application that answers ``/_dev``."""

    async def status(_: Request) -> Response:
        return answer(
            {
                "api": plane.api,
                "polars": sorted(plane.pythons),
                "workspaces": [
                    {"id": workspace.id, "name": workspace.name} for workspace in plane.directory.workspaces.values()
                ],
                "accounts": [
                    {"id": account.id, "name": account.name, "workspace_id": account.workspace.id}
                    for account in plane.directory.accounts.values()
                ],
                "open": {name: front.is_open for name, front in plane.fronts.items()},
            }
        )

    async def instances(_: Request) -> Response:
        return answer([instance.summary() for instance in plane.instances])

    async def fail_starts(request: Request) -> Response:
        asked = await body(request, FailingStart)
        plane.instances.failing += [asked.message] * asked.times
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def withdraw(request: Request) -> Response:
        asked = await body(request, Withdrawal)
        return answer({"withdrawn": plane.tokens.withdraw(asked.reason, asked.account_id)})

    async def ports(request: Request) -> Response:
        asked = await body(request, Shutting)
        front = plane.fronts[asked.port]
        await (front.open() if asked.open else front.shut())
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def die(request: Request) -> Response:
        asked = await body(request, Death)
        instance = plane.instances.find(request.path_params["instance"])
        instance.die(asked.message)
        await instance.ended()
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def reset(_: Request) -> Response:
        await plane.reset()
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def of_cluster(scope: Scope, receive: Receive, send: Send) -> None:
        app = plane.instances.find(scope["path_params"]["instance"]).dev_api
        if app is None:
            raise ApiError(HTTPStatus.CONFLICT, "the instance is not up")
        await app(scope, receive, send)

    routes = [
        ("GET", "/_dev/status", status),
        ("GET", "/_dev/instances", instances),
        ("POST", "/_dev/failing-starts", fail_starts),
        ("POST", "/_dev/tokens", withdraw),
        ("POST", "/_dev/ports", ports),
        ("POST", f"{INSTANCE}/die", die),
        ("POST", "/_dev/reset", reset),
    ]
    return Starlette(
        routes=[
            *(Route(path, handler, methods=[method]) for method, path, handler in routes),
            *cluster_dev_api.fault_routes(plane.faults),
            cluster_dev_api.records_route(plane.recorder),
            Mount("/instances/{instance}", of_cluster),
        ],
        exception_handlers={ApiError: _explained},
    )


async def _explained(_: Request, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    wrong = "; ".join(f"{name}: {' '.join(reasons)}" for name, reasons in error.errors.items())
    return answer({"error": f"{error}: {wrong}" if wrong else str(error)}, error.status)
