"""A port that hands each connection to a server behind it, and can be shut while that server runs on."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

from airflow_provider_polars.dev_cluster.settings import LOOPBACK

HTTP2_GREETING = b"PRI"
"""First bytes of HTTP/2 with prior knowledge, which gRPC speaks."""

CHUNK = 65_536
GREETING_SECONDS = 10.0
"""For the first bytes of a connection."""

MOST_CONNECTIONS = 250
"""Open at the same time, for each takes three files of this process. One more, and the oldest is reset."""

_RESET = struct.pack("ii", 1, 0)


class Front:
    """One port, its connections spliced to a port behind it.

    :param held: bound to the port and never listening: it stays this process's while it is shut.
    :param http: port of the server behind.
    :param http2: port of the server behind for connections that begin as HTTP/2 does, if that is another one.
    """

    def __init__(self, held: socket.socket, http: int, http2: int | None = None) -> None:
        self.host, self.port = held.getsockname()[:2]
        self._http, self._http2 = http, http2
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.StreamWriter, None] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def is_open(self) -> bool:
        """Whether it takes connections."""
        return self._server is not None

    async def open(self) -> None:
        """Take connections, on the same port as before."""
        if self._server is None:
            self._server = await asyncio.start_server(self._connected, self.host, self.port)

    async def shut(self) -> None:
        """Refuse connections, and reset those that are open."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        for writer in list(self._connections):
            _reset(writer)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._connections) >= MOST_CONNECTIONS:
            oldest = next(iter(self._connections))
            del self._connections[oldest]
            _reset(oldest)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._connections[writer] = None
        try:
            await self._splice(reader, writer)
        except (OSError, asyncio.TimeoutError, asyncio.CancelledError):
            pass  # it is lost, has said nothing, or the port is shut
        finally:
            self._connections.pop(writer, None)
            self._tasks.discard(task)
            writer.close()

    async def _splice(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, port = await asyncio.wait_for(self._greeting(reader), GREETING_SECONDS)
        inner_reader, inner_writer = await asyncio.open_connection(LOOPBACK, port)
        inner_writer.write(first)
        requests = asyncio.create_task(_pump(reader, inner_writer))
        try:
            await _pump(inner_reader, writer)
        finally:
            requests.cancel()
            inner_writer.transport.abort()

    async def _greeting(self, reader: asyncio.StreamReader) -> tuple[bytes, int]:
        """Return the first bytes of a connection, and the port that it belongs to."""
        first = await reader.read(CHUNK)
        if self._http2 is None:
            return first, self._http
        while len(first) < len(HTTP2_GREETING) and (more := await reader.read(CHUNK)):
            first += more
        return first, self._http2 if first.startswith(HTTP2_GREETING) else self._http


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
    except ConnectionResetError:
        _reset(writer)
    except OSError:
        writer.close()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with RST."""
    sock = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
