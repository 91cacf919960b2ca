"""A quick look at what answers at the address of a cluster, before a client that would wait a minute is made."""

from __future__ import annotations

import enum
import socket
import ssl

from airflow_provider_polars.clients.access import OBSERVATORY_PORT, SCHEDULER_PORT, ClusterAccess, ssl_context
from airflow_provider_polars.clients.certificates import (
    common_name,
    names,
    objection,
    peer_certificate,
    shown_certificate,
)
from airflow_provider_polars.clients.sockets import Deadline, connect
from airflow_provider_polars.exceptions import ClusterAccessError, ClusterUnreachableError

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\0\0\0\4\0\0\0\0\0"
_FRAME_HEADER = 9
_SETTINGS = 4
_TLS_RECORDS = (20, 21, 22, 23)
_WRONG_DATES = (9, 10)
_WRONG_NAMES = (62, 64)


class _Speech(enum.Enum):
    """What a peer answers to the first bytes of HTTP/2."""

    HTTP2 = enum.auto()
    HTTP1 = enum.auto()
    TLS = enum.auto()
    NOTHING = enum.auto()
    END = enum.auto()
    OTHER = enum.auto()


def probe(access: ClusterAccess, seconds: float = 3.0) -> None:
    """Return if what answers can be a scheduler, with the certificate that is asked for.

    :param seconds: that this may take in all.
    :raises ClusterUnreachableError: if nothing is there, or it does not answer in time.
    :raises ClusterAccessError: if what answers cannot be the cluster that ``access`` describes.
    :raises ConfigurationError: if ``access.ca_cert`` is no certificate.
    """
    deadline = Deadline(seconds)
    if access.is_tls:
        context = ssl_context(access)
        context.set_alpn_protocols(["h2"])
        with connect(access, deadline) as plain, _encrypted(access, plain, context, deadline) as stream:
            speech = _encrypted_speech(access, stream, deadline)
            if not access.insecure and (reason := objection(shown_certificate(stream), access.ca_cert)):
                raise ClusterAccessError(f"The certificate of {access.uri} {reason}.")
            negotiated = stream.selected_alpn_protocol() == "h2"
        if speech is _Speech.HTTP2 and not negotiated:
            raise ClusterAccessError(
                f"{access.uri} does not offer HTTP/2 in its TLS handshake (ALPN h2), without which Polars clients do "
                "not connect. Set it up in the proxy there."
            )
    else:
        with connect(access, deadline) as stream:
            speech = _speech(stream, deadline)
        if speech is _Speech.END and _speaks_tls(access, deadline):
            speech = _Speech.TLS
    _judge(access, speech, deadline)


def _judge(access: ClusterAccess, speech: _Speech, deadline: Deadline) -> None:
    if speech is _Speech.HTTP2:
        return
    if speech is _Speech.NOTHING:
        raise ClusterUnreachableError(
            f"{access.uri} accepted a connection and then said nothing for {deadline.seconds:g} s. See whether the "
            "scheduler is well, and whether this is its port."
        )
    if speech is _Speech.END:
        raise ClusterUnreachableError(
            f"{access.uri} accepted a connection and closed it at once. See whether the scheduler is well, and "
            "whether this is its port."
        )
    if speech is _Speech.TLS:
        raise ClusterAccessError(
            f"{access.uri} speaks TLS, and the address says http://. Write https://, or switch on TLS in the "
            "connection."
        )
    if speech is _Speech.HTTP1:
        raise ClusterAccessError(
            f"{access.uri} is a web server (HTTP/1), not the scheduler. Is {access.port} the observatory's port? "
            f"The scheduler's default is {SCHEDULER_PORT}, the observatory's {OBSERVATORY_PORT}."
        )
    raise ClusterAccessError(
        f"What answers at {access.uri} is no Polars scheduler: it speaks neither HTTP/2 nor TLS. Check the port; "
        f"a scheduler's default is {SCHEDULER_PORT}."
    )


