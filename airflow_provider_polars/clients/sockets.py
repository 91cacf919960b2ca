"""Connections to a cluster by plain sockets, each within a deadline, name resolution included."""

from __future__ import annotations

import socket
import time
from typing import Any

from airflow_provider_polars.clients.access import SCHEDULER_PORT, ClusterAccess
from airflow_provider_polars.clients.deadlines import within
from airflow_provider_polars.exceptions import ClusterUnreachableError

_LEAST = 0.001
"""Seconds; a socket with a timeout of 0 would not wait at all."""


class Deadline:
    """A moment, and how long it is until then.

    :param seconds: from now.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds until then, above zero: what comes too late times out at once."""
        return max(self._end - time.monotonic(), _LEAST)


def connect(access: ClusterAccess, deadline: Deadline) -> socket.socket:
    """Return a TCP connection to the scheduler.

    :raises ClusterUnreachableError: if there is none in time.
    """
    addresses = _resolve(access, deadline)
    failure: OSError = OSError("the name has no address")
    for number, (family, kind, protocol, _, address) in enumerate(addresses):
        connection = socket.socket(family, kind, protocol)
        connection.settimeout(deadline.left / (len(addresses) - number))
        try:
            connection.connect(address)
        except OSError as error:
            connection.close()
            failure = error
        else:
            return connection
    if isinstance(failure, ConnectionRefusedError):
        raise ClusterUnreachableError(
            f"Nothing listens at {access.uri}: the connection was refused. See whether the cluster runs, and whether "
            f"host and port are right; a scheduler's default port is {SCHEDULER_PORT}."
        ) from failure
    if isinstance(failure, TimeoutError):
        raise ClusterUnreachableError(
            f"{access.uri} did not accept a connection within {deadline.seconds:g} s. See whether the cluster runs, "
            "whether host and port are right, and whether a firewall lets this machine through."
        ) from failure
    raise ClusterUnreachableError(
        f"{access.uri} cannot be reached from here: {failure.strerror or failure}. Check host, port and network."
    ) from failure


def _resolve(access: ClusterAccess, deadline: Deadline) -> list[Any]:
    """Return what ``getaddrinfo`` does, which knows no timeout itself."""
    try:
        return within(deadline.left, lambda: socket.getaddrinfo(access.host, access.port, type=socket.SOCK_STREAM))
    except TimeoutError:
        raise ClusterUnreachableError(
            f"The name {access.host!r} of {access.uri} was not resolved within {deadline.seconds:g} s. Check the name "
            "and this machine's DNS."
        ) from None
    except (OSError, UnicodeError) as error:
        raise ClusterUnreachableError(
            f"The name {access.host!r} of {access.uri} does not resolve ({error}). Check it; it must be known to "
            "this machine's DNS."
        ) from error
