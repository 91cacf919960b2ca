"""What the fields of a connection of type ``polars_cluster`` say, as a form, JSON or a URI may hold them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast, get_args
from urllib.parse import urlsplit

from airflow_provider_polars.clients.access import SCHEDULER_PORT, normalised
from airflow_provider_polars.compute.remote import Scaling
from airflow_provider_polars.exceptions import ConfigurationError
from airflow_provider_polars.hooks.connections import read_extra
from airflow_provider_polars.spec import is_sensitive

if TYPE_CHECKING:
    from airflow.sdk import Connection

_SWITCHES = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClusterFields:
    """A connection's fields; None for what it leaves open. Null and blank are that too."""

    uri: str | None = None
    observatory: str | None = None
    token: str | None = dataclasses.field(default=None, repr=False)
    user_name: str | None = None
    ca_cert: str | None = None
    domain_name: str | None = None
    insecure: bool = False
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict)
    scaling: Scaling | None = None

    @classmethod
    def of(cls, connection: Connection) -> ClusterFields:
        """Read a connection.

        :raises ConfigurationError: naming the field that cannot be.
        """
        extra = read_extra(connection)
        where = f"the connection {connection.conn_id!r}"
        return cls(
            uri=_uri(connection, _switch(extra, "tls", where), where),
            observatory=_text(extra, "observatory", where),
            token=_filled(connection.password),
            user_name=_filled(connection.login),
            ca_cert=_text(extra, "ca_cert", where),
            domain_name=_text(extra, "domain_name", where),
            insecure=_switch(extra, "insecure", where),
            headers=_headers(extra, where),
            scaling=_scaling(extra, where),
        )


def _uri(connection: Connection, tls: bool, where: str) -> str | None:
    host = _filled(connection.host)
    if host is None:
        return None
    scheme, separator, rest = host.partition("://")
    if not separator:
        scheme, rest = "https" if tls else "http", host
    elif tls and scheme == "http":
        raise ConfigurationError(f"The host of {where} begins with http://, and TLS is switched on; choose one.")
    if rest.count(":") > 1 and "[" not in rest:
        rest = f"[{rest}]"
    address = f"{scheme}://{rest.rstrip('/')}"
    uri = normalised(address, connection.port or SCHEDULER_PORT, f"the cluster in {where}")
    if connection.port and urlsplit(uri).port != connection.port:
        raise ConfigurationError(
            f"The host of {where} says port {urlsplit(uri).port}, its port {connection.port}; say it once."
        )
    return uri


def _filled(value: Any) -> str | None:
    return (value.strip() or None) if isinstance(value, str) else None


def _text(extra: Mapping[str, Any], name: str, where: str) -> str | None:
    value = extra.get(name)
    if value is not None and not isinstance(value, str):
        raise ConfigurationError(f"The field {name} of {where} must be text, got {type(value).__name__}.")
    return _filled(value)


def _switch(extra: Mapping[str, Any], name: str, where: str) -> bool:
    value = extra.get(name)
    if value is None or isinstance(value, bool):
        return bool(value)
    text = str(value).strip().lower()
    if text and text not in _SWITCHES:
        raise ConfigurationError(f"The field {name} of {where} must be true or false, got {value!r}.")
    return _SWITCHES.get(text, False)


def _scaling(extra: Mapping[str, Any], where: str) -> Scaling | None:
    value = _text(extra, "scaling", where)
    if value is not None and value not in get_args(Scaling):
        raise ConfigurationError(
            f"The field scaling of {where} must be one of {', '.join(get_args(Scaling))}, got {value!r}."
        )
    return cast("Scaling | None", value)


def _headers(extra: Mapping[str, Any], where: str) -> dict[str, str]:
    value = extra.get("headers")
    if isinstance(value, str):
        try:
            value = json.loads(value or "null")
        except ValueError:
            value = value.strip()
    if not value:
        return {}
    if not isinstance(value, Mapping):
        raise ConfigurationError(f'The field headers of {where} must be a JSON object such as {{"x-team": "sales"}}.')
    for name in value:
        if is_sensitive(name):
            raise ConfigurationError(
                f"The field headers of {where} holds {name!r}, which looks like a secret, and Airflow shows it. "
                "The token belongs into the password."
            )
    return {name.lower(): item for name, item in value.items()}
