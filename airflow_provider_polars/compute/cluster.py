"""A Polars cluster that runs already: Polars on-premises, or any that speaks its protocol."""

from __future__ import annotations

import dataclasses
import re
from typing import ClassVar

from airflow_provider_polars.compute.remote import RemoteCompute
from airflow_provider_polars.exceptions import ConfigurationError
from airflow_provider_polars.spec import is_template

_ADDRESS = re.compile(r"^https?://[^/?#\s]+/?$")


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class ClusterCompute(RemoteCompute):
    """Run on a Polars cluster that is there already; it is neither started nor stopped.

    Takes the parameters of :class:`RemoteCompute` too. What is not given here is taken from the connection, of type
    ``polars_cluster``, that the task's ``conn_id=`` names; what is given here wins. The token is there alone.

    :param uri: address of the scheduler, ``http://host:5051`` or ``https://...``; default port 5051.
    :param observatory: address of the observatory; default the host of ``uri``, port 3001.
    :param ca_cert: absolute path, on the worker, of the certificate (PEM) to trust; default the system's.
    :param domain_name: name that the certificate of the cluster must bear, if it is not the host of ``uri``.
    :param insecure: do not verify the certificate of the cluster; default False.
    :param user_name: who is shown as the user of the query.
    :param headers: further headers of each call, without secrets.
    """

    kind: ClassVar[str] = "cluster"
    backend: ClassVar[str] = "airflow_provider_polars.backends.cluster:ClusterBackend"
    hook: ClassVar[str] = "airflow_provider_polars.hooks.cluster:PolarsClusterHook"

    uri: str | None = None
    observatory: str | None = None
    ca_cert: str | None = None
    domain_name: str | None = None
    insecure: bool | None = None
    user_name: str | None = None
    headers: dict[str, str] = dataclasses.field(default_factory=dict, hash=False)

    def check(self) -> None:
        super().check()
        for name in ("uri", "observatory"):
            value = getattr(self, name)
            if value is not None and not is_template(value) and not _ADDRESS.match(value):
                raise ConfigurationError(
                    f"ClusterCompute({name}=) must be an address such as http://host:5051 or https://host:5051, "
                    f"got {value!r}."
                )
        if self.ca_cert is not None and not is_template(self.ca_cert) and not self.ca_cert.startswith("/"):
            raise ConfigurationError(
                f"ClusterCompute(ca_cert=) must be the absolute path of a PEM file on the worker, got {self.ca_cert!r}."
            )
