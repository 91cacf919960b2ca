"""``QueryOptions``: how a query is run, apart from where."""

from __future__ import annotations

import dataclasses
from typing import Any

from airflow_provider_polars.compute.base import Compute, Engine
from airflow_provider_polars.exceptions import ConfigurationError, RefusedOptionError
from airflow_provider_polars.spec import coerce, field_types


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
    """

    engine: Engine | None = None
    distributed: bool | dict[str, Any] | None = None
    labels: tuple[str, ...] | None = None
    priority: int | None = None
    n_retries: int | None = None
    head_rows: int | None = None
    timeout: float | None = None

    def __post_init__(self) -> None:
        hints = field_types(self)
        for field in dataclasses.fields(self):
            value = coerce(getattr(self, field.name), hints[field.name], f"{field.name}=")
            object.__setattr__(self, field.name, value)
        for name in ("n_retries", "head_rows"):
            value = getattr(self, name)
            if isinstance(value, int) and value < 0:
                raise ConfigurationError(f"{name}= must not be negative, got {value!r}.")
        if isinstance(self.timeout, float) and self.timeout <= 0:
            raise ConfigurationError(f"timeout= must be above zero, or left out for none, got {self.timeout!r}.")

    def check_compute(self, compute: type[Compute]) -> None:
        """Raise :class:`RefusedOptionError` for an option that this kind of compute cannot honour."""
        for field in dataclasses.fields(self):
            if getattr(self, field.name) is not None and field.name not in compute.options:
                raise RefusedOptionError(
                    f"{field.name}={getattr(self, field.name)!r} is an option that {compute.__name__} cannot honour "
                    f"(it knows: {', '.join(sorted(compute.options))}). Remove it or choose another compute."
                )


OPTION_NAMES = tuple(field.name for field in dataclasses.fields(QueryOptions))
