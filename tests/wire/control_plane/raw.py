"""The control plane without the client: what anybody on this machine can send to it."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import polars as pl

if TYPE_CHECKING:
    from airflow_provider_polars.testing import ControlPlane, ServiceAccount

TOKEN_PATH = "/realms/Polars/protocol/openid-connect/token"
SECONDS = 10.0


def order(**fields: Any) -> dict[str, Any]:
    """Return the body of a start."""
    return {
        "specs": {"cpus": 1, "ram_gb": 2, "cpu_architectures": ["X86_64"], "multiplier": None},
        "storage": None,
        "cluster_size": 1,
        "mode": "Direct",
        "python_version": {"major": 3, "minor": 12, "patch": 1},
        "polars_version": pl.__version__,
        "labels": None,
        "log_level": "Info",
        "idle_timeout_mins": 60,
        "requirements_txt": None,
        "env_vars": {},
        **fields,
    }


class Caller:
    """Calls a control plane with the token of an account, over one connection.

    :param account: that of the plane's environment by default.
    """

    def __init__(self, plane: ControlPlane, account: ServiceAccount | None = None) -> None:
        self.plane = plane
        self.account = account or plane.account
        self.token = plane.access_token(self.account)
        self._client = httpx.Client(base_url=f"{plane.api}/api/v1/", trust_env=False, timeout=SECONDS)

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send a request; ``W`` at the start of a path is the workspace of the account."""
        headers = {"authorization": f"Bearer {self.token}"} | options.pop("headers", {})
        place = path.replace("W", f"workspace/{self.account.workspace.id}", 1) if path.startswith("W") else path
        return self._client.request(method, place, headers=headers, **options)

    def start(self, **fields: Any) -> str:
        """Start an instance and return its id."""
        answer = self.ask("POST", "W/compute/start", json=order(**fields))
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])


def post_form(plane: ControlPlane, **content: Any) -> httpx.Response:
    """Send something to the token endpoint."""
    trust = ssl.create_default_context(cadata=Path(plane.authority).read_text())
    url = f"https://{plane.environment['POLARS_CLOUD_DOMAIN'].rpartition('@')[2]}{TOKEN_PATH}"
    return httpx.post(url, verify=trust, trust_env=False, timeout=SECONDS, **content)
