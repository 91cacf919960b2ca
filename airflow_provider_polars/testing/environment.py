"""An environment in which no client finds a real service or a real credential."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from airflow_provider_polars.testing.addresses import addresses

REFUSED = "127.0.0.1:1"
"""An address at which nothing listens: connections are refused at once."""

_SPARE_PREFIX = "_POLARS_TESTING_SPARE_"
_SPARE = [f"{_SPARE_PREFIX}{number}" for number in range(200)]
_MARGIN = 10
_NOT_OURS = {"PYTEST_CURRENT_TEST", *_SPARE}
_PREFIXES = ("POLARS_CLOUD_", "AWS_", "AZURE_", "GOOGLE_", "GCS_", "ARM_", _SPARE_PREFIX)


def isolated_environment(home: Path) -> dict[str, str]:
    """Return the variables of this process without the credentials and addresses of clouds, which lead nowhere instead.

    Those of Polars Cloud lead to ports of this process at which nothing answers, unless the tests start a control plane
    there.

    :param home: an empty folder for the configuration of the Polars Cloud client.
    """
    kept = {name: value for name, value in os.environ.items() if not name.upper().startswith(_PREFIXES)}
    refused = f"http://{REFUSED}"
    return kept | {
        **addresses().environment,
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

    A thread of the client that reads the environment at the moment when the C library moves it, since it grows, crashes
    the process. So what is right already is left alone, and any other variable takes the place of one that goes: the
    number of variables stays the same from the first call on, by spare ones.
    """
    add = [name for name in environment if name not in os.environ and name not in _NOT_OURS]
    remove = [name for name in os.environ if name not in environment and name not in _NOT_OURS]
    unused = [name for name in _SPARE if name in os.environ]
    if len(add) > len(remove) + len(unused):
        for name in _SPARE[: len(add) + _MARGIN]:
            os.environ[name] = ""
        unused = [name for name in _SPARE if name in os.environ]
    free = [name for name in _SPARE if name not in os.environ]
    for name, other in itertools.zip_longest(remove, add):
        monkeypatch.delenv(name or unused.pop(), raising=False)
        monkeypatch.setenv(other or free.pop(), environment.get(other, ""))
    for name, value in environment.items():
        if name not in _NOT_OURS and os.environ[name] != value:
            monkeypatch.setenv(name, value)
