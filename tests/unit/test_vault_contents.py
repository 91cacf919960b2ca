"""What a vault may hold, and what not, whichever vault it is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_polars.exceptions import ConfigurationError
from tests.unit.service_accounts import connect_to_safe, find_account, refusal, values

if TYPE_CHECKING:
    from tests.harness.in_memory import InMemoryAirflow

pytestmark = pytest.mark.usefixtures("masks_forgotten")


@pytest.mark.parametrize("text", ["a-secret", b"a-secret", " a-secret\n", '"a-secret'])
@pytest.mark.parametrize("client_id", ["in the login", "in the vault"])
def test_a_vault_may_hold_plain_values(
    in_memory_airflow: InMemoryAirflow, safe: dict[str, str | bytes], text: str | bytes, client_id: str
) -> None:
    """The client id is in a secret of its own, or is the login."""
    safe |= {"polars/secret": text, "polars/id": "an-id\n"}
    if client_id == "in the login":
        connect_to_safe(in_memory_airflow, login="an-id", client_secret_id="polars/secret")
    else:
        connect_to_safe(in_memory_airflow, client_secret_id="polars/secret", client_id_secret_id="polars/id")
    account = find_account(in_memory_airflow, "cloud")
    plain = text.decode() if isinstance(text, bytes) else text
    assert values(account) == ("an-id", plain.strip())
    assert account.source == "the secret 'polars/secret' of Safe (client_secret_id of the connection 'cloud')"


@pytest.mark.parametrize(
    ("secret", "extra", "account"),
    [
        ({"client_id": "an-id", "client_secret": "a-secret"}, {}, ("an-id", "a-secret")),
        ({"client_id": " an-id ", "client_secret": "a-secret\n", "more": [1]}, {}, ("an-id", "a-secret")),
        ({"client_id": "an-id", "client_secret": "a-secret"}, {"login": "other"}, ("an-id", "a-secret")),
        ({"client_secret": "a-secret"}, {"login": "of-login"}, ("of-login", "a-secret")),
        ({"client_secret": "a-secret"}, {"client_id_secret_id": "polars/id"}, ("of-vault", "a-secret")),
        ({"client_secret": 'quoted "\\ secret'}, {"login": "of-login"}, ("of-login", 'quoted "\\ secret')),
    ],
)
def test_a_vault_may_hold_a_json_object(
    in_memory_airflow: InMemoryAirflow,
    safe: dict[str, str | bytes],
    secret: dict[str, Any],
    extra: dict[str, str],
    account: tuple[str, str],
) -> None:
    """With both values; else the client id is where it is for a plain secret."""
    safe |= {"polars/prod": f" {json.dumps(secret)}\n", "polars/id": "of-vault"}
    connect_to_safe(in_memory_airflow, client_secret_id="polars/prod", **extra)
    assert values(find_account(in_memory_airflow, "cloud")) == account


LABEL = "the secret 'polars/prod' of Safe (client_secret_id of the connection 'cloud')"
NO_LOGIN = "login (the client id) of the connection 'cloud' is not. Give both."


@pytest.mark.parametrize(
    ("secret", "message"),
    [
        ('{"client_id": "hidden-value"', f"What is in {LABEL} begins as a JSON object and is none."),
        ("{" * 100_000, f"What is in {LABEL} begins as a JSON object and is none."),
        ('{"client_id": "hidden-value"}', f"The JSON object in {LABEL} has no client_secret that is text."),
        ('{"hidden-value": "hidden-value"}', f"The JSON object in {LABEL} has no client_secret that is text."),
        ('{"client_id": "hidden-value", "client_secret": 5}', "has no client_secret that is text."),
        ('{"client_secret": "hidden-value"}', f"client_secret in {LABEL} is given, {NO_LOGIN}"),
        ('{"client_id": 5, "client_secret": "hidden-value"}', f"client_secret in {LABEL} is given, {NO_LOGIN}"),
        ('{"client_id": "hidden-value", "client_secret": " "}', f"has an empty value: client_secret in {LABEL}."),
        ('{"client_id": "", "client_secret": "hidden-value"}', f"has an empty value: client_id in {LABEL}."),
        ("hidden-value", f"{LABEL} is given, {NO_LOGIN}"),
        ("  ", f"{LABEL} is given, {NO_LOGIN}"),
        (b"hidden-value\xff\xfe", f"What is in {LABEL} is not text."),
    ],
)
def test_a_secret_that_holds_no_account_is_explained_and_not_shown(
    in_memory_airflow: InMemoryAirflow, safe: dict[str, str | bytes], secret: str | bytes, message: str
) -> None:
    safe["polars/prod"] = secret
    connect_to_safe(in_memory_airflow, client_secret_id="polars/prod")
    assert message in refusal(in_memory_airflow, "cloud")


def test_an_empty_secret_is_told_with_its_name(
    in_memory_airflow: InMemoryAirflow, safe: dict[str, str | bytes]
) -> None:
    safe["polars/prod"] = "\n"
    connect_to_safe(in_memory_airflow, login="an-id", client_secret_id="polars/prod")
    assert f"has an empty value: {LABEL}. Write the value there." in refusal(in_memory_airflow, "cloud")


@pytest.mark.parametrize("fields", [{"vault": "safe"}, {"vault_conn_id": "aws"}, {"client_id_secret_id": "polars/id"}])
def test_fields_of_a_vault_without_the_name_of_a_secret_are_not_ignored(
    in_memory_airflow: InMemoryAirflow, fields: dict[str, str]
) -> None:
    in_memory_airflow.variables |= {"POLARS_CLOUD_CLIENT_ID": "an-id", "POLARS_CLOUD_CLIENT_SECRET": "a-secret"}
    in_memory_airflow.add_connection("cloud", "polars_cloud", extra={**fields, "client_secret_id": " "})
    assert f"{next(iter(fields))} of the connection 'cloud' point to a vault, and client_secret_id" in refusal(
        in_memory_airflow, "cloud"
    )


def test_a_vault_that_is_not_known_and_a_field_that_is_no_text_are_named(
    in_memory_airflow: InMemoryAirflow, safe: dict[str, str | bytes]
) -> None:
    in_memory_airflow.add_connection("cloud", "polars_cloud", extra={"client_secret_id": "x", "vault": "saef"})
    with pytest.raises(ConfigurationError, match=r"There is no vault 'saef'; did you mean 'safe'\? Known: aws, safe"):
        find_account(in_memory_airflow, "cloud")
    in_memory_airflow.add_connection("cloud", "polars_cloud", extra={"client_secret_id": ["x"]})
    with pytest.raises(ConfigurationError, match="client_secret_id of the connection 'cloud' must be text, got list"):
        find_account(in_memory_airflow, "cloud")
