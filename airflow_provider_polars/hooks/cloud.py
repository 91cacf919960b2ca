"""``PolarsCloudHook``: the connection to Polars Cloud, and the service account that it stands for."""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

from airflow.sdk.log import mask_secret

from airflow_provider_polars.backends.polars_client import client_version, polars_version
from airflow_provider_polars.clients.control_plane import ControlPlane
from airflow_provider_polars.clients.deadlines import within
from airflow_provider_polars.clients.tokens import check_service_account
from airflow_provider_polars.compute.cloud import CloudCompute
from airflow_provider_polars.credentials import Given, ServiceAccount, resolve
from airflow_provider_polars.exceptions import ConfigurationError, PolarsProviderError, nearest
from airflow_provider_polars.hooks import settings
from airflow_provider_polars.hooks.connections import find_connection, read_extra, without_id
from airflow_provider_polars.hooks.polars import PolarsHook

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from airflow_provider_polars.backends.base import Backend
    from airflow_provider_polars.backends.managing import ComputeManager

CONNECTION_MODES = ("direct", "proxy")
CONNECTION_TYPES = ("polars_cloud", "http", "https")
TEST_SECONDS = 4.0


class PolarsCloudHook(PolarsHook):
    """Finds the service account for Polars Cloud, and what a connection of type ``polars_cloud`` says besides.

    The account is that of the first of these that has one: the connection ``conn_id``; a vault that it names; two
    Airflow Variables; the environment. It is looked for when a method asks, never by the constructor.

    :param conn_id: connection of type ``polars_cloud``, or ``http`` with login and password; None for none.
    :param client_id_variable: Variable with the client id; default ``[polars] client_id_variable``.
    :param client_secret_variable: Variable with the client secret; default ``[polars] client_secret_variable``.
    """

    default_conn_name = "polars_cloud_default"
    conn_type = "polars_cloud"
    hook_name = "Polars Cloud"

    def __init__(
        self,
        conn_id: str | None = None,
        client_id_variable: str | None = None,
        client_secret_variable: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(conn_id, **kwargs)
        self.client_id_variable = client_id_variable
        self.client_secret_variable = client_secret_variable

    @property
    def workspace(self) -> str | None:
        """Name or id of the workspace; None for the default one of the service account."""
        return self._field("workspace")

    @property
    def organization(self) -> str | None:
        """Name or id of the organization that the workspace belongs to."""
        return self._field("organization")

    @property
    def connection_mode(self) -> str | None:
        """``direct`` or ``proxy``; None for what the client takes by itself.

        :raises ConfigurationError: for any other.
        """
        mode = self._field("connection_mode")
        if mode is not None and mode not in CONNECTION_MODES:
            raise ConfigurationError(
                f"connection_mode of the connection {self.conn_id!r} must be one of {', '.join(CONNECTION_MODES)}, got "
                f"{mode!r}{nearest(mode, CONNECTION_MODES)}"
            )
        return mode

    def service_account(self) -> ServiceAccount:
        """Return the service account; its source is logged, its values are masked.

        :raises CredentialsError: if there is none, half of one, an empty value, or one that may not be read.
        :raises CredentialsUnavailableError: if a vault does not answer.
        :raises ConfigurationError: if the connection does not exist, or is wrong.
        """
        account = resolve(
            self._given,
            client_id_variable=self.client_id_variable or settings.client_id_variable(),
            client_secret_variable=self.client_secret_variable or settings.client_secret_variable(),
        )
        self.log.info("Polars Cloud service account from %s", account.source)
        return account

    def check_credentials(self) -> dict[str, str]:
        """Return where the service account comes from, if Polars Cloud accepts it. No secret is in what is returned.

        :raises CredentialsError: see :meth:`service_account`; also if Polars Cloud refuses the account.
        :raises CredentialsUnavailableError: see :meth:`service_account`; also if Polars Cloud does not answer.
        """
        account = self.service_account()
        check_service_account(account)
        return {"source": account.source}

    def control_plane(self) -> ControlPlane:
        """Return the control plane as the service account; it is not called before it is used.

        :raises CredentialsError: see :meth:`service_account`.
        """
        return ControlPlane(
            self.service_account(),
            client_version=client_version(),
            polars_version=polars_version(),
            mask=mask_secret,
        )

    def complete(self, compute: CloudCompute) -> CloudCompute:
        """Return a compute with what the connection says of where it runs; what the compute says wins."""
        if compute.mark is not None:
            return compute
        given: dict[str, Any] = {
            "workspace": compute.workspace or self.workspace,
            "organization": compute.organization or self.organization,
        }
        if compute.needs_start and compute.name is None:
            given["connection_mode"] = compute.connection_mode or self.connection_mode
        return dataclasses.replace(compute, **given)

    def get_backend(self, compute: Any) -> Backend[Any]:
        """Return what runs queries on a compute that was started.

        :raises ConfigurationError: if it was not.
        :raises CredentialsError: see :meth:`service_account`.
        """
        from airflow_provider_polars.backends.cloud import CloudBackend

        complete = self.complete(compute)
        backend = CloudBackend(complete, self.control_plane(), scaling=complete.scaling or "auto")
        backend.unreachable_seconds = settings.unreachable_seconds()
        return backend

    def get_manager(self, compute: Any) -> ComputeManager[Any]:
        """Return what starts and stops instances.

        :raises ConfigurationError: if ``[polars] deployment_id`` is not set.
        :raises CredentialsError: see :meth:`service_account`.
        """
        from airflow_provider_polars.backends.cloud_manager import CloudManager

        deployment, limit = settings.deployment_id(), settings.max_vcpus
        return CloudManager(self.complete(compute), self.control_plane(), deployment=deployment, max_vcpus=limit)

    def test_connection(self) -> tuple[bool, str]:
        """Check fields and service account within 5 seconds, without importing Polars; for Airflow's Test button."""
        try:
            return True, without_id(within(TEST_SECONDS, self._describe), self.conn_id)
        except PolarsProviderError as error:
            return False, without_id(str(error), self.conn_id)
        except TimeoutError:
            return False, (
                f"No answer within {TEST_SECONDS:g} seconds from the vault or from the identity service of Polars "
                "Cloud. Check the network of the machine that runs this test."
            )

    def _describe(self) -> str:
        compute, mode = self.default_compute(), self.connection_mode
        account = self.service_account()
        check_service_account(account)
        return (
            f"Polars Cloud accepts the service account from {account.source}. "
            f"Workspace: {self.workspace or 'the default one'}; connection mode: {mode or 'the default one'}; "
            f"default compute: {compute or 'none'}."
        )

    @functools.cached_property
    def _given(self) -> Given | None:
        given = None if self.conn_id is None else _given(find_connection(self.conn_id, "conn_id"))
        if given is not None and given.conn_type not in CONNECTION_TYPES:
            raise ConfigurationError(
                f"The connection {self.conn_id!r} is of type {given.conn_type!r}. Polars Cloud takes one of type "
                "polars_cloud, or http with login and password. Change the type, or name another connection."
            )
        return given

    def _field(self, name: str) -> str | None:
        given = self._given
        return given.text(name) if given else None


def _given(connection: Connection) -> Given:
    return Given(
        connection.conn_id, connection.conn_type, connection.login, connection.password, read_extra(connection)
    )
