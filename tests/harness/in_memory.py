"""Airflow's real task runner against dictionaries: one task in milliseconds, without server and database.

The only place that knows the internals this takes.  The environment must be set before it is imported, see
:func:`tests.harness.environment.library_environment`.
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib import import_module
from typing import Any
from uuid import uuid4

import httpx
from airflow.sdk import DAG
from airflow.sdk.api.client import Client
from airflow.sdk.api.datamodels._generated import TaskInstance, TaskInstanceState, XComResponse
from airflow.sdk.execution_time.supervisor import run_task_in_process
from airflow.sdk.execution_time.xcom import XCom
from airflow.sdk.serde import deserialize, serialize

from tests.harness.execution_api import ApiRequest, ExecutionApi, TaskKey, XComKey
from tests.harness.execution_routes import ROUTES

LOGICAL_DATE = datetime(2026, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True)
class TaskOutcome:
    """How one try of a task ended.

    ``msg`` is the message to the supervisor (``SucceedTask`` with ``task_outlets`` and ``outlet_events``,
    ``DeferTask``, ``RetryTask``, ...), ``xcoms`` are the task's decoded values by key, and the last three are
    the rendered template fields, what the task keeps for its next try, and what was asked of the API.
    """

    state: str
    msg: Any
    error: BaseException | None
    xcoms: dict[str, Any]
    rendered_fields: dict[str, Any]
    state_store: dict[str, Any]
    requests: list[ApiRequest]

    @property
    def result(self) -> Any:
        """What the task returned; ``None`` when it did not return."""
        return self.xcoms.get("return_value")

    def trigger(self) -> Any:
        """Return the trigger that the task deferred to, rebuilt from its serialised form."""
        module, _, name = self.msg.classpath.rpartition(".")
        return getattr(import_module(module), name)(**_decoded(self.msg.trigger_kwargs))


class InMemoryAirflow(ExecutionApi):
    """An Airflow without processes; its fields are what tasks find, and what they leave behind."""

    routes = ROUTES

    def add_connection(
        self, conn_id: str, conn_type: str, *, extra: Mapping[str, Any] | str | None = None, **fields: Any
    ) -> None:
        """Create or replace a Connection; ``fields`` are host, login, password, port, schema."""
        text = extra if isinstance(extra, str) or extra is None else json.dumps(extra)
        self.connections[conn_id] = {"conn_type": conn_type, "extra": text, **fields}

    def push_xcom(self, address: XComKey, value: Any) -> None:
        """Store ``value`` as another task's XCom."""
        self.xcoms[address] = XCom.serialize_value(value)

    def run_task(
        self,
        task: Any,
        *,
        run_id: str = "manual",
        try_number: int = 1,
        max_tries: int = 0,
        map_index: int = -1,
        logical_date: datetime | None = LOGICAL_DATE,
        conf: Mapping[str, Any] | None = None,
        clear_number: int = 0,
        xcoms: Mapping[str, Any] | None = None,
        next_method: str | None = None,
        next_kwargs: Mapping[str, Any] | None = None,
    ) -> TaskOutcome:
        """Run one try of ``task`` (an operator, or what calling a decorated function returns).

        A task without a DAG is put into one.  ``xcoms`` maps ids of other tasks of the run to what they
        returned.  As on a server, a try that does not resume begins by deleting the task's XComs, and a
        failure is retried while ``try_number <= max_tries``.  ``next_method`` and ``next_kwargs`` resume a
        deferred task; :meth:`resume` fills them.
        """
        operator = getattr(task, "operator", task)
        if not operator.has_dag():
            operator.dag = DAG("in_memory", schedule=None)
        key = TaskKey(operator.task_id, run_id, map_index)
        for task_id, value in (xcoms or {}).items():
            self.push_xcom(XComKey(operator.dag_id, run_id, task_id), value)
        self.run_context = {
            "dag_run": _dag_run(operator.dag_id, run_id, logical_date, conf, clear_number),
            "max_tries": max_tries,
            "should_retry": max_tries != 0 and try_number <= max_tries,
            "xcom_keys_to_clear": [] if next_method else [xcom.key for xcom in self._xcoms_of(operator.dag_id, key)],
            "next_method": next_method,
            "next_kwargs": serialize(dict(next_kwargs or {})) if next_method else None,
        }
        instance = TaskInstance(
            id=self.ti_id(key),
            task_id=operator.task_id,
            dag_id=operator.dag_id,
            run_id=run_id,
            try_number=try_number,
            map_index=map_index,
            dag_version_id=uuid4(),
        )
        first_request = len(self.requests)
        with (
            Client(base_url="http://in-memory.invalid", token="", transport=httpx.MockTransport(self)) as client,
            _process_restored(),
        ):
            result = run_task_in_process(ti=instance, task=operator, client=client)
        return TaskOutcome(
            state=TaskInstanceState(result.state).value,
            msg=result.msg,
            error=result.error,
            xcoms={
                xcom.key: XCom.deserialize_value(XComResponse(key=xcom.key, value=self.xcoms[xcom]))
                for xcom in self._xcoms_of(operator.dag_id, key)
            },
            rendered_fields=dict(self.rendered_fields.get(key, {})),
            state_store=dict(self.task_state_store.get(key, {})),
            requests=self.requests[first_request:],
        )

    def resume(self, task: Any, deferred: TaskOutcome, event: Any, **run: Any) -> TaskOutcome:
        """Run ``task`` on from where ``deferred`` left it, with the payload of its trigger's ``event``.

        ``run`` takes the arguments of :meth:`run_task` that identify the try.
        """
        kwargs = {**_decoded(deferred.msg.next_kwargs or {}), "event": event}
        return self.run_task(task, next_method=deferred.msg.next_method, next_kwargs=kwargs, **run)

    def _xcoms_of(self, dag_id: str, task: TaskKey) -> list[XComKey]:
        return [
            xcom for xcom in self.xcoms if (xcom.dag_id, xcom.task_id, xcom.run_id, xcom.map_index) == (dag_id, *task)
        ]


def _decoded(kwargs: dict[str, Any]) -> dict[str, Any]:
    return {name: deserialize(value) for name, value in kwargs.items()}


def _dag_run(
    dag_id: str, run_id: str, logical_date: datetime | None, conf: Mapping[str, Any] | None, clear_number: int
) -> dict[str, Any]:
    date = logical_date.isoformat() if logical_date else None
    return {
        "dag_id": dag_id,
        "run_id": run_id,
        "logical_date": date,
        "data_interval_start": date,
        "data_interval_end": date,
        "start_date": LOGICAL_DATE.isoformat(),
        "end_date": None,
        "run_type": "manual",
        "run_after": date or LOGICAL_DATE.isoformat(),
        "consumed_asset_events": [],
        "clear_number": clear_number,
        "conf": dict(conf or {}),
        "state": "running",
        "partition_key": None,
        "triggering_user_name": None,
        "note": None,
    }


@contextmanager
def _process_restored() -> Iterator[None]:
    """Undo what the task runner leaves in the process: its SIGTERM handler and ``AIRFLOW_CTX_*`` variables."""
    handler = signal.getsignal(signal.SIGTERM)
    environment = dict(os.environ)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)
        for name in os.environ.keys() - environment.keys():
            del os.environ[name]
        os.environ.update(environment)
