"""Secrets in AWS Secrets Manager (moto, on loopback), read by a task, and as Airflow's secrets backend."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_polars import vaults
from airflow_provider_polars.exceptions import CredentialsError, CredentialsUnavailableError, PolarsProviderError
from airflow_provider_polars.testing import isolated_environment
from airflow_provider_polars.testing.environment import set_environment
from tests.harness.identity import answer
from tests.harness.secrets_manager import REGION, SecretsManager, secrets_manager
from tests.unit.service_accounts import everything_in, find_account

if TYPE_CHECKING:
    from tests.harness.in_memory import InMemoryAirflow

ID, SECRET = "id-in-the-vault", "secret-in-the-vault"
WHERE = "(client_secret_id of the connection 'cloud')"

pytestmark = pytest.mark.usefixtures("masks_forgotten")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SecretsManager]:
    """Start the server, with some secrets."""
    with secrets_manager(tmp_path_factory.mktemp("aws")) as running:
        client = running.client()
        client.create_secret(Name="polars/json", SecretString=json.dumps({"client_id": ID, "client_secret": SECRET}))
        client.create_secret(Name="polars/secret", SecretString=f"{SECRET}\n")
        client.create_secret(Name="polars/id", SecretString=ID)
        client.create_secret(Name="polars/bytes", SecretBinary=json.dumps({"client_secret": SECRET}).encode())
        client.create_secret(Name="polars/binary", SecretBinary=f"{SECRET}".encode() + b"\xff\x00")
        client.create_secret(Name="polars/deleted", SecretString=SECRET)
        client.delete_secret(SecretId="polars/deleted")
        yield running


@pytest.fixture
def airflow(
    in_memory_airflow: InMemoryAirflow, service: SecretsManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> InMemoryAirflow:
    """Return an Airflow with connections to the server; the worker itself has no AWS identity."""
    set_environment(isolated_environment(tmp_path), monkeypatch)
    monkeypatch.setattr(vaults, "SECONDS", 40.0)  # a busy machine takes as long to import boto3
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name)
    for identity in service.keys:
        in_memory_airflow.add_connection(identity, **service.connection(identity))
    return in_memory_airflow


def connect(airflow: InMemoryAirflow, secret_id: str, vault_conn_id: str | None = "reader", **extra: Any) -> None:
    """Make the connection ``cloud`` name a secret in the vault."""
    fields = {"client_secret_id": secret_id, "vault_conn_id": vault_conn_id, **extra}
    airflow.add_connection("cloud", "polars_cloud", login=fields.pop("login", None), extra=fields)


def refusal(airflow: InMemoryAirflow, seconds: float = 60.0) -> PolarsProviderError:
    """Return the error of a search, which came in time and shows no secret of anyone."""
    begin = time.monotonic()
    with pytest.raises((CredentialsError, CredentialsUnavailableError)) as caught:
        find_account(airflow, "cloud")
    assert time.monotonic() - begin < seconds
    shown = everything_in(caught.value)
    keys = [item["password"] for item in airflow.connections.values() if item.get("password")]
    assert [text for text in (SECRET, *keys) if text in shown] == []
    return caught.value


# ---- read by the task


@pytest.mark.parametrize("secret_id", ["name", "ARN"])
def test_a_json_object_is_read_by_name_or_arn(
    airflow: InMemoryAirflow, service: SecretsManager, secret_id: str
) -> None:
    """Through the connection that the vault is read with; Airflow keeps no copy."""
    arn = service.client().describe_secret(SecretId="polars/json")["ARN"]
    connect(airflow, arn if secret_id == "ARN" else "polars/json", vault="aws")
    account = find_account(airflow, "cloud")
    assert (account.client_id, account.client_secret) == (ID, SECRET)
    assert account.source.startswith("the secret '")
    assert account.source.endswith(f"polars/json' of AWS Secrets Manager {WHERE}") or secret_id == "ARN"
    stored = json.dumps([request.body for request in airflow.requests], default=str) + json.dumps(airflow.variables)
    assert SECRET not in stored
    assert {request.method for request in airflow.requests if "variables" in request.path} == set()


@pytest.mark.parametrize(
    ("secret_id", "fields"),
    [
        ("polars/secret", {"login": ID}),
        ("polars/secret", {"client_id_secret_id": "polars/id"}),
        ("polars/bytes", {"login": ID}),
        ("polars/bytes", {"client_id_secret_id": "polars/id"}),
    ],
)
def test_two_plain_secrets_or_text_in_bytes_do_too(
    airflow: InMemoryAirflow, secret_id: str, fields: dict[str, str]
) -> None:
    connect(airflow, secret_id, **fields)
    account = find_account(airflow, "cloud")
    assert (account.client_id, account.client_secret) == (ID, SECRET)


def test_without_a_connection_the_worker_reads_as_itself(
    airflow: InMemoryAirflow, service: SecretsManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in service.environment("reader").items():
        monkeypatch.setenv(name, value)
    connect(airflow, "polars/json", vault_conn_id=None)
    assert find_account(airflow, "cloud").client_secret == SECRET


def test_settings_of_the_aws_connection_for_boto3_are_kept(
    airflow: InMemoryAirflow, service: SecretsManager, mocker: Any
) -> None:
    """Only what bounds the time is ours."""
    import boto3.session

    made = mocker.spy(boto3.session.Session, "client")
    kwargs = {"user_agent_appid": "payroll", "connect_timeout": 100}
    airflow.add_connection("reader", **service.connection("reader", config_kwargs=kwargs))
    connect(airflow, "polars/json")
    find_account(airflow, "cloud")
    config = made.call_args.kwargs["config"]
    assert config.user_agent_appid == "payroll"
    assert (config.connect_timeout, config.read_timeout, config.retries["total_max_attempts"]) == (3, 3, 2)


# ---- five ways to fail, five messages


@pytest.mark.parametrize("secret_id", ["polars/absent", "polars/deleted"])
def test_a_secret_that_is_missing(airflow: InMemoryAirflow, secret_id: str) -> None:
    connect(airflow, secret_id)
    error = refusal(airflow)
    assert error.permanent
    assert str(error).startswith(
        f"AWS Secrets Manager has no secret '{secret_id}' {WHERE}, as seen by the connection 'reader' ("
    )
    assert str(error).endswith(
        "Create it there, or correct name and region. One that is marked for deletion counts as absent."
    )


def test_a_secret_that_may_not_be_read(airflow: InMemoryAirflow) -> None:
    connect(airflow, "polars/json", vault_conn_id="stranger")
    error = refusal(airflow)
    assert error.permanent
    assert str(error).startswith(
        f"AWS Secrets Manager does not let the connection 'stranger' read the secret 'polars/json' {WHERE} ("
    )
    assert "secretsmanager:GetSecretValue" in str(error)


@pytest.mark.parametrize("field", ["login", "password"])
def test_aws_keys_that_are_wrong(airflow: InMemoryAirflow, field: str) -> None:
    airflow.connections["reader"][field] = "AKIAWRONGWRONG"
    connect(airflow, "polars/json")
    assert str(refusal(airflow)).startswith("AWS Secrets Manager does not let the connection 'reader' read the secret")


def closed_port() -> str:
    """Return an address at which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{probe.getsockname()[1]}"


