"""What a development cluster can be asked for."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field

DEFAULT_PORT = 5051
DEFAULT_OBSERVATORY_PORT = 3001
LOOPBACK = "127.0.0.1"
TOKEN_VARIABLE = "POLARS_DEV_CLUSTER_TOKEN"


@dataclass(frozen=True)
class Settings:
    """Settings of one cluster."""

    host: str = LOOPBACK
    """Address that it binds to."""

    port: int = DEFAULT_PORT
    """Of the scheduler; 0 is any free one."""

    observatory_port: int = DEFAULT_OBSERVATORY_PORT
    workers: int = 2
    """How many queries run at the same time."""

    python: str = sys.executable
    """Interpreter of the workers: Polars and grpcio must be installed for it."""

    variables: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Further variables of the environment of the workers."""

    memory_limit: int | None = None
    """Bytes of resident memory above which a query fails; None is no limit."""

    tls: bool = False
    token: str | None = field(default=None, repr=False)
    """Bearer token that every call must carry; None asks for none."""

    deny_anonymous_users: bool = False
    result_ttl: float = 3600.0
    """Seconds for which a query that has ended is remembered, and its result kept if it has no place of its own."""

    start_seconds: float = 60.0
    """Time for all workers to register."""

    planning_seconds: float = 10.0
    """Time to check a plan before it is accepted unchecked."""

    heartbeat_seconds: float = 15.0
    """Silence after which a worker is given up."""

    @property
    def polars_threads(self) -> int:
        """Size of the thread pool of one worker."""
        return max(1, (os.cpu_count() or 1) // self.workers)
