"""One cluster: its services, its workers and its files, from start to end."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import uvicorn

from airflow_provider_polars.dev_cluster import observatory
from airflow_provider_polars.dev_cluster.access import TokenCheck, make_certificates
from airflow_provider_polars.dev_cluster.client_service import ClientService
from airflow_provider_polars.dev_cluster.errors import MessageCheck
from airflow_provider_polars.dev_cluster.flight_service import FlightService
from airflow_provider_polars.dev_cluster.pool import Pool, WorkersFailedError
from airflow_provider_polars.dev_cluster.recorder import Recorder
from airflow_provider_polars.dev_cluster.registry import working_folder
from airflow_provider_polars.dev_cluster.scheduler import Scheduler
from airflow_provider_polars.dev_cluster.settings import LOOPBACK, Settings
from airflow_provider_polars.dev_cluster.worker.frames import CHANNEL_OPTIONS
from airflow_provider_polars.dev_cluster.workers import PLANNER, Registration
from airflow_provider_polars.protocol.compute_plane_pb2_grpc import add_ClientServiceServicer_to_server
from airflow_provider_polars.protocol.flight_pb2_grpc import add_FlightServiceServicer_to_server

SERVER_OPTIONS = [
    *CHANNEL_OPTIONS,
    # Without these two, the server hangs up on clients, which send a ping every 20 s while a call is open.
    ("grpc.http2.min_ping_interval_without_data_ms", 1000),
    ("grpc.http2.max_ping_strikes", 0),
    # A second cluster on the same port is to be refused, not given a half of the calls.
    ("grpc.so_reuseport", 0),
]


class PortInUseError(Exception):
    """Something else listens where the cluster should."""

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(f"cannot listen on {address(host, port)}: {reason}")
        self.port = port


@dataclass
class Cluster:
    """A cluster that runs."""

    settings: Settings
    scheduler: Scheduler
    pool: Pool
    recorder: Recorder
    port: int
    observatory_port: int
    authority: Path | None
    """Certificate of the authority that clients must trust, with TLS."""

    @property
    def uri(self) -> str:
        """Address for ``ClusterContext``."""
        return f"http{'s' if self.authority else ''}://{address(self.settings.host, self.port)}"

    @property
    def observatory_uri(self) -> str:
        """Address of the observatory."""
        return f"http{'s' if self.authority else ''}://{address(self.settings.host, self.observatory_port)}"


def address(host: str, port: int) -> str:
    """Return host and port as addresses name them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@contextlib.asynccontextmanager
async def running(settings: Settings, give_up: asyncio.Future[Any]) -> AsyncIterator[Cluster | None]:
    """Run a cluster, ready for queries, until the block ends; nothing of it is left then.

    :param give_up: done when nobody waits for its start any more; the block then gets None.
    :raises PortInUseError: if a port is taken.
    :raises WorkersFailedError: if its workers cannot be started.
    """
    async with contextlib.AsyncExitStack() as stack:
        folder = stack.enter_context(working_folder())
        files = make_certificates(folder, settings.host) if settings.tls else None
        _listen(settings.host, settings.port).close()  # before workers start, and gRPC would not say why it cannot
        rest_socket = stack.enter_context(_listen(settings.host, settings.observatory_port))

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

        recorder = Recorder()
        checks = [TokenCheck(settings.token, recorder)] if settings.token else []
        server = grpc.aio.server(options=SERVER_OPTIONS, interceptors=[*checks, MessageCheck()])
        port = _bind(server, settings, files)
        add_ClientServiceServicer_to_server(ClientService(scheduler, recorder), server)
        add_FlightServiceServicer_to_server(FlightService(scheduler, recorder), server)
        stack.push_async_callback(server.stop, None)

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
        await server.start()
        rest = _Rest(
            uvicorn.Config(
                observatory.application(scheduler, recorder),
                log_level="warning",
                access_log=False,
                lifespan="off",
                ssl_certfile=files[1] if files else None,
                ssl_keyfile=files[2] if files else None,
            )
        )
        stack.push_async_callback(rest.stop, asyncio.create_task(rest.serve(sockets=[rest_socket])))
        stack.push_async_callback(_cancelled, asyncio.create_task(scheduler.sweep()))
        yield Cluster(
            settings,
            scheduler,
            pool,
            recorder,
            port,
            rest_socket.getsockname()[1],
            files[0] if files else None,
        )


def _listen(host: str, port: int) -> socket.socket:
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen()
    except OSError as error:
        listening.close()
        raise PortInUseError(host, port, str(error.strerror)) from error
    return listening


def _bind(server: grpc.aio.Server, settings: Settings, files: tuple[Path, Path, Path] | None) -> int:
    place = address(settings.host, settings.port)
    try:
        if files is None:
            return int(server.add_insecure_port(place))
        pair = files[2].read_bytes(), files[1].read_bytes()
        return int(server.add_secure_port(place, grpc.ssl_server_credentials([pair])))
    except RuntimeError as error:
        raise PortInUseError(settings.host, settings.port, str(error)) from error


class _Rest(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals of the process alone."""
        yield

    async def stop(self, serving: asyncio.Task[None]) -> None:
        self.should_exit = self.force_exit = True
        await serving


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
