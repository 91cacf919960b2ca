"""Where the service account for Polars Cloud comes from: the order, the connection, Variables, the environment."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from airflow.sdk.log import redact

from airflow_provider_polars.exceptions import ConfigurationError, CredentialsError
from airflow_provider_polars.hooks.cloud import PolarsCloudHook
from tests.conftest import REPOSITORY
from tests.harness.execution_api import Route
from tests.harness.execution_routes import ROUTES
from tests.unit.outcomes import failure
from tests.unit.service_accounts import connect_to_safe, everything_in, find_account, refusal, values

if TYPE_CHECKING:
    from tests.harness.in_memory import InMemoryAirflow

ID, SECRET = "POLARS_CLOUD_CLIENT_ID", "POLARS_CLOUD_CLIENT_SECRET"
VARIABLES = f"Variables {ID} and {SECRET}"
ENVIRONMENT = f"environment variables {ID} and {SECRET}"


pytestmark = pytest.mark.usefixtures("masks_forgotten")


@pytest.fixture(autouse=True)
def _nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (ID, SECRET):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"AIRFLOW_VAR_{name}", raising=False)


# ---- the order


def test_each_source_wins_over_the_next(
    in_memory_airflow: InMemoryAirflow, safe: dict[str, str | bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connection, vault, AIRFLOW_VAR_, Airflow's own Variables, process environment."""
    in_vault = {"vault": "safe", "client_secret_id": "polars/prod"}
    in_memory_airflow.add_connection(
        "cloud", "polars_cloud", login="id-of-connection", password="secret-of-connection", extra=in_vault
    )
    safe["polars/prod"] = json.dumps({"client_id": "id-of-vault", "client_secret": "secret-of-vault"})
    for name, kind in ((ID, "id"), (SECRET, "secret")):
        monkeypatch.setenv(f"AIRFLOW_VAR_{name}", f"{kind}-of-airflow-var")
        in_memory_airflow.variables[name] = f"{kind}-of-variable"
        monkeypatch.setenv(name, f"{kind}-of-environment")

    def found() -> tuple[str, str, str]:
        account = find_account(in_memory_airflow, "cloud")
        return *values(account), account.source

    assert found() == ("id-of-connection", "secret-of-connection", "the connection 'cloud'")
    in_memory_airflow.add_connection("cloud", "polars_cloud", extra=in_vault)
    assert found() == (
        "id-of-vault",
        "secret-of-vault",
        "the secret 'polars/prod' of Safe (client_secret_id of the connection 'cloud')",
    )
    in_memory_airflow.add_connection("cloud", "polars_cloud", extra={"workspace": "prod"})
    assert found() == ("id-of-airflow-var", "secret-of-airflow-var", VARIABLES)
    for name in (ID, SECRET):
        monkeypatch.delenv(f"AIRFLOW_VAR_{name}")
    assert found() == ("id-of-variable", "secret-of-variable", VARIABLES)
    in_memory_airflow.variables.clear()
    assert found() == ("id-of-environment", "secret-of-environment", ENVIRONMENT)
    for name in (ID, SECRET):
        monkeypatch.delenv(name)
    with pytest.raises(CredentialsError, match="There is no service account for Polars Cloud"):
        found()


def test_nothing_is_looked_for_before_it_is_asked_for(in_memory_airflow: InMemoryAirflow) -> None:
    """A hook can be made where a DAG is parsed."""
    PolarsCloudHook("absent", client_id_variable="a", client_secret_variable="b")
    assert in_memory_airflow.requests == []


def test_where_was_looked_is_told(in_memory_airflow: InMemoryAirflow) -> None:
    in_memory_airflow.add_connection("cloud", "polars_cloud", extra={"workspace": "prod", "vault": None})
    assert refusal(in_memory_airflow, "cloud") == (
        "There is no service account for Polars Cloud. Looked at: the connection 'cloud' (login and password, or "
        f"client_secret_id); {VARIABLES} (secrets backend, AIRFLOW_VAR_..., Airflow); {ENVIRONMENT}. Put client id and "
        "client secret into one of these. A secrets backend that fails counts as one without them; Airflow logs it."
    )
    assert "Looked at: Variables my_id and my_secret (" in refusal(
        in_memory_airflow, client_id_variable="my_id", client_secret_variable="my_secret"
    )


