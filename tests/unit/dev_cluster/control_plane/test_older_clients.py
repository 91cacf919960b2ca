"""What the development control plane does for clients older than 0.12."""

from __future__ import annotations

import json

import msgspec
import pytest

from airflow_provider_polars.dev_cluster.control_plane.older_clients import public_address
from airflow_provider_polars.dev_cluster.control_plane.orders import Order


@pytest.mark.parametrize(
    ("client_version", "address"),
    [
        ("0.6.3", "127.0.0.1"),
        ("0.8.0", "127.0.0.1"),
        ("0.9.0", "127.0.0.1:4711/"),
        ("0.11.3", "127.0.0.1:4711/"),
        ("0.12.0", "127.0.0.1"),
        ("", "127.0.0.1"),
    ],
)
def test_the_public_address_leads_clients_without_another_one_to_the_port(client_version: str, address: str) -> None:
    assert public_address("127.0.0.1", 4711, client_version) == address


@pytest.mark.parametrize(("written", "mode"), [("direct", "Direct"), ("proxy", "Proxy"), ("Proxy", "Proxy")])
def test_a_mode_may_be_written_small(written: str, mode: str) -> None:
    python = {"major": 3, "minor": 11, "patch": 7}
    body = {"mode": written, "python_version": python, "polars_version": "1.40.1", "instance_type": {"standard": "a"}}

    assert msgspec.json.decode(json.dumps(body), type=Order).fields()["mode"] == mode
