"""Answers of the in-memory Execution API, one function per route."""

from __future__ import annotations

import re
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import httpx

from tests.harness.execution_api import ApiRequest, ExecutionApi, Route, XComKey

Handler = Callable[[ExecutionApi, ApiRequest], httpx.Response]

ROUTES: list[Route] = []

XCOM = "xcoms/<dag>/<run>/<task>/<key>"
TASK_STORE = "store/ti/<ti>"
ASSET_STORE = "store/asset/by-(?:name|uri)"


def _route(method: str, path: str) -> Callable[[Handler], Handler]:
    pattern = re.compile(re.sub(r"<(\w+)>", r"(?P<\1>[^/]+)", path))

    def register(handler: Handler) -> Handler:
        ROUTES.append(Route(method, pattern, handler))
        return handler

    return register


def _ok(body: Any) -> httpx.Response:
    return httpx.Response(HTTPStatus.OK, json=body)


def _no_content() -> httpx.Response:
    return httpx.Response(HTTPStatus.NO_CONTENT)


@_route("PATCH", "task-instances/<ti>/run")
def _run(api: ExecutionApi, _: ApiRequest) -> httpx.Response:
    return _ok(api.run_context)


@_route("PATCH", "task-instances/<ti>/(?:state|skip-downstream|rendered-map-index)")
def _accept(_: ExecutionApi, __: ApiRequest) -> httpx.Response:
    return _no_content()


@_route("PUT", "task-instances/<ti>/rtif")
def _rendered_fields(api: ExecutionApi, asked: ApiRequest) -> httpx.Response:
    api.rendered_fields[api.task_of(asked.parts["ti"])] = asked.body
    return _ok({"ok": True})


@_route("GET", "task-instances/<ti>/validate-inlets-and-outlets")
def _inactive_assets(_: ExecutionApi, __: ApiRequest) -> httpx.Response:
    return _ok({"inactive_assets": []})


@_route("GET", "task-instances/<ti>/previous-successful-dagrun")
def _no_previous_run(_: ExecutionApi, __: ApiRequest) -> httpx.Response:
    return _ok({})


@_route("GET", "task-instances/states")
def _task_states(api: ExecutionApi, _: ApiRequest) -> httpx.Response:
    states: dict[str, dict[str, str]] = {}
    for task, state in api.task_states.items():
        suffix = f"_{task.map_index}" if task.map_index >= 0 else ""
        states.setdefault(task.run_id, {})[task.task_id + suffix] = state
    return _ok({"task_states": states})


@_route("GET", "dag-runs/count")
def _count_dag_runs(api: ExecutionApi, asked: ApiRequest) -> httpx.Response:
    run_ids, states = (asked.params.get_list(name) for name in ("run_ids", "states"))
    found = [
        run
        for (dag_id, run), state in api.dag_run_states.items()
        if dag_id == asked.params["dag_id"] and (not run_ids or run in run_ids) and (not states or state in states)
    ]
    return _ok(len(found))


@_route("GET", "dag-runs/<dag>/<run>/state")
def _dag_run_state(api: ExecutionApi, asked: ApiRequest) -> httpx.Response:
    return _ok({"state": api.dag_run_states[asked.parts["dag"], asked.parts["run"]]})


@_route("POST", "dag-runs/<dag>/<run>")
def _trigger_dag_run(api: ExecutionApi, asked: ApiRequest) -> httpx.Response:
    api.dag_run_states[asked.parts["dag"], asked.parts["run"]] = "queued"
    return _no_content()


@_route("GET", "variables/<key>")
def _variable(api: ExecutionApi, asked: ApiRequest) -> httpx.Response:
    return _ok({"key": asked.parts["key"], "value": api.variables[asked.parts["key"]]})


@_route("PUT", "variables/<key>")
def _set_variable(api: ExecutionApi, asked: ApiRequest) -> httpx.Response:
    api.variables[asked.parts["key"]] = asked.body["val"]
    return _ok({"ok": True})


@_route("DELETE", "variables/<key>")
def _delete_variable(api: ExecutionApi, asked: ApiRequest) -> httpx.Response:
    api.variables.pop(asked.parts["key"], None)
    return _no_content()


@_route("GET", "connections/<conn>")
def _connection(api: ExecutionApi, asked: ApiRequest) -> httpx.Response:
    fields: dict[str, Any] = dict.fromkeys(("host", "schema", "login", "password", "port", "extra"))
    return _ok(fields | api.connections[asked.parts["conn"]] | {"conn_id": asked.parts["conn"]})


def _xcom_key(asked: ApiRequest) -> XComKey:
    parts = asked.parts
    return XComKey(parts["dag"], parts["run"], parts["task"], parts["key"], int(asked.params.get("map_index", -1)))


