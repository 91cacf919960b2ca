"""``ClusterAccess``: where a cluster is, and what its callers must show and trust."""

from __future__ import annotations

import dataclasses
import re
import ssl
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from airflow_provider_polars.exceptions import ConfigurationError

SCHEDULER_PORT = 5051
OBSERVATORY_PORT = 3001
_HEADER_NAME = re.compile(r"[0-9a-z_.-]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]*")
_NOT_OURS = ("host", "content-length", "transfer-encoding", "te", "connection")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ClusterAccess:
    """All that a client needs to reach one cluster.

    :param uri: address of the scheduler, ``http://host`` or ``https://host``; default port 5051.
    :param observatory: address of the observatory; default the host of ``uri``, port 3001.
    :param headers: sent with each call, a token in ``authorization`` included; names become lower case.
    :param ca_cert: certificate (PEM) to trust; None for those that this system trusts.
    :param domain_name: name that the certificate must bear, if it is not the host.
    :param insecure: do not verify the certificate.
    :param user_name: who is shown as the user of queries.
    :raises ConfigurationError: if a part cannot be; no message has a header's value in it.
    """

    uri: str
    observatory: str = ""
    headers: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    ca_cert: str | None = dataclasses.field(default=None, repr=False)
    domain_name: str | None = None
    insecure: bool = False
    user_name: str | None = None

    def __post_init__(self) -> None:
        uri = normalised(self.uri, SCHEDULER_PORT, "the cluster")
        parts = urlsplit(uri)
        beside = f"{parts.scheme}://{_bracketed(parts)}"
        observatory = normalised(self.observatory or beside, OBSERVATORY_PORT, "the observatory")
        object.__setattr__(self, "uri", uri)
        object.__setattr__(self, "observatory", observatory)
        object.__setattr__(self, "headers", _checked_headers(self.headers))
        if (self.ca_cert is not None or self.insecure) and not any(
            address.startswith("https://") for address in (uri, observatory)
        ):
            what = "insecure" if self.insecure else "a CA certificate"
            raise ConfigurationError(
                f"There is {what} for {uri}, where nothing is encrypted. Write https://, or switch on TLS in the "
                "connection; or leave it out."
            )
        if self.user_name is not None and not _HEADER_VALUE.fullmatch(self.user_name):
            raise ConfigurationError(
                f"The user name {self.user_name!r} cannot be sent to a cluster: use printable ASCII characters."
            )

    @property
    def host(self) -> str:
        """Host of the scheduler, without brackets."""
        return str(urlsplit(self.uri).hostname)

    @property
    def port(self) -> int:
        """Port of the scheduler."""
        return int(urlsplit(self.uri).port or SCHEDULER_PORT)

    @property
    def is_tls(self) -> bool:
        """Whether calls are encrypted."""
        return self.uri.startswith("https://")


def normalised(address: str, default_port: int, what: str) -> str:
    """Return an address as ``scheme://host:port``.

    :param what: whose address it is, for the message.
    :raises ConfigurationError: if it is none of a cluster.
    """
    if "@" in address:
        raise ConfigurationError(
            f"The address of {what} has a user name or a password in it. Secrets stay in the Airflow connection: "
            "the user name in login, the token in password."
        )
    shown = re.sub(r"(?s)([?#]).+", r"\1...", address)  # a token may follow
    try:
        parts = urlsplit(address.strip())
        port = parts.port if parts.port is not None else default_port
        host = parts.hostname
    except ValueError as error:
        raise ConfigurationError(f"The address of {what}, {shown!r}, is wrong: {error}.") from error
    if parts.scheme not in ("http", "https"):
        raise ConfigurationError(
            f"The address of {what}, {shown!r}, must begin with http:// or https://, as in http://host:{default_port}."
        )
    if not host or re.search(r"[\s,]", host) or not 0 < port < 65536:
        raise ConfigurationError(
            f"The address of {what}, {shown!r}, names no host and port, as http://host:{default_port} does."
        )
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise ConfigurationError(
            f"The address of {what}, {shown!r}, goes on after the port; it is scheme, host and port alone."
        )
    return f"{parts.scheme}://{_bracketed(parts)}:{port}"


def ssl_context(access: ClusterAccess) -> ssl.SSLContext:
    """Return what a connection to the cluster verifies: about what the Polars client does.

    :raises ConfigurationError: if ``ca_cert`` is no certificate.
    """
    if access.insecure:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    try:
        if access.ca_cert is not None:
            context = ssl.create_default_context(cadata=access.ca_cert or "\n")
        else:
            context = ssl.create_default_context(cafile=system_bundle())
    except (ssl.SSLError, ValueError, TypeError) as error:
        raise ConfigurationError(
            f"The CA certificate for {access.uri} cannot be read ({error}). It is the text of one or more "
            "certificates, each from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----."
        ) from error
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.hostname_checks_common_name = False
    return context


def system_bundle() -> str | None:
    """Return the file of the certificates that this system trusts, None if there is none."""
    paths = ssl.get_default_verify_paths()
    candidates = [paths.cafile, f"{paths.capath}/ca-certificates.crt" if paths.capath else None]
    try:
        import certifi

        candidates.append(certifi.where())
    except ImportError:
        pass
    return next((path for path in candidates if path and Path(path).is_file()), None)


def _bracketed(parts: SplitResult) -> str:
    host = parts.hostname or ""
    return f"[{host}]" if ":" in host else host


def _checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    checked = {str(name).lower(): value for name, value in headers.items()}
    for name, value in checked.items():
        if not _HEADER_NAME.fullmatch(name) or name.endswith("-bin") or name.startswith("grpc-") or name in _NOT_OURS:
            raise ConfigurationError(f"The header {name!r} cannot be sent to a cluster; give it another name.")
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
            raise ConfigurationError(
                f"The value of the header {name!r} cannot be sent to a cluster: it must be text of printable ASCII "
                "characters, without line breaks."
            )
    return checked
