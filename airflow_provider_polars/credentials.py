"""The one place where the service account for Polars Cloud is resolved. It is called in a running task."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any, NoReturn

from airflow.sdk import Variable
from airflow.sdk.log import mask_secret

from airflow_provider_polars.exceptions import ConfigurationError, CredentialsError
from airflow_provider_polars.vaults import Vault, open_vault

CLIENT_ID = "POLARS_CLOUD_CLIENT_ID"
CLIENT_SECRET = "POLARS_CLOUD_CLIENT_SECRET"
_VAULT_FIELDS = ("client_secret_id", "client_id_secret_id", "vault", "vault_conn_id")

# A traceback may be shown with the variables of its frames. What raises here holds secrets in objects that hide them.


@dataclasses.dataclass(frozen=True)
class ServiceAccount:
    """A service account of Polars Cloud. Both values are masked in Airflow's logs.

    :param source: where it comes from, as words.
    """

    client_id: str = dataclasses.field(repr=False)
    client_secret: str = dataclasses.field(repr=False)
    source: str

    def serialize(self) -> NoReturn:
        """Refuse to become an XCom, which Airflow keeps and shows in clear."""
        raise TypeError("A service account is a secret: it cannot be returned from a task or kept as an XCom.")


@dataclasses.dataclass(frozen=True)
class Given:
    """The connection that was asked for by its id, as far as credentials go."""

    conn_id: str
    conn_type: str | None
    login: str | None = dataclasses.field(repr=False)
    password: str | None = dataclasses.field(repr=False)
    extra: Mapping[str, Any] = dataclasses.field(repr=False)

    def __str__(self) -> str:
        return f"the connection {self.conn_id!r}"

    def text(self, field: str) -> str | None:
        """Return a field of the extra, None for one that is null or empty, as forms save it.

        :raises ConfigurationError: if it is something else than text.
        """
        value = self.extra.get(field)
        if value is not None and not isinstance(value, str):
            raise ConfigurationError(f"{field} of {self} must be text, got {type(value).__name__}.")
        return (value or "").strip() or None


@dataclasses.dataclass(frozen=True)
class _Value:
    """One half of a service account as it was found; ``text`` is None where nothing is."""

    label: str
    text: str | None = dataclasses.field(repr=False)


def resolve(given: Given | None, *, client_id_variable: str, client_secret_variable: str) -> ServiceAccount:
    """Return the service account of the first of these that has one: connection, vault, Variables, environment.

    White space around a value does not belong to it.

    :raises CredentialsError: if there is none, half of one, an empty value, or one that may not be read.
    :raises CredentialsUnavailableError: if a vault does not answer.
    :raises ConfigurationError: if a field of the connection is wrong.
    """
    account = (
        (_from_connection(given) if given else None)
        or _from_variables(client_id_variable, client_secret_variable)
        or _from_environment()
    )
    if account is None:
        looked_at = [
            f"Variables {client_id_variable} and {client_secret_variable} (secrets backend, AIRFLOW_VAR_..., Airflow)",
            f"environment variables {CLIENT_ID} and {CLIENT_SECRET}",
        ]
        if given:
            looked_at.insert(0, f"{given} (login and password, or client_secret_id)")
        raise CredentialsError(
            f"There is no service account for Polars Cloud. Looked at: {'; '.join(looked_at)}. Put client id and "
            "client secret into one of these. A secrets backend that fails counts as one without them; Airflow logs it."
        )
    return account


def _from_connection(given: Given) -> ServiceAccount | None:
    login = _Value(f"login (the client id) of {given}", given.login or None)
    password = _Value(f"password (the client secret) of {given}", given.password or None)
    if password.text is None and given.text("client_secret_id"):
        return _from_vault(given, login)
    account = _pair(login, password, str(given))
    if account is None and (named := [field for field in _VAULT_FIELDS if given.text(field)]):
        raise CredentialsError(
            f"{', '.join(named)} of {given} point to a vault, and client_secret_id, the name of the secret in it, is "
            "empty. Fill it in, or empty the others too."
        )
    if account is None and given.conn_type != "polars_cloud":
        raise CredentialsError(
            f"There is no login and no password in {given} of type {given.conn_type}. Fill in client id and client "
            "secret."
        )
    return account


def _from_vault(given: Given, login: _Value) -> ServiceAccount | None:
    vault = open_vault(given.text("vault") or "aws", given.text("vault_conn_id"))
    client_id, client_secret = login, _read(vault, given, "client_secret_id")
    source = client_secret.label
    if halves := _halves(client_secret):
        client_id, client_secret = halves.get("client_id", login), halves["client_secret"]
    if client_id is login and given.text("client_id_secret_id"):
        client_id = _read(vault, given, "client_id_secret_id")
    return _pair(client_id, client_secret, source)


def _read(vault: Vault, given: Given, field: str) -> _Value:
    """Return the secret that a field of the connection names."""
    name, where = given.text(field) or "", f"{field} of {given}"
    secret = _Value(f"the secret {name!r} of {vault.title} ({where})", _as_text(vault.read(name, where)))
    if secret.text is None:
        raise CredentialsError(
            f"What is in {secret.label} is not text. Store the client secret there as text, or a JSON object with "
            "client_id and client_secret."
        )
    return secret


def _as_text(value: str | bytes) -> str | None:
    """Return a secret without the white space around it, masked; None for bytes that are no text."""
    try:
        text = (value if isinstance(value, str) else value.decode()).strip()
    except UnicodeDecodeError:
        return None
    mask_secret(text)
    return text


def _halves(secret: _Value) -> dict[str, _Value]:
    """Return client id and client secret of a secret that is a JSON object, nothing for one that is plain text."""
    if not secret.text or not secret.text.startswith("{"):
        return {}
    halves = _json_halves(secret)
    if halves is None:
        raise CredentialsError(
            f"What is in {secret.label} begins as a JSON object and is none. Store valid JSON with client_id and "
            "client_secret, or the client secret alone."
        )
    if "client_secret" not in halves:
        raise CredentialsError(
            f"The JSON object in {secret.label} has no client_secret that is text. Store client_id and client_secret."
        )
    return halves


def _json_halves(secret: _Value) -> dict[str, _Value] | None:
    try:
        found = json.loads(secret.text or "")
    except (ValueError, RecursionError):
        return None
    return {
        key: _Value(f"{key} in {secret.label}", found[key])
        for key in ("client_id", "client_secret")
        if isinstance(found.get(key), str)
    }


def _from_variables(client_id: str, client_secret: str) -> ServiceAccount | None:
    first, second = (_Value(f"Variable {name}", _variable(name)) for name in (client_id, client_secret))
    return _pair(first, second, f"Variables {client_id} and {client_secret}")


def _variable(name: str) -> str | None:
    try:
        value: str | None = Variable.get(name, default=None)
    except PermissionError as error:
        raise CredentialsError(f"Variable {name} may not be read here: {error}") from error
    return value


def _from_environment() -> ServiceAccount | None:
    names = (CLIENT_ID, CLIENT_SECRET)
    first, second = (_Value(f"environment variable {name}", os.environ.get(name)) for name in names)
    return _pair(first, second, f"environment variables {' and '.join(names)}")


def _pair(client_id: _Value, client_secret: _Value, source: str) -> ServiceAccount | None:
    """Return the account that two values make, masked; None if neither is there.

    :raises CredentialsError: if one is absent or empty.
    """
    if client_id.text is None and client_secret.text is None:
        return None
    for value in (client_id, client_secret):
        mask_secret((value.text or "").strip())
    for value, other in ((client_id, client_secret), (client_secret, client_id)):
        if value.text is None:
            raise CredentialsError(
                f"There is half a service account for Polars Cloud: {other.label} is given, {value.label} is not. Give "
                "both."
            )
        if not value.text.strip():
            raise CredentialsError(
                f"The service account for Polars Cloud has an empty value: {value.label}. Write the value there."
            )
    return ServiceAccount((client_id.text or "").strip(), (client_secret.text or "").strip(), source)
