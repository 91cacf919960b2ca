"""One cluster: its services, its workers and its files, from start to end."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc

from airflow_provider_polars.dev_cluster import observatory
from airflow_provider_polars.dev_cluster.access import TokenCheck, carries_token
from airflow_provider_polars.dev_cluster.certificates import make_certificates
from airflow_provider_polars.dev_cluster.client_service import ClientService
from airflow_provider_polars.dev_cluster.cluster import Cluster
from airflow_provider_polars.dev_cluster.errors import MessageCheck
from airflow_provider_polars.dev_cluster.fault_interceptor import FaultInterceptor
from airflow_provider_polars.dev_cluster.fault_middleware import FaultMiddleware
from airflow_provider_polars.dev_cluster.faults import Faults
from airflow_provider_polars.dev_cluster.flight_service import FlightService
from airflow_provider_polars.dev_cluster.own_host import LOOPBACK_HOSTS, OwnHostOnly
from airflow_provider_polars.dev_cluster.pool import Pool, WorkersFailedError
from airflow_provider_polars.dev_cluster.recorder import Recorder
from airflow_provider_polars.dev_cluster.registry import working_folder
from airflow_provider_polars.dev_cluster.rest_server import serving
from airflow_provider_polars.dev_cluster.scheduler import Scheduler
from airflow_provider_polars.dev_cluster.scheduler_port import (
    SERVER_OPTIONS,
    PortInUseError,
    SchedulerPort,
    address,
    listen,
)
from airflow_provider_polars.dev_cluster.settings import LOOPBACK, Settings
from airflow_provider_polars.dev_cluster.workers import PLANNER, Registration
from airflow_provider_polars.protocol.compute_plane_pb2_grpc import add_ClientServiceServicer_to_server
from airflow_provider_polars.protocol.flight_pb2_grpc import add_FlightServiceServicer_to_server

__all__ = ["SERVER_OPTIONS", "Cluster", "PortInUseError", "address", "running"]


@contextlib.asynccontextmanager
async def running(
    settings: Settings, give_up: asyncio.Future[Any], admits: Callable[[str | None], bool] | None = None
) -> AsyncIterator[Cluster | None]:
    """Run a cluster, ready for queries, until the block ends; nothing of it is left then.

    :param give_up: done when nobody waits for its start any more; the block then gets None.
    :param admits: decides on the ``authorization`` header of a call, in place of the token of the settings.
    :raises PortInUseError: if a port is taken.
    :raises WorkersFailedError: if its workers cannot be started.
    """
    async with contextlib.AsyncExitStack() as stack:
        folder = stack.enter_context(working_folder())
        files = make_certificates(folder, settings.host) if settings.tls else None
        guarded = admits is not None or settings.token is not None
        admits = admits or functools.partial(carries_token, token=settings.token)
        listen(settings.host, settings.port).close()  # before workers start, and gRPC would not say why it cannot
        rest_socket = stack.enter_context(listen(settings.host, settings.observatory_port))

        scheduler = Scheduler(settings, folder / "results", kill=lambda name: pool.kill(name))
        token = secrets.token_urlsafe()
        registration = Registration(scheduler, token)
        registration_server = grpc.aio.server(options=SERVER_OPTIONS)
        registration_server.add_generic_rpc_handlers((registration.handler(),))
        registration_port = registration_server.add_insecure_port(f"{LOOPBACK}:0")
        await registration_server.start()
        stack.push_async_callback(registration_server.stop, None)

        pool = Pool(settings, f"{LOOPBACK}:{registration_port}", token, registration.pids)
        stack.push_async_callback(pool.stop)
        pool.start({PLANNER: PLANNER, **{f"worker-{number + 1}": "worker" for number in range(settings.workers)}})

        recorder, faults = Recorder(), Faults()

        def add_services(server: grpc.aio.Server) -> None:
            add_ClientServiceServicer_to_server(ClientService(scheduler, recorder), server)
            add_FlightServiceServicer_to_server(FlightService(scheduler, recorder), server)

        scheduler_port = SchedulerPort(
            settings.host,
            settings.port,
            files[1:] if files else None,
            [
                FaultInterceptor(faults, recorder),
                *([TokenCheck(admits, recorder)] if guarded else []),
                MessageCheck(),
            ],
            add_services,
        )
        stack.push_async_callback(scheduler_port.release)

        ready: asyncio.Future[Any] = asyncio.ensure_future(scheduler.ready.wait())
        await asyncio.wait(
            [ready, pool.failed, give_up], return_when=asyncio.FIRST_COMPLETED, timeout=settings.start_seconds
        )
        ready.cancel()
        if pool.failed.done():
            pool.failed.result()
        if give_up.done():
            yield None
            return
        if not ready.done():
            raise WorkersFailedError(f"{settings.python} has not started the workers in {settings.start_seconds:g} s")
        cluster = Cluster(
            settings,
            scheduler,
            pool,
            recorder,
            faults,
            scheduler_port,
            rest_socket.getsockname()[1],
            files[0] if files else None,
        )
        await scheduler_port.open()
        app: Any = observatory.application(cluster, admits)
        if settings.host in LOOPBACK_HOSTS:
            app = OwnHostOnly(app, "/_dev")
        rest = FaultMiddleware(app, faults, recorder, observatory.call_name)
        await stack.enter_async_context(serving(rest, rest_socket, files[1:] if files else None))
        stack.callback(faults.clear)
        stack.push_async_callback(_cancelled, asyncio.create_task(scheduler.sweep()))
        yield cluster


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
