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
        self._streams: list[socket.socket] = []
        self._listening = self._listen(0)
        self.port: int = self._listening.getsockname()[1]

    @property
    def uri(self) -> str:
        """Address of this end."""
        return f"http://127.0.0.1:{self.port}"

    def cut(self) -> None:
        """End all connections and refuse new ones."""
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for stream in self._streams:
            with contextlib.suppress(OSError):
                stream.shutdown(socket.SHUT_RDWR)
        self._streams.clear()

    def mend(self) -> None:
        """Take connections again, on the same port."""
        self._listening = self._listen(self.port)

    def _listen(self, port: int) -> socket.socket:
        listening = socket.socket()
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(("127.0.0.1", port))
        listening.listen()
        threading.Thread(target=self._accept, args=(listening,), daemon=True).start()
        return listening

    def _accept(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near = listening.accept()[0]
                far = socket.create_connection(("127.0.0.1", self._target))
                self._streams += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=_pass_on, args=(source, sink), daemon=True).start()


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
        relay.cut()