def test_a_vault_that_is_not_there(airflow: InMemoryAirflow, service: SecretsManager) -> None:
    """A later try may succeed."""
    airflow.add_connection("reader", **service.connection("reader", endpoint_url=closed_port()))
    connect(airflow, "polars/json")
    error = refusal(airflow)
    assert isinstance(error, CredentialsUnavailableError)
    assert not error.permanent
    assert str(error).startswith("AWS Secrets Manager cannot be reached by the connection 'reader' for the secret 'pol")
    assert "EndpointConnectionError" in str(error)


def test_a_vault_that_is_silent_is_left_after_seconds(
    airflow: InMemoryAirflow, service: SecretsManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever boto3 is waiting for."""
    monkeypatch.setattr(vaults, "SECONDS", 1.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        airflow.add_connection("reader", **service.connection("reader", endpoint_url=address))
        connect(airflow, "polars/json")
        assert ": no answer within 1.5 seconds. Try again later." in str(refusal(airflow, seconds=20))


@pytest.mark.parametrize(
    ("status", "code", "kind", "words"),
    [
        (400, "AccessDeniedException", CredentialsError, "does not let"),
        (400, "UnrecognizedClientException", CredentialsError, "does not let"),
        (400, "ExpiredTokenException", CredentialsError, "does not let"),
        (400, "InvalidSignatureException", CredentialsError, "does not let"),
        (400, "DecryptionFailure", CredentialsError, "does not let"),
        (400, "ValidationException", CredentialsError, "has no secret"),
        (400, "ThrottlingException", CredentialsUnavailableError, "cannot be reached"),
        (500, "InternalServiceError", CredentialsUnavailableError, "cannot be reached"),
        (503, "ServiceUnavailable", CredentialsUnavailableError, "cannot be reached"),
        (429, "TooManyRequestsException", CredentialsUnavailableError, "cannot be reached"),
    ],
)
def test_what_aws_documents_is_understood(
    airflow: InMemoryAirflow,
    service: SecretsManager,
    status: int,
    code: str,
    kind: type[PolarsProviderError],
    words: str,
) -> None:
    """A stand-in answers as AWS does, with text that must not be repeated: real ones hold signed requests."""
    with stand_in(answer(status, {"__type": code, "Message": f"canonical request: {SECRET}"})) as address:
        airflow.add_connection("reader", **service.connection("reader", endpoint_url=address))
        connect(airflow, "polars/json")
        error = refusal(airflow)
    assert type(error) is kind
    assert words in str(error)
    assert code in str(error)


class stand_in:
    """A plain HTTP server on loopback that answers every POST alike."""

    def __init__(self, reply: Callable[[BaseHTTPRequestHandler], None]) -> None:
        def post(handler: BaseHTTPRequestHandler) -> None:
            handler.rfile.read(int(handler.headers["content-length"]))
            reply(handler)

        quiet = {"do_POST": post, "log_message": lambda *_: None}
        self.server = HTTPServer(("127.0.0.1", 0), type("Handler", (BaseHTTPRequestHandler,), quiet))

    def __enter__(self) -> str:
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_port}"

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def test_a_binary_secret_is_explained(airflow: InMemoryAirflow) -> None:
    connect(airflow, "polars/binary", login=ID)
    assert str(refusal(airflow)) == (
        f"What is in the secret 'polars/binary' of AWS Secrets Manager {WHERE} is not text. Store the client secret "
        "there as text, or a JSON object with client_id and client_secret."
    )


def test_a_connection_of_the_vault_that_is_absent_is_named(airflow: InMemoryAirflow) -> None:
    """The amazon provider would go on with whatever the worker has."""
    connect(airflow, "polars/json", vault_conn_id="absent")
    assert str(refusal(airflow)) == (
        "vault_conn_id='absent' names no connection; it is needed to read the secret 'polars/json' "
        f"{WHERE}. Create it, or correct the id."
    )


@pytest.mark.parametrize("missing", ["keys", "region", "a valid endpoint"])
def test_what_the_aws_identity_lacks_is_told(airflow: InMemoryAirflow, service: SecretsManager, missing: str) -> None:
    given = service.connection("reader")
    if missing == "keys":
        given["login"] = given["password"] = None
    elif missing == "region":
        del given["extra"]["region_name"]
    else:
        given["extra"]["endpoint_url"] = "no address"
    airflow.add_connection("reader", **given)
    connect(airflow, "polars/json")
    message = str(refusal(airflow))
    assert message.startswith(
        f"AWS Secrets Manager cannot be asked for the secret 'polars/json' {WHERE} by the connection"
    )
    assert {"keys": "credentials", "region": "region", "a valid endpoint": "no address"}[missing] in message


def test_a_missing_amazon_provider_is_told_with_what_to_install(
    airflow: InMemoryAirflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "airflow.providers.amazon.aws.hooks.base_aws", None)
    connect(airflow, "polars/json")
    assert "Install airflow-provider-polars[amazon] where this runs." in str(refusal(airflow))


# ---- as Airflow's secrets backend

BACKEND = "airflow.providers.amazon.aws.secrets.secrets_manager.SecretsManagerBackend"


@pytest.fixture
def secrets_backend(
    airflow: InMemoryAirflow, service: SecretsManager, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Any]:
    """Make the server the secrets backend of Airflow; return a client that fills it, emptied afterwards."""
    for name, value in service.environment("reader").items():
        monkeypatch.setenv(name, value)
    kwargs = {"endpoint_url": service.url, "region_name": REGION}
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND", BACKEND)
    monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND_KWARGS", json.dumps(kwargs))
    client = service.client()
    yield client
    for secret in client.list_secrets(Filters=[{"Key": "name", "Values": ["airflow/"]}])["SecretList"]:
        client.delete_secret(SecretId=secret["ARN"], ForceDeleteWithoutRecovery=True)


def test_variables_in_the_secrets_backend_win_over_those_elsewhere(
    airflow: InMemoryAirflow, secrets_backend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then come AIRFLOW_VAR_ and Airflow's own."""
    for kind in ("id", "secret"):
        name = f"POLARS_CLOUD_CLIENT_{kind.upper()}"
        secrets_backend.create_secret(Name=f"airflow/variables/{name}", SecretString=f"{kind}-of-backend")
        monkeypatch.setenv(f"AIRFLOW_VAR_{name}", f"{kind}-of-airflow-var")
        airflow.variables[name] = f"{kind}-of-variable"
    account = find_account(airflow)
    assert (account.client_id, account.client_secret) == ("id-of-backend", "secret-of-backend")
    assert account.source == "Variables POLARS_CLOUD_CLIENT_ID and POLARS_CLOUD_CLIENT_SECRET"


def test_a_connection_in_the_secrets_backend_is_one_like_any_other(
    airflow: InMemoryAirflow, secrets_backend: Any
) -> None:
    connection = {"conn_type": "polars_cloud", "login": ID, "password": SECRET, "extra": {"workspace": "prod"}}
    secrets_backend.create_secret(Name="airflow/connections/of_backend", SecretString=json.dumps(connection))
    account = find_account(airflow, "of_backend")
    assert (account.client_id, account.client_secret) == (ID, SECRET)


def test_a_vault_that_a_connection_names_wins_over_variables_in_the_secrets_backend(
    airflow: InMemoryAirflow, secrets_backend: Any
) -> None:
    for kind in ("id", "secret"):
        name = f"airflow/variables/POLARS_CLOUD_CLIENT_{kind.upper()}"
        secrets_backend.create_secret(Name=name, SecretString=f"{kind}-of-backend")
    connect(airflow, "polars/json")
    assert find_account(airflow, "cloud").client_id == ID
