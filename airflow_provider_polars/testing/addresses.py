"""Where the control plane of this process's tests is, from before it is there.

The client of Polars Cloud reads addresses and certificates once, when it is imported. So they are chosen before the
first test: ports at which nothing answers until a control plane is started there, and a certificate made beforehand.
"""

from __future__ import annotations

import functools
import os
import shutil
import socket
import sys
import tempfile
import weakref
from pathlib import Path

LOOPBACK = "127.0.0.1"


class Addresses:
    """Ports that are this process's, and the certificates of what may listen there."""

    def __init__(self) -> None:
        from airflow_provider_polars.dev_cluster.certificates import make_certificates, write_bundle

        self.folder = Path(tempfile.mkdtemp(prefix="polars-control-plane-"))
        self._remove = weakref.finalize(self, _remove, self.folder, os.getpid())
        authority, _, _ = make_certificates(self.folder, LOOPBACK)
        self.bundle = write_bundle(authority, self.folder)
        """What this system trusts, and the authority of the token endpoint."""

        # Bound and never listening: connections are refused until the control plane, which may share it, listens.
        self._held = [_held(), _held()]
        self.api_port, self.token_port = (int(held.getsockname()[1]) for held in self._held)

    @property
    def environment(self) -> dict[str, str]:
        """Variables that lead clients there."""
        return {
            "POLARS_CLOUD_API_ADDR": f"http://{LOOPBACK}:{self.api_port}",
            "POLARS_CLOUD_DOMAIN": f"development@{LOOPBACK}:{self.token_port}",
            "SSL_CERT_FILE": str(self.bundle),
        }


def client_elsewhere() -> str | None:
    """Say that the client of this process was imported with other addresses, None if it was not."""
    constants = sys.modules.get("polars_cloud.constants")
    imported_with = getattr(constants, "AUTH_DOMAIN", None)
    if constants is None or imported_with == f"auth.{addresses().environment['POLARS_CLOUD_DOMAIN']}":
        return None
    return (
        f"polars_cloud was imported with the addresses of {imported_with}, which it keeps: it would not reach the "
        "control plane of the tests. Import it inside tests and DAG functions, not at the top of a file, or have "
        "conftest.py begin with os.environ.update(isolated_environment(folder)), from airflow_provider_polars.testing"
    )


@functools.cache
def addresses() -> Addresses:
    """Return those of this process."""
    return Addresses()


def _held() -> socket.socket:
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind((LOOPBACK, 0))
    return held


def _remove(folder: Path, pid: int) -> None:
    if os.getpid() == pid:
        shutil.rmtree(folder, ignore_errors=True)
