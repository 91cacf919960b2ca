"""The real client, each in a process of its own, against a development control plane."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

import pytest

from tests.wire.control_plane.console import Console, console

if TYPE_CHECKING:
    from airflow_provider_polars.testing import ControlPlane

IMPORT = """
import os, time, uuid
import polars as pl, polars_cloud as pc
from polars_cloud.constants import API_CLIENT
"""


@pytest.fixture(scope="session")
def _shared_plane() -> Iterator[ControlPlane]:
    from airflow_provider_polars.testing import start_control_plane

    with start_control_plane("--minute-seconds", "0.1") as plane:
        yield plane


@pytest.fixture
def plane(_shared_plane: ControlPlane) -> Iterator[ControlPlane]:
    """Return a control plane without instances, whose minutes last 0.1 s; nothing runs at the end."""
    _shared_plane.reset()
    yield _shared_plane
    _shared_plane.reset()


Clients = Callable[..., Console]


@pytest.fixture
def clients() -> Iterator[Clients]:
    """Return ``start(environment)``, which starts a process that has imported the client."""
    with contextlib.ExitStack() as stack:

        def start(environment: Mapping[str, str]) -> Console:
            client = stack.enter_context(console(environment))
            client.say(IMPORT)
            return client

        yield start


@pytest.fixture(scope="module")
def _shared_clients(_shared_plane: ControlPlane) -> Iterator[Callable[[str], Console]]:
    with contextlib.ExitStack() as stack:

        @functools.cache
        def start(name: str) -> Console:
            account = _shared_plane.accounts[name == "stranger"]
            own = {
                "POLARS_CLOUD_CLIENT_ID": account.id,
                "POLARS_CLOUD_CLIENT_SECRET": account.secret,
                "POLARS_CLOUD_DEFAULT_WORKSPACE_ID": account.workspace.id,
            }
            client = stack.enter_context(console(_shared_plane.environment | own))
            client.say(IMPORT)
            return client

        yield start


@pytest.fixture
def shared_client(_shared_clients: Callable[[str], Console], plane: ControlPlane) -> Console:
    """Return a client that all tests of a module share: what it has defined, and who it is, stays."""
    return _shared_clients("first")


@pytest.fixture
def other_client(_shared_clients: Callable[[str], Console], plane: ControlPlane) -> Console:
    """Return a second one, in a process of its own."""
    return _shared_clients("second")


@pytest.fixture
def stranger(_shared_clients: Callable[[str], Console], plane: ControlPlane) -> Console:
    """Return one of the account of the other workspace."""
    return _shared_clients("stranger")


@pytest.fixture
def start_plane() -> Iterator[Callable[..., ControlPlane]]:
    """Return ``start(*options)``, which starts a control plane of the test's own."""
    from airflow_provider_polars.testing import start_control_plane

    with contextlib.ExitStack() as stack:
        yield lambda *options: stack.enter_context(start_control_plane(*options))


@pytest.fixture
def client(plane: ControlPlane, clients: Clients) -> Console:
    """Return a client with the environment of the control plane."""
    return clients(plane.environment)
