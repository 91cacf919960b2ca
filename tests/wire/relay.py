"""A way to a cluster that can be cut and mended, as a network or a proxy is."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

CHUNK = 65536


class Relay:
    """Passes connections on to a port of this machine.

    :param target: the port.
    """

    def __init__(self, target: int) -> None:
        self._target = target
        self._lock = threading.Lock()
        self._streams: list[socket.socket] = []
        self._held = _bound(0)  # never listens: nobody else gets the port while it is cut
        self.port: int = self._held.getsockname()[1]
        self._listening = self._listen()

    @property
    def uri(self) -> str:
        """Address of this end."""
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """End all connections and refuse new ones."""
        with self._lock:
            with contextlib.suppress(OSError):
                self._listening.shutdown(socket.SHUT_RDWR)
            self._listening.close()
            for stream in self._streams:
                with contextlib.suppress(OSError):
                    stream.shutdown(socket.SHUT_RDWR)
            self._streams.clear()

    def mend(self) -> None:
        """Take connections again, on the same port."""
        self._listening = self._listen()

    def close(self) -> None:
        """Cut it for good, and give the port back."""
        self.cut()
        self._held.close()

    def _listen(self) -> socket.socket:
        listening = _bound(self.port)
        listening.listen()
        threading.Thread(target=self._accept, args=(listening,), daemon=True).start()
        return listening

    def _accept(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near = listening.accept()[0]
                with self._lock:
                    if listening.fileno() < 0:  # it was cut meanwhile
                        near.close()
                        return
                    far = socket.create_connection(("127.0.0.1", self._target))
                    self._streams += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=_pass_on, args=(source, sink), daemon=True).start()


def _bound(port: int) -> socket.socket:
    bound = socket.socket()
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind(("127.0.0.1", port))
    return bound


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(CHUNK):
            sink.sendall(data)
    for stream in (source, sink):
        with contextlib.suppress(OSError):
            stream.shutdown(socket.SHUT_RDWR)
        stream.close()


@contextlib.contextmanager
def relay_to(uri: str) -> Iterator[Relay]:
    """Run a relay to the address of a cluster."""
    relay = Relay(int(uri.rpartition(":")[2]))
    try:
        yield relay
    finally:
        relay.close()
