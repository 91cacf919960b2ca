"""Checks of what an author writes, made when the DAG is parsed and again once templates are rendered."""

from __future__ import annotations

import functools
import inspect
import itertools
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from airflow.sdk import BaseOperator

from airflow_provider_polars.compute.base import Compute
from airflow_provider_polars.compute.remote import RemoteCompute
from airflow_provider_polars.exceptions import ConfigurationError, RefusedOptionError
from airflow_provider_polars.operators.base import as_compute, enclosing_compute_group
from airflow_provider_polars.query.options import OPTION_NAMES, QueryOptions
from airflow_provider_polars.query.paths import canonical, is_below
from airflow_provider_polars.query.sinks import Sink
from airflow_provider_polars.spec import check_keywords

Sinks = dict[str, "Sink | None"]


def check_names(owner: str, given: Iterable[str], operator: type[BaseOperator]) -> None:
    """Refuse a keyword that ``operator`` does not have, naming the nearest.

    :raises UnknownArgumentError: see above.
    """
    check_keywords(owner, (name for name in given if not name.startswith("_")), _argument_names(operator))


@functools.cache
def _argument_names(operator: type[BaseOperator]) -> frozenset[str]:
    names: set[str] = set(inspect.signature(BaseOperator).parameters)
    for base in operator.__mro__:
        if "__init__" in base.__dict__ and issubclass(base, BaseOperator):
            names |= set(inspect.signature(base.__init__).parameters)
    return frozenset(
        names - {"self", "kwargs", "kwargs_to_upstream"} - getattr(operator, "taken_arguments", frozenset())
    )


def check_values(arguments: Mapping[str, Any]) -> None:
    """Check the values of operator arguments as far as they are known; outputs of tasks and templates pass.

    :raises ConfigurationError: naming the argument, its value and what to write instead.
    """
    options = QueryOptions(**{name: arguments.get(name) for name in OPTION_NAMES if not _is_later(arguments.get(name))})
    sink, compute = arguments.get("sink"), arguments.get("compute")
    sinks = {} if _is_later(sink) and not is_output_map(sink) else as_sinks(sink)
    check_locations(sinks)
    if compute is not None and not _is_later(compute):
        check_fit(as_compute(compute), sinks, options)


def check_fit(compute: Compute, sinks: Sinks, options: QueryOptions) -> None:
    """Refuse a sink or an option that the compute cannot serve."""
    options.check_compute(compute)
    if options.wait is False and compute.needs_start:
        raise ConfigurationError(
            f"wait=False has no place with {compute!r}, which this task starts and stops: it would be gone before the "
            "query has ended. Let the task wait, or use a compute that runs already."
        )
    for sink in sinks.values():
        if isinstance(sink, Sink):
            sink.check_compute(compute.kind)
            if isinstance(compute, RemoteCompute) and sink.aws_conn_id and not compute.send_credentials:
                raise ConfigurationError(
                    f"{type(sink).__name__}(aws_conn_id={sink.aws_conn_id!r}): its secrets would travel to the cluster "
                    "inside of the plan. Remove aws_conn_id=, so that the cluster writes with a role of its own, or "
                    f"allow it with {type(compute).__name__}(send_credentials=True)."
                )


def check_group(task: Any, options: QueryOptions) -> None:
    """Refuse ``wait=False`` in a compute group: its compute would be gone before the query has ended."""
    if options.wait is False and (group := enclosing_compute_group(task)) is not None:
        raise ConfigurationError(
            f"wait=False has no place in the compute group {group.group_id!r}, which would stop its compute under the "
            "query. Move the task out of the group, or let it wait."
        )


def check_waiting(compute: Compute, defer_after: Any, *, cancel_on_kill: bool) -> None:
    """Refuse ``cancel_on_kill=False`` where a query cannot outlive its task.

    :raises RefusedOptionError: see above.
    :raises ConfigurationError: for a ``defer_after=`` that is no number.
    """
    if type(defer_after) not in (int, float) or not 0 <= defer_after < math.inf:
        raise ConfigurationError(f"defer_after= must be a number of seconds, got {defer_after!r}.")
    if not cancel_on_kill and (compute.needs_start or not isinstance(compute, RemoteCompute)):
        raise RefusedOptionError(
            f"cancel_on_kill=False cannot be honoured by {compute!r}, which ends with its task, and the query with it. "
            "Remove it, or use a compute that runs on."
        )


