"""``Address``: where a service of a node listens, or where others reach it."""

from __future__ import annotations

import dataclasses
import ipaddress
import re
from collections.abc import Mapping
from typing import Any

from airflow_provider_polars.exceptions import ConfigurationError

PARTS = ("ip", "port", "hostname")
ALL_INTERFACES = "0.0.0.0"
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,251}[A-Za-z0-9_])?")
_WITH_PORT = re.compile(r"(?:\[([^\[\]]*)\]|([^:\[\]]*))(?::(\d{1,9}))?")


@dataclasses.dataclass(frozen=True)
class Address:
    """A host and a port, either of which may be left out.

    :param host: IP address or host name; None for all interfaces.
    :param port: 1 to 65535; None for the default of the service.
    """

    host: str | None = None
    port: int | None = None

    @property
    def is_name(self) -> bool:
        """Whether the host is a name, which the server resolves once, when it starts."""
        return self.host is not None and _ip(self.host) is None

    @property
    def is_any(self) -> bool:
        """Whether this is every interface of the machine: no host, ``0.0.0.0`` or ``::``."""
        found = _ip(self.host) if self.host else None
        return self.host is None or (found is not None and found.is_unspecified)

    @property
    def is_loopback(self) -> bool:
        """Whether only the same machine reaches it."""
        found = _ip(self.host) if self.host else None
        return self.host == "localhost" or (found is not None and found.is_loopback)

    def or_port(self, port: int) -> Address:
        """Return this address, with ``port`` if it has none."""
        return self if self.port is not None else dataclasses.replace(self, port=port)

    def as_toml(self) -> str | dict[str, Any]:
        """Return the form that a file has: ``"10.0.0.1:5052"``, or a table where the host is a name."""
        if self.is_name:
            return {"hostname": self.host} | ({} if self.port is None else {"port": self.port})
        return str(self)

    def __str__(self) -> str:
        host = f"[{self.host}]" if self.host and ":" in self.host else self.host or ""
        return host if self.port is None else f"{host}:{self.port}"


def parse(value: object) -> Address:
    """Return the address that a file has, in any of its four forms.

    ``"10.0.0.1"``, ``"10.0.0.1:5052"``, ``":5052"``, or a table with ``ip`` or ``hostname``, and ``port``. An IPv6
    address with a port stands in brackets; whether the server reads those is unverified.

    :raises ConfigurationError: saying which rule the value breaks.
    """
    if isinstance(value, str):
        return _of_text(value)
    if isinstance(value, Mapping):
        return _of_table(value)
    raise ConfigurationError('must be an address: "ip", "ip:port", ":port", or a table with ip or hostname, and port')


def of_host(host: str, port: int | None = None) -> Address:
    """Return the address of an IP address or a host name.

    :raises ConfigurationError: for a host that is neither.
    """
    if _ip(host) is None and (not _NAME.fullmatch(host) or _looks_like_ip(host)):
        raise ConfigurationError(f"{host!r} is neither an IP address nor a host name")
    return Address(host, port)


def _of_text(text: str) -> Address:
    if _ip(text) is not None:
        return Address(text)
    found = _WITH_PORT.fullmatch(text)
    if found is None or text == "" or text == "[]":
        raise ConfigurationError('must be an address: "ip", "ip:port" or ":port"')
    host = found[1] if found[1] is not None else found[2]
    port = _port(int(found[3])) if found[3] is not None else None
    if host and _ip(host) is None:
        if _NAME.fullmatch(host) and not _looks_like_ip(host):
            table = f'{{ hostname = "{host}"' + (f", port = {port}" if port else "") + " }"
            raise ConfigurationError(f"must have an IP address in this form; a name is written as {table}")
        raise ConfigurationError(f"must have an IP address; {host!r} is none")
    return Address(host or None, port)


def _of_table(table: Mapping[str, Any]) -> Address:
    if not set(table) & set(PARTS):
        raise ConfigurationError("must have ip, hostname or port")
    if "ip" in table and "hostname" in table:
        raise ConfigurationError("must have one of ip and hostname, not both")
    ip, name, port = (table.get(part) for part in ("ip", "hostname", "port"))
    if ip is not None and (not isinstance(ip, str) or _ip(ip) is None):
        raise ConfigurationError("must have an IP address as ip")
    if name is not None and (not isinstance(name, str) or not _NAME.fullmatch(name) or _looks_like_ip(name)):
        raise ConfigurationError("must have a host name as hostname; an IP address is written as ip")
    if port is not None and (isinstance(port, bool) or not isinstance(port, int)):
        raise ConfigurationError("must have a whole number as port")
    return Address(ip or name, None if port is None else _port(port))


def _port(port: int) -> int:
    if not 1 <= port <= 65535:
        raise ConfigurationError(f"must have a port between 1 and 65535, which others can be told; {port} is none")
    return port


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _looks_like_ip(text: str) -> bool:
    return re.fullmatch(r"[\d.]+", text) is not None
