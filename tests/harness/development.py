"""Airflow and what its queries run on, all on this machine: a development cluster and a development control plane."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_polars.testing import ControlPlane, DevCluster, start_control_plane, start_dev_cluster
from tests.harness.rest import AirflowRest
from tests.harness.stack import AirflowStack

TLS_PORT = 443
"""Of a connection that has no port of its own: the Test button of Airflow 3.3.2 answers 400 without a number."""


@dataclass(frozen=True)
class Development:
    """What runs."""

    stack: AirflowStack
    cluster: DevCluster
    plane: ControlPlane

    @property
    def rest(self) -> AirflowRest:
        """Client of the API server."""
        return self.stack.rest

    @property
    def connections(self) -> dict[str, dict[str, Any]]:
        """For each connection type the fields of a connection that works here, and that the Test button can test."""
        scheduler = urlsplit(self.cluster.uri)
        account = self.plane.account
        return {
            "polars": {"extra": {"default_compute": {"kind": "local", "threads": 1}}},
            "polars_cluster": {
                "host": scheduler.hostname,
                "port": scheduler.port,
                "password": self.cluster.token,
                "extra": {
                    "tls": scheduler.scheme == "https",
                    "ca_cert": (self.cluster.authority or b"").decode(),
                    "observatory": self.cluster.observatory,
                },
            },
            "polars_cloud": {
                "login": account.id,
                "password": account.secret,
                "port": TLS_PORT,
                "extra": {"workspace": account.workspace.name},
            },
        }


@contextlib.contextmanager
def development(
    dags_folder: Path | Sequence[Path],
    *,
    deployment: str,
    cluster_options: Sequence[str] = (),
    plane_options: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
) -> Iterator[Development]:
    """Run all of it until the block ends.

    :param deployment: ``[polars] deployment_id``.
    :param cluster_options: of ``polars-dev-cluster up``.
    :param plane_options: of ``polars-dev-cluster up --control-plane``.
    :param env: further variables of Airflow's processes.
    """
    with start_dev_cluster(*cluster_options) as cluster, start_control_plane(*plane_options) as plane:
        leading = {name: value for name, value in plane.environment.items() if name.startswith(("POLARS_", "SSL_"))}
        own = {
            "POLARS_CLOUD_CLIENT_ID": "",  # the connections have the account
            "POLARS_CLOUD_CLIENT_SECRET": "",
            "AIRFLOW__POLARS__DEPLOYMENT_ID": deployment,
        }
        with AirflowStack(dags_folder, env=leading | own | dict(env or {})) as stack:
            yield Development(stack, cluster, plane)
