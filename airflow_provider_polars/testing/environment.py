"""An environment in which no client finds a real service or a real credential."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

REFUSED = "127.0.0.1:1"
"""An address at which nothing listens: connections are refused at once."""

_PREFIXES = ("POLARS_CLOUD_", "AWS_", "AZURE_", "GOOGLE_", "GCS_", "ARM_")


def isolated_environment(home: Path) -> dict[str, str]:
    """Return the variables of this process without the credentials and addresses of clouds, which lead nowhere instead.

    :param home: an empty folder for the configuration of the Polars Cloud client.
    """
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(_PREFIXES)}
    refused = f"http://{REFUSED}"
    return kept | {
        "POLARS_CLOUD_API_ADDR": refused,
        "POLARS_CLOUD_DOMAIN": "blocked.invalid",
        "POLARS_CLOUD_CONFIG_DIR": str(home),
        "AWS_ACCESS_KEY_ID": "blocked",
        "AWS_SECRET_ACCESS_KEY": "blocked",
        "AWS_ENDPOINT_URL": refused,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": refused,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "GCE_METADATA_HOST": REFUSED,
        "HTTP_PROXY": refused,
        "HTTPS_PROXY": refused,
        "http_proxy": refused,
        "https_proxy": refused,
        "NO_PROXY": "127.0.0.1,localhost,::1",
        "no_proxy": "127.0.0.1,localhost,::1",
    }


def set_environment(environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Give this process exactly that environment until the end of the test.

    What is right already is left alone: a thread of the client that reads the environment at the moment when a
    variable is added would crash the process.
    """
    for name in os.environ.keys() - environment.keys() - {"PYTEST_CURRENT_TEST"}:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        if name != "PYTEST_CURRENT_TEST" and os.environ.get(name) != value:
            monkeypatch.setenv(name, value)
