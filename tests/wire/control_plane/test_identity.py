"""Who the client is: secrets, tokens, and what each service account sees."""

from __future__ import annotations

import base64
import json
import ssl
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.harness.waiting import wait_for
from tests.wire.control_plane.console import SaidError
from tests.wire.control_plane.instances import ask, connected, hold, started, until

if TYPE_CHECKING:
    from airflow_provider_polars.testing import ControlPlane, ServiceAccount
    from tests.wire.control_plane.conftest import Clients
    from tests.wire.control_plane.console import Console
    from tests.wire.gates import Gate


@pytest.fixture
def client(shared_client: Console) -> Console:
    """Return a client that is the account of its environment, and has no token yet."""
    shared_client.say("API_CLIENT.clear_authentication()")
    return shared_client


ME = "str(API_CLIENT.get_user().id)"
TOKEN_PATH = "/realms/Polars/protocol/openid-connect/token"
NO_TOKEN = "AuthLoadError: .*missing field `access_token`"
REFUSED = "ValueError: .*Status 401 Unauthorized with body: Authentication method Service Account failed"


def sign_in(client: Console, account: ServiceAccount, secret: str | None = None) -> None:
    client.say(
        f"pc.authenticate(client_id={account.id!r}, client_secret={secret or account.secret!r}, interactive=False)"
    )


def token_of(plane: ControlPlane, account: ServiceAccount, **fields: str) -> httpx.Response:
    """Post the client's form, without the client."""
    form = {
        "client_id": "PolarsCloud",
        "grant_type": "password",
        "username": f"{account.id}@sa.cloud.pola.rs",
        "password": account.secret,
    }
    host = plane.environment["POLARS_CLOUD_DOMAIN"].rpartition("@")[2]
    trust = ssl.create_default_context(cadata=plane.authority.read_text())
    return httpx.post(f"https://{host}{TOKEN_PATH}", data=form | fields, verify=trust, trust_env=False)


def claims_of(token: str) -> dict[str, Any]:
    payload = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.b64decode(payload + "=" * (-len(payload) % 4)))
    return claims


def test_the_right_secret_signs_in_and_a_wrong_one_does_not(
    plane: ControlPlane, client: Console, clients: Clients
) -> None:
    assert client.say(ME) == plane.account.id

    wrong = clients(plane.environment | {"POLARS_CLOUD_CLIENT_SECRET": "wrong"})
    with pytest.raises(SaidError, match=NO_TOKEN):
        wrong.say(ME)
    with pytest.raises(SaidError, match=NO_TOKEN):
        wrong.say("pc.authenticate(interactive=False)")
    half = clients({name: value for name, value in plane.environment.items() if name != "POLARS_CLOUD_CLIENT_SECRET"})
    with pytest.raises(SaidError, match="AuthLoadError: Authentication token was not found"):
        half.say("pc.authenticate(interactive=False)")
    with pytest.raises(SaidError, match="ValueError: Client Id and Secret must either both be set or none"):
        half.say(f"pc.authenticate(client_id={plane.account.id!r}, interactive=False)")

    assert [call.get("refused") for call in plane.recorder.calls("POST token")] == [None, *["invalid_grant"] * 2]


def test_a_form_that_is_none_of_the_clients_is_refused(plane: ControlPlane) -> None:
    assert token_of(plane, plane.account).status_code == 200
    for fields, status, error in (
        ({"password": "wrong"}, 401, "invalid_grant"),
        ({"username": "nobody@sa.cloud.pola.rs"}, 401, "invalid_grant"),
        ({"password": plane.accounts[1].secret}, 401, "invalid_grant"),
        ({"grant_type": "device"}, 400, "unsupported_grant_type"),
    ):
        refused = token_of(plane, plane.account, **fields)
        assert (refused.status_code, refused.json()["error"]) == (status, error)


def test_a_failed_login_keeps_the_identity_that_was_there(plane: ControlPlane, client: Console) -> None:
    first, second = plane.accounts
    sign_in(client, second)
    assert client.say(ME) == second.id

    with pytest.raises(SaidError, match=NO_TOKEN):
        sign_in(client, first, "wrong")

    assert client.say(ME) == second.id  # and no call says so
    client.say("API_CLIENT.clear_authentication()")
    with pytest.raises(SaidError, match=NO_TOKEN):
        sign_in(client, second, "wrong")
    assert client.say(ME) == first.id  # the account of the environment, which nobody asked for here


