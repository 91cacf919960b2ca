"""``PolarsClusterHook``: from a connection of type ``polars_cluster`` to a cluster that runs already."""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import ipaddress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from airflow.sdk.log import mask_secret

from airflow_provider_polars.clients import observatory
from airflow_provider_polars.clients.access import ClusterAccess
from airflow_provider_polars.clients.compute_plane import ComputePlane
from airflow_provider_polars.clients.probe import probe
from airflow_provider_polars.clients.sockets import Deadline
from airflow_provider_polars.compute.cluster import ClusterCompute
from airflow_provider_polars.exceptions import ConfigurationError, PolarsProviderError
from airflow_provider_polars.hooks import settings
from airflow_provider_polars.hooks.cluster_fields import ClusterFields
from airflow_provider_polars.hooks.connections import without_id
from airflow_provider_polars.hooks.polars import PolarsHook

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from airflow_provider_polars.backends.base import Backend
    from airflow_provider_polars.compute.base import Compute
    from airflow_provider_polars.compute.remote import Scaling

TEST_SECONDS = 4.5
"""For the whole of a test; Airflow's Test button holds a thread of the API server for as long."""

_PROBE_SECONDS, _OBSERVATORY_SECONDS = 3.0, 0.5


class PolarsClusterHook(PolarsHook):
    """Reads a connection of type ``polars_cluster``: where a cluster is, and what its callers must show and trust.

    :param conn_id: connection; None for none, where the compute alone says all.
    """

    default_conn_name = "polars_cluster_default"
    conn_type = "polars_cluster"
    hook_name = "Polars Cluster"

    @classmethod
    def compute_of(cls, connection: Connection) -> Compute | None:
        """Return the compute that takes all from the connection."""
        return ClusterCompute()

    def access(self, compute: ClusterCompute) -> ClusterAccess:
        """Return how to reach the cluster: what ``compute`` says, and for the rest what the connection says.

        :raises ConfigurationError: if neither has an address, or one of them has something that cannot be.
        """
        fields = self._fields
        uri = compute.uri or fields.uri
        if uri is None:
            raise ConfigurationError(
                "There is no address of a cluster. Give it to the compute, ClusterCompute(uri='http://host:5051'), or "
                "as the host of a connection of type polars_cluster that conn_id= names."
            )
        headers = {**fields.headers, **{name.lower(): value for name, value in compute.headers.items()}}
        if fields.token:
            mask_secret(fields.token)
            headers["authorization"] = f"Bearer {fields.token}"
        access = ClusterAccess(
            uri=uri,
            observatory=compute.observatory or fields.observatory or "",
            headers=headers,
            ca_cert=_read_certificate(compute.ca_cert) if compute.ca_cert else fields.ca_cert,
            domain_name=compute.domain_name or fields.domain_name,
            insecure=fields.insecure if compute.insecure is None else compute.insecure,
            user_name=compute.user_name or fields.user_name,
        )
        self._warn(access, has_token=fields.token is not None)
        return access

    def scaling(self, compute: ClusterCompute) -> Scaling:
        """Return how queries are spread over workers that do not say so themselves."""
        return compute.scaling or self._fields.scaling or "auto"

    def get_backend(self, compute: Any) -> Backend[Any]:
        """Return the backend for ``compute``.

        :raises ConfigurationError: see :meth:`access`.
        """
        from airflow_provider_polars.backends.cluster import ClusterBackend

        backend = ClusterBackend(compute, self.access(compute), scaling=self.scaling(compute))
        backend.unreachable_seconds = settings.unreachable_seconds()
        return backend

    def find_connection(self) -> Connection | None:
        """Return the connection, None if no id is given.

        :raises ConfigurationError: if there is none of that id, or it is of another type.
        """
        connection = super().find_connection()
        if connection is not None and connection.conn_type not in (self.conn_type, PolarsHook.conn_type):
            raise ConfigurationError(
                f"The connection {self.conn_id!r} is of type {connection.conn_type!r}; a cluster needs one of type "
                f"{self.conn_type!r}. Change the type, or name another connection."
            )
        return connection

    def test_connection(self) -> tuple[bool, str]:
        """Reach the cluster and ask for its versions, without importing Polars; for Airflow's Test button."""
        deadline = Deadline(TEST_SECONDS)
        try:
            access = self.access(ClusterCompute())
            self.scaling(ClusterCompute())
            probe(access, _PROBE_SECONDS)
            here = {name: _installed(name) for name in ("polars", "polars-cloud")}
            plane = ComputePlane(access, client_version=here["polars-cloud"], polars_version=here["polars"])
            with contextlib.closing(plane):
                there = plane.versions(max(deadline.left - _OBSERVATORY_SECONDS, _OBSERVATORY_SECONDS))
        except PolarsProviderError as error:
            return False, without_id(str(error), self.conn_id)
        message = [f"{access.uri} answers: cluster {there.compute_plane}, Polars {there.polars}."]
        if here["polars"] != there.polars:
            installed = f"Polars {here['polars']}" if here["polars"] else "No Polars"
            message.append(f"{installed} is installed where this test ran; the workers need polars=={there.polars}.")
        if trouble := observatory.problem(access, min(deadline.left, _OBSERVATORY_SECONDS)):
            message.append(f"But {trouble}; queries run without it, their details and links do not.")
        return True, " ".join(message)

    @functools.cached_property
    def _fields(self) -> ClusterFields:
        connection = self.find_connection()
        if connection is None or connection.conn_type == PolarsHook.conn_type:
            return ClusterFields()
        return ClusterFields.of(connection)

    def _warn(self, access: ClusterAccess, *, has_token: bool) -> None:
        for address in dict.fromkeys((access.uri, access.observatory)):
            if has_token and address.startswith("http://") and not _is_loopback(address):
                self.log.warning("The token travels unencrypted to %s; use https:// there", address)
        if access.insecure and access.is_tls:
            self.log.warning("The certificate of %s is not verified, as insecure says", access.uri)


def _read_certificate(path: str) -> str:
    try:
        return Path(path).read_text("ascii")
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not PEM text"
        raise ConfigurationError(
            f"The CA certificate {path!r} cannot be read on this worker: {reason}. Put it there, or write its text "
            "into the connection."
        ) from error


def _is_loopback(address: str) -> bool:
    host = urlsplit(address).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _installed(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
