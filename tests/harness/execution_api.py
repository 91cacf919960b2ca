"""Airflow's Execution API over dictionaries: what a task asks its supervisor for, without a server."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, ClassVar, NamedTuple
from urllib.parse import unquote
from uuid import UUID, uuid4

import httpx


class XComKey(NamedTuple):
    """Address of one XCom value; ``map_index`` is -1 for tasks that are not mapped."""

    dag_id: str
    run_id: str
    task_id: str
    key: str = "return_value"
    map_index: int = -1


class TaskKey(NamedTuple):
    """Address of one task instance, the same for all its tries."""

    task_id: str
    run_id: str
    map_index: int = -1


@dataclass(frozen=True)
class ApiRequest:
    """One recorded request; ``body`` is the decoded JSON, ``None`` when there was none."""

    method: str
    path: str
    params: httpx.QueryParams
    body: Any
    parts: Mapping[str, str] = field(default_factory=dict)
    """Variable parts of the path by the route's names."""


class Route(NamedTuple):
    """What answers one method on the paths that ``pattern`` matches in full, relative to the API's root."""

    method: str
    pattern: re.Pattern[str]
    handler: Callable[[Any, ApiRequest], httpx.Response]


@dataclass
class ExecutionApi:
    """State that tasks see, and a record of what they asked; callable as handler of ``httpx.MockTransport``.

    XCom values are held in their serialised form.  What is not served is answered with 404, never with a
    server error, which Airflow's client would repeat with waits.
    """

    variables: dict[str, str] = field(default_factory=dict)
    connections: dict[str, dict[str, Any]] = field(default_factory=dict)
    xcoms: dict[XComKey, Any] = field(default_factory=dict)
    task_state_store: dict[TaskKey, dict[str, Any]] = field(default_factory=dict)
    asset_state_store: dict[str, dict[str, Any]] = field(default_factory=dict)
    assets: list[dict[str, Any]] = field(default_factory=list)
    asset_events: list[dict[str, Any]] = field(default_factory=list)
    task_states: dict[TaskKey, str] = field(default_factory=dict)
    dag_run_states: dict[tuple[str, str], str] = field(default_factory=dict)
    rendered_fields: dict[TaskKey, dict[str, Any]] = field(default_factory=dict)
    requests: list[ApiRequest] = field(default_factory=list)
    run_context: dict[str, Any] = field(default_factory=dict)
    routes: ClassVar[Sequence[Route]] = ()
    _ids: dict[TaskKey, UUID] = field(default_factory=dict)

    def ti_id(self, task: TaskKey) -> UUID:
        """Return the id of a task instance, the same at each call."""
        return self._ids.setdefault(task, uuid4())

    def task_of(self, ti_id: str) -> TaskKey:
        """Return the task instance that has this id; :class:`LookupError` when there is none."""
        for task, known in self._ids.items():
            if str(known) == ti_id:
                return task
        raise LookupError(f"task instance {ti_id}")

    def all_map_indexes(self, xcom: XComKey) -> list[Any]:
        """Return the values of all map indexes of an XCom in their order."""
        found = [known for known in self.xcoms if known._replace(map_index=xcom.map_index) == xcom]
        return [self.xcoms[known] for known in sorted(found, key=lambda known: known.map_index)]

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """Record and answer one request."""
        path = request.url.raw_path.decode().partition("?")[0].lstrip("/")
        body = json.loads(request.content) if request.content else None
        asked = ApiRequest(request.method, path, request.url.params, body)
        self.requests.append(asked)
        for route in self.routes:
            if route.method == asked.method and (match := route.pattern.fullmatch(path)):
                parts = {name: unquote(part) for name, part in match.groupdict().items()}
                try:
                    answer: httpx.Response = route.handler(self, replace(asked, parts=parts))
                except LookupError as error:
                    return not_found(str(error))
                return answer
        return not_found(f"no route for {asked.method} {path}")


def not_found(message: str) -> httpx.Response:
    """Return the answer for what does not exist, in the shape that Airflow's client expects."""
    return httpx.Response(HTTPStatus.NOT_FOUND, json={"detail": {"reason": "not_found", "message": message}})