@_route("HEAD", XCOM)
def _count_xcoms(api: ExecutionApi, asked: ApiRequest) -> httpx.Response:
    count = len(api.all_map_indexes(_xcom_key(asked)))
    return httpx.Response(HTTPStatus.OK, headers={"Content-Range": f"map_indexes {count}"})


@_route("GET", XCOM)
def _xcom(api: ExecutionApi, asked: ApiRequest) -> httpx.Response:
    return _ok({"key": asked.parts["key"], "value": api.xcoms[_xcom_key(asked)]})


@_route("GET", f"{XCOM}/item/<offset>")
def _xcom_item(api: ExecutionApi, asked: ApiRequest) -> httpx.Response:
    return _ok(api.all_map_indexes(_xcom_key(asked))[int(asked.parts["offset"])])


@_route("GET", f"{XCOM}/slice")
def _xcom_slice(api: ExecutionApi, asked: ApiRequest) -> httpx.Response:
    bounds = (int(asked.params[name]) if name in asked.params else None for name in ("start", "stop", "step"))
    return _ok(api.all_map_indexes(_xcom_key(asked))[slice(*bounds)])


@_route("POST", XCOM)
def _set_xcom(api: ExecutionApi, asked: ApiRequest) -> httpx.Response:
    api.xcoms[_xcom_key(asked)] = asked.body
    return httpx.Response(HTTPStatus.CREATED, json={"message": "stored"})


@_route("DELETE", XCOM)
def _delete_xcom(api: ExecutionApi, asked: ApiRequest) -> httpx.Response:
    api.xcoms.pop(_xcom_key(asked), None)
    return _ok({"message": "deleted"})


@_route("GET", f"{TASK_STORE}/<key>")
def _stored(api: ExecutionApi, asked: ApiRequest) -> httpx.Response:
    return _ok({"value": api.task_state_store[api.task_of(asked.parts["ti"])][asked.parts["key"]]})


@_route("PUT", f"{TASK_STORE}/<key>")
def _store(api: ExecutionApi, asked: ApiRequest) -> httpx.Response:
    task = api.task_of(asked.parts["ti"])
    api.task_state_store.setdefault(task, {})[asked.parts["key"]] = asked.body["value"]
    return _no_content()


@_route("DELETE", f"{TASK_STORE}/<key>")
def _delete_stored(api: ExecutionApi, asked: ApiRequest) -> httpx.Response:
    api.task_state_store.get(api.task_of(asked.parts["ti"]), {}).pop(asked.parts["key"], None)
    return _no_content()


@_route("DELETE", TASK_STORE)
def _clear_stored(api: ExecutionApi, asked: ApiRequest) -> httpx.Response:
    api.task_state_store.pop(api.task_of(asked.parts["ti"]), None)
    return _no_content()


def _asset(api: ExecutionApi, asked: ApiRequest) -> dict[str, Any]:
    for asset in api.assets:
        if asset["name"] == asked.params.get("name") or asset["uri"] == asked.params.get("uri"):
            return {"group": "asset", "extra": {}} | asset
    raise LookupError(f"asset {dict(asked.params)}")


@_route("GET", "assets/by-(?:name|uri)")
def _find_asset(api: ExecutionApi, asked: ApiRequest) -> httpx.Response:
    return _ok(_asset(api, asked))


@_route("GET", "asset-events/by-asset")
def _asset_events(api: ExecutionApi, asked: ApiRequest) -> httpx.Response:
    asset = _asset(api, asked)
    events = [event for event in api.asset_events if event["asset"]["name"] == asset["name"]]
    if asked.params.get("ascending") == "false":
        events.reverse()
    return _ok({"asset_events": events[: int(asked.params.get("limit", len(events)))]})


@_route("GET", f"{ASSET_STORE}/value")
def _asset_stored(api: ExecutionApi, asked: ApiRequest) -> httpx.Response:
    return _ok({"value": api.asset_state_store[_asset(api, asked)["name"]][asked.params["key"]]})


@_route("PUT", f"{ASSET_STORE}/value")
def _asset_store(api: ExecutionApi, asked: ApiRequest) -> httpx.Response:
    api.asset_state_store.setdefault(_asset(api, asked)["name"], {})[asked.params["key"]] = asked.body["value"]
    return _no_content()


@_route("DELETE", f"{ASSET_STORE}/value")
def _delete_asset_stored(api: ExecutionApi, asked: ApiRequest) -> httpx.Response:
    api.asset_state_store.get(_asset(api, asked)["name"], {}).pop(asked.params["key"], None)
    return _no_content()
