"""All kinds of Compute and Sink, and hypothesis strategies that make values of them."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import pkgutil
import types
import typing
from collections.abc import Sequence
from typing import Any, Literal

from hypothesis import strategies as st

import airflow_provider_polars.compute
import airflow_provider_polars.query.table_sinks
from airflow_provider_polars.compute.base import Compute
from airflow_provider_polars.query.sinks import FileSink, Sink
from airflow_provider_polars.spec import Spec

for _module in pkgutil.iter_modules(airflow_provider_polars.compute.__path__):
    importlib.import_module(f"{airflow_provider_polars.compute.__name__}.{_module.name}")

KINDS: list[type[Spec]] = [*Compute.registry.values(), *Sink.registry.values()]
SINKS: list[type[Sink]] = list(Sink.registry.values())
MINIMAL: dict[str, dict[str, Any]] = {
    "delta": {"path": "/lake/orders", "mode": "append"},
    "iceberg": {"table": "sales.orders", "mode": "append"},
    **{kind: {"path": "s3://lake/orders"} for kind, found in Sink.registry.items() if issubclass(found, FileSink)},
}

_SPECS = {"cpus", "memory", "cpu_architectures"}
_OF_A_START = {"storage", "cluster_size", "requirements", "env_vars", "labels", "log_level", "idle_timeout_mins"}
_HANDLE = {"compute_id", "mark", "ready_at"}
LEFT_OUT: dict[str, list[set[str]]] = {
    "iceberg": [{"storage_options", "aws_conn_id"}],
    "cloud": [
        {"instance_type", "name", *_HANDLE},
        {*_SPECS, "name", *_HANDLE},
        {*_SPECS, "instance_type", *_OF_A_START, "connection_mode", *_HANDLE},
        {*_SPECS, "instance_type", *_OF_A_START, "name", "max_lifetime", "mark", "ready_at"},
        {"instance_type", "name"},
    ],
}
"""Fields of a kind that do not go with the others, for each form that it has."""

words = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="{}@:"), min_size=1, max_size=20)
templates = words.map(lambda word: f"{{{{ params['{word}'] }}}}")
_locations = st.one_of(
    words.map(lambda word: f"s3://lake/{word}"),
    words.map(lambda word: f"s3://lake/{word}/{{{{ run_id }}}}/"),
    templates,
)
_addresses = st.one_of(
    st.tuples(st.sampled_from(["http", "https"]), st.integers(1, 65535)).map(
        lambda parts: f"{parts[0]}://node:{parts[1]}"
    ),
    templates,
)
_characters = st.sampled_from([",", ";", "|", "\t", "'", '"', "x"])
_BY_NAME: dict[str, st.SearchStrategy[Any]] = {
    "path": _locations,
    "separator": _characters,
    "line_terminator": st.sampled_from(["\n", "\r\n"]) | templates,
    "quote_char": _characters,
    "python": words.map(lambda word: f"/opt/{word}/bin/python") | templates,
    "table": words.map(lambda word: f"sales.{word}") | templates,
    "catalog_properties": st.dictionaries(st.sampled_from(["type", "uri", "warehouse"]), words | templates),
    "uri": st.none() | _addresses,
    "observatory": st.none() | _addresses,
    "ca_cert": st.none() | words.map(lambda word: f"/etc/{word}.pem") | templates,
    "headers": st.dictionaries(st.sampled_from(["x-team", "x-project"]), words | templates),
    "cpus": st.integers(1, 1000) | templates,
    "memory": st.integers(1, 1000) | templates,
    "requirements": st.none() | words.map(lambda word: f"/opt/{word}.txt") | templates,
    "env_vars": st.dictionaries(st.sampled_from(["RUST_LOG", "POLARS_VERBOSE"]), words | templates),
    "labels": st.lists(st.text("abc-", min_size=1, max_size=32) | templates, max_size=3).map(tuple),
    "idle_timeout_mins": st.none() | st.integers(10, 2**70) | templates,
    "compute_id": st.uuids().map(str) | templates,
    "mark": words | templates,
    "storage_options": st.dictionaries(st.sampled_from(["aws_region", "aws_endpoint_url"]), words | templates),
}


def minimal(kind: type[Spec], **fields: Any) -> Spec:
    """Return a value of ``kind`` with its required fields, and ``fields``."""
    return kind(**{**MINIMAL.get(kind.kind, {}), **fields})


@functools.cache
def of(kind: type[Spec]) -> st.SearchStrategy[Spec]:
    """Return a strategy for values of ``kind``, templates among them."""
    return st.one_of(*(_form(kind, left_out) for left_out in LEFT_OUT.get(kind.kind, [set()])))


def _form(kind: type[Spec], left_out: set[str]) -> st.SearchStrategy[Spec]:
    hints = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind) if field.name not in left_out]
    fields = {name: _BY_NAME[name] if name in _BY_NAME else _field(hints[name]) for name in names}
    return st.fixed_dictionaries(fields).map(lambda values: kind(**values))


def _field(hint: Any) -> st.SearchStrategy[Any]:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return st.none() | _field(next(option for option in arguments if option is not type(None)))
    if origin is Literal:
        return st.sampled_from(arguments)
    if origin in (tuple, Sequence):
        return st.lists(_field(arguments[0]), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(words, _field(arguments[1]), max_size=3)
    known: dict[Any, st.SearchStrategy[Any]] = {
        str: words | templates,
        int: st.integers(1, 2**70) | templates,
        float: st.floats(0.001, 1e9) | templates,
        bool: st.booleans(),
    }
    return known[hint]
