"""Instances: development clusters that are started, watched, stopped and charged for."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from starlette.applications import Starlette

from airflow_provider_polars.dev_cluster import dev_api
from airflow_provider_polars.dev_cluster.control_plane.accounts import ServiceAccount, timestamp
from airflow_provider_polars.dev_cluster.control_plane.answers import ApiError
from airflow_provider_polars.dev_cluster.control_plane.older_clients import public_address
from airflow_provider_polars.dev_cluster.control_plane.orders import Order
from airflow_provider_polars.dev_cluster.control_plane.settings import ControlPlaneSettings
from airflow_provider_polars.dev_cluster.queries import FAILED, Query
from airflow_provider_polars.dev_cluster.scheduler import ClosedError, Scheduler
from airflow_provider_polars.dev_cluster.server import Cluster, address, running
from airflow_provider_polars.dev_cluster.settings import LOOPBACK, Settings

STARTING, IDLE, RUNNING, STOPPING, STOPPED, LOST = "Starting", "Idle", "Running", "Stopping", "Stopped", "Failed"
READY = (IDLE, RUNNING)
LIVE = (STARTING, *READY)
LOOK_SECONDS = 0.1
GC_INACTIVE_HOURS = 1


class Instance:
    """One instance, from the order to its end.

    :param python: interpreter of its workers.
    :param admits: decides on the ``authorization`` header of a call to it.
    :param failure: why it is to fail while it starts, None if it is not.
    """

    def __init__(
        self,
        order: Order,
        account: ServiceAccount,
        settings: ControlPlaneSettings,
        python: str,
        admits: Callable[[str | None], bool],
        *,
        name: str | None = None,
        failure: str | None = None,
    ) -> None:
        self.id = str(uuid.uuid4())
        self.order = order
        self.account = account
        self.name = name
        self.requested = time.time()
        self.ready_at: float | None = None
        self.stop_asked: float | None = None
        self.termination: dict[str, Any] | None = None
        self.cluster: Cluster | None = None
        self.dev_api: Starlette | None = None
        """Answers ``/_dev`` of the cluster; it keeps the restarts that it has begun."""

        self._settings = settings
        self._python = python
        self._admits = admits
        self._failure = failure
        self._phase = STARTING
        self._queries: list[Query] = []
        self._ending: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._up, self._hurry = asyncio.Event(), asyncio.Event()
        self._task = asyncio.create_task(self._live())

    @property
    def state(self) -> str:
        """As the client knows it; Running is Idle with a query."""
        return RUNNING if self._phase == IDLE and self.cluster is not None and self.cluster.busy else self._phase

    @property
    def is_over(self) -> bool:
        """Whether nothing of it is left."""
        return self._task.done()

    @property
    def billable_seconds(self) -> float:
        """From ready to stop: start-up and shut-down are free."""
        if self.ready_at is None:
            return 0.0
        return (self.stop_asked or time.time()) - self.ready_at

    @property
    def idle_timeout(self) -> float:
        """Seconds without a query after which it stops."""
        minutes = self.order.idle_timeout_mins or self.account.workspace.idle_timeout_mins
        return minutes * self._settings.minute

    @property
    def pids(self) -> list[int]:
        """Processes of its workers."""
        return list(self.cluster.pids) if self.cluster else []

    def stop(self, reason: str = "StoppedByUser", message: str | None = None) -> None:
        """Begin to stop.

        :raises ApiError: 400 if it does not live any more.
        """
        if self.state not in LIVE:
            raise ApiError(400, f"the compute cluster is {self.state.lower()} already")
        self._terminate(STOPPING, reason, message)
        if self.cluster is not None:
            self.cluster.scheduler.close(self._end_of_queries)

    def die(self, message: str) -> None:
        """End at once, as a machine that is lost."""
        if self.state in (*LIVE, STOPPING):
            self._terminate(LOST, "Failed", message)
            self._hurry.set()

    def end(self) -> None:
        """Stop without the time that it takes otherwise."""
        if self.state in LIVE:
            self.stop()
        self._hurry.set()

    async def submit(self, query: Query, client_polars: str, errors: Sequence[str] | None = None) -> None:
        """Run a query as soon as the instance is up; it ends at the latest when the instance does.

        :param errors: it is not to run, but to fail with these.
        :raises PlanRejectedError: for a plan that cannot run.
        """
        self._queries.append(query)
        try:
            await self._up.wait()
            if self.cluster is not None and not query.ended.is_set():
                await self._hand_over(query, self.cluster.scheduler, client_polars, errors)
        except BaseException:  # a plan that cannot run, or a caller that has hung up
            self._queries.remove(query)
            raise
        if self._phase not in LIVE:
            self._end_queries([query])

    async def _hand_over(
        self, query: Query, scheduler: Scheduler, client_polars: str, errors: Sequence[str] | None
    ) -> None:
        submission = asyncio.ensure_future(scheduler.submit(query, client_polars=client_polars, errors=errors))
        try:
            await asyncio.wait([submission, self._task], return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            scheduler.cancel(query)
            raise
        finally:
            submission.cancel()
        if submission.done():
            with contextlib.suppress(ClosedError):
                submission.result()

    async def ended(self) -> None:
        """Wait until nothing of it is left."""
        await asyncio.wait([self._task])

    def _terminate(self, state: str, reason: str, message: str | None) -> None:
        self._phase = state
        self.stop_asked = self.stop_asked or time.time()
        self.termination = {
            "termination_reason": reason,
            "termination_time": timestamp(),
            "termination_message": message,
        }
        self._end_queries(self._queries)
        if not self._ending.done():
            self._ending.set_result(None)

    async def _live(self) -> None:
        try:
            await self._run()
        except Exception as error:
            self.die(str(error) or repr(error))
        finally:
            self.cluster = self.dev_api = None
            if self._phase == STOPPING:
                self._phase = STOPPED
            self._end_queries(self._queries)
            self._up.set()

    async def _run(self) -> None:
        start: contextlib.AbstractAsyncContextManager[Cluster | None] = contextlib.nullcontext()
        if self._failure is None:
            start = running(self._cluster_settings(), self._ending, admits=self._admits)
        async with start as cluster:
            await asyncio.wait([self._ending], timeout=self._settings.starting_seconds)
            if self._phase == STARTING and self._failure is not None:
                self.die(self._failure)
            elif self._phase == STARTING and cluster is not None:
                self.cluster, self.ready_at, self._phase = cluster, time.time(), IDLE
                self.dev_api = Starlette(routes=dev_api.routes(cluster))
                self._up.set()
                await self._watch(cluster)
            if self._phase == STOPPING:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._hurry.wait(), self._settings.stopping_seconds)

    async def _watch(self, cluster: Cluster) -> None:
        used = time.time()
        while not self._ending.done():
            await asyncio.wait(
                [self._ending, cluster.pool.failed], timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
            if cluster.pool.failed.done():
                self.die(str(cluster.pool.failed.exception()))
            if self.state not in LIVE:
                return
            now = time.time()
            used = now if cluster.busy else max([used, *(query.ended_at or now for query in cluster.scheduler.queries)])
            if now - used >= self.idle_timeout:
                self.stop("StoppedInactive")

    def _end_queries(self, queries: Iterable[Query]) -> None:
        for query in queries:
            query.end(FAILED, errors={"scheduler": self._end_of_queries})

    @property
    def _end_of_queries(self) -> str:
        return f"ComputeError: the compute cluster {self.id} has ended"

    def _cluster_settings(self) -> Settings:
        return Settings(
            host=LOOPBACK,
            port=0,
            observatory_port=0,
            workers=self.order.cluster_size * self._settings.workers,
            python=self._python,
            tls=self.order.mode == "Direct",
            variables=self.order.env_vars,
        )

    def model(self) -> dict[str, Any]:
        """Return it as ComputeModel."""
        return {
            "id": self.id,
            "user_id": self.account.id,
            "workspace_id": self.account.workspace.id,
            "name": self.name,
            "gc_inactive_hours": GC_INACTIVE_HOURS,
            "request_time": timestamp(self.requested),
            "deployment_type": "Aws",
            "status": self.state,
            "connection_status": "Connected" if self.cluster else "Unconnected",
            "vcpus": self.order.vcpus,
            "termination": self.termination,
            **self.order.fields(),
        }

    def public_info(self, client_version: str) -> dict[str, Any]:
        """Return where direct mode finds it.

        :raises ApiError: 409 while it takes no query, 404 in proxy mode.
        """
        if self.order.mode != "Direct":
            raise ApiError(404, "a compute cluster in proxy mode has no public address")
        if self.state not in READY or self.cluster is None or self.cluster.authority is None:
            raise ApiError(409, f"the compute cluster is {self.state.lower()}")
        return {
            "cluster_id": self.id,
            "public_address": public_address(LOOPBACK, self.cluster.port, client_version),
            "public_server_key": self.cluster.authority.read_text(),
            "scheduler": {"address": address(LOOPBACK, self.cluster.port)},
            "observatory": {"address": address(LOOPBACK, self.cluster.observatory_port)},
        }

    def nodes(self) -> list[dict[str, Any]]:
        """Return its nodes; their addresses are this machine's."""
        specs = self.order.specs
        node = {
            "cluster_id": self.id,
            "private_address": LOOPBACK,
            "cpus": specs.cpus if specs else None,
            "memory_mb": specs.ram_gb * 1024 if specs else None,
            "storage_mb": self.order.storage * 1024 if self.order.storage else None,
        }
        return [node] * self.order.cluster_size if self.cluster else []

    def summary(self) -> dict[str, Any]:
        """Return what tests ask for: the processes and ports that are there, and the bill."""
        return {
            "id": self.id,
            "workspace_id": self.account.workspace.id,
            "account_id": self.account.id,
            "name": self.name,
            "mode": self.order.mode,
            "state": self.state,
            "requested": self.requested,
            "ready": self.ready_at,
            "billable_seconds": self.billable_seconds,
            "vcpus": self.order.vcpus,
            "termination": self.termination,
            "labels": self.order.labels or [],
            "pids": self.pids,
            "ports": [self.cluster.port, self.cluster.observatory_port] if self.cluster else [],
        }


