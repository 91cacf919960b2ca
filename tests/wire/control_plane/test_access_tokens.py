"""Access tokens for clients that are to do without TLS: they sign in nowhere, and trust no certificate."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError

import httpx
import pytest

if TYPE_CHECKING:
    from airflow_provider_polars.testing import ControlPlane, ServiceAccount
    from tests.wire.command import Shell
    from tests.wire.control_plane.conftest import Clients

UP = ("--control-plane", "--api-port", "0", "--token-port", "0", "--dev-port", "0", "--json")


def claims(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    said: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return said


def me(plane: ControlPlane, token: str) -> httpx.Response:
    headers = {"authorization": f"Bearer {token}"}
    return httpx.get(f"{plane.api}/api/v1/user/me", headers=headers, trust_env=False)


@pytest.mark.own_cluster
def test_the_json_of_the_command_has_one_for_each_account(shell: Shell) -> None:
    with shell.up(*UP, "--token-seconds", "1000") as up:
        for account in up.facts["accounts"]:
            token = account["access_token"]

            assert me(up.plane, token).json()["id"] == account["id"]
            said = claims(token)
            assert said["exp"] - said["iat"] in (1000, 1001)


def test_each_call_returns_another_one_of_the_account(plane: ControlPlane) -> None:
    def of(account: ServiceAccount) -> str:
        return str(me(plane, plane.access_token(account)).json()["id"])

    assert [of(account) for account in plane.accounts] == [account.id for account in plane.accounts]
    first = plane.access_token()
    assert me(plane, first).json()["id"] == plane.account.id

    plane.revoke_tokens()

    assert me(plane, first).status_code == 401
    assert me(plane, plane.access_token()).status_code == 200
    assert len(plane.recorder.calls("POST token")) == 4


def test_a_client_that_has_one_needs_no_tls(plane: ControlPlane, clients: Clients) -> None:
    without = {"SSL_CERT_FILE", "POLARS_CLOUD_CLIENT_ID", "POLARS_CLOUD_CLIENT_SECRET"}
    kept = {name: value for name, value in plane.environment.items() if name not in without}
    token = plane.access_token()
    plane.shut("token")

    client = clients(kept | {"POLARS_CLOUD_ACCESS_TOKEN": token})

    assert client.say("str(API_CLIENT.get_user().id)") == plane.account.id


def test_a_token_endpoint_that_refuses_is_an_error(plane: ControlPlane) -> None:
    plane.faults.add("POST token", "answer", status=503)
    with pytest.raises(HTTPError, match="503"):
        plane.access_token()

    plane.shut("token")
    with pytest.raises(OSError, match="refused"):
        plane.access_token()