def _speech(stream: socket.socket, deadline: Deadline) -> _Speech:
    """Greet as an HTTP/2 client does and look at the first bytes that come back."""
    received = b""
    try:
        stream.settimeout(deadline.left)
        stream.sendall(_PREFACE)
        while len(received) < _FRAME_HEADER:
            stream.settimeout(deadline.left)
            part = stream.recv(64)
            if not part:
                break
            received += part
    except TimeoutError:
        if not received:
            return _Speech.NOTHING
    except OSError as error:
        if type(error) is ssl.SSLError:
            raise
        if not received:
            return _Speech.END
    if not received:
        return _Speech.END
    if received.startswith(b"HTTP/1"):
        return _Speech.HTTP1
    if received[0] in _TLS_RECORDS and received[1:2] == b"\3":
        return _Speech.TLS
    if len(received) >= _FRAME_HEADER and received[3] == _SETTINGS and received[5:9] == b"\0\0\0\0":
        return _Speech.HTTP2
    return _Speech.OTHER


def _encrypted_speech(access: ClusterAccess, stream: ssl.SSLSocket, deadline: Deadline) -> _Speech:
    try:
        return _speech(stream, deadline)
    except ssl.SSLError as error:
        raise ClusterAccessError(
            f"{access.uri} ends the TLS connection ({error}). If it asks for a certificate of its callers: Polars "
            "clients have none."
        ) from error


def _encrypted(
    access: ClusterAccess, plain: socket.socket, context: ssl.SSLContext, deadline: Deadline
) -> ssl.SSLSocket:
    plain.settimeout(deadline.left)
    try:
        return context.wrap_socket(plain, server_hostname=access.domain_name or access.host)
    except ssl.SSLCertVerificationError as error:
        raise ClusterAccessError(_why_not_trusted(access, error, deadline)) from error
    except TimeoutError:
        _judge(access, _Speech.NOTHING, deadline)
        raise
    except (OSError, ValueError) as error:
        speech = _plain_speech(access, deadline)
        if speech is _Speech.HTTP2:
            raise ClusterAccessError(
                f"{access.uri} speaks without TLS, and the address says https://. Write http://, or switch TLS off in "
                "the connection."
            ) from error
        if speech is _Speech.HTTP1 or isinstance(error, (ConnectionError, ssl.SSLEOFError)):
            _judge(access, speech if speech is _Speech.HTTP1 else _Speech.END, deadline)
        raise ClusterAccessError(
            f"The TLS handshake with {access.uri} failed ({error}). Check the port, and the TLS of the cluster."
        ) from error


def _why_not_trusted(access: ClusterAccess, error: ssl.SSLCertVerificationError, deadline: Deadline) -> str:
    certificate = f"The certificate of {access.uri}"
    if error.verify_code in _WRONG_NAMES:
        shown = peer_certificate(access, deadline)
        if not names(shown):
            return (
                f"{certificate} names no host: it has no subject alternative names, and its common name "
                f"{common_name(shown)!r} does not count any more. Have it made anew with them."
            )
        return (
            f"{certificate} is for {', '.join(names(shown))}, not for {access.domain_name or access.host}. Write one "
            "of its names into the address, or as domain_name= of the compute or Domain name of the connection."
        )
    if error.verify_code in _WRONG_DATES:
        return f"{certificate} does not hold today: {error.verify_message}. Have it renewed, or check the clock here."
    signer = "the CA certificate that was given" if access.ca_cert else "an authority that this system trusts"
    return (
        f"{certificate} is not signed by {signer}: {error.verify_message}. Give the certificate of the authority that "
        "signed it: as ca_cert= of the compute or CA certificate of the connection."
    )


def _plain_speech(access: ClusterAccess, deadline: Deadline) -> _Speech:
    try:
        with connect(access, deadline) as stream:
            return _speech(stream, deadline)
    except ClusterUnreachableError:
        return _Speech.END


def _speaks_tls(access: ClusterAccess, deadline: Deadline) -> bool:
    try:
        peer_certificate(access, deadline)
    except ClusterUnreachableError:
        return False
    return True