class Instances:
    """All instances of a control plane, oldest first.

    :param pythons: interpreters by the version of their Polars.
    :param admits: whether an ``authorization`` header may call an instance of a workspace.
    """

    def __init__(
        self,
        settings: ControlPlaneSettings,
        pythons: dict[str, str],
        admits: Callable[[str | None, str], bool],
    ) -> None:
        self._settings = settings
        self._pythons = pythons
        self._admits = admits
        self.failing: list[str] = []
        """Why the next starts are to fail, one after the other."""

        self._instances: dict[str, Instance] = {}

    def __iter__(self) -> Iterator[Instance]:
        return iter(self._instances.values())

    def of(self, workspace_id: str) -> list[Instance]:
        """Return those of a workspace."""
        return [instance for instance in self if instance.account.workspace.id == workspace_id]

    def get(self, workspace_id: str, instance_id: str) -> Instance:
        """Return one of a workspace.

        :raises ApiError: 404 if there is none.
        """
        found = self.find(instance_id)
        if found.account.workspace.id != workspace_id:
            raise ApiError(404, f"no compute cluster {instance_id[:40]}")
        return found

    def start(self, order: Order, account: ServiceAccount, name: str | None = None) -> Instance:
        """Start one.

        :raises ApiError: 400 if no interpreter has the Polars that is asked for, 403 above the quota.
        """
        python = self._pythons.get(order.polars_version)
        if python is None:
            has = ", ".join(sorted(self._pythons))
            raise ApiError(400, f"no image with Polars {order.polars_version[:40]}; this control plane has {has}")
        self._check_quota(order, account)
        workspace = account.workspace.id
        instance = Instance(
            order,
            account,
            self._settings,
            python,
            lambda header: self._admits(header, workspace),
            name=name,
            failure=self.failing.pop(0) if self.failing else None,
        )
        self._instances[instance.id] = instance
        return instance

    async def end_all(self) -> None:
        """Stop what lives, without delay, and wait until nothing is left."""
        while left := [instance for instance in self if not instance.is_over]:
            for instance in left:
                instance.end()
            await asyncio.gather(*(instance.ended() for instance in left))

    def forget(self) -> None:
        """Forget those of which nothing is left, and starts that are to fail."""
        self.failing.clear()
        self._instances = {key: instance for key, instance in self._instances.items() if not instance.is_over}

    def find(self, instance_id: str) -> Instance:
        """Return one of any workspace.

        :raises ApiError: 404 if there is none.
        """
        found = self._instances.get(instance_id.lower())
        if found is None:
            raise ApiError(404, f"no compute cluster {instance_id[:40]}")
        return found

    def _check_quota(self, order: Order, account: ServiceAccount) -> None:
        limit = self._settings.max_vcpus
        used = sum(
            instance.order.vcpus for instance in self.of(account.workspace.id) if instance.state not in (STOPPED, LOST)
        )
        if limit is not None and used + order.vcpus > limit:
            raise ApiError(
                403, f"quota exceeded: {used} of {limit} vCPUs are in use, and {order.vcpus} more were asked for"
            )
