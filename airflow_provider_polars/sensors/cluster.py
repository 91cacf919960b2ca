"""``PolarsClusterSensor``: waits until a cluster takes queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import PokeReturnValue

from airflow_provider_polars.compute.base import Compute
from airflow_provider_polars.exceptions import PolarsProviderError
from airflow_provider_polars.hooks.readiness import Wanted, why_not
from airflow_provider_polars.operators.base import as_compute, enclosing_compute_group, without_retry
from airflow_provider_polars.sensors.base import PolarsBaseSensor

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.triggers.base import BaseTrigger


class PolarsClusterSensor(PolarsBaseSensor):
    """Wait until a cluster can be reached with the credentials that there are, and is as it is wanted.

    What no waiting mends ends the task at once: refused credentials, a port that speaks something else, an instance
    that has ended.

    :param compute: (templated) the cluster: a :class:`ClusterCompute`, or the handle of an instance that was started;
        default that of the enclosing ``polars_compute`` group, else that of the connection.
    :param conn_id: (templated) Airflow connection; default that of the group.
    :param version: (templated) version of Polars that it must run, or ``here`` for the one on the worker; default any.
    :param min_workers: (templated) workers that it must have, which instances of Polars Cloud alone tell.
    :param deferrable: see :class:`PolarsBaseSensor`.
    """

    template_fields: Sequence[str] = (*PolarsBaseSensor.template_fields, "version", "min_workers")

    def __init__(
        self,
        *,
        compute: Compute | Mapping[str, Any] | None = None,
        version: str | None = None,
        min_workers: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(compute=compute, **kwargs)
        self.version = version
        self.min_workers = min_workers
        self._found: Compute | None = None
        if not getattr(self, "_BaseOperator__from_mapped", False):  # a mapped one is made in the task; look() checks
            self._check_what_is_known()

    def look(self, context: Context) -> PokeReturnValue | PolarsProviderError:
        compute = self._found = self.resolve_compute(context)
        try:
            reason = why_not(compute, self._conn_id, self._wanted)
        except PolarsProviderError as error:
            raise without_retry(error, always=True) from error.__cause__
        if reason is not None:
            return reason
        self.log.info("%r takes queries", compute)
        return PokeReturnValue(True)

    def make_trigger(self, deadline: float) -> BaseTrigger:
        """Return what looks every ``poke_interval`` seconds."""
        from airflow_provider_polars.triggers.cluster import PolarsClusterTrigger

        wanted = self._wanted
        assert self._found is not None
        return PolarsClusterTrigger(
            compute=self._found.to_dict(),
            conn_id=self._conn_id,
            version=wanted.version,
            min_workers=wanted.min_workers,
            poke_interval=self.poke_interval,
            deadline=deadline,
        )

    @property
    def _wanted(self) -> Wanted:
        return Wanted(version=self.version, min_workers=self.min_workers).settled()

    @property
    def _conn_id(self) -> str | None:
        return self.conn_id or getattr(enclosing_compute_group(self), "conn_id", None)

    def _check_what_is_known(self) -> None:
        def known(value: Any) -> bool:
            return not hasattr(value, "resolve")

        wanted = Wanted(
            version=self.version if known(self.version) else None,
            min_workers=self.min_workers if known(self.min_workers) else None,
        )
        if self.compute is not None and known(self.compute):
            wanted.check(as_compute(self.compute))
