"""A cluster that runs, as the process that runs it handles it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from pathlib import Path

from airflow_provider_polars.dev_cluster.faults import Faults
from airflow_provider_polars.dev_cluster.pool import Pool
from airflow_provider_polars.dev_cluster.recorder import Recorder
from airflow_provider_polars.dev_cluster.scheduler import Scheduler
from airflow_provider_polars.dev_cluster.scheduler_port import SchedulerPort, address
from airflow_provider_polars.dev_cluster.settings import Settings


@dataclass
class Cluster:
    """A cluster that runs."""

    settings: Settings
    scheduler: Scheduler
    pool: Pool
    recorder: Recorder
    faults: Faults
    """What goes wrong on the ports of scheduler and observatory."""

    scheduler_port: SchedulerPort
    observatory_port: int
    authority: Path | None
    """Certificate of the authority that clients must trust, with TLS."""

    _restarting: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def port(self) -> int:
        """The port of the scheduler."""
        return self.scheduler_port.number

    @property
    def uri(self) -> str:
        """Address for ``ClusterContext``."""
        return f"http{'s' if self.authority else ''}://{address(self.settings.host, self.port)}"

    @property
    def observatory_uri(self) -> str:
        """Address of the observatory."""
        return f"http{'s' if self.authority else ''}://{address(self.settings.host, self.observatory_port)}"

    @property
    def busy(self) -> bool:
        """Whether a query is planned, queued or runs."""
        return self.scheduler.busy

    @property
    def pids(self) -> list[int]:
        """Ids of the worker processes."""
        return list(self.pool.pids.values())

    async def restart(self, *, memory: bool = True, seconds: float = 0.0, down: asyncio.Event | None = None) -> None:
        """End the scheduler as a crash does, and start it again; return when it listens.

        Its connections end, and its port refuses others until then. Worker processes are replaced. The observatory
        goes on.

        :param memory: whether it still knows its queries. Those that ran then run again if their ``n_retries`` allow
            it, or else fail; those that were queued stay so. Without memory, all queries are unknown.
        :param seconds: for which the port refuses connections.
        :param down: is set as soon as it does.
        """
        async with self._restarting:
            await self.scheduler_port.close()
            self.scheduler.restart(memory=memory)
            for name in self.pool.pids:
                self.pool.kill(name)
            if down is not None:
                down.set()
            await asyncio.sleep(seconds)
            await self.scheduler_port.open()
