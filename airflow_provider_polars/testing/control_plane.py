"""A development control plane in a process of its own, as tests see it."""

from __future__ import annotations

import contextlib
import json
import ssl
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_provider_polars.dev_cluster.dev_client import DevApiError, DevClient
from airflow_provider_polars.testing.environment import isolated_environment
from airflow_provider_polars.testing.faults import Faults
from airflow_provider_polars.testing.process import dev_cluster_process
from airflow_provider_polars.testing.recorder import Recorder

POST_SECONDS = 60.0
SIGN_IN_SECONDS = 10.0


@dataclass(frozen=True)
class Workspace:
    """A workspace of a control plane."""

    id: str
    name: str


@dataclass(frozen=True)
class ServiceAccount:
    """A service account; it sees its own workspace alone."""

    id: str
    workspace: Workspace
    secret: str = field(repr=False)


class ControlPlane:
    """A control plane that runs."""

    def __init__(self, facts: dict[str, Any], environment: dict[str, str]) -> None:
        self.api: str = facts["api"]
        self.dev: str = facts["dev"]
        self.pid: int = facts["pid"]
        self.polars: list[str] = facts["polars"]
        """Versions of Polars that its instances can have."""

        self.accounts = [
            ServiceAccount(account["id"], Workspace(**account["workspace"]), account["secret"])
            for account in facts["accounts"]
        ]
        self.authority = Path(facts["authority"])
        """Certificate (PEM) of the authority that the token endpoint's is signed by."""

        self.environment = environment | {
            "POLARS_CLOUD_API_ADDR": self.api,
            "POLARS_CLOUD_DOMAIN": facts["domain"],
            "POLARS_CLOUD_CLIENT_ID": self.account.id,
            "POLARS_CLOUD_CLIENT_SECRET": self.account.secret,
            "POLARS_CLOUD_DEFAULT_WORKSPACE_ID": self.workspace.id,
            "SSL_CERT_FILE": facts["environment"]["SSL_CERT_FILE"],
        }
        """Variables for processes that a test starts: they lead here, and to no real service."""

        self._client = DevClient(self.dev)
        self.recorder = Recorder(self.get)
        self.faults = Faults(self._client)

    @property
    def account(self) -> ServiceAccount:
        """The account that the environment names."""
        return self.accounts[0]

    @property
    def workspace(self) -> Workspace:
        """The workspace of that account."""
        return self.account.workspace

    @property
    def instances(self) -> list[dict[str, Any]]:
        """All instances, oldest first.

        Each has ``id``, ``workspace_id``, ``state``, ``mode``, ``name``, ``labels``, ``vcpus``, ``billable_seconds``,
        ``termination``, the ``pids`` of its workers and its ``ports``.
        """
        found: list[dict[str, Any]] = self.get("/_dev/instances")
        return found

    @property
    def started(self) -> list[str]:
        """Ids of the instances that were started."""
        return [instance["id"] for instance in self.instances]

    @property
    def running(self) -> list[str]:
        """Ids of the instances that cost money, or will: nobody has stopped them, and they have not ended."""
        return self._in("Starting", "Idle", "Running")

    @property
    def stopped(self) -> list[str]:
        """Ids of the instances that were stopped, by somebody or by their idle timeout; they may be Stopping still."""
        return self._in("Stopping", "Stopped")

    @property
    def failed(self) -> list[str]:
        """Ids of the instances that have failed."""
        return self._in("Failed")

    def _in(self, *states: str) -> list[str]:
        return [instance["id"] for instance in self.instances if instance["state"] in states]

    def fail_starts(self, message: str, times: int = 1) -> None:
        """Have the next instances fail while they start, with that reason."""
        self.post("/_dev/failing-starts", {"message": message, "times": times})

    def expire_tokens(self, account: ServiceAccount | None = None) -> None:
        """Have the tokens that were issued be refused as expired; those of all accounts by default."""
        self.post("/_dev/tokens", {"reason": "expired", "account_id": account and account.id})

    def revoke_tokens(self, account: ServiceAccount | None = None) -> None:
        """Have the tokens that were issued be refused as revoked; those of all accounts by default."""
        self.post("/_dev/tokens", {"reason": "revoked", "account_id": account and account.id})

    def access_token(self, account: ServiceAccount | None = None) -> str:
        """Sign in at the token endpoint, and return a token that is good for ``--token-seconds``.

        For ``POLARS_CLOUD_ACCESS_TOKEN``: clients with it need no TLS. The recorder has the call, as ``POST token``.

        :param account: that of the environment by default.
        :raises OSError: if the endpoint refuses, or is shut.
        """
        from airflow_provider_polars.dev_cluster.control_plane.token_service import NAME_ENDING, PATH

        account = account or self.account
        form = {"grant_type": "password", "username": account.id + NAME_ENDING, "password": account.secret}
        host = self.environment["POLARS_CLOUD_DOMAIN"].rpartition("@")[2]
        trust = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=str(self.authority)))
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), trust)
        data = urllib.parse.urlencode(form).encode()
        with opener.open(f"https://{host}{PATH}", data, timeout=SIGN_IN_SECONDS) as answer:
            return str(json.load(answer)["access_token"])

    def shut(self, port: str) -> None:
        """Refuse connections to ``api`` or ``token``, and reset those that are open."""
        self.post("/_dev/ports", {"port": port, "open": False})

    def open(self, port: str) -> None:
        """Take connections to ``api`` or ``token`` again."""
        self.post("/_dev/ports", {"port": port, "open": True})

    def kill(self, instance_id: str, message: str = "the machine was lost") -> None:
        """Have an instance end at once as a machine that is lost, and be Failed."""
        self.post(f"/_dev/instances/{instance_id}/die", {"message": message})

    def faults_of(self, instance_id: str) -> Faults:
        """Return the faults of the cluster that an instance is."""
        return Faults(f"{self.dev}/instances/{instance_id}")

    def restart(self, instance_id: str, *, memory: bool = True, seconds: float = 0.0) -> None:
        """Restart the scheduler of an instance, with or without its memory of queries."""
        self.post(f"/instances/{instance_id}/_dev/restart", {"memory": memory, "seconds": seconds})

    def tell_version(self, instance_id: str, polars: str | None) -> None:
        """Have clients that ask an instance be told another version of Polars; None is the true one.

        :raises ValueError: for an empty one.
        """
        try:
            self.post(f"/instances/{instance_id}/_dev/versions", {"polars": polars})
        except DevApiError as error:
            raise ValueError(str(error)) from None

    def kill_worker(self, instance_id: str, name: str = "worker-1") -> None:
        """End a worker of an instance."""
        self.post(f"/instances/{instance_id}/_dev/workers/{name}/kill", {})

    def reset(self) -> None:
        """Stop all instances, clear faults and forget what was recorded; accounts and workspaces stay."""
        self.post("/_dev/reset", {})
        self.recorder.forget()

    def get(self, path: str) -> Any:
        """Return what ``/_dev`` answers."""
        return self._client.get(path)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Tell ``/_dev`` something and return its answer.

        :raises DevApiError: if it says no; with its reason.
        """
        return self._client.post(path, body, seconds=POST_SECONDS)


@contextlib.contextmanager
def start_control_plane(*options: str, home: Path | None = None) -> Iterator[ControlPlane]:
    """Run a development control plane on free ports until the block ends; its instances end with it.

    The client of this process may be imported already and go elsewhere: start processes with ``environment``.

    :param options: of ``polars-dev-cluster up --control-plane``.
    :param home: an empty folder; a temporary one by default.
    :raises RuntimeError: if it does not start or does not end as it should; with what it wrote.
    """
    with contextlib.ExitStack() as stack:
        home = home or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        environment = isolated_environment(home)
        ports = [text for name in ("api", "token", "dev") for text in (f"--{name}-port", "0")]
        facts = stack.enter_context(dev_cluster_process("--control-plane", *ports, *options, environment=environment))
        yield ControlPlane(facts, environment)
