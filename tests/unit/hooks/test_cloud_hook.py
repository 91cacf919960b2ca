"""``PolarsCloudHook``: its connection in every form, the check of the account, and the Test button."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import Connection, task

from airflow_provider_polars import LocalCompute, vaults
from airflow_provider_polars.exceptions import ConfigurationError
from airflow_provider_polars.hooks import cloud
from airflow_provider_polars.hooks.cloud import PolarsCloudHook
from airflow_provider_polars.hooks.polars import make_hook
from airflow_provider_polars.testing import isolated_environment
from airflow_provider_polars.testing.environment import set_environment
from tests.harness.identity import IdentityStandIn, answer
from tests.unit.outcomes import failure, succeeded
from tests.unit.service_accounts import everything_in

if TYPE_CHECKING:
    from tests.harness.in_memory import InMemoryAirflow

ID, SECRET = "client-of-hook-tests", "secret-of-hook-tests"
COMPUTE = {"kind": "local", "threads": 2}
LATE = 10.0
"""Seconds by which a busy machine may be late."""

pytestmark = pytest.mark.usefixtures("masks_forgotten")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[IdentityStandIn]:
    """Start the stand-in for the identity service once."""
    with IdentityStandIn(tmp_path_factory.mktemp("identity"), {ID: SECRET}) as stand_in:
        yield stand_in


@pytest.fixture(autouse=True)
def identity(service: IdentityStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> IdentityStandIn:
    """Lead this process to the stand-in and to no service account."""
    set_environment(isolated_environment(tmp_path) | service.environment, monkeypatch)
    service.asked.clear()
    service.instead = None
    return service


def connect(
    monkeypatch: pytest.MonkeyPatch, login: str | None = ID, password: str | None = SECRET, **extra: Any
) -> Any:
    """Return a hook of a connection with this ``extra``."""
    value = {"conn_type": "polars_cloud", "login": login, "password": password, "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_CLOUD", json.dumps(value))
    return PolarsCloudHook("cloud")


# ---- fields

FROM_JSON = json.dumps(
    {
        "conn_type": "polars_cloud",
        "login": ID,
        "password": SECRET,
        "extra": {"workspace": "prod", "organization": "acme", "connection_mode": "proxy", "default_compute": COMPUTE},
    }
)
FROM_URI = (
    f"polars-cloud://{ID}:{SECRET}@/?workspace=prod&organization=acme&connection_mode=proxy"
    "&default_compute=%7B%22kind%22%3A+%22local%22%2C+%22threads%22%3A+2%7D"
)
FROM_FORM = json.dumps(
    {
        "conn_type": "polars_cloud",
        "host": "",
        "login": ID,
        "password": SECRET,
        "port": 443,
        "extra": {
            "workspace": "prod",
            "organization": "acme",
            "connection_mode": "proxy",
            "default_compute": COMPUTE,
            "vault": None,
            "client_secret_id": None,
            "client_id_secret_id": None,
            "vault_conn_id": None,
        },
    }
)


def copy_of(text: str) -> str:
    """Return a connection as Airflow itself writes it as a URI."""
    return Connection.from_json(text, conn_id="cloud").get_uri()


@pytest.mark.parametrize(
    "value",
    [FROM_JSON, FROM_URI, FROM_FORM, copy_of(FROM_JSON), copy_of(FROM_FORM)],
    ids=["JSON", "URI", "form", "URI of the JSON", "URI of the form"],
)
def test_a_connection_says_the_same_in_every_form(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CLOUD", value)
    hook = PolarsCloudHook("cloud")
    assert (hook.workspace, hook.organization, hook.connection_mode) == ("prod", "acme", "proxy")
    assert hook.default_compute() == LocalCompute(threads=2)
    account = hook.service_account()
    assert (account.client_id, account.client_secret) == (ID, SECRET)


@pytest.mark.parametrize("empty", [None, "", "  "])
def test_a_field_that_is_null_or_empty_counts_as_unset(monkeypatch: pytest.MonkeyPatch, empty: str | None) -> None:
    """Forms save every field."""
    names = ("workspace", "organization", "connection_mode", "vault", "client_secret_id", "vault_conn_id")
    hook = connect(monkeypatch, default_compute=None, client_id_secret_id=empty, **dict.fromkeys(names, empty))
    assert (hook.workspace, hook.organization, hook.connection_mode) == (None, None, None)
    assert hook.default_compute() is None
    assert hook.service_account().source == "the connection 'cloud'"


def test_without_a_connection_no_field_is_set() -> None:
    hook = PolarsCloudHook()
    assert (hook.workspace, hook.organization, hook.connection_mode) == (None, None, None)
    assert hook.default_compute() is None


def test_fields_that_cannot_be_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match=r"must be one of direct, proxy, got 'prox'; did you mean 'proxy'\?"):
        _ = connect(monkeypatch, connection_mode="prox").connection_mode
    with pytest.raises(ConfigurationError, match="workspace of the connection 'cloud' must be text, got int"):
        _ = connect(monkeypatch, workspace=7).workspace


def test_an_http_connection_has_login_and_password_and_may_have_a_workspace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_CLOUD", f"http://{ID}:{SECRET}@cloud.pola.rs/?workspace=prod")
    hook = PolarsCloudHook("cloud")
    assert (hook.service_account().client_secret, hook.workspace) == (SECRET, "prod")


# ---- check_credentials


@task
def check(conn_id: str | None = None) -> Any:
    """Check the account as a DAG author does."""
    return PolarsCloudHook(conn_id).check_credentials()


def test_a_task_gets_the_source_and_nothing_else(in_memory_airflow: InMemoryAirflow, identity: IdentityStandIn) -> None:
    in_memory_airflow.variables |= {"POLARS_CLOUD_CLIENT_ID": ID, "POLARS_CLOUD_CLIENT_SECRET": f"{SECRET}\n"}
    outcome = in_memory_airflow.run_task(check())
    assert succeeded(outcome) == {"source": "Variables POLARS_CLOUD_CLIENT_ID and POLARS_CLOUD_CLIENT_SECRET"}
    assert identity.seen == [ID]
    assert SECRET not in json.dumps([request.body for request in outcome.requests], default=str)


@pytest.mark.parametrize(
    ("reply", "error"), [(None, "CredentialsError: Polars"), (answer(503, ""), "CredentialsUnavailableError: Whether")]
)
def test_a_task_fails_with_what_is_wrong(
    in_memory_airflow: InMemoryAirflow, identity: IdentityStandIn, reply: Any, error: str
) -> None:
    """The account, or the service."""
    identity.instead = reply
    in_memory_airflow.add_connection("cloud", "polars_cloud", login=ID, password="wrong-secret-of-hook-tests")
    outcome = in_memory_airflow.run_task(check("cloud"))
    assert failure(outcome).startswith(error)
    assert outcome.error is not None
    assert "wrong-secret-of-hook-tests" not in everything_in(outcome.error)


# ---- the Test button


def test_the_button_tells_source_workspace_and_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    hook = connect(monkeypatch, workspace="prod", default_compute=COMPUTE)
    assert hook.test_connection() == (
        True,
        "Polars Cloud accepts the service account from the connection. Workspace: prod; connection mode: the default "
        "one; default compute: LocalCompute(threads=2).",
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"password": "wrong-secret"}, "Polars Cloud refuses the service account from the connection"),
        ({"password": None}, "There is half a service account"),
        ({"login": None, "password": None}, "There is no service account for Polars Cloud. Looked at: the connection"),
        ({"connection_mode": "sideways"}, "connection_mode of the connection must be one of"),
        ({"default_compute": {"kind": "lokal"}}, "The connection has no usable default_compute"),
        ({"password": None, "client_secret_id": "x", "vault": "y"}, "There is no vault 'y'"),
    ],
)
def test_the_button_tells_what_is_wrong(monkeypatch: pytest.MonkeyPatch, fields: Any, message: str) -> None:
    good, said = connect(monkeypatch, **fields).test_connection()
    assert not good
    assert said.startswith(message)


def test_the_button_tells_that_a_connection_is_absent_or_of_another_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", "aws://")
    assert "is of type 'aws'" in PolarsCloudHook("other").test_connection()[1]
    good, said = PolarsCloudHook("polars_absent").test_connection()
    assert not good
    assert "conn_id='polars_absent' names no connection" in said


class SilentVault:
    """A vault that never answers."""

    title = "Silence"
    release = threading.Event()

    def __init__(self, conn_id: str | None) -> None:
        self.conn_id = conn_id

    def read(self, name: str, where: str) -> str:
        """Wait for the end of the test."""
        self.release.wait(60)
        return ""


def test_the_button_answers_within_five_seconds(monkeypatch: pytest.MonkeyPatch, identity: IdentityStandIn) -> None:
    """Also where the identity service does not."""
    identity.instead = lambda handler: handler.connection.recv(1)
    begin = time.monotonic()
    good, said = connect(monkeypatch).test_connection()
    assert time.monotonic() - begin < cloud.TEST_SECONDS + LATE
    assert cloud.TEST_SECONDS < 5
    assert not good
    assert "gave no answer within 3.5 seconds. Try again later." in said


def test_the_button_does_not_wait_for_a_vault_either(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that it asks has one end."""
    monkeypatch.setattr(cloud, "TEST_SECONDS", 0.3)
    monkeypatch.setattr(SilentVault, "release", threading.Event())
    monkeypatch.setitem(vaults.VAULTS, "silence", SilentVault)
    good, said = connect(monkeypatch, password=None, vault="silence", client_secret_id="x").test_connection()
    SilentVault.release.set()
    assert not good
    assert said.startswith("No answer within 0.3 seconds from the vault or from the identity service of Polars Cloud.")


def test_the_button_imports_no_polars(
    run_python: Callable[..., str], service: IdentityStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API server stays light, and one that forks after importing the client would hang."""
    output = run_python(
        "import sys\n"
        "from airflow_provider_polars.clients import tokens\n"
        "from airflow_provider_polars.hooks import cloud\n"
        "cloud.TEST_SECONDS, tokens.check_service_account.__defaults__ = 40.0, (40.0,)  # a busy machine takes longer\n"
        "good, said = cloud.PolarsCloudHook('cloud').test_connection()\n"
        "assert good, said\n"
        "print(*({'polars', 'polars_cloud', 'grpc', 'boto3'} & set(sys.modules)), '.')",
        AIRFLOW_CONN_CLOUD=FROM_JSON,
    )
    assert output.splitlines()[-1].strip() == "."


def test_a_task_on_another_compute_may_name_the_connection_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """For its default compute."""
    connect(monkeypatch, default_compute=COMPUTE)
    hook = make_hook(LocalCompute(), "cloud")
    assert hook.default_compute() == LocalCompute(threads=2)
