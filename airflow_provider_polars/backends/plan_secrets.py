"""Which secrets may be part of a plan."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider_polars.clients.access import ClusterAccess
from airflow_provider_polars.compute.remote import RemoteCompute
from airflow_provider_polars.exceptions import ConfigurationError
from airflow_provider_polars.spec import is_sensitive

_PASSWORD_IN_URL = re.compile(r"://[^/@\s]*:[^/@\s]+@")
_log = logging.getLogger(__name__)


class PlanSecrets:
    """Lets secrets into plans if the compute allows it, over TLS alone, and says so in the log.

    :param access: gives the cluster that plans go to.
    """

    def __init__(self, compute: RemoteCompute, access: Callable[[], ClusterAccess]) -> None:
        self._compute = compute
        self._access = access
        self._said: set[str] = set()

    def storage_options(self, options: Mapping[str, str], conn_id: str | None) -> dict[str, str]:
        """Return storage options as they may travel: without secrets, unless the compute allows them.

        :param conn_id: connection that they are from.
        :raises ConfigurationError: if the secrets would travel in clear.
        """
        public = {name: value for name, value in options.items() if not is_sensitive(name)}
        if not self._compute.send_credentials or public == dict(options):
            return public
        self._send(f"the connection {conn_id!r}")
        return dict(options)

    def check_catalog(self, name: str, properties: Mapping[str, Any]) -> None:
        """Refuse an Iceberg catalog with secrets, which Polars puts into the plan as a whole.

        :raises ConfigurationError: if the compute does not allow it, or they would travel in clear.
        """
        secret = sorted(
            key for key, value in properties.items() if is_sensitive(key) or _PASSWORD_IN_URL.search(str(value))
        )
        if secret and not self._compute.send_credentials:
            raise ConfigurationError(
                f"The catalog {name!r} has secrets in PyIceberg's configuration here ({', '.join(secret)}), which "
                "would travel to the cluster inside of the plan. Remove them there, so that the cluster reaches "
                "catalog and store with a role of its own, or allow it with "
                f"{type(self._compute).__name__}(send_credentials=True)."
            )
        if secret:
            self._send(f"the catalog {name!r}")

    def check_other(self, access: ClusterAccess) -> None:
        """Refuse a cluster that a function names itself, if upstream results in its plans may have secrets.

        :raises ConfigurationError: if they would travel in clear.
        """
        if self._compute.send_credentials:
            _refuse_in_clear("upstream results", access)

    def _send(self, whose: str) -> None:
        access = self._access()
        _refuse_in_clear(whose, access)
        if whose not in self._said:
            self._said.add(whose)
            _log.info("The secrets of %s travel to %s inside of the plan", whose, access.uri)


def _refuse_in_clear(whose: str, access: ClusterAccess) -> None:
    if not access.is_tls or access.insecure:
        how = "to whoever answers at" if access.is_tls else "in clear to"
        raise ConfigurationError(
            f"send_credentials=True would send the secrets of {whose} {how} {access.uri}. Use https:// and a "
            "certificate that is verified, or let the cluster use a role of its own."
        )
