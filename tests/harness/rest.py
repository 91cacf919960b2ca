"""Client of Airflow's public REST API for tests."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import quote

from tests.harness.rest_client import RestClient, RestError
from tests.harness.task_log import render_log
from tests.harness.waiting import wait_for

RUN_TIMEOUT = 300.0
"""Seconds that a DAG run may take."""

FINISHED_RUN = frozenset({"success", "failed"})
FINISHED_TASK = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})


class AirflowRest(RestClient):
    """What tests ask of a running Airflow: DAGs, runs, task instances, logs, assets, Variables, Connections."""

    def import_errors(self) -> dict[str, str]:
        """Return the stack trace of every DAG file that could not be imported, by file name."""
        return {error["filename"]: error["stack_trace"] for error in self.get_all("/importErrors", "import_errors")}

    def wait_for_dag(self, dag_id: str, timeout: float = 120.0) -> None:
        """Wait until the DAG is known; raise :class:`RuntimeError` when it is not and a file has import errors."""

        def known() -> bool | None:
            try:
                self.get(f"/dags/{quote(dag_id)}")
            except RestError as error:
                if error.status != 404:
                    raise
            else:
                return True
            if errors := self.import_errors():
                raise RuntimeError("\n".join(f"{name}:\n{trace}" for name, trace in errors.items()))
            return None

        wait_for(known, timeout, lambda: f"DAG {dag_id}\n{self.diagnose()}")

    def trigger(
        self,
        dag_id: str,
        *,
        logical_date: datetime | None = None,
        conf: Mapping[str, Any] | None = None,
        run_id: str | None = None,
    ) -> str:
        """Create a run of a known DAG and return its id (default: one that Airflow makes up)."""
        body = {"logical_date": logical_date.isoformat() if logical_date else None, "conf": dict(conf or {})}
        if run_id is not None:
            body["dag_run_id"] = run_id
        return str(self.request("POST", f"/api/v2/dags/{quote(dag_id)}/dagRuns", body=body)["dag_run_id"])

    def wait_for_run(self, dag_id: str, run_id: str, timeout: float = RUN_TIMEOUT) -> str:
        """Wait until the run has ended and return ``success`` or ``failed``.

        After ``timeout`` seconds :class:`TimeoutError` names the tasks' states and the ends of the logs.
        """

        def ended() -> str | None:
            state = str(self.get(_run(dag_id, run_id))["state"])
            return state if state in FINISHED_RUN else None

        return wait_for(ended, timeout, lambda: self._unfinished(dag_id, run_id))

    def wait_for_task(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        states: Collection[str] = FINISHED_TASK,
        *,
        map_index: int = -1,
        timeout: float = RUN_TIMEOUT,
    ) -> str:
        """Wait until the task instance is in one of ``states`` (default: any final one) and return its state."""

        def reached() -> str | None:
            state = self.task_instance(dag_id, run_id, task_id, map_index)["state"]
            return str(state) if state in states else None

        return wait_for(reached, timeout, lambda: self._unfinished(dag_id, run_id))

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the run's task instances as the API describes them."""
        return self.get_all(f"{_run(dag_id, run_id)}/taskInstances", "task_instances")

    def task_instance(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> dict[str, Any]:
        """Return one task instance."""
        answer: dict[str, Any] = self.get(_task(dag_id, run_id, task_id, map_index))
        return answer

    def task_states(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """Return each task instance's state by task id, with ``[map_index]`` added for mapped ones."""
        return {
            ti["task_id"] + (f"[{ti['map_index']}]" if ti["map_index"] >= 0 else ""): ti["state"]
            for ti in self.task_instances(dag_id, run_id)
        }

    def rendered_fields(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> dict[str, Any]:
        """Return the template fields as rendered at the last try."""
        return dict(self.task_instance(dag_id, run_id, task_id, map_index)["rendered_fields"])

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value", *, map_index: int = -1) -> Any:
        """Return an XCom's value; :class:`RestError` with status 404 when there is none."""
        path = f"{_run(dag_id, run_id)}/taskInstances/{quote(task_id)}/xcomEntries/{quote(key, safe='')}"
        return self.get(path, map_index=map_index)["value"]

    def extra_links(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> dict[str, str | None]:
        """Return the addresses of the operator's extra links by name."""
        path = f"{_run(dag_id, run_id)}/taskInstances/{quote(task_id)}/links"
        return dict(self.get(path, map_index=map_index)["extra_links"])

    def log_text(
        self, dag_id: str, run_id: str, task_id: str, *, try_number: int | None = None, map_index: int = -1
    ) -> str:
        """Return a try's log (default: the last try's), one event per line with its fields and exceptions."""
        if try_number is None:
            try_number = self.task_instance(dag_id, run_id, task_id, map_index)["try_number"]
        path = f"{_run(dag_id, run_id)}/taskInstances/{quote(task_id)}/logs/{try_number}"
        return render_log(self.get(path, map_index=map_index, full_content=True)["content"])

    def wait_for_log(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        text: str,
        *,
        try_number: int | None = None,
        map_index: int = -1,
        timeout: float = RUN_TIMEOUT,
    ) -> str:
        """Wait until the try's log contains ``text`` and return the log."""
        log = ""

        def logged() -> str | None:
            nonlocal log
            log = self.log_text(dag_id, run_id, task_id, try_number=try_number, map_index=map_index)
            return log if text in log else None

        return wait_for(logged, timeout, lambda: f"{text!r} in the log of {task_id}:\n{log}")

    def set_task_state(self, dag_id: str, run_id: str, task_id: str, state: str, *, map_index: int = -1) -> None:
        """Mark the task instance ``success``, ``failed`` or ``skipped``, as a user does."""
        self.request("PATCH", f"/api/v2{_task(dag_id, run_id, task_id, map_index)}", body={"new_state": state})

    def clear(
        self,
        dag_id: str,
        run_id: str,
        task_ids: Sequence[str | tuple[str, int]] | None = None,
        *,
        only_failed: bool = False,
        include_downstream: bool = False,
    ) -> None:
        """Clear the run's tasks (default: all) so that they run again; a pair names one map index."""
        body: dict[str, Any] = {
            "dry_run": False,
            "dag_run_id": run_id,
            "only_failed": only_failed,
            "include_downstream": include_downstream,
        }
        if task_ids is not None:
            body["task_ids"] = list(task_ids)
        self.request("POST", f"/api/v2/dags/{quote(dag_id)}/clearTaskInstances", body=body)

    def asset_events(self, name: str | None = None, **filters: Any) -> list[dict[str, Any]]:
        """Return asset events, oldest first, filtered by the asset's ``name`` and the API's own filters."""
        events = self.get_all("/assets/events", "asset_events", order_by="timestamp", **filters)
        return [event for event in events if name is None or event["name"] == name]

    def create_asset_event(self, name: str, extra: Mapping[str, Any] | None = None) -> None:
        """Report that the active asset called ``name`` changed; :class:`LookupError` when there is none."""
        for asset in self.get_all("/assets", "assets", name_pattern=name):
            if asset["name"] == name:
                self.request(
                    "POST", "/api/v2/assets/events", body={"asset_id": asset["id"], "extra": dict(extra or {})}
                )
                return
        raise LookupError(f"no asset called {name!r}")

    def set_variable(self, key: str, value: str) -> None:
        """Create or replace a Variable."""
        self._put("/variables", key, {"key": key, "value": value})

    def set_connection(
        self, conn_id: str, conn_type: str, *, extra: Mapping[str, Any] | None = None, **fields: Any
    ) -> None:
        """Create or replace a Connection; ``fields`` are host, login, password, port, schema, description."""
        body = {"connection_id": conn_id, "conn_type": conn_type, **fields}
        if extra is not None:
            body["extra"] = json.dumps(extra)
        self._put("/connections", conn_id, body)

    def _put(self, path: str, key: str, body: Mapping[str, Any]) -> None:
        try:
            self.request("POST", f"/api/v2{path}", body=body)
        except RestError as error:
            if error.status != 409:
                raise
            self.request("PATCH", f"/api/v2{path}/{quote(key, safe='')}", body=body)

    def _unfinished(self, dag_id: str, run_id: str) -> str:
        return f"run {run_id} of {dag_id}: {self.task_states(dag_id, run_id)}\n{self.diagnose()}"


def _run(dag_id: str, run_id: str) -> str:
    return f"/dags/{quote(dag_id)}/dagRuns/{quote(run_id, safe='')}"


def _task(dag_id: str, run_id: str, task_id: str, map_index: int) -> str:
    suffix = f"/{map_index}" if map_index >= 0 else ""
    return f"{_run(dag_id, run_id)}/taskInstances/{quote(task_id)}{suffix}"
