"""The real ``polars_cloud`` client against the development cluster, over the wire."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from airflow_provider_polars.testing import DevCluster
    from tests.wire.command import Shell
    from tests.wire.gates import Gate

RESULT_MILLISECONDS = "60000"
"""That clients wait for a result; a year if nobody says so."""


@pytest.fixture
def context(polars_dev_cluster: DevCluster) -> Any:
    """Return a context of the real client."""
    return polars_dev_cluster.context()


@pytest.fixture
def start_cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., DevCluster]]:
    """Return ``start(*options)``, which starts a cluster of the test's own and gives the test its environment."""
    from airflow_provider_polars.testing import start_dev_cluster
    from airflow_provider_polars.testing.environment import set_environment

    with contextlib.ExitStack() as stack:

        def start(*options: str) -> DevCluster:
            cluster = stack.enter_context(start_dev_cluster(*options))
            set_environment(cluster.environment, monkeypatch)
            monkeypatch.setenv("POLARS_TIMEOUT_MS", RESULT_MILLISECONDS)
            return cluster

        yield start


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Gate]:
    """Return a gate that holds queries; it is open at the end."""
    from tests.wire.gates import Gate

    gate = Gate(tmp_path / "gate")
    yield gate
    gate.open()


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """Return what runs ``polars-dev-cluster`` as a shell does."""
    from tests.wire.command import Shell

    return Shell(tmp_path)
