"""The certificate that a cluster shows, and what the Polars client makes of it."""

from __future__ import annotations

import datetime as dt
import ssl
from typing import TYPE_CHECKING

from airflow_provider_polars.clients.access import ClusterAccess
from airflow_provider_polars.clients.sockets import Deadline, connect
from airflow_provider_polars.exceptions import ClusterUnreachableError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate


def peer_certificate(access: ClusterAccess, deadline: Deadline) -> Certificate:
    """Return the certificate that the scheduler shows, whatever it is worth.

    :raises ClusterUnreachableError: if it shows none in time.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        with connect(access, deadline) as plain:
            plain.settimeout(deadline.left)
            with context.wrap_socket(plain, server_hostname=access.domain_name or access.host) as encrypted:
                return shown_certificate(encrypted)
    except (OSError, ValueError) as error:
        raise ClusterUnreachableError(f"{access.uri} shows no certificate: {error}. Check host and port.") from error


def shown_certificate(encrypted: ssl.SSLSocket) -> Certificate:
    """Return the certificate of the other end of a connection."""
    from cryptography import x509

    return x509.load_der_x509_certificate(encrypted.getpeercert(binary_form=True) or b"")


def pem(certificate: Certificate) -> bytes:
    """Return a certificate as text."""
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def names(certificate: Certificate) -> list[str]:
    """Return the names and addresses that a certificate is for."""
    from cryptography import x509

    try:
        extension = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return []
    found = [str(name.value) for name in extension.value if isinstance(name, (x509.DNSName, x509.IPAddress))]
    return list(dict.fromkeys(found))


def common_name(certificate: Certificate) -> str | None:
    """Return the name that certificates of old had, which clients look at no more."""
    from cryptography.x509 import NameOID

    found = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(found[0].value) if found else None


def holds_now(certificate: Certificate) -> bool:
    """Return whether a certificate is neither too old nor too new."""
    return certificate.not_valid_before_utc <= dt.datetime.now(dt.timezone.utc) <= certificate.not_valid_after_utc


def objection(certificate: Certificate, ca_cert: str | None) -> str | None:
    """Return why the Polars client refuses a certificate that OpenSSL takes, None if it does not.

    :param ca_cert: certificates (PEM) that are trusted, if not those of the system.
    """
    from cryptography import x509

    if _is_authority(certificate):
        return (
            "is that of an authority (CA:TRUE), which Polars clients do not take for a server's. Have it made anew "
            "with the extension basicConstraints=CA:FALSE"
        )
    trusted = x509.load_pem_x509_certificates(ca_cert.encode()) if ca_cert else []
    if certificate in trusted and all(authority.subject != certificate.issuer for authority in trusted):
        return (
            "is itself what was given to trust. Polars clients need that of the authority which signed it: "
            f"{certificate.issuer.rfc4514_string()}"
        )
    return None


def _is_authority(certificate: Certificate) -> bool:
    from cryptography import x509

    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, ValueError):
        return False
