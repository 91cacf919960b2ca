"""``airflow polars`` as a shell runs it: a process of Airflow for each command, with connections in its environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from airflow_provider_polars.testing import ControlPlane, DevCluster

AIRFLOW = Path(sys.executable).parent / "airflow"
SECONDS = 120.0
TOKEN = "token-that-nobody-shall-see"


class Commands:
    """Runs commands.

    :ivar connections: in their environment.
    :ivar hidden: variables that are not.
    :ivar output: all that they have printed.
    """

    def __init__(self) -> None:
        self.connections: dict[str, dict[str, Any]] = {}
        self.hidden: set[str] = set()
        self.output = ""

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run ``airflow polars`` to its end."""
        connections = {
            f"AIRFLOW_CONN_{name.upper()}": json.dumps(connection) for name, connection in self.connections.items()
        }
        done = subprocess.run(
            [AIRFLOW, "polars", *arguments],
            env={name: value for name, value in os.environ.items() if name not in self.hidden} | connections,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        self.output += done.stdout + done.stderr
        return done

    def rows(self, *arguments: str) -> list[dict[str, Any]]:
        """Return what a command that succeeds prints with ``--output json``."""
        done = self.run(*arguments, "--output", "json")
        assert done.returncode == 0, done.stderr
        rows: list[dict[str, Any]] = json.loads(done.stdout)
        return rows

    def refused(self, *arguments: str) -> str:
        """Return what a command that fails says."""
        done = self.run(*arguments)
        assert (done.returncode, done.stdout) == (1, ""), done
        return done.stderr.strip().splitlines()[-1]


@pytest.fixture
def commands(dag_test: Callable[..., Any]) -> Commands:
    """Return what runs commands with the database of :func:`dag_test`."""
    return Commands()


@pytest.fixture
def on_cluster(commands: Commands, polars_dev_cluster: DevCluster) -> Commands:
    """Return the same with the connection ``cluster`` to the development cluster."""
    address, _, port = polars_dev_cluster.uri.rpartition(":")
    commands.connections["cluster"] = {
        "conn_type": "polars_cluster",
        "host": address,
        "port": int(port),
        "password": TOKEN,
        "extra": {"observatory": polars_dev_cluster.observatory},
    }
    return commands


@pytest.fixture
def on_cloud(commands: Commands, polars_control_plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> Commands:
    """Return the same with the connection ``cloud`` to the development control plane."""
    monkeypatch.setenv("AIRFLOW__POLARS__DEPLOYMENT_ID", "tests")
    commands.hidden |= {"POLARS_CLOUD_CLIENT_ID", "POLARS_CLOUD_CLIENT_SECRET"}
    account = polars_control_plane.account
    commands.connections["cloud"] = {"conn_type": "polars_cloud", "login": account.id, "password": account.secret}
    return commands
