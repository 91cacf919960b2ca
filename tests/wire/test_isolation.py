"""In the environment that the fixture hands out, no client finds a real service or a credential."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from airflow_provider_polars.testing import DevCluster, isolated_environment

pytestmark = pytest.mark.own_cluster

CREDENTIALS = {
    "POLARS_CLOUD_CLIENT_ID": "id",
    "POLARS_CLOUD_CLIENT_SECRET": "polars-secret",
    "POLARS_CLOUD_ACCESS_TOKEN": "polars-token",
    "AWS_SECRET_ACCESS_KEY": "aws-secret",
    "AWS_SESSION_TOKEN": "aws-session",
    "AWS_PROFILE": "production",
    "AZURE_CLIENT_SECRET": "azure-secret",
    "GOOGLE_APPLICATION_CREDENTIALS": "/keys.json",
}
ATTEMPTS = {
    "the control plane of Polars Cloud": (
        "import polars_cloud; polars_cloud.authenticate(interactive=False); polars_cloud.Workspace.list()"
    ),
    "S3 through Polars": 'import polars as pl; pl.scan_parquet("s3://bucket/a.parquet").collect()',
    "S3 through boto3": 'import boto3; boto3.client("s3", region_name="eu-west-1").list_buckets()',
    "credentials of the instance": (
        "from botocore.utils import InstanceMetadataFetcher as Fetcher; "
        "assert Fetcher(timeout=1, num_attempts=1).retrieve_iam_role_credentials(), 'none: refused'"
    ),
    "the web": 'import httpx; httpx.get("https://example.invalid/")',
    "the web through the standard library": (
        'import urllib.request; urllib.request.urlopen("http://example.invalid/", timeout=10)'
    ),
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_a_call_to_a_real_service_fails_here(tmp_path: Path, attempt: str) -> None:
    """Names do not resolve and addresses are loopback's: what is not refused would have to look a name up first."""
    program = (
        "import socket\n"
        "def refuse(host, *args, **kwargs):\n"
        "    if host not in ('127.0.0.1', 'localhost'):\n"
        "        raise AssertionError(f'looked up {host}')\n"
        "    return look_up(host, *args, **kwargs)\n"
        "look_up, socket.getaddrinfo = socket.getaddrinfo, refuse\n" + ATTEMPTS[attempt]
    )

    done = subprocess.run(
        [sys.executable, "-c", program],
        env=isolated_environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 1
    assert "looked up" not in done.stderr
    assert any(word in done.stderr.lower() for word in ("refused", "127.0.0.1:1", "authenticat", "not allowed"))


def test_credentials_of_the_process_are_not_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MY_OWN", "kept")

    environment = isolated_environment(tmp_path)

    assert not set(CREDENTIALS.values()) & set(environment.values())
    assert environment["MY_OWN"] == "kept"


def address_of(url: str) -> tuple[str, int]:
    """Return host and port."""
    parts = urlsplit(url)
    return str(parts.hostname), int(parts.port or 0)


def test_a_test_that_uses_the_fixture_has_that_environment(polars_dev_cluster: DevCluster) -> None:
    not_its = ("PYTEST_CURRENT_TEST", "_POLARS_TESTING_SPARE_")
    current = {name: value for name, value in os.environ.items() if not name.startswith(not_its)}

    assert current == {name: value for name, value in polars_dev_cluster.environment.items() if name in current}
    with socket.socket() as probe:
        assert probe.connect_ex(address_of(os.environ["POLARS_CLOUD_API_ADDR"])) == errno.ECONNREFUSED
