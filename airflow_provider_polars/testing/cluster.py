"""A development cluster in processes of its own, as tests see it."""

from __future__ import annotations

import contextlib
import json
import selectors
import ssl
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from airflow_provider_polars.testing.environment import isolated_environment

START_SECONDS = 60.0
STOP_SECONDS = 15.0


class Recorder:
    """What a cluster has received since the test began."""

    def __init__(self, cluster: DevCluster) -> None:
        self._cluster = cluster
        self._since = 0

    def calls(self, name: str | None = None) -> list[dict[str, Any]]:
        """Return the calls, oldest first: ``call``, ``time`` (epoch seconds), ``headers``, and what was asked for.

        :param name: only this one: ``SubmitQuery``, ``GetQueryStatus``, ``GetQueryResult``, ``GetQueryPlans``,
            ``CancelQuery``, ``DeleteQueryResult``, ``GetComputeVersions``, ``PollFlightInfo``, ``DoGet`` or
            ``GET query`` (of the observatory).
        """
        records: list[dict[str, Any]] = self._cluster.get(f"/_dev/records?since={self._since}")
        return [record for record in records if name in (None, record["call"])]

    @property
    def submissions(self) -> list[dict[str, Any]]:
        """Queries that were submitted, those that were refused included (``refused`` says why)."""
        return self.calls("SubmitQuery")

    @property
    def cancels(self) -> list[dict[str, Any]]:
        """Cancels that were asked for."""
        return self.calls("CancelQuery")

    def forget(self) -> None:
        """Begin anew."""
        records = self._cluster.get("/_dev/records")
        self._since = records[-1]["index"] + 1 if records else 0


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

        self.recorder = Recorder(self)

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
        request = urllib.request.Request(self.observatory + path, headers=self.headers)
        trust = ssl.create_default_context(cadata=self.authority.decode()) if self.authority else None
        handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust)]
        with urllib.request.build_opener(*handlers).open(request, timeout=10) as answer:
            return json.load(answer)


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
        log = stack.enter_context(tempfile.TemporaryFile("w+"))
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "airflow_provider_polars.dev_cluster", "up", "--json"),
                *("--port", "0", "--observatory-port", "0", *options),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env=environment,
        )
        try:
            yield DevCluster(json.loads(_first_line(process) or _raise(process, log, "did not start")), environment)
        finally:
            process.terminate()
            try:
                code = process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                code = process.wait()
            assert process.stdout is not None
            process.stdout.close()
        if code != 0:
            _raise(process, log, "did not end cleanly")


def _first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        return process.stdout.readline() if selector.select(START_SECONDS) else ""


def _raise(process: subprocess.Popen[str], log: Any, what: str) -> str:
    log.seek(0)
    raise RuntimeError(f"the development cluster {what} (exit code {process.poll()}):\n{log.read()}")
