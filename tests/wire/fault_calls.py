"""What tests of faults need of the real client."""

from __future__ import annotations

import contextlib
import socket
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import polars as pl
import polars_cloud as pc

from airflow_provider_polars.testing import DevCluster
from tests.harness.waiting import wait_for

SECONDS = 30.0
"""That anything may take."""

FRAME = pl.LazyFrame({"a": [1, 2, 3]})


def submit(context: Any, frame: pl.LazyFrame = FRAME, **options: Any) -> Any:
    """Submit a query; do not wait for its result."""
    return frame.remote(context, **options).single_node().execute(blocking=False)


def versions(context: Any) -> Any:
    """Return what the cluster says that it runs."""
    return context._get_direct_client().get_compute_versions()


def anew(cluster: DevCluster, query_id: Any) -> Any:
    """Return a query by a connection of its own: a client that has just lost one may lose its next call with it."""
    context = cluster.context()
    return pc.DirectQuery(uuid.UUID(str(query_id)), context._get_direct_client(), context)


def recorded(cluster: DevCluster) -> list[tuple[str, str | None]]:
    """Return the calls with their faults."""
    return [(call["call"], call.get("fault")) for call in cluster.recorder.calls()]


def wait_until_hit(cluster: DevCluster, fault: int, times: int = 1) -> None:
    """Return when a fault has hit so many calls."""
    wait_for(lambda: cluster.faults.hits(fault) >= times or None, SECONDS, lambda: "it is not hit", interval=0.01)


@contextlib.contextmanager
def lifting_when_hit(cluster: DevCluster, fault: int) -> Iterator[None]:
    """Lift a fault as soon as it has hit a call of the block."""
    with ThreadPoolExecutor(1) as thread:

        def lift() -> None:
            wait_until_hit(cluster, fault)
            cluster.faults.lift(fault)

        lifted = thread.submit(lift)
        yield
        lifted.result()


def ask_observatory(cluster: DevCluster, path: str, method: str = "GET", body: str = "") -> bytes:
    """Return all that the observatory sends until the connection ends."""
    head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", int(cluster.observatory.rpartition(":")[2])), SECONDS) as stream:
        stream.sendall((head + body).encode())
        return b"".join(iter(lambda: stream.recv(65536), b""))
