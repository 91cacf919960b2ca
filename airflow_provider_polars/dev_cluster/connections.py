"""Ends TCP connections that gRPC holds, which it has no call for, by way of the list of open files (Linux)."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
from collections.abc import Iterator
from urllib.parse import unquote

MAPPED = "::ffff:"
"""Before an IPv4 address in a socket of IPv6."""

NO_ADDRESS = bytes(16)
"""Of the family AF_UNSPEC: a stream that connects to it is reset, see connect(2)."""


def end_all(port: int) -> None:
    """End the connections to a port of this process; callers see an end (FIN)."""
    for stream in _sockets():
        with stream, contextlib.suppress(OSError):
            if stream.getsockname()[1] == port and stream.getpeername():  # one that listens has no peer: an error
                stream.shutdown(socket.SHUT_RDWR)


def end(peer: str, *, reset: bool) -> bool:
    """End the connection of one caller; return whether there is one.

    :param peer: as gRPC names it: ``ipv4:127.0.0.1:40000``, ``ipv6:%5B::1%5D:40000``.
    :param reset: whether the caller sees a reset (RST), and not an end (FIN).
    """
    host, _, port = unquote(peer).partition(":")[2].rpartition(":")
    wanted = host.strip("[]").removeprefix(MAPPED), port
    ended = False
    for stream in _sockets():
        with stream, contextlib.suppress(OSError):
            name = stream.getpeername()
            if (name[0].removeprefix(MAPPED), str(name[1])) == wanted:
                if reset:
                    ctypes.CDLL(None).connect(stream.fileno(), NO_ADDRESS, len(NO_ADDRESS))
                else:
                    stream.shutdown(socket.SHUT_RDWR)
                ended = True
    return ended


def _sockets() -> Iterator[socket.socket]:
    """Yield a copy of each internet socket of this process: it stays that one, even if gRPC closes its own."""
    for number in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            copy = _copy(int(number))
            if copy.family in (socket.AF_INET, socket.AF_INET6):
                yield copy
            else:
                copy.close()


def _copy(number: int) -> socket.socket:
    """Return the socket of an open file.

    :raises OSError: if the file is no socket, or closed already.
    """
    copy = os.dup(number)
    try:
        return socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        raise