def test_all_clients_of_a_process_are_the_account_that_signed_in_last(plane: ControlPlane, client: Console) -> None:
    first, second = plane.accounts
    client.say("one, two = pc.polars_cloud.ApiClient(), pc.polars_cloud.ApiClient()")
    for name, account in (("one", first), ("two", second)):
        client.say(f"{name}.authenticate({account.id!r}, {account.secret!r}, False)")

    assert client.say("str(one.get_user().id)") == second.id


@pytest.mark.parametrize("end", ["expire", "revoke"])
def test_a_token_that_is_worthless_is_refused_until_the_client_signs_in_with_its_secret(
    plane: ControlPlane, client: Console, end: str
) -> None:
    assert client.say(ME) == plane.account.id

    (plane.expire_tokens if end == "expire" else plane.revoke_tokens)()

    for call in (ME, ME, "pc.authenticate(interactive=False)"):
        with pytest.raises(SaidError, match=rf"(?s){REFUSED}"):
            client.say(call)
    reason = f"the token is {end.removesuffix('e')}ed"
    assert [call["refused"] for call in plane.recorder.calls("GET user/me")[-3:]] == [reason] * 3
    assert reason in ask(plane, client, "GET", "user/me").text  # which the client does not pass on
    sign_in(client, plane.account)
    assert client.say(ME) == plane.account.id


def test_only_the_tokens_of_one_account_are_revoked(plane: ControlPlane, client: Console, stranger: Console) -> None:
    assert (client.say(ME), stranger.say(ME)) == (plane.accounts[0].id, plane.accounts[1].id)

    plane.revoke_tokens(plane.accounts[1])

    assert client.say(ME) == plane.account.id
    with pytest.raises(SaidError, match=rf"(?s){REFUSED}"):
        stranger.say(ME)
    stranger.say("API_CLIENT.clear_authentication()")
    assert stranger.say(ME) == plane.accounts[1].id


def test_a_token_from_the_environment_needs_no_token_endpoint(plane: ControlPlane, clients: Clients) -> None:
    token = token_of(plane, plane.account).json()["access_token"]
    taken = ("POLARS_CLOUD_CLIENT_ID", "POLARS_CLOUD_CLIENT_SECRET", "POLARS_CLOUD_DOMAIN", "SSL_CERT_FILE")
    kept = {name: value for name, value in plane.environment.items() if name not in taken}
    plane.recorder.forget()

    client = clients(kept | {"POLARS_CLOUD_ACCESS_TOKEN": token, "POLARS_CLOUD_DOMAIN": "nowhere.invalid"})

    assert client.say(ME) == plane.account.id
    assert client.say("pc.ComputeContext(cpus=2, memory=4, connection_mode='proxy').start(); pc.Workspace().name") == (
        plane.workspace.name
    )
    assert len(plane.started) == 1
    assert plane.recorder.calls("POST token") == []


def test_a_revoked_token_ends_calls_to_an_instance_too(plane: ControlPlane, client: Console, gate: Gate) -> None:
    connected(plane, client)
    hold(client, gate)

    plane.revoke_tokens()

    with pytest.raises(SaidError, match=r"RuntimeError: .*does not have valid authentication credentials"):
        client.say("query.get_status()")
    sign_in(client, plane.account)
    assert client.say("query.get_status().name") == "INPROGRESS"


def test_an_account_sees_its_own_workspace_alone(plane: ControlPlane, client: Console, stranger: Console) -> None:
    instance_id = started(client)
    until(plane, instance_id, "Idle")
    workspace = f"uuid.UUID({plane.workspace.id!r})"

    for call in (
        f"pc.Workspace(id={workspace})",
        f"pc.ComputeContext.connect({instance_id!r}, {workspace})",
        f"API_CLIENT.get_compute_clusters({workspace})",
        f"API_CLIENT.stop_compute_cluster({workspace}, uuid.UUID({instance_id!r}))",
    ):
        with pytest.raises(SaidError, match=r"(?s)ValueError: .*no access to the workspace"):
            stranger.say(call)
    with pytest.raises(SaidError, match="WorkspaceResolveError: "):
        stranger.say(f"pc.Workspace({plane.workspace.name!r})")
    with pytest.raises(SaidError, match="NotFoundError: "):
        stranger.say(f"pc.ComputeContext.connect({instance_id!r})")
    assert stranger.say("pc.ComputeContext.list(None)") == []
    assert plane.running == [instance_id]