def positive(value: Any, name: str, unit: str) -> float:
    """Return a rendered argument as a number above zero.

    :param unit: of the number, for the message.
    :raises ConfigurationError: if it is none.
    """
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = 0.0
    if not 0 < number < math.inf:
        raise ConfigurationError(f"{name} must be a number of {unit} above zero, got {value!r}.")
    return number


def is_output_map(sink: Any) -> bool:
    """Return True for a dict of sinks, False for one sink, also for one given as a dict."""
    return isinstance(sink, Mapping) and not isinstance(sink.get("kind"), str)


def as_sinks(sink: Any) -> Sinks:
    """Return the sinks by output; a single one is the output ``return_value``. None stands for a managed location.

    :raises ConfigurationError: if one is no sink.
    """
    if not is_output_map(sink):
        return {"return_value": _as_sink(sink, "sink=")}
    if not sink:
        raise ConfigurationError("sink={} names no output; give at least one, or leave sink= out.")
    for name in sink:
        if not isinstance(name, str) or not name.isidentifier():
            raise ConfigurationError(f"An output of sink= must be named like a variable, got {name!r}.")
    return {name: value if _is_later(value) else _as_sink(value, f"sink[{name!r}]") for name, value in sink.items()}


def check_locations(sinks: Sinks) -> None:
    """Refuse two outputs that write to one location, or one into the directory of the other."""
    targets = {name: sink.target for name, sink in sinks.items() if isinstance(sink, Sink)}
    for (first, one), (second, other) in itertools.combinations(targets.items(), 2):
        place, other_place = canonical(one), canonical(other)
        if place == other_place:
            raise ConfigurationError(
                f"The outputs {first!r} and {second!r} have one location: {other!r}. Give each its own."
            )
        if is_below(place, other_place) or is_below(other_place, place):
            raise ConfigurationError(
                f"The outputs {first!r} and {second!r} overlap: {one!r} and {other!r}. "
                "A directory is replaced as a whole: give each output a place outside the other's."
            )


def check_mapped_sinks(task: Any, map_index: int | None) -> None:
    """Refuse a mapped task whose instances would all replace one result.

    :param task: the operator; its sink as the author wrote it is that of the DAG's own task.
    :param map_index: of the instance; None or negative if it is not mapped.
    """
    if map_index is None or map_index < 0:
        return
    written = task.dag.get_task(task.task_id)
    sink = written.partial_kwargs.get("sink") if written.is_mapped else written.sink
    if _is_later(sink):
        return
    for given in as_sinks(sink).values():
        if given is not None and getattr(given, "mode", "overwrite") != "append" and not _VARIES.search(given.target):
            raise ConfigurationError(
                f"Every instance of the mapped task {task.task_id!r} would replace {given.target!r}. Make the place "
                "differ between them, for example with {{ ti.map_index }}."
            )


_VARIES = re.compile(r"\{[{%].*\b(map_index\w*|task\w*|ti)\b", re.DOTALL)


def _as_sink(value: Any, where: str) -> Sink | None:
    if value is None or isinstance(value, Sink):
        return value
    if isinstance(value, Mapping):
        sink: Sink = Sink.from_dict(value)
        return sink
    raise ConfigurationError(f"{where} must be a sink such as ParquetSink(path), got {type(value).__name__}.")


def _is_later(value: Any) -> bool:
    """Return True for what only the running task knows: the output of a task or an item of a mapping, at any depth."""
    if isinstance(value, Mapping):
        return any(_is_later(item) for item in value.values())
    if isinstance(value, list | tuple):
        return any(_is_later(item) for item in value)
    return hasattr(value, "iter_references") or hasattr(value, "resolve")
