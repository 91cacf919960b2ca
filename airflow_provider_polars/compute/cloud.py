"""Instances of Polars Cloud: started for a group of tasks or for one, and stopped after."""

from __future__ import annotations

import dataclasses
import uuid
from typing import ClassVar, Literal

from airflow_provider_polars.compute.remote import RemoteCompute
from airflow_provider_polars.exceptions import ConfigurationError
from airflow_provider_polars.labels import AIRFLOW_LABELS, check_labels
from airflow_provider_polars.spec import is_template

SHORTEST_IDLE_TIMEOUT = 10
"""Minutes; Polars Cloud takes no shorter one (documentation of its client)."""

IDLE_TIMEOUT_MINS = 60
MAX_LIFETIME_HOURS = 24.0
"""Of what says nothing else, also of what a sweep finds without knowing what it was started with."""

_MACHINE = ("cpus", "memory", "cpu_architectures", "instance_type", "storage", "cluster_size")
_OF_A_START = (*_MACHINE, "requirements", "env_vars", "labels", "log_level", "idle_timeout_mins")


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class CloudCompute(RemoteCompute):
    """Run on instances of Polars Cloud that are started for this purpose, and stopped when it is served.

    Takes the parameters of :class:`RemoteCompute` too. They and those below are those of ``ComputeContext`` of the
    installed client. What that does not know is refused by name when the instance is to be started.

    :param cpus: CPUs of each node, at least; together with ``memory``. Without a machine, that of the workspace's
        defaults.
    :param memory: memory of each node in GB, at least.
    :param cpu_architectures: ``x86_64``, ``arm64``; default x86_64.
    :param instance_type: machine by its name at the provider, instead of ``cpus`` and ``memory``.
    :param storage: disk of each node in GB; default that of the service.
    :param cluster_size: nodes; default 1.
    :param requirements: absolute path, on the worker, of a ``requirements.txt`` to install on the nodes.
    :param env_vars: variables of queries, without secrets.
    :param connection_mode: ``direct`` or ``proxy``; default the connection's, else ``direct``.
    :param workspace: name or id; default the connection's, else that of the service account.
    :param organization: name or id of the workspace's organization; needed where two have one of that name.
    :param labels: labels of the instance.
    :param log_level: ``info``, ``debug`` or ``trace``.
    :param idle_timeout_mins: minutes without a query after which it stops by itself; default 60, at least 10.
    :param name: a registered manifest to start from, instead of a machine; it is copied, and neither changed nor
        started itself.
    :param max_lifetime: hours after which a query that a task waits for is cancelled, and a sweep stops the instance
        whatever runs; where none is scheduled nothing else does. Default 24.
    :param compute_id: an instance that runs already, to be used and never stopped.
    :param mark: set by the start: the name of what was started, which is stopped again.
    :param ready_at: set by the start: when it was ready, in epoch seconds.
    """

    kind: ClassVar[str] = "cloud"
    backend: ClassVar[str] = "airflow_provider_polars.backends.cloud:CloudBackend"
    hook: ClassVar[str] = "airflow_provider_polars.hooks.cloud:PolarsCloudHook"
    managed: ClassVar[bool] = True

    cpus: int | None = None
    memory: int | None = None
    cpu_architectures: tuple[Literal["x86_64", "arm64"], ...] = ()
    instance_type: str | None = None
    storage: int | None = None
    cluster_size: int | None = None
    requirements: str | None = None
    env_vars: dict[str, str] = dataclasses.field(default_factory=dict, hash=False)
    connection_mode: Literal["direct", "proxy"] | None = None
    workspace: str | None = None
    organization: str | None = None
    labels: tuple[str, ...] = ()
    log_level: Literal["info", "debug", "trace"] | None = None
    idle_timeout_mins: int | None = None
    name: str | None = None
    max_lifetime: float | None = None
    compute_id: str | None = None
    mark: str | None = None
    ready_at: float | None = None

    @property
    def needs_start(self) -> bool:
        return self.compute_id is None

    @property
    def place(self) -> str:
        return f"{self.organization}/{self.workspace}"

    def given(self, *names: str) -> list[str]:
        """Return which of these fields say something."""
        return [name for name in names if getattr(self, name) not in (None, (), {})]

    def check(self) -> None:
        super().check()
        for name in ("cpus", "memory", "storage", "cluster_size", "max_lifetime"):
            value = getattr(self, name)
            if value is not None and not is_template(value) and value <= 0:
                raise ConfigurationError(f"CloudCompute({name}=) must be above zero, got {value!r}.")
        idle = self.idle_timeout_mins
        if idle is not None and not is_template(idle) and idle < SHORTEST_IDLE_TIMEOUT:
            raise ConfigurationError(
                f"CloudCompute(idle_timeout_mins=) must be at least {SHORTEST_IDLE_TIMEOUT}, got {idle!r}: Polars "
                "Cloud takes no shorter one."
            )
        check_labels(self.labels, AIRFLOW_LABELS)
        if (self.cpus is None) != (self.memory is None):
            raise ConfigurationError(
                f"CloudCompute() has cpus={self.cpus!r} and memory={self.memory!r}: give both, or neither."
            )
        if self.instance_type is not None and (both := self.given("cpus", "cpu_architectures")):
            raise ConfigurationError(
                f"CloudCompute(instance_type={self.instance_type!r}) names a machine, and so does {both[0]}=: give one."
            )
        if self.requirements and not is_template(self.requirements) and not self.requirements.startswith("/"):
            raise ConfigurationError(
                "CloudCompute(requirements=) must be the absolute path of a requirements.txt on the worker, got "
                f"{self.requirements!r}."
            )
        if self.name is not None and (also := self.given(*_OF_A_START, "connection_mode")):
            raise ConfigurationError(
                f"CloudCompute(name={self.name!r}) starts from a manifest, which says what {', '.join(also)} would. "
                "Remove either."
            )
        if self.compute_id is not None and not is_template(self.compute_id):
            self._check_reconnection(self.compute_id)

    def _check_reconnection(self, compute_id: str) -> None:
        try:
            uuid.UUID(compute_id)
        except ValueError:
            raise ConfigurationError(
                f"CloudCompute(compute_id=) must be the id of an instance, a UUID, got {compute_id!r}."
            ) from None
        if self.mark is None and (also := self.given(*_OF_A_START, "name", "max_lifetime")):
            raise ConfigurationError(
                f"CloudCompute(compute_id={compute_id!r}) is an instance that runs already: {', '.join(also)} would "
                "do nothing. Remove either."
            )
