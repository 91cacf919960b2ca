"""What a development control plane can be asked for."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

DEFAULT_API_PORT = 5061
DEFAULT_TOKEN_PORT = 5062
DEFAULT_DEV_PORT = 5063
ACCOUNT_VARIABLE = "POLARS_DEV_CLUSTER_ACCOUNT"
"""Names the service account of the first workspace: its id, a colon, its secret."""


@dataclass(frozen=True)
class ControlPlaneSettings:
    """Settings of one control plane."""

    api_port: int = DEFAULT_API_PORT
    """Of REST and of gRPC in proxy mode, in clear text; 0 is any free one."""

    token_port: int = DEFAULT_TOKEN_PORT
    """Of the token endpoint, which clients reach by TLS alone."""

    dev_port: int = DEFAULT_DEV_PORT
    """Of ``/_dev``: what the stand-in can be told and asked beyond the protocol."""

    certificates: Path | None = None
    """Folder with ``ca.pem``, ``server.pem`` and ``server.key`` for the token endpoint; None makes some."""

    account: tuple[str, str] | None = field(default=None, repr=False)
    """Id and secret of the service account of the first workspace; None makes some."""

    pythons: tuple[str, ...] = (sys.executable,)
    """Interpreters for the workers of instances, one for each Polars that a client may ask for."""

    workers: int = 1
    """Of each node of an instance."""

    starting_seconds: float = 0.0
    """For which an instance is at least Starting."""

    stopping_seconds: float = 0.0
    """For which an instance is at least Stopping."""

    minute: float = 60.0
    """Seconds that a minute of an idle timeout lasts."""

    token_seconds: float = 300.0
    """For which a token is good."""

    max_vcpus: int | None = None
    """That the instances of a workspace may have together; None is no limit."""