# ---- the connection


@pytest.mark.parametrize("conn_type", ["polars_cloud", "http", "https"])
def test_login_and_password_of_a_connection_are_the_account(in_memory_airflow: InMemoryAirflow, conn_type: str) -> None:
    """Polars' own guide takes a connection of type HTTP."""
    in_memory_airflow.add_connection("cloud", conn_type, login="an-id", password="a-secret", host="ignored")
    assert values(find_account(in_memory_airflow, "cloud")) == ("an-id", "a-secret")


@pytest.mark.parametrize("where", ["in the environment", "in Variables"])
def test_a_connection_that_is_asked_for_and_absent_is_an_error(
    in_memory_airflow: InMemoryAirflow, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Another account is never taken in its place."""
    for name in (ID, SECRET):
        monkeypatch.setenv(
            name, "another-account"
        ) if where == "in the environment" else in_memory_airflow.variables.update({name: "another-account"})
    with pytest.raises(ConfigurationError, match="conn_id='absent' names no connection"):
        find_account(in_memory_airflow, "absent")


@pytest.mark.parametrize("conn_type", ["aws", "polars", "polars_cluster", "generic"])
def test_a_connection_of_another_type_is_refused_by_name(in_memory_airflow: InMemoryAirflow, conn_type: str) -> None:
    in_memory_airflow.add_connection("other", conn_type, login="an-id", password="hidden-value")
    with pytest.raises(ConfigurationError) as caught:
        find_account(in_memory_airflow, "other")
    assert str(caught.value) == (
        f"The connection 'other' is of type '{conn_type}'. Polars Cloud takes one of type polars_cloud, or http with "
        "login and password. Change the type, or name another connection."
    )
    assert "hidden-value" not in everything_in(caught.value)


def test_an_http_connection_without_login_and_password_is_an_error(in_memory_airflow: InMemoryAirflow) -> None:
    """It can be there for nothing else."""
    in_memory_airflow.variables |= {ID: "an-id", SECRET: "a-secret"}
    in_memory_airflow.add_connection("cloud", "http", host="cloud.pola.rs")
    assert refusal(in_memory_airflow, "cloud") == (
        "There is no login and no password in the connection 'cloud' of type http. Fill in client id and client secret."
    )


@pytest.mark.parametrize("fields", [{"login": "hidden-value"}, {"password": "hidden-value"}])
@pytest.mark.parametrize("empty", [{}, {"login": "", "password": ""}])
def test_half_an_account_in_a_connection_is_an_error(
    in_memory_airflow: InMemoryAirflow, fields: dict[str, str], empty: dict[str, str]
) -> None:
    in_memory_airflow.variables |= {ID: "an-id", SECRET: "a-secret"}
    in_memory_airflow.add_connection("cloud", "polars_cloud", **{**empty, **fields})
    login, password = "login (the client id)", "password (the client secret)"
    there, absent = (login, password) if "login" in fields else (password, login)
    assert refusal(in_memory_airflow, "cloud") == (
        f"There is half a service account for Polars Cloud: {there} of the connection 'cloud' is given, {absent} of "
        "the connection 'cloud' is not. Give both."
    )


@pytest.mark.parametrize("extra", ['["a"]', '"a"', "7", "{", "text"])
def test_an_extra_that_is_no_object_is_refused(in_memory_airflow: InMemoryAirflow, extra: str) -> None:
    in_memory_airflow.add_connection("cloud", "polars_cloud", login="an-id", password="a-secret", extra=extra)
    with pytest.raises(ConfigurationError, match="The extra of the connection 'cloud' is no JSON object"):
        find_account(in_memory_airflow, "cloud")


# ---- Variables and environment


def test_names_of_the_variables_are_arguments_then_settings_then_the_default(
    in_memory_airflow: InMemoryAirflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, (first, second) in enumerate([(ID, SECRET), ("set_id", "set_secret"), ("own_id", "own_secret")]):
        in_memory_airflow.variables |= {first: f"id-{number}", second: f"secret-{number}"}
    assert values(find_account(in_memory_airflow)) == ("id-0", "secret-0")
    monkeypatch.setenv("AIRFLOW__POLARS__CLIENT_ID_VARIABLE", "set_id")
    monkeypatch.setenv("AIRFLOW__POLARS__CLIENT_SECRET_VARIABLE", "set_secret")
    assert values(find_account(in_memory_airflow)) == ("id-1", "secret-1")
    account = find_account(in_memory_airflow, client_id_variable="own_id", client_secret_variable="own_secret")
    assert values(account) == ("id-2", "secret-2")
    assert account.source == "Variables own_id and own_secret"


@pytest.mark.parametrize("missing", [ID, SECRET])
def test_half_an_account_in_variables_is_not_completed_from_elsewhere(
    in_memory_airflow: InMemoryAirflow, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    (there,) = {ID, SECRET} - {missing}
    in_memory_airflow.variables[there] = "hidden-value"
    for name in (ID, SECRET):
        monkeypatch.setenv(name, "another-account")
    assert refusal(in_memory_airflow) == (
        f"There is half a service account for Polars Cloud: Variable {there} is given, Variable {missing} is not. Give "
        "both."
    )


@pytest.mark.parametrize("blank", ["", " ", "\n", "\t \r\n"])
@pytest.mark.parametrize("name", [ID, SECRET])
@pytest.mark.parametrize("where", ["Variable", "environment variable"])
def test_an_empty_value_is_an_error(
    in_memory_airflow: InMemoryAirflow, monkeypatch: pytest.MonkeyPatch, name: str, where: str, blank: str
) -> None:
    given = {ID: "hidden-value", SECRET: "hidden-value", name: blank}
    if where == "Variable":
        in_memory_airflow.variables |= given
    else:
        for key, value in given.items():
            monkeypatch.setenv(key, value)
    assert refusal(in_memory_airflow) == (
        f"The service account for Polars Cloud has an empty value: {where} {name}. Write the value there."
    )


@pytest.mark.parametrize("missing", [ID, SECRET])
def test_half_an_account_in_the_environment_is_an_error(
    in_memory_airflow: InMemoryAirflow, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    (there,) = {ID, SECRET} - {missing}
    monkeypatch.setenv(there, "hidden-value")
    assert refusal(in_memory_airflow) == (
        f"There is half a service account for Polars Cloud: environment variable {there} is given, environment "
        f"variable {missing} is not. Give both."
    )


def test_white_space_around_values_does_not_count(
    in_memory_airflow: InMemoryAirflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As files and pipes leave it behind."""
    in_memory_airflow.variables |= {ID: " an-id\n", SECRET: "a secret with blanks\r\n"}
    assert values(find_account(in_memory_airflow)) == ("an-id", "a secret with blanks")
    in_memory_airflow.add_connection("cloud", "polars_cloud", login="an-id ", password="\ta-secret\n")
    assert values(find_account(in_memory_airflow, "cloud")) == ("an-id", "a-secret")


@pytest.mark.parametrize("denied", ["variables", "connections"])
def test_what_airflow_denies_is_told_and_not_gone_around(
    in_memory_airflow: InMemoryAirflow, monkeypatch: pytest.MonkeyPatch, denied: str
) -> None:
    """A task of one team must not take the account of another."""
    for name in (ID, SECRET):
        monkeypatch.setenv(name, "another-account")

    def deny(*_: Any) -> httpx.Response:
        return httpx.Response(403, json={"detail": {"reason": "access_denied", "message": "not of your team"}})

    monkeypatch.setattr(type(in_memory_airflow), "routes", [Route("GET", re.compile(rf"{denied}/.*"), deny), *ROUTES])
    conn_id = "cloud" if denied == "connections" else None
    with pytest.raises(ConfigurationError) as caught:
        find_account(in_memory_airflow, conn_id)
    which = "conn_id='cloud'" if conn_id else f"Variable {ID}"
    assert str(caught.value).startswith(f"{which} may not be read here: Access denied")


# ---- secrets stay secret


def masked(text: str) -> bool:
    """Say whether Airflow's logs hide a text."""
    return redact(f"before {text} after") == "before *** after"


def test_all_that_is_resolved_is_masked_in_logs(
    in_memory_airflow: InMemoryAirflow, safe: dict[str, str | bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client id too."""
    in_memory_airflow.add_connection("full", "polars_cloud", login="mask-login", password="mask-password")
    safe |= {"a": '{"client_id": "mask-json-id", "client_secret": "mask-json-secret"}', "b": "mask-b", "c": "mask-c"}
    connect_to_safe(in_memory_airflow, client_secret_id="a")
    find_account(in_memory_airflow, "full")
    find_account(in_memory_airflow, "cloud")
    connect_to_safe(in_memory_airflow, client_secret_id="b", client_id_secret_id="c")
    find_account(in_memory_airflow, "cloud")
    in_memory_airflow.variables |= {"id": "mask-variable-id", "secret": "mask-variable-secret"}
    find_account(in_memory_airflow, client_id_variable="id", client_secret_variable="secret")
    monkeypatch.setenv(ID, "mask-environment-id")
    with pytest.raises(CredentialsError, match="half a service account"):
        find_account(in_memory_airflow)
    monkeypatch.setenv(SECRET, "mask-environment-secret")
    find_account(in_memory_airflow)
    shown = ["mask-login", "mask-password", "mask-json-id", "mask-json-secret", "mask-b", "mask-c"]
    shown += ["mask-variable-id", "mask-variable-secret", "mask-environment-id", "mask-environment-secret"]
    assert [text for text in shown if not masked(text)] == []
    assert not masked("mask-nothing")


def test_an_account_shows_neither_half(in_memory_airflow: InMemoryAirflow) -> None:
    in_memory_airflow.add_connection("cloud", "polars_cloud", login="an-id", password="a-secret")
    account = find_account(in_memory_airflow, "cloud")
    assert repr(account) == str(account) == """ServiceAccount(source="the connection 'cloud'")"""


def test_an_account_cannot_become_an_xcom(in_memory_airflow: InMemoryAirflow) -> None:
    """XComs are stored and shown in clear."""
    from airflow.sdk import task

    in_memory_airflow.add_connection("cloud", "polars_cloud", login="an-id", password="a-secret")

    @task(multiple_outputs=False)
    def leak() -> Any:
        return {"account": PolarsCloudHook("cloud").service_account()}

    outcome = in_memory_airflow.run_task(leak())
    assert failure(outcome).startswith("TypeError: A service account is a secret")
    assert "a-secret" not in json.dumps([request.body for request in outcome.requests], default=str)


def test_the_source_is_logged_and_no_value(
    in_memory_airflow: InMemoryAirflow, capfd: pytest.CaptureFixture[str]
) -> None:
    in_memory_airflow.variables |= {ID: "an-id-of-log", SECRET: "a-secret-of-log"}
    find_account(in_memory_airflow)
    output = "".join(capfd.readouterr())
    assert f"Polars Cloud service account from {VARIABLES}" in output
    assert "of-log" not in output


# ---- the example DAGs

PARSE = """
import socket

def refuse(*_, **__):
    raise AssertionError("a DAG file asks the network while it is parsed")

socket.socket.connect = socket.getaddrinfo = refuse
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(dag_folder={file!r})
assert not bag.import_errors, bag.import_errors
print(*sorted(bag.dags), sep="\\n")
"""


def test_the_examples_are_parsed_without_network_and_connections(run_python: Callable[..., str]) -> None:
    """Nothing is looked for before a task runs."""
    file = REPOSITORY / "dags" / "example_credentials.py"
    ways = ("connection", "environment", "secrets_backend", "variables", "vault")
    output = run_python(PARSE.format(file=str(file)))
    assert output.splitlines()[-len(ways) :] == [f"example_credentials_{way}" for way in ways]
