"""``QueryOptions``: how a query is run, apart from where."""

from __future__ import annotations

import dataclasses
from typing import Any

from airflow_provider_polars.compute.base import Compute, Engine
from airflow_provider_polars.compute.remote import RemoteCompute
from airflow_provider_polars.exceptions import ConfigurationError, RefusedOptionError
from airflow_provider_polars.labels import AIRFLOW_LABELS, check_labels
from airflow_provider_polars.spec import coerce, field_types, is_template


@dataclasses.dataclass(frozen=True, kw_only=True)
class QueryOptions:
    """Options of one query. None means "not given".

    :param engine: ``auto``, ``streaming``, ``in-memory`` or ``gpu``; default that of the compute.
    :param distributed: run on all workers of a cluster; a mapping gives its settings.
    :param labels: labels of the query.
    :param priority: higher runs first, on a cluster that queues.
    :param n_retries: how often the compute itself tries the query again.
    :param head_rows: rows to keep in the result reference (which holds at most 1 KB of them); default 0.
    :param timeout: seconds after which the query is cancelled; default none.
    :param wait: False ends the task once the query is submitted; what is handed on is its Run.
    """

    engine: Engine | None = None
    distributed: bool | dict[str, Any] | None = None
    labels: tuple[str, ...] | None = None
    priority: int | None = None
    n_retries: int | None = None
    head_rows: int | None = None
    timeout: float | None = None
    wait: bool | None = None

    def __post_init__(self) -> None:
        hints = field_types(self)
        for field in dataclasses.fields(self):
            value = coerce(getattr(self, field.name), hints[field.name], f"{field.name}=")
            object.__setattr__(self, field.name, value)
        if self.wait is True:
            object.__setattr__(self, "wait", None)
        for name in ("n_retries", "head_rows"):
            value = getattr(self, name)
            if isinstance(value, int) and value < 0:
                raise ConfigurationError(f"{name}= must not be negative, got {value!r}.")
        if self.engine == "in-memory" and self.distributed:
            raise ConfigurationError(
                'engine="in-memory" cannot run distributed. Use engine="streaming" or "auto", or distributed=False.'
            )
        if isinstance(self.timeout, float) and self.timeout <= 0:
            raise ConfigurationError(f"timeout= must be above zero, or left out for none, got {self.timeout!r}.")

    def check_compute(self, compute: Compute) -> None:
        """Raise :class:`RefusedOptionError` for an option that the compute cannot honour.

        :raises ConfigurationError: for labels that it would not take.
        """
        for field in dataclasses.fields(self):
            if getattr(self, field.name) is not None and field.name not in type(compute).options:
                raise RefusedOptionError(
                    f"{field.name}={getattr(self, field.name)!r} is an option that {type(compute).__name__} cannot "
                    f"honour (it knows: {', '.join(sorted(type(compute).options))}). Remove it or choose another "
                    "compute."
                )
        if isinstance(compute, RemoteCompute) and not is_template(self.labels):
            check_labels(self.labels or (), AIRFLOW_LABELS if compute.airflow_labels else 0)


OPTION_NAMES = tuple(field.name for field in dataclasses.fields(QueryOptions))
