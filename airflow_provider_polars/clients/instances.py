"""Instances and manifests of one workspace of Polars Cloud, as its REST interface has them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from airflow_provider_polars.clients.control_plane import CALL_SECONDS, ControlPlane, Refusal
from airflow_provider_polars.clients.times import parse_time
from airflow_provider_polars.clients.workspaces import Workspace

STARTING, READY, STOPPING, STOPPED, FAILED = "Starting", ("Idle", "Running"), "Stopping", "Stopped", "Failed"
LIVE = (STARTING, *READY)
OVER = (STOPPED, FAILED)
START_SECONDS = 60.0
"""For a call that makes machines; the client gives it half of that, and then sends it again."""


@dataclasses.dataclass(frozen=True)
class Instance:
    """What is known of an instance (``ComputeModel`` of the client).

    :param name: of the manifest that it was started by.
    :param status: ``Starting``, ``Idle``, ``Running``, ``Stopping``, ``Stopped``, ``Failed``, or a word of the future.
    :param requested: when it was asked for, in epoch seconds.
    :param ended: when it ended, in epoch seconds, None while it has not.
    :param vcpus: as the service says, else those that were asked for, of all nodes together; None if neither is known.
    :param end: why it ended, as words; "" while it has not.
    """

    id: str
    name: str | None
    status: str
    mode: str
    polars_version: str
    requested: float | None
    ended: float | None
    vcpus: int | None
    end: str

    @classmethod
    def of(cls, model: Mapping[str, Any]) -> Instance:
        """Read a model."""
        termination = model.get("termination") or {}
        end = ": ".join(
            str(termination[part]) for part in ("termination_reason", "termination_message") if termination.get(part)
        )
        return cls(
            id=str(model["id"]),
            name=model.get("name"),
            status=str(model["status"]),
            mode=str(model["mode"]).lower(),
            polars_version=str(model["polars_version"]),
            requested=_epoch(model.get("request_time")),
            ended=_epoch(termination.get("termination_time")),
            vcpus=model.get("vcpus") or _requested(model.get("req_cpu_cores"), model.get("cluster_size")),
            end=end,
        )


@dataclasses.dataclass(frozen=True)
class Manifest:
    """A registered order (``ManifestModel`` of the client).

    :param live: id of its instance that lives.
    :param model: as it came.
    """

    name: str
    live: str | None
    env_vars: Mapping[str, str] = dataclasses.field(repr=False)
    model: Mapping[str, Any] = dataclasses.field(repr=False)

    @classmethod
    def of(cls, model: Mapping[str, Any]) -> Manifest:
        """Read a model."""
        live = model.get("live_cluster_id")
        return cls(str(model["name"]), str(live) if live else None, dict(model.get("env_vars") or {}), model)


class Instances:
    """Calls for the instances of one workspace; they raise what those of :class:`ControlPlane` raise."""

    def __init__(self, plane: ControlPlane, workspace: Workspace) -> None:
        self.plane = plane
        self.workspace = workspace

    def get(self, instance_id: str) -> Instance | None:
        """Return an instance, None if there is none."""
        try:
            return Instance.of(self.plane.get(f"{self.workspace.path}/compute/{instance_id}"))
        except Refusal as refusal:
            if refusal.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    def live(self) -> list[Instance]:
        """Return all that cost, or will: those that start, are ready, or stop."""
        words = ",".join((*LIVE, STOPPING))
        return [Instance.of(row) for row in self.plane.pages(f"{self.workspace.path}/compute", status=words)]

    def stop(self, instance_id: str, seconds: float = CALL_SECONDS) -> None:
        """Ask for the end of an instance."""
        self.plane.post(f"{self.workspace.path}/compute/{instance_id}/stop", seconds=seconds)

    def address(self, instance_id: str) -> Mapping[str, Any]:
        """Return where direct mode finds an instance, and the certificate to trust (``public_info``)."""
        found: Mapping[str, Any] = self.plane.get(f"{self.workspace.path}/compute/{instance_id}/public_info")
        return found

    def defaults(self) -> Mapping[str, Any]:
        """Return the machine that the workspace starts where nobody names one; empty if it has none."""
        found: Mapping[str, Any] = self.plane.get(f"{self.workspace.path}/cluster-defaults") or {}
        return found

    def manifest(self, name: str) -> Manifest | None:
        """Return a manifest, None if there is none."""
        try:
            return Manifest.of(self.plane.get(f"{self.workspace.path}/manifest/find", {"name": name}))
        except Refusal as refusal:
            if refusal.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    def register(self, order: Mapping[str, Any]) -> None:
        """Register a manifest."""
        self.plane.post(f"{self.workspace.path}/manifest", dict(order))

    def start(self, name: str, versions: Mapping[str, Any]) -> Instance:
        """Start the instance of a manifest, or return the one that lives."""
        body = {"name": name, **versions}
        return Instance.of(self.plane.post(f"{self.workspace.path}/manifest/start", body, START_SECONDS))

    def unregister(self, name: str, seconds: float = CALL_SECONDS) -> None:
        """Forget a manifest; none is there afterwards."""
        try:
            self.plane.delete(f"{self.workspace.path}/manifest", {"name": name}, seconds)
        except Refusal as refusal:
            if refusal.status != HTTPStatus.NOT_FOUND:
                raise


def _requested(cpus: int | None, nodes: int | None) -> int | None:
    return cpus * nodes if cpus and nodes else None


def _epoch(value: Any) -> float | None:
    time = parse_time(value)
    return time.timestamp() if time else None
