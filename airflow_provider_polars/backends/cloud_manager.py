"""``CloudManager``: starts and stops instances of Polars Cloud, each at most once and none but its own.

An instance is registered as a manifest with the name of its owner's mark, and started by that name. The name is both
the key that makes a start idempotent and the proof that an instance is ours. What the real service does with two
starts of one name at the same time is not known; the one that the manifest names is kept, and others are stopped.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, cast

from airflow_provider_polars.backends.cloud_marks import MarkedInstances, is_live
from airflow_provider_polars.backends.cloud_orders import (
    MAX_LIFETIME,
    from_manifest,
    is_registered,
    order,
    requirements_of,
    versions,
    with_defaults,
)
from airflow_provider_polars.backends.cloud_refusals import is_quota, refused
from airflow_provider_polars.backends.managing import ComputeManager, ComputeState, ComputeStatus, Found
from airflow_provider_polars.backends.polars_client import load_client
from airflow_provider_polars.clients import instances as wire
from airflow_provider_polars.clients.control_plane import ControlPlane, Refusal
from airflow_provider_polars.clients.instances import Instance, Instances, Manifest
from airflow_provider_polars.clients.portal import Portal
from airflow_provider_polars.clients.workspaces import Workspace, find_workspace
from airflow_provider_polars.compute.cloud import IDLE_TIMEOUT_MINS, MAX_LIFETIME_HOURS, CloudCompute
from airflow_provider_polars.exceptions import (
    ComputeLostError,
    ComputeStartError,
    ConfigurationError,
    ControlPlaneUnavailableError,
    PolarsProviderError,
)
from airflow_provider_polars.labels import airflow_labels
from airflow_provider_polars.marks import Owner, is_marked
from airflow_provider_polars.spec import is_sensitive

PAUSES = (0.5, 1.0, 2.0, 4.0)
"""Seconds before each further attempt of a start whose request got lost, or that met another one."""

GIVE_UP_SECONDS = 3.0
KILL_SECONDS = 0.1
"""After which a pause notices that the task is being killed."""

_PARAMETERS = (
    *("cpus", "memory", "cpu_architectures", "instance_type", "storage", "cluster_size", "requirements"),
    *("env_vars", "connection_mode", "workspace", "labels", "log_level", "idle_timeout_mins", "name"),
)
_STATES = {
    wire.STARTING: ComputeState.STARTING,
    **dict.fromkeys(wire.READY, ComputeState.READY),
    wire.STOPPING: ComputeState.STOPPING,
    wire.STOPPED: ComputeState.STOPPED,
    wire.FAILED: ComputeState.FAILED,
}
_log = logging.getLogger(__name__)


class _OvertakenError(Exception):
    """Another process has registered, started or removed what this one was about to."""


class CloudManager(ComputeManager[CloudCompute]):
    """Starts and stops instances of one workspace.

    :param plane: the control plane, as a service account.
    :param deployment: name of this Airflow in marks.
    :param max_vcpus: returns how many an instance may have, all nodes together, None for any number; asked by a start.
    """

    def __init__(
        self,
        compute: CloudCompute,
        plane: ControlPlane,
        *,
        deployment: str,
        max_vcpus: Callable[[], int | None] = lambda: None,
    ) -> None:
        super().__init__(compute)
        self.plane = plane
        self.deployment = deployment
        self.max_vcpus = max_vcpus
        self._given_up = False

    @functools.cached_property
    def instances(self) -> Instances:
        """Calls for the workspace of the compute; that of a handle is known without asking."""
        compute = self.compute
        if compute.mark and compute.workspace and compute.organization:
            return Instances(self.plane, Workspace(compute.workspace, compute.organization))
        with refused("found", compute):
            return Instances(self.plane, find_workspace(self.plane, compute.workspace, compute.organization))

    @functools.cached_property
    def marked(self) -> MarkedInstances:
        """What of the workspace is ours."""
        return MarkedInstances(self.instances)

    def check(self) -> None:
        if self.compute.needs_start:
            load_client().check_instance(self.compute.given(*_PARAMETERS))

    def find(self, owner: Owner) -> CloudCompute | None:
        if not self.compute.needs_start:
            return self._reconnected()
        with refused("looked for", self.compute):
            manifest = self.marked.own_manifest(owner)
            instance = self.marked.living(manifest)
        return self._handle(self.compute, instance, owner.mark) if instance else None

    def start(self, owner: Owner) -> CloudCompute:
        with refused("started", self.compute):
            limit = self.max_vcpus()
            compute, body = self._order(owner, limit)
            instance = self._started(body, owner)
            if compute.cpus is None and instance.vcpus is not None:  # of a machine by its name; whoever calls stops it
                _check_size(instance.vcpus, limit)
            return self._handle(compute, instance, owner.mark)

    def may_come(self, owner: Owner) -> bool:
        with refused("looked for", self.compute):
            return self.compute.needs_start and self.marked.own_manifest(owner) is not None

    def ready(self, handle: CloudCompute, at: float) -> CloudCompute:
        return dataclasses.replace(handle, ready_at=at)

    def status(self, handle: CloudCompute) -> ComputeStatus:
        assert handle.compute_id is not None
        with refused("looked at", handle):
            instance = self.instances.get(handle.compute_id)
        if instance is None:
            return ComputeStatus(compute_id=handle.compute_id, state=ComputeState.GONE, words="not known")
        return self._status(instance, handle)

    def statuses(self, handles: Collection[CloudCompute]) -> Mapping[CloudCompute, ComputeStatus]:
        """Ask for all that live at once, and one by one for those that are not among them."""
        live = self.marked.live() if len(handles) > 1 else {}
        known = {handle: live.get(str(handle.compute_id)) for handle in handles}
        return {
            handle: self.status(handle) if instance is None else self._status(instance, handle)
            for handle, instance in known.items()
        }

    def is_ours(self, handle: CloudCompute) -> bool:
        if handle.mark is not None and not is_marked(handle.mark, self.deployment):
            raise ConfigurationError(
                f"The instance {handle.compute_id} carries the mark {handle.mark!r}, and this Airflow is "
                f"{self.deployment!r} ([polars] deployment_id): it is not stopped. Stop it where it was started; if "
                "deployment_id was changed meanwhile, stop it by hand."
            )
        return handle.mark is not None

    def stop(self, handle: CloudCompute) -> None:
        if handle.mark is None:
            return
        with refused("stopped", handle):
            instance = self.instances.get(str(handle.compute_id))
            if instance is None or is_live(instance):
                self.marked.check_mark(instance, handle)
                self.marked.end(str(handle.compute_id))
            self.marked.end_others(str(handle.compute_id), handle.mark)

    def forget(self, handle: CloudCompute) -> None:
        if handle.mark is None:
            return
        with refused("forgotten", handle):
            manifest = self.instances.manifest(handle.mark)
            if manifest is not None and manifest.live in (None, handle.compute_id):
                self.instances.unregister(handle.mark)

    def give_up(self, owner: Owner, handle: CloudCompute | None = None) -> None:
        self._given_up = True
        if self.compute.mark is None and (not self.compute.needs_start or "instances" not in self.__dict__):
            return
        workspace = self.instances.workspace
        thread = threading.Thread(
            target=self._end_quickly, args=(owner, handle, workspace), daemon=True, name="polars-give-up"
        )
        thread.start()
        thread.join(GIVE_UP_SECONDS)

    def found(self) -> Sequence[Found[CloudCompute]]:
        with refused("listed", self.compute):
            return [self._found(instance) for instance in self.instances.live()]

    def link(self, handle: CloudCompute) -> str:
        workspace = self.instances.workspace
        return Portal(workspace.id, workspace.organization_id).compute(str(handle.compute_id))

    def close(self) -> None:
        self.plane.close()

    def _end_quickly(self, owner: Owner, handle: CloudCompute | None, workspace: Workspace) -> None:
        """Ask for the end of what an owner has started; the mark stays unless that is sure of all there is."""
        instances = Instances(self.plane.another(), workspace)
        known = str(handle.compute_id) if handle is not None else None
        ended = set()

        def end(instance_id: str) -> None:
            with _logged(owner):
                MarkedInstances(instances).end(instance_id, GIVE_UP_SECONDS)
                ended.add(instance_id)

        with contextlib.closing(instances.plane), _logged(owner):
            if known:
                end(known)
            manifest = instances.manifest(owner.mark)
            if manifest is None or Owner.of(manifest.env_vars) != owner:
                return
            if manifest.live and manifest.live != known:
                end(manifest.live)
            if ended and ended == {known, manifest.live} - {None}:
                instances.unregister(owner.mark, GIVE_UP_SECONDS)

    def _order(self, owner: Owner, limit: int | None) -> tuple[CloudCompute, dict[str, Any]]:
        """Return what is started in full, and the body that registers it."""
        compute, manifest, env_vars = self.compute, None, self.compute.env_vars
        compute = dataclasses.replace(compute, max_lifetime=compute.max_lifetime or MAX_LIFETIME_HOURS)
        if compute.name is not None:
            manifest = self.instances.manifest(compute.name)
            compute = from_manifest(compute, manifest)
            assert manifest is not None
            env_vars = dict(manifest.env_vars)
            for name, value in env_vars.items():
                if is_sensitive(name):
                    self.plane.mask(value)
        elif not compute.given("cpus", "instance_type"):
            compute = with_defaults(compute, self.instances.defaults())
        if compute.cpus is not None:
            _check_size(compute.cpus * (compute.cluster_size or 1), limit)
        compute = dataclasses.replace(compute, idle_timeout_mins=compute.idle_timeout_mins or IDLE_TIMEOUT_MINS)
        labels = airflow_labels(owner.dag_id, owner.task_id, owner.run_id, owner.map_index)
        body = order(
            compute,
            owner,
            requirements=requirements_of(compute, manifest),
            env_vars=env_vars,
            labels=labels if compute.airflow_labels else (),
        )
        return compute, body

    def _started(self, body: dict[str, Any], owner: Owner) -> Instance:
        """Return the one instance of an owner, after as many attempts as it takes to know that."""
        for attempt, pause in enumerate((*PAUSES, None)):
            self._refuse_if_given_up()
            try:
                return self._find_or_start(body, owner, first=attempt == 0)
            except (_OvertakenError, ControlPlaneUnavailableError) as error:
                if pause is None:
                    raise _last(error) from error
                _log.info("Looking again for the instance %s: %s", owner.mark, error)
                end = time.monotonic() + pause
                while not self._given_up and (left := end - time.monotonic()) > 0:
                    time.sleep(min(left, KILL_SECONDS))
        raise AssertionError

    def _find_or_start(self, body: dict[str, Any], owner: Owner, *, first: bool) -> Instance:
        manifest = self.marked.own_manifest(owner)
        if (living := self.marked.living(manifest)) is not None:
            _log.info("Adopted the instance %s, which is %s", living.id, living.status)
            return living
        if manifest is not None and not is_registered(body, manifest):  # the task was changed since
            self.instances.unregister(owner.mark)
            manifest = None
        try:
            if manifest is None:
                self.instances.register(body)
            self._refuse_if_given_up()
            instance = self.instances.start(owner.mark, versions())
        except Refusal as refusal:
            if refusal.status in (HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND) and not is_quota(refusal):
                raise _OvertakenError(f"Polars Cloud answers {refusal.status}, {refusal}") from None
            if first:  # after a lost answer there may be an instance, of which the mark is all that is known
                self.instances.unregister(owner.mark)
            raise
        _log.info("Started the instance %s as %s", instance.id, owner.mark)
        return self._only(instance, owner)

    def _refuse_if_given_up(self) -> None:
        if self._given_up:
            raise ComputeStartError("The task was killed; no instance is started any more.")

    def _only(self, instance: Instance, owner: Owner) -> Instance:
        """Return the instance that the manifest names, this one where that does not live, and stop others of it."""
        manifest, kept = self.instances.manifest(owner.mark), instance.id
        if manifest is not None and manifest.live not in (None, kept):
            named = self.instances.get(str(manifest.live))
            kept = named.id if named is not None and is_live(named) else kept
        self.marked.end_others(kept, owner.mark, kept)
        if kept != instance.id:
            self.marked.end(instance.id)
            raise _OvertakenError(f"two starts have met, and the instance {kept} is kept")
        return instance

    def _reconnected(self) -> CloudCompute:
        """Return the handle of an instance that somebody else has started."""
        with refused("looked for", self.compute):
            instance = self.instances.get(str(self.compute.compute_id))
        if instance is None or not is_live(instance):
            now = "not known to the workspace" if instance is None else str(self._status(instance, self.compute))
            raise ComputeLostError(
                f"CloudCompute(compute_id={self.compute.compute_id!r}) is {now}. Name an instance that runs, or have "
                "one started: give cpus= and memory= instead of compute_id=."
            )
        return self._handle(self.compute, instance, None)

    def _handle(self, compute: CloudCompute, instance: Instance, mark: str | None) -> CloudCompute:
        workspace = self.instances.workspace
        return dataclasses.replace(
            compute,
            name=None,
            compute_id=instance.id,
            mark=mark,
            workspace=workspace.id,
            organization=workspace.organization_id,
            connection_mode=cast("Any", instance.mode),
        )

    def _status(self, instance: Instance, handle: CloudCompute | None) -> ComputeStatus:
        return ComputeStatus(
            compute_id=instance.id,
            state=_STATES.get(instance.status, ComputeState.STARTING),
            words=instance.status,
            reason=instance.end,
            requested=instance.requested,
            ended=instance.ended,
            vcpus=handle.cpus * (handle.cluster_size or 1) if handle and handle.cpus else instance.vcpus,
            name=instance.name,
        )

    def _found(self, instance: Instance) -> Found[CloudCompute]:
        status = self._status(instance, None)
        if not is_marked(instance.name, self.deployment):
            return Found(status=status)
        assert instance.name is not None
        try:
            manifest = self.instances.manifest(instance.name)
        except (Refusal, ControlPlaneUnavailableError) as error:
            _log.warning("Whose the instance %s is, is not known now: %s", instance.id, error)
            manifest = None
        owner = Owner.of(manifest.env_vars) if manifest else None
        if owner is not None and (owner.mark != instance.name or owner.deployment != self.deployment):
            return Found(status=status)
        return Found(
            status=status,
            owner=owner,
            max_lifetime=_lifetime(manifest),
            handle=self._handle(CloudCompute(), instance, instance.name),
        )


def _check_size(vcpus: int, limit: int | None) -> None:
    if limit is not None and vcpus > limit:
        raise ConfigurationError(
            f"CloudCompute() asks for {vcpus} vCPUs, all nodes together, and [polars] max_vcpus allows {limit}. Ask "
            "for less, or have the limit raised."
        )


@contextlib.contextmanager
def _logged(owner: Owner) -> Iterator[None]:
    """Log an error of Polars Cloud, and go on after the block."""
    try:
        yield
    except (PolarsProviderError, Refusal) as error:
        _log.warning("The instance %s could not be stopped: %s", owner.mark, error)


def _lifetime(manifest: Manifest | None) -> float | None:
    try:
        return float(manifest.env_vars[MAX_LIFETIME]) if manifest else None
    except (KeyError, ValueError):
        return None


def _last(error: Exception) -> PolarsProviderError:
    if isinstance(error, PolarsProviderError):
        return error
    return ComputeStartError(f"The instance could not be started: {error}. Try again.")
