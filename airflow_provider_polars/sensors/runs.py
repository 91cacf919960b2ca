"""What ``run=`` of a sensor may be: one query, or lists and dicts of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from airflow_provider_polars.backends.base import Run
from airflow_provider_polars.compute.base import Compute
from airflow_provider_polars.compute.remote import RemoteCompute
from airflow_provider_polars.exceptions import ConfigurationError, PolarsProviderError
from airflow_provider_polars.query.result import MARKER

Tree = Any
"""A value, or a list or dict of trees."""

_EXPECTED = "Give it what a task with wait=False returns, or a list or dict of that."


def read_runs(value: Any) -> Tree:
    """Return the Runs in ``run=``, arranged as they are there.

    :raises ConfigurationError: if there is none, or something that is none, or one that nobody can wait for.
    """
    tree = _read(value, "run=")
    if next(leaves(tree), None) is None:
        raise ConfigurationError(f"run={value!r} names no query. {_EXPECTED}")
    return tree


def leaves(tree: Tree) -> Iterator[Any]:
    """Yield the values of a tree."""
    if isinstance(tree, Mapping):
        for part in tree.values():
            yield from leaves(part)
    elif isinstance(tree, list):
        for part in tree:
            yield from leaves(part)
    else:
        yield tree


def changed(tree: Tree, change: Callable[[Any], Any]) -> Tree:
    """Return a tree with each value changed."""
    if isinstance(tree, Mapping):
        return {name: changed(part, change) for name, part in tree.items()}
    if isinstance(tree, list):
        return [changed(part, change) for part in tree]
    return change(tree)


def _read(value: Any, where: str) -> Tree:
    if isinstance(value, Mapping):
        if MARKER in value:
            raise ConfigurationError(
                f"{where} is the result of the query {value.get('query_id')}, which has ended: there is nothing to "
                "wait for. A task returns the query itself with wait=False."
            )
        if "query_id" in value:
            return _run(value, where)
        return {name: _read(part, f"{where}[{name!r}]") for name, part in value.items()}
    if isinstance(value, (str, bytes)) or not hasattr(value, "__iter__"):
        hint = " A template makes text of it: write run=task() or run=task.output." if isinstance(value, str) else ""
        raise ConfigurationError(f"{where} must be a query, got {type(value).__name__}: {value!r}. {_EXPECTED}{hint}")
    return [_read(part, f"{where}[{number}]") for number, part in enumerate(value)]


def _run(value: Mapping[str, Any], where: str) -> Run:
    try:
        run = Run.from_dict(value)
        compute = Compute.from_dict(run.compute)
    except (TypeError, PolarsProviderError) as error:
        raise ConfigurationError(f"{where} is no query that a task has submitted: {error}. {_EXPECTED}") from error
    if not isinstance(compute, RemoteCompute):
        raise ConfigurationError(
            f"{where} is a query on {compute!r}, which has ended with its task: there is nothing to wait for. Only a "
            "compute that runs on, such as ClusterCompute, takes wait=False."
        )
    return run
