"""Fixtures for tests of clients: Polars Cloud as two stand-ins on loopback, for tokens and for its REST interface."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_polars.clients.control_plane import ControlPlane
from airflow_provider_polars.testing import isolated_environment
from airflow_provider_polars.testing.environment import set_environment
from tests.harness.identity import IdentityStandIn
from tests.unit.clients.api_stand_in import ApiStandIn
from tests.unit.clients.calls import ACCOUNT


@pytest.fixture(scope="session")
def identity_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IdentityStandIn]:
    """Start the service for tokens once."""
    accounts = {ACCOUNT.client_id: ACCOUNT.client_secret}
    with IdentityStandIn(tmp_path_factory.mktemp("identity"), accounts) as stand_in:
        yield stand_in


@pytest.fixture(scope="session")
def api_service() -> Iterator[ApiStandIn]:
    """Start the REST interface once."""
    with ApiStandIn() as stand_in:
        yield stand_in


@pytest.fixture
def tokens(identity_service: IdentityStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> IdentityStandIn:
    """Lead this process to the service for tokens, which has forgotten what it was asked."""
    set_environment(isolated_environment(tmp_path) | identity_service.environment, monkeypatch)
    identity_service.asked.clear()
    identity_service.instead = None
    return identity_service


@pytest.fixture
def api(api_service: ApiStandIn, tokens: IdentityStandIn, monkeypatch: pytest.MonkeyPatch) -> ApiStandIn:
    """Lead this process to the REST interface too, which has forgotten everything."""
    monkeypatch.setenv("POLARS_CLOUD_API_ADDR", api_service.address)
    api_service.forget()
    return api_service


@pytest.fixture
def masked() -> list[str]:
    """Return what was told to be kept out of logs."""
    return []


@pytest.fixture
def plane(api: ApiStandIn, masked: list[str]) -> Iterator[ControlPlane]:
    """Return a client of the REST interface as the one account that there is."""
    client = ControlPlane(ACCOUNT, client_version="0.12.0", polars_version="2.0.0", mask=masked.append)
    yield client
    client.close()
