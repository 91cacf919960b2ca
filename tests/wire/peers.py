"""What may listen at an address in place of a cluster: stand-ins at the wire."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

from airflow_provider_polars.dev_cluster.server import SERVER_OPTIONS
from airflow_provider_polars.protocol.compute_plane_pb2_grpc import (
    ClientServiceServicer,
    add_ClientServiceServicer_to_server,
)


@contextlib.contextmanager
def peer(
    says: bytes = b"",
    *,
    hangs_up: bool = False,
    certificate: tuple[Path, Path] | None = None,
    asks_for_certificates: bool = False,
) -> Iterator[tuple[str, int]]:
    """Run a server that greets every caller with ``says``, and listens on or hangs up; return its address.

    :param certificate: with its key, to speak TLS.
    :param asks_for_certificates: of the callers, with TLS.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if certificate else None
    if context and certificate:
        context.load_cert_chain(*certificate)
        context.verify_mode = ssl.CERT_REQUIRED if asks_for_certificates else ssl.CERT_NONE

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            stream = self.request
            with contextlib.suppress(OSError):
                if context:
                    stream = context.wrap_socket(self.request, server_side=True, do_handshake_on_connect=False)
                    shake_hands(stream)
                stream.sendall(says)
                while not hangs_up and stream.recv(1024):
                    pass

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield ("127.0.0.1", server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


def shake_hands(stream: ssl.SSLSocket) -> None:
    """Finish the handshake; where it fails, hear the caller out, who would else read a reset before the reason."""
    try:
        stream.do_handshake()
    except ssl.SSLError:
        with socket.socket(fileno=stream.detach()) as plain:
            while plain.recv(1024):
                pass
        raise


@contextlib.contextmanager
def refusing_port() -> Iterator[int]:
    """Hold a port on which nothing listens, unless it is a server that sets SO_REUSEADDR, as ours do."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@contextlib.contextmanager
def full_port() -> Iterator[int]:
    """Hold a port whose queue of callers is full: the next one gets no answer at all."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(4):
            caller = stack.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(listening.getsockname())
        yield listening.getsockname()[1]


def self_signed(
    folder: Path, *, days: float = 1, authority: bool | None = None, names: bool = True
) -> tuple[Path, Path]:
    """Write a certificate for 127.0.0.1 that is signed by itself, and its key; return the paths.

    :param days: until it ends; below zero for one that has ended.
    :param authority: what it says of itself, if anything.
    :param names: whether the address is there as clients want it, or as the common name alone.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    now = dt.datetime.now(dt.timezone.utc)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - dt.timedelta(days=2)).not_valid_after(now + dt.timedelta(days=days))
    if names:
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    if authority is not None:
        builder = builder.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    certificate = builder.sign(key, hashes.SHA256())
    paths = folder / "self.pem", folder / "self.key"
    pem = serialization.Encoding.PEM
    paths[0].write_bytes(certificate.public_bytes(pem))
    paths[1].write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return paths


class StandInScheduler(ClientServiceServicer):
    """Answers the calls of a scheduler as a test says, and counts them.

    :param answers: by the name of the method, what makes the answer: it gets request and context, and may abort.
    """

    def __init__(self, **answers: Callable[[Any, Any], Any]) -> None:
        self.calls: list[str] = []
        for name, answer in answers.items():
            setattr(self, name, self._counted(name, answer))

    def _counted(self, name: str, answer: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        def call(request: Any, context: Any) -> Any:
            self.calls.append(name)
            return answer(request, context)

        return call


def aborting(code: grpc.StatusCode, details: str = "as the test says") -> Callable[[Any, Any], Any]:
    """Return an answer that is an error."""
    return lambda request, context: context.abort(code, details)


@contextlib.contextmanager
def serving(scheduler: StandInScheduler, certificate: tuple[Path, Path] | None = None) -> Iterator[int]:
    """Run a stand-in, with TLS if it gets a certificate and its key; return its port."""
    with ThreadPoolExecutor(8) as pool:
        server = grpc.server(pool, options=SERVER_OPTIONS)
        add_ClientServiceServicer_to_server(scheduler, server)
        if certificate:
            pair = certificate[1].read_bytes(), certificate[0].read_bytes()
            bound = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
        else:
            bound = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield bound
        finally:
            server.stop(None).wait()
