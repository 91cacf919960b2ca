"""The backend of :class:`CloudCompute`: queries on an instance of Polars Cloud that runs, in direct or proxy mode."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar
from urllib.parse import urlsplit

from airflow_provider_polars.backends import cloud_unkept, polars_client
from airflow_provider_polars.backends.base import Run, RunState, RunStatus, Submission
from airflow_provider_polars.backends.cloud_client import connect, signed_in
from airflow_provider_polars.backends.cloud_refusals import refused
from airflow_provider_polars.backends.polars_client import PolarsClient
from airflow_provider_polars.backends.remote import RemoteBackend
from airflow_provider_polars.backends.submitting import Target
from airflow_provider_polars.clients import instances as wire
from airflow_provider_polars.clients.access import ClusterAccess
from airflow_provider_polars.clients.compute_plane import ComputePlane
from airflow_provider_polars.clients.control_plane import ControlPlane, Refusal
from airflow_provider_polars.clients.instances import Instance, Instances
from airflow_provider_polars.clients.portal import Portal
from airflow_provider_polars.clients.probe import probe
from airflow_provider_polars.clients.proxy_plane import ProxyPlane
from airflow_provider_polars.clients.workspaces import Workspace, find_workspace
from airflow_provider_polars.compute.cloud import IDLE_TIMEOUT_MINS, MAX_LIFETIME_HOURS, CloudCompute
from airflow_provider_polars.exceptions import (
    ClusterAccessError,
    ClusterUnreachableError,
    ComputeLostError,
    ComputeStartError,
    ConfigurationError,
    ControlPlaneUnavailableError,
    CredentialsUnavailableError,
    PolarsProviderError,
    QueryFailedError,
    RefusedOptionError,
)
from airflow_provider_polars.query.result import ResultRef

PROXY_PLAN_BYTES = 10 * 2**20
"""Largest plan in proxy mode (the client refuses larger ones)."""

HOUR = 3600.0
PAUSE_SECONDS = 1.0
LOOK_SECONDS = 30.0
"""After which the instance of a query in proxy mode that runs is looked at."""

UNAVAILABLE = (ControlPlaneUnavailableError, CredentialsUnavailableError)
T = TypeVar("T")
_log = logging.getLogger(__name__)


class CloudBackend(RemoteBackend[CloudCompute]):
    """Runs queries on one instance that was started.

    :param compute: the handle of a started instance.
    :param plane: the control plane, as a service account.
    :param scaling: ``auto``, ``distributed`` or ``single-node``, for queries that do not say.
    :raises ConfigurationError: for a compute that is not started: its queries would start one, which nobody stops.
    """

    def __init__(self, compute: CloudCompute, plane: ControlPlane, *, scaling: str = "auto") -> None:
        super().__init__(compute, scaling=scaling)
        if compute.compute_id is None:
            raise ConfigurationError(f"{compute!r} is not started: there is nothing to run queries on.")
        self.plane = plane
        self.compute_id: str = compute.compute_id
        if compute.ready_at and compute.mark:
            self.ends_at = compute.ready_at + (compute.max_lifetime or MAX_LIFETIME_HOURS) * HOUR
        self._token: Any = None
        self._looked = time.monotonic()

    @functools.cached_property
    def instances(self) -> Instances:
        """Calls for the workspace; that of a handle is known without asking."""
        compute = self.compute
        if compute.workspace and compute.organization and compute.mark:
            return Instances(self.plane, Workspace(compute.workspace, compute.organization))
        with refused("found", compute):
            return Instances(self.plane, find_workspace(self.plane, compute.workspace, compute.organization))

    @functools.cached_property
    def instance(self) -> Instance:
        """The instance, as it was when queries were first sent to it.

        :raises ComputeLostError: if it takes no queries any more.
        :raises ComputeStartError: if it takes none yet.
        """
        with refused("used", self.compute):
            instance = self.instances.get(self.compute_id)
        if (reason := self._why_lost(instance)) is not None:
            raise reason
        assert instance is not None
        if instance.status not in wire.READY:
            raise ComputeStartError(
                f"The instance {self.compute_id} is {instance.status}, and takes no queries yet. Try again."
            )
        return instance

    @property
    def access(self) -> ClusterAccess:
        """How to reach what takes the queries: the instance, or Polars Cloud in between."""
        return dataclasses.replace(self._address, headers={"authorization": self.plane.token().header})

    def target(self) -> Target:
        @contextlib.contextmanager
        def context(client: PolarsClient) -> Iterator[Any]:
            with signed_in(client, self.plane.account) as token:
                if token is not None:
                    self.plane.use(token)
                self._look(client)
                yield connect(client, self.compute_id, self.instances.workspace.id)

        def link(query_id: str) -> str:
            return Portal(self.instances.workspace.id).query(self.compute_id, query_id)

        proxied = {"max_plan_bytes": PROXY_PLAN_BYTES} if self._is_proxy else {}
        return Target(lambda: self.access, context, link, **proxied)

    def load_client(self) -> PolarsClient:
        return polars_client.load_client()

    def reach(self, client: PolarsClient) -> Callable[[], None]:
        return lambda: None  # the client has signed in before anything is looked at: its token is ours then

    def submit(self, submission: Submission, keep: Callable[[Run], None]) -> None:
        if self._is_proxy and submission.options.head_rows:
            raise RefusedOptionError(
                f"head_rows={submission.options.head_rows} cannot be honoured in proxy mode, where Polars Cloud hands "
                'out no rows. Remove it, or start the compute with connection_mode="direct".'
            )
        super().submit(submission, keep)

    def poll(self, run: Run) -> RunStatus:
        try:
            status = super().poll(run)
        except ComputeLostError as error:
            return RunStatus(state=RunState.FAILED, error=error)
        unclear = status.error is None or type(status.error) is QueryFailedError
        if status.state in (RunState.FAILED, RunState.LOST) and unclear and (reason := self.lost(run)) is not None:
            reason.__cause__ = status.error
            return RunStatus(state=RunState.FAILED, error=reason)
        if self._is_proxy and not status.state.is_terminal and (reason := self._looked_at(run)) is not None:
            return RunStatus(state=RunState.FAILED, error=reason)
        return status

    def unkept(self, submission: Submission, since: float) -> list[Run]:
        if not self._is_proxy:
            return []
        with refused("asked about", self.compute):
            return cloud_unkept.unkept(self.plane, self.instances.workspace, self.compute, submission, since)

    def is_ours(self, run: Run, result: ResultRef) -> bool:
        return cloud_unkept.FOUND not in run.details or cloud_unkept.has_written(run, result)

    def where(self, run: Run | None = None) -> str:
        if run is not None and (elsewhere := self.elsewhere(run)) is not None:
            return f"cluster {elsewhere.uri}"
        compute, known = self.compute, self.__dict__.get("instance")
        vcpus = compute.cpus * (compute.cluster_size or 1) if compute.cpus else known.vcpus if known else None
        mode = compute.connection_mode or (known.mode if known else None)
        told = [
            f"{mode} mode" if mode else "",
            f"{vcpus} vCPUs" if vcpus else "",
            compute.instance_type or "",
            f"Polars {known.polars_version}" if known else "",
        ]
        return ", ".join([f"instance {self.compute_id}", *filter(None, told)])

    def watch(self, runs: Sequence[Run], seconds: float) -> None:
        try:
            self._with_good_token(lambda: super(CloudBackend, self).watch(runs, seconds))
        except (*UNAVAILABLE, ComputeLostError) as error:  # what has become of the queries, their states tell
            _log.info("%s", error)
            time.sleep(min(seconds, PAUSE_SECONDS))

    def cancel(self, runs: Sequence[Run]) -> None:
        try:
            super().cancel(runs)
        except PolarsProviderError as error:
            _log.warning("The end of %s could not be asked for: %s", ", ".join(run.query_id for run in runs), error)

    def lost(self, run: Run | None) -> Exception | None:
        if run is not None and self.elsewhere(run) is not None:
            return None
        try:
            with refused("looked at", self.compute):
                return self._why_lost(self.instances.get(self.compute_id))
        except PolarsProviderError as error:
            _log.info("Whether the instance %s lives cannot be known now: %s", self.compute_id, error)
            return None

    def ask_details(self, run: Run) -> Callable[[], dict[str, Any] | None]:
        if not self._is_proxy or self.elsewhere(run) is not None:
            return super().ask_details(run)

        def wait() -> dict[str, Any] | None:
            found = self._plane(run).document(run.query_id)
            return {**found, "start_time": found.get("started_at"), "end_time": found.get("ended_at")}

        return wait

    def access_of(self, run: Run | None) -> ClusterAccess:
        elsewhere = self.elsewhere(run) if run else None
        return elsewhere or self.access

    def new_plane(self, run: Run | None) -> Any:
        if self._is_proxy and (run is None or self.elsewhere(run) is None):
            return ProxyPlane(self.plane.another(), self.instances.workspace)
        return ComputePlane(
            self.access_of(run),
            client_version=polars_client.client_version(),
            polars_version=polars_client.polars_version(),
        )

    def close(self) -> None:
        super().close()
        self.plane.close()

    def _looked_at(self, run: Run) -> Exception | None:
        """Return why the instance is lost: Polars Cloud may take a query for running whose instance is not there."""
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return None
        self._looked = time.monotonic()
        return self.lost(run)

    def _look(self, client: PolarsClient) -> None:
        """Raise what speaks against sending anything to the instance."""
        instance = self.instance
        if not self._is_proxy:
            probe(self.access)
        _log.info(
            "Instance %s in %s mode: %s, Polars %s. Here: %s %s, Polars %s",
            *(instance.id, instance.mode, instance.status, instance.polars_version),
            *(client.name, client.version, client.polars),
        )
        polars_client.check_versions(client, instance.polars_version, f"instance {instance.id}")

    @property
    def _is_proxy(self) -> bool:
        known = self.compute.connection_mode if self.compute.mark else None
        return (known or self.instance.mode) == "proxy"

    @functools.cached_property
    def _address(self) -> ClusterAccess:
        if self._is_proxy:
            parts = urlsplit(self.plane.address)
            port = parts.port or (443 if parts.scheme == "https" else 80)
            return ClusterAccess(uri=f"{parts.scheme}://{parts.hostname}:{port}")
        with refused("reached", self.compute):
            try:
                found = self.instances.address(self.compute_id)
            except Refusal:
                if (reason := self._why_lost(self.instances.get(self.compute_id))) is not None:
                    raise reason from None
                raise
        scheduler = found["scheduler"]
        return ClusterAccess(
            uri=f"https://{scheduler['address']}",
            observatory=f"https://{found['observatory']['address']}",
            ca_cert=found["public_server_key"],
            domain_name=scheduler.get("tls_server_name"),
        )

    def _plane(self, run: Run | None = None) -> Any:
        token = self.plane.token()
        if token is not self._token:  # connections that show an older one are of no use
            super().close()
            self._token = token
        return super()._plane(run)

    def _status(self, run: Run) -> RunStatus:
        try:
            return self._with_good_token(lambda: super(CloudBackend, self)._status(run))
        except UNAVAILABLE as error:
            raise ClusterUnreachableError(str(error)) from error

    def _with_good_token(self, ask: Callable[[], T]) -> T:
        """Return what ``ask`` returns; a token that the instance refuses is renewed once."""
        try:
            return ask()
        except ClusterAccessError:
            self.plane.token(refused=self._token)
            return ask()

    def _why_lost(self, instance: Instance | None) -> ComputeLostError | None:
        """Return why an instance takes no queries any more, None if it may."""
        if instance is None:
            return ComputeLostError(f"The instance {self.compute_id} is not known to Polars Cloud any more.")
        if instance.status not in (wire.STOPPING, *wire.OVER):
            return None
        end = instance.end or "no reason given"
        hint = ""
        if "Inactive" in end:
            minutes = self.compute.idle_timeout_mins or (IDLE_TIMEOUT_MINS if self.compute.mark else "some")
            hint = (
                f" It had no query for {minutes} minutes: raise "
                "idle_timeout_mins=, or let its tasks follow each other sooner."
            )
        return ComputeLostError(f"The instance {self.compute_id} is {instance.status} ({end}).{hint}")