def test_an_instance_refuses_the_token_of_another_workspace(plane: ControlPlane, client: Console) -> None:
    connected(plane, client)
    client.say("query = pl.LazyFrame({'a': [1]}).remote(ctx).single_node().execute(blocking=False)")
    assert client.say("query.await_result().status.name") == "SUCCESS"

    sign_in(client, plane.accounts[1])  # the connection stays, and carries the token of who is signed in

    with pytest.raises(SaidError, match=r"RuntimeError: .*does not have valid authentication credentials"):
        client.say("query.get_status()")


@pytest.mark.own_cluster
def test_two_control_planes_know_nothing_of_each_other(
    plane: ControlPlane, client: Console, start_plane: Callable[..., ControlPlane], clients: Clients
) -> None:
    beside = start_plane()
    here, there = client, clients(beside.environment)
    assert (here.say(ME), there.say(ME)) == (plane.account.id, beside.account.id)
    instance_id = started(here)

    with pytest.raises(SaidError, match="NotFoundError: "):
        there.say(f"pc.ComputeContext.connect({instance_id!r})")
    with pytest.raises(SaidError, match=NO_TOKEN):
        sign_in(there, plane.account)
    assert ask(beside, here, "GET", "user/me").status_code == 401
    assert (plane.started, beside.started) == ([instance_id], [])


def test_no_secret_and_no_token_is_recorded(plane: ControlPlane, client: Console) -> None:
    token = client.say("API_CLIENT.get_auth_header()").removeprefix("Bearer ")
    assert client.say(ME) == plane.account.id

    shown = json.dumps(plane.recorder.calls()) + json.dumps(plane.get("/_dev/status")) + repr(plane.accounts)

    assert plane.account.id in shown
    assert [secret for secret in (plane.account.secret, token) if secret in shown] == []


@pytest.mark.own_cluster
def test_a_token_is_refreshed_ten_seconds_before_its_end(
    start_plane: Callable[..., ControlPlane], clients: Clients
) -> None:
    plane = start_plane("--token-seconds", "20")
    client = clients(plane.environment)
    claims = claims_of(client.say("API_CLIENT.get_auth_header()").removeprefix("Bearer "))
    assert claims["exp"] - claims["iat"] == 20
    assert len(plane.recorder.calls("POST token")) == 1

    def refreshed() -> float | None:
        assert client.say(ME) == plane.account.id
        calls = plane.recorder.calls("POST token")
        return float(calls[1]["time"]) if len(calls) > 1 else None

    at = wait_for(refreshed, 30, lambda: "there was no second token", interval=0.1)

    assert claims["exp"] - 10 <= at <= claims["exp"] - 3
    assert [call.get("refused") for call in plane.recorder.calls("GET user/me")] == [None] * len(
        plane.recorder.calls("GET user/me")
    )


@pytest.mark.own_cluster
def test_a_token_from_the_environment_is_refused_after_its_end_and_a_fresh_one_is_taken(
    start_plane: Callable[..., ControlPlane], clients: Clients
) -> None:
    plane = start_plane("--token-seconds", "8")
    withheld = ("POLARS_CLOUD_CLIENT_ID", "POLARS_CLOUD_CLIENT_SECRET")
    kept = {name: value for name, value in plane.environment.items() if name not in withheld}
    client = clients(kept)

    def take() -> str:
        token = str(token_of(plane, plane.account).json()["access_token"])
        client.say(f"os.environ['POLARS_CLOUD_ACCESS_TOKEN'] = {token!r}")
        return token

    def over() -> str | None:
        try:
            client.say(ME)
        except SaidError as error:
            return str(error)
        return None

    claims = claims_of(take())
    assert client.say(ME) == plane.account.id
    assert "401" in wait_for(over, 30, lambda: "the token is still good", interval=0.2)
    assert time.time() >= claims["exp"] - 1

    take()
    assert client.say(ME) == plane.account.id
