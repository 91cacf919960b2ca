"""Certificates of the token endpoint that the user brings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from airflow_provider_polars.dev_cluster.certificates import make_certificates

if TYPE_CHECKING:
    from airflow_provider_polars.testing import ControlPlane
    from tests.wire.control_plane.conftest import Clients


@pytest.mark.own_cluster
def test_a_client_signs_in_where_the_certificates_are_the_user_s(
    start_plane: Callable[..., ControlPlane], clients: Clients, tmp_path: Path
) -> None:
    for file, name in zip(
        make_certificates(tmp_path, "127.0.0.1"), ("ca.pem", "server.pem", "server.key"), strict=True
    ):
        file.rename(tmp_path / name)
    plane = start_plane("--certificates", str(tmp_path))

    assert plane.authority == tmp_path / "ca.pem"
    assert clients(plane.environment).say("API_CLIENT.get_user().id") == plane.account.id
