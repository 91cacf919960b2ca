"""The embedded default: the query runs on the Airflow worker itself."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from airflow_provider_polars.compute.base import Compute, Engine
from airflow_provider_polars.exceptions import ConfigurationError
from airflow_provider_polars.spec import is_template


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class LocalCompute(Compute):
    """Run on this worker.

    Without ``threads``, ``memory_limit_gb``, ``python`` and ``engine="gpu"`` the query runs in the task's
    own process. With any of them it runs in a child process that starts from the code of the query and
    its JSON arguments, and that is killed with its task.

    :param engine: ``auto``, ``streaming``, ``in-memory`` or ``gpu``; default ``auto``. A task's own
        ``engine=`` wins.
    :param threads: size of the Polars thread pool (``POLARS_MAX_THREADS``); default one per core.
    :param memory_limit_gb: resident memory in GB (10**9 bytes) above which the query is killed; default
        none.
    :param python: absolute path of the Python interpreter to run in, with its own Polars; default the
        task's own.
    """

    kind: ClassVar[str] = "local"
    backend: ClassVar[str] = "airflow_provider_polars.backends.local:LocalBackend"
    hook: ClassVar[str] = "airflow_provider_polars.hooks.polars:PolarsHook"
    options: ClassVar[frozenset[str]] = frozenset({"engine", "labels", "head_rows", "timeout"})

    engine: Engine = "auto"
    threads: int | None = None
    memory_limit_gb: float | None = None
    python: str | None = None

    def check(self) -> None:
        for name in ("threads", "memory_limit_gb"):
            value = getattr(self, name)
            if value is not None and not is_template(value) and value <= 0:
                raise ConfigurationError(f"LocalCompute({name}=) must be above zero, got {value!r}.")
        if self.python is not None and not is_template(self.python) and not self.python.startswith("/"):
            raise ConfigurationError(
                f"LocalCompute(python=) must be an absolute path of an interpreter, got {self.python!r}."
            )
