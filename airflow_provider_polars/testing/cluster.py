"""A development cluster in processes of its own, as tests see it."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from airflow_provider_polars.dev_cluster.dev_client import DevApiError, DevClient
from airflow_provider_polars.testing.environment import isolated_environment
from airflow_provider_polars.testing.faults import Faults
from airflow_provider_polars.testing.process import dev_cluster_process
from airflow_provider_polars.testing.recorder import Recorder

RESTART_SECONDS = 30.0


class DevCluster:
    """A development cluster that runs."""

    def __init__(self, facts: dict[str, Any], environment: dict[str, str]) -> None:
        self.uri: str = facts["scheduler"]
        """For ``polars_cloud.ClusterContext(uri=...)``."""

        self.observatory: str = facts["observatory"]
        self.polars: str = facts["polars"]
        """Version of Polars on the workers."""

        self.pid: int = facts["pid"]
        self.token: str | None = facts["token"]
        self.authority: bytes | None = Path(facts["authority"]).read_bytes() if facts["authority"] else None
        """Certificate (PEM) to trust, with ``--tls``."""

        self.environment = environment
        """Variables for processes that a test starts: no real service or credential is to be found there."""

        self._client = DevClient(self.observatory, self.headers, self.authority)
        self.recorder = Recorder(self.get)
        self.faults = Faults(self._client)
        """What goes wrong, call by call."""

    @property
    def headers(self) -> dict[str, str]:
        """What calls must carry: the token, if the cluster asks for one."""
        return {"authorization": f"Bearer {self.token}"} if self.token else {}

    def context(self, **options: Any) -> Any:
        """Return a ``polars_cloud.ClusterContext`` of the real client (0.9 or newer) for this cluster.

        :param options: of ``ClusterContext``; those that ``ClientOptions`` has too count for the observatory too.
        """
        import polars_cloud as pc

        access: dict[str, Any] = {"extra_headers": self.headers}
        if self.authority:
            access["tls_options"] = pc.TLSOptions(ca_cert=self.authority)
        access |= options
        observatory = access.pop("observatory", None) or pc.ClientOptions(uri=self.observatory, **access)
        return pc.ClusterContext(uri=self.uri, observatory=observatory, **access)

    @property
    def workers(self) -> list[dict[str, Any]]:
        """The worker processes: ``name``, ``pid``, ``query_id`` (of what runs there, or None), ``resident_bytes``."""
        workers: list[dict[str, Any]] = self.get("/_dev/status")["workers"]
        return workers

    @property
    def queries(self) -> list[dict[str, Any]]:
        """All queries that the cluster remembers, with ``state``, ``workers``, ``errors`` and times."""
        queries: list[dict[str, Any]] = self.get("/_dev/queries")
        return queries

    def get(self, path: str) -> Any:
        """Return what the observatory answers."""
        return self._client.get(path)

    def kill_worker(self, name: str = "worker-1") -> int:
        """End a worker process (SIGKILL), and return its id; another process takes its place.

        :param name: that of :attr:`workers`; ``planner`` is the process that checks plans.
        :raises LookupError: if there is none of that name.
        """
        try:
            return int(self._client.post(f"/_dev/workers/{name}/kill", {})["pid"])
        except DevApiError as error:
            raise LookupError(str(error)) from None

    def restart(self, *, memory: bool = True, seconds: float = 0.0, wait: bool = True) -> None:
        """Restart the scheduler: its connections end, and its workers are replaced. The observatory goes on.

        :param memory: whether it still knows its queries. Queued ones stay queued; those that ran run again if their
            ``n_retries`` allow it, or else fail. Without memory, all queries are unknown.
        :param seconds: for which its port refuses connections.
        :param wait: return when the port listens again; else as soon as it refuses.
        :raises ValueError: for a time below 0 or above an hour.
        """
        try:
            body = {"memory": memory, "seconds": seconds, "wait": wait}
            self._client.post("/_dev/restart", body, seconds=seconds + RESTART_SECONDS)
        except DevApiError as error:
            raise ValueError(str(error)) from None

    def tell_version(self, polars: str | None) -> None:
        """Have clients that ask be told another version of Polars; None is the true one.

        :raises ValueError: for an empty one.
        """
        try:
            self._client.post("/_dev/versions", {"polars": polars})
        except DevApiError as error:
            raise ValueError(str(error)) from None


@contextlib.contextmanager
def start_dev_cluster(*options: str, home: Path | None = None) -> Iterator[DevCluster]:
    """Run a development cluster on free ports until the block ends.

    :param options: of ``polars-dev-cluster up``, for example ``"--workers", "1"``.
    :param home: an empty folder; a temporary one by default.
    :raises RuntimeError: if it does not start or does not end as it should; with what it wrote.
    """
    with contextlib.ExitStack() as stack:
        home = home or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        environment = isolated_environment(home)
        free_ports = "--port", "0", "--observatory-port", "0"
        facts = stack.enter_context(dev_cluster_process(*free_ports, *options, environment=environment))
        yield DevCluster(facts, environment)
