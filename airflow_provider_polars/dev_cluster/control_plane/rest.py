"""The REST interface of a control plane."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Scope

from airflow_provider_polars.dev_cluster.control_plane.accounts import Directory, ServiceAccount, Workspace
from airflow_provider_polars.dev_cluster.control_plane.answers import ApiError, answer, body, page
from airflow_provider_polars.dev_cluster.control_plane.instances import Instances
from airflow_provider_polars.dev_cluster.control_plane.manifests import Manifests
from airflow_provider_polars.dev_cluster.control_plane.orders import (
    ClusterDefaults,
    ManifestOrder,
    ManifestStart,
    Order,
)
from airflow_provider_polars.dev_cluster.control_plane.proxied import ProxiedQueries
from airflow_provider_polars.dev_cluster.control_plane.tokens import TokenRefusedError, Tokens
from airflow_provider_polars.dev_cluster.recorder import Recorder

BASE = "/api/v1"
WORKSPACE = "/workspace/{workspace}"
Handler = Callable[[Request, ServiceAccount], Awaitable[Response]]


def call_name(method: str, path: str) -> str:
    """Return what the recorder and faults call a request: ``POST workspace/*/compute/start``."""
    parts = path.removeprefix(f"{BASE}/").strip("/").split("/")
    return f"{method} {'/'.join('*' if _is_id(part) else part for part in parts)}"


def scope_name(scope: Scope) -> str:
    """Return :func:`call_name` of a request that has just come in."""
    return call_name(scope["method"], scope["path"])


def application(
    directory: Directory,
    tokens: Tokens,
    instances: Instances,
    manifests: Manifests,
    queries: ProxiedQueries,
    recorder: Recorder,
) -> Starlette:
    """Return the application that answers ``/api/v1``."""

    async def me(_: Request, account: ServiceAccount) -> Response:
        return answer(
            {
                "id": account.id,
                "first_name": account.name,
                "avatar_url": "",
                "newsletter_updates": False,
                "personal_emails": False,
                "default_workspace_id": account.default_workspace,
            }
        )

    async def set_default(request: Request, account: ServiceAccount) -> Response:
        asked = await body(request, DefaultWorkspace)
        account.default_workspace = _own_workspace(account, asked.default_workspace_id).id
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def organisations(request: Request, account: ServiceAccount) -> Response:
        return answer(page(request, [_organisation(account)] if _named(request, directory.organisation.name) else []))

    async def organisation(request: Request, account: ServiceAccount) -> Response:
        if request.path_params["organisation"].lower() != directory.organisation.id:
            raise ApiError(404, "no such organization")
        return answer(_organisation(account))

    async def workspaces(request: Request, account: ServiceAccount) -> Response:
        found = account.workspace
        organisation_id = request.query_params.get("organization_id", found.organisation.id)
        fits = _named(request, found.name) and organisation_id.lower() == found.organisation.id
        return answer(page(request, [_workspace(found, account)] if fits else []))

    async def workspace(_: Request, account: ServiceAccount) -> Response:
        return answer(_workspace(account.workspace, account))

    async def defaults(_: Request, account: ServiceAccount) -> Response:
        return answer(account.workspace.cluster_defaults)

    async def set_defaults(request: Request, account: ServiceAccount) -> Response:
        asked = await body(request, ClusterDefaults)
        asked.check()
        account.workspace.cluster_defaults = msgspec.to_builtins(asked)
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def start(request: Request, account: ServiceAccount) -> Response:
        order = await body(request, Order)
        order.check()
        return started(request, instances.start(order, account))

    async def computes(request: Request, account: ServiceAccount) -> Response:
        words = request.query_params.get("status")
        wanted = words.split(",") if words else None
        found = [instance for instance in instances.of(account.workspace.id) if not wanted or instance.state in wanted]
        return answer(page(request, [instance.model() for instance in found]))

    async def compute(request: Request, account: ServiceAccount) -> Response:
        return answer(_instance(request, account).model())

    async def nodes(request: Request, account: ServiceAccount) -> Response:
        return answer(page(request, _instance(request, account).nodes()))

    async def public_info(request: Request, account: ServiceAccount) -> Response:
        version = request.headers.get("x-client-version", "")
        return answer(_instance(request, account).public_info(version))

    async def compute_token(request: Request, account: ServiceAccount) -> Response:
        found = _instance(request, account)  # clients before 0.12 carry another token than here to an instance
        return answer({"id": found.id, "token": tokens.issue(account.id)})

    async def stop(request: Request, account: ServiceAccount) -> Response:
        _instance(request, account).stop()
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def register(request: Request, account: ServiceAccount) -> Response:
        order = await body(request, ManifestOrder)
        order.check()
        return answer(manifests.register(order, account.workspace.id).model(account.workspace.id))

    async def find_manifest(request: Request, account: ServiceAccount) -> Response:
        return answer(manifests.find(account.workspace.id, _name(request)).model(account.workspace.id))

    async def start_manifest(request: Request, account: ServiceAccount) -> Response:
        return started(request, manifests.start(await body(request, ManifestStart), account))

    async def unregister(request: Request, account: ServiceAccount) -> Response:
        manifests.unregister(account.workspace.id, _name(request))
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def list_queries(request: Request, account: ServiceAccount) -> Response:
        models = [query.model() | {"active_share_count": 0} for query in queries.of(account.workspace.id)]
        if request.query_params.get("order") == "request_time,desc":
            models.reverse()
        return answer(page(request, models))

    async def query(request: Request, account: ServiceAccount) -> Response:
        return answer(queries.get(account.workspace.id, request.path_params["query"]).model())

    async def cancel(request: Request, account: ServiceAccount) -> Response:
        queries.cancel(account.workspace.id, request.path_params["query"])
        return Response(status_code=HTTPStatus.NO_CONTENT)

    async def no_provider(_: Request, __: ServiceAccount) -> Response:
        raise ApiError(404, "the workspace is connected to no provider")

    def started(request: Request, instance: Any) -> Response:
        request.state.compute_id = instance.id
        return answer(instance.model())

    def _instance(request: Request, account: ServiceAccount) -> Any:
        return instances.get(account.workspace.id, request.path_params["compute"])

    def authenticated(handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            refused = None
            try:
                account = directory.accounts[tokens.bearer(request.headers.get("authorization"))]
                if "workspace" in request.path_params:
                    _own_workspace(account, request.path_params["workspace"])
                return await handler(request, account)
            except TokenRefusedError as error:
                refused = str(error)
                return Response(f"Authentication method 'bearer' failed: {error}", HTTPStatus.UNAUTHORIZED)
            except ApiError as error:
                refused = str(error)
                return answer(error.body, error.status)
            finally:
                details = {"refused": refused} if refused else {}
                if "query" in request.path_params:
                    details["query_id"] = request.path_params["query"][:36]
                if compute_id := getattr(request.state, "compute_id", request.path_params.get("compute")):
                    details["compute_id"] = compute_id[:36]
                recorder.add(scope_name(request.scope), request.headers.items(), **details)

        return endpoint

    def _own_workspace(account: ServiceAccount, workspace_id: str) -> Workspace:
        if account.workspace.id == workspace_id.lower():
            return account.workspace
        if workspace_id.lower() in directory.workspaces:
            raise ApiError(403, "this service account has no access to the workspace")
        raise ApiError(404, f"no workspace {workspace_id[:40]}")

    routes: list[tuple[str, str, Handler]] = [
        ("GET", "/user/me", me),
        ("PATCH", "/user", set_default),
        ("GET", "/organization", organisations),
        ("GET", "/organization/{organisation}", organisation),
        ("GET", "/workspace", workspaces),
        ("GET", WORKSPACE, workspace),
        ("GET", f"{WORKSPACE}/cluster-defaults", defaults),
        ("PUT", f"{WORKSPACE}/cluster-defaults", set_defaults),
        ("GET", f"{WORKSPACE}/aws", no_provider),
        ("POST", f"{WORKSPACE}/compute/start", start),
        ("GET", f"{WORKSPACE}/compute", computes),
        ("GET", f"{WORKSPACE}/compute/{{compute}}", compute),
        ("GET", f"{WORKSPACE}/compute/{{compute}}/node", nodes),
        ("GET", f"{WORKSPACE}/compute/{{compute}}/public_info", public_info),
        ("GET", f"{WORKSPACE}/compute/{{compute}}/token", compute_token),
        ("POST", f"{WORKSPACE}/compute/{{compute}}/stop", stop),
        ("POST", f"{WORKSPACE}/manifest", register),
        ("DELETE", f"{WORKSPACE}/manifest", unregister),
        ("GET", f"{WORKSPACE}/manifest/find", find_manifest),
        ("POST", f"{WORKSPACE}/manifest/start", start_manifest),
        ("GET", f"{WORKSPACE}/query", list_queries),
        ("GET", f"{WORKSPACE}/query/{{query}}", query),
        ("POST", f"{WORKSPACE}/query/{{query}}/cancel", cancel),
    ]
    return Starlette(
        routes=[Route(BASE + path, authenticated(handler), methods=[method]) for method, path, handler in routes],
        exception_handlers={HTTPException: _no_route},
    )


class DefaultWorkspace(msgspec.Struct):
    """Body of ``PATCH user``."""

    default_workspace_id: str


async def _no_route(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return answer(ApiError(error.status_code, error.detail).body, error.status_code)


def _name(request: Request) -> str:
    name = request.query_params.get("name")
    if name is None:
        raise ApiError(400, "name= is missing")
    return name


def _named(request: Request, name: str) -> bool:
    """Return whether a name has ``name=`` in it, as searches of the client expect."""
    return request.query_params.get("name", "").lower() in name.lower()


def _is_id(part: str) -> bool:
    try:
        uuid.UUID(part)
    except ValueError:
        return False
    return True


def _organisation(account: ServiceAccount) -> dict[str, Any]:
    found = account.workspace.organisation
    return {
        "id": found.id,
        "name": found.name,
        "description": "",
        "avatar_url": "",
        "creator_id": account.id,
        "subscription_state": "Subscribed",
        "tier": "PayAsYouGo",
        "created_at": found.created,
        "updated_at": found.created,
    }


def _workspace(workspace: Workspace, account: ServiceAccount) -> dict[str, Any]:
    return {
        "id": workspace.id,
        "organization_id": workspace.organisation.id,
        "name": workspace.name,
        "description": "",
        "deployment": "Aws",
        "creator_id": account.id,
        "status": "Active",
        "idle_timeout_mins": workspace.idle_timeout_mins,
        "created_at": workspace.created,
        "updated_at": workspace.created,
    }
