"""Certificates of an own authority."""

from __future__ import annotations

import datetime as dt
import ipaddress
import socket
import ssl
from pathlib import Path
from typing import Any

VALID_DAYS = 30
OLDER_NAME = "pola.rs"
"""That clients of Polars Cloud before 0.12 look for in the certificate of an instance."""

BUNDLES = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt")
"""Where Linux distributions keep what they trust."""


def write_bundle(authority: Path, folder: Path) -> Path:
    """Write ``bundle.pem``, what this system trusts and an authority, for ``SSL_CERT_FILE``; return its path."""
    paths = ssl.get_default_verify_paths()
    system = [Path(name) for name in (paths.cafile, paths.openssl_cafile, *BUNDLES) if name and Path(name).is_file()]
    bundle = folder / "bundle.pem"
    bundle.write_bytes(b"\n".join(path.read_bytes() for path in (*system[:1], authority)))
    return bundle


def make_certificates(folder: Path, host: str) -> tuple[Path, Path, Path]:
    """Write an authority's certificate, a server's for ``host`` and this machine, and its key; return the paths.

    The key of the authority is not kept.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    now = dt.datetime.now(dt.timezone.utc)

    def builder(name: str, issuer: str, key: Any) -> Any:
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(minutes=5))
            .not_valid_after(now + dt.timedelta(days=VALID_DAYS))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        )

    authority_name = "Polars development cluster: authority"
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    not_for = (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
        *("encipher_only", "decipher_only"),
    )
    usage = x509.KeyUsage(key_cert_sign=True, crl_sign=True, **dict.fromkeys(not_for, False))
    authority = (
        builder(authority_name, authority_name, authority_key)
        .add_extension(usage, critical=True)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    names: list[Any] = [x509.DNSName(name) for name in dict.fromkeys(("localhost", OLDER_NAME, socket.gethostname()))]
    names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
    try:
        names.append(x509.IPAddress(ipaddress.ip_address(host)))
    except ValueError:
        names.append(x509.DNSName(host))
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    certificate = (
        builder("localhost", authority_name, key)
        .add_extension(identifier, critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    paths = folder / "ca.pem", folder / "server.pem", folder / "server.key"
    pem = serialization.Encoding.PEM
    paths[0].write_bytes(authority.public_bytes(pem))
    paths[1].write_bytes(certificate.public_bytes(pem))
    paths[2].touch(mode=0o600)
    paths[2].write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return paths
