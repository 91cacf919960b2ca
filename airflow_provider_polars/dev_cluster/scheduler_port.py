"""The gRPC port of the scheduler, which can be closed and opened again."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import grpc

from airflow_provider_polars.dev_cluster import connections
from airflow_provider_polars.dev_cluster.worker.frames import CHANNEL_OPTIONS

CONNECTION_OPTIONS = [
    # Without these two, the server hangs up on clients, which send a ping every 20 s while a call is open.
    ("grpc.http2.min_ping_interval_without_data_ms", 1000),
    ("grpc.http2.max_ping_strikes", 0),
    # A second cluster on the same port is to be refused, not given a half of the calls.
    ("grpc.so_reuseport", 0),
]
SERVER_OPTIONS = [*CHANNEL_OPTIONS, *CONNECTION_OPTIONS]


class PortInUseError(Exception):
    """Something else listens where the cluster should."""

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(f"cannot listen on {address(host, port)}: {reason}")
        self.port = port


class SchedulerPort:
    """A port on which gRPC listens, and which stays this process's while it does not.

    :param number: the port; 0 is any free one.
    :param files: of a certificate and its key, for TLS.
    :param interceptors: that calls pass, the first one first.
    :param add_services: adds the services to a server.
    :raises PortInUseError: if something else has it.
    """

    def __init__(
        self,
        host: str,
        number: int,
        files: tuple[Path, Path] | None,
        interceptors: Sequence[grpc.aio.ServerInterceptor],
        add_services: Callable[[grpc.aio.Server], None],
    ) -> None:
        self._host = host
        self._files = files
        self._interceptors = interceptors
        self._add_services = add_services
        self._held = bind(host, number)  # never listens: while gRPC does not either, connections are refused
        self.number: int = self._held.getsockname()[1]
        self._server: Any = self._bound()

    async def open(self) -> None:
        """Answer calls, unless it is released."""
        if self._held.fileno() < 0:
            return
        self._server = self._server or self._bound()
        await self._server.start()

    async def close(self) -> None:
        """Refuse connections, and end those that are open as the end of the process does: without a word."""
        server, self._server = self._server, None
        if server is None:
            return
        connections.end_all(self.number)
        await server.stop(None)

    async def release(self) -> None:
        """Close it for good; calls are told so."""
        self._held.close()
        if self._server is not None:
            await self._server.stop(None)

    def _bound(self) -> grpc.aio.Server:
        server = grpc.aio.server(options=SERVER_OPTIONS, interceptors=self._interceptors)
        self._add_services(server)
        place = address(self._host, self.number)
        try:
            if self._files is None:
                server.add_insecure_port(place)
            else:
                pair = self._files[1].read_bytes(), self._files[0].read_bytes()
                server.add_secure_port(place, grpc.ssl_server_credentials([pair]))
        except RuntimeError as error:
            raise PortInUseError(self._host, self.number, str(error)) from error
        return server


def address(host: str, port: int) -> str:
    """Return host and port as addresses name them."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that is bound and does not listen.

    :raises PortInUseError: if something else listens there.
    """
    # With the protocol asyncio sets TCP_NODELAY on connections; without, each answer of two writes takes 40 ms.
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise PortInUseError(host, port, str(error.strerror)) from error
    return bound


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens.

    :raises PortInUseError: if something else does.
    """
    listening = bind(host, port)
    try:
        listening.listen()
    except OSError as error:
        listening.close()
        raise PortInUseError(host, port, str(error.strerror)) from error
    return listening
