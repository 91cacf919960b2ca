"""Stores of secrets outside of Airflow: read where a secret is used, and never copied into Airflow."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Protocol

from airflow_provider_polars.clients.deadlines import within
from airflow_provider_polars.exceptions import (
    ConfigurationError,
    CredentialsError,
    CredentialsUnavailableError,
    PolarsProviderError,
    nearest,
)

SECONDS = 8.0
"""Within which a vault gives a secret, or counts as unreachable."""


class Vault(Protocol):
    """A store of secrets."""

    title: str
    """Its name, for people."""

    def read(self, name: str, where: str) -> str | bytes:
        """Return the secret of this name.

        :param where: the field that names it, for messages.
        :raises CredentialsError: if there is none, or it may not be read.
        :raises CredentialsUnavailableError: if the vault does not answer.
        """


class AwsSecretsManager:
    """AWS Secrets Manager.

    :param conn_id: connection of type ``aws``; None for the AWS credentials of the worker itself.
    """

    title = "AWS Secrets Manager"

    def __init__(self, conn_id: str | None) -> None:
        self.conn_id = conn_id

    def read(self, name: str, where: str) -> str | bytes:
        """See :meth:`Vault.read`."""
        secret = f"the secret {name!r} ({where})"
        try:
            found = within(SECONDS, functools.partial(self._fetch, name, secret))
        except TimeoutError:
            found = self._unreachable(secret, f"no answer within {SECONDS:g} seconds")
        if isinstance(found, PolarsProviderError):
            raise found
        return found

    def _fetch(self, name: str, secret: str) -> str | bytes | PolarsProviderError:
        """Return the secret, or the error to raise: what boto3 raises may hold signed requests, and ends here."""
        try:
            from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook
            from airflow.sdk.exceptions import AirflowNotFoundException
            from botocore.config import Config
            from botocore.exceptions import ClientError, ConnectionError, HTTPClientError
        except ImportError as error:
            return CredentialsError(
                f"To read {secret}, AWS Secrets Manager needs the amazon provider, which is not installed ({error}). "
                "Install airflow-provider-polars[amazon] where this runs."
            )
        try:
            if self.conn_id is not None:
                AwsGenericHook.get_connection(self.conn_id)  # without it, the amazon provider takes what is around
            hook: AwsGenericHook[Any] = AwsGenericHook(aws_conn_id=self.conn_id, client_type="secretsmanager")
            limits = Config(connect_timeout=3, read_timeout=3, retries={"mode": "standard", "total_max_attempts": 2})
            client = hook.get_client_type(region_name=hook.region_name, config=hook.config.merge(limits))
            answer = client.get_secret_value(SecretId=name)
            found: str | bytes = answer["SecretString"] if "SecretString" in answer else answer["SecretBinary"]
            return found
        except AirflowNotFoundException:
            return CredentialsError(
                f"vault_conn_id={self.conn_id!r} names no connection; it is needed to read {secret}. Create it, or "
                "correct the id."
            )
        except ClientError as error:
            return self._refused(secret, error.response)
        except (ConnectionError, HTTPClientError) as error:
            return self._unreachable(secret, f"{type(error).__name__}: {error}".rstrip("."))
        except Exception as error:
            return CredentialsError(
                f"AWS Secrets Manager cannot be asked for {secret} by {self._identity}: {str(error).rstrip('.')}. "
                "Correct credentials, region and endpoint there."
            )

    def _refused(self, secret: str, response: dict[str, Any]) -> PolarsProviderError:
        code = str(response.get("Error", {}).get("Code"))
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if status >= 500 or status == 429 or "Throttl" in code or code in ("InternalServiceError", "LimitExceeded"):
            return self._unreachable(secret, code)
        if code in ("ResourceNotFoundException", "InvalidRequestException", "ValidationException"):
            return CredentialsError(
                f"AWS Secrets Manager has no {secret.removeprefix('the ')}, as seen by {self._identity} ({code}). "
                "Create it there, or correct name and region. One that is marked for deletion counts as absent."
            )
        return CredentialsError(
            f"AWS Secrets Manager does not let {self._identity} read {secret} ({code}). Allow that identity "
            "secretsmanager:GetSecretValue, and kms:Decrypt where the secret has a key of its own."
        )

    def _unreachable(self, secret: str, reason: str) -> CredentialsUnavailableError:
        return CredentialsUnavailableError(
            f"AWS Secrets Manager cannot be reached by {self._identity} for {secret}: {reason}. Try again later. If it "
            "stays so, check region, endpoint and network."
        )

    @property
    def _identity(self) -> str:
        return f"the connection {self.conn_id!r}" if self.conn_id else "the worker's own AWS identity"


VAULTS: dict[str, Callable[[str | None], Vault]] = {"aws": AwsSecretsManager}


def open_vault(kind: str, conn_id: str | None) -> Vault:
    """Return the vault that a connection's ``vault`` and ``vault_conn_id`` name.

    :raises ConfigurationError: if no such kind is known.
    """
    if kind not in VAULTS:
        raise ConfigurationError(
            f"There is no vault {kind!r}{nearest(kind, VAULTS)} Known: {', '.join(VAULTS)}. Correct the field vault."
        )
    return VAULTS[kind](conn_id)
