"""From the code of a query to LazyFrames, and what to say when that goes wrong."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import polars as pl


class WrongReturnError(TypeError):
    """The function returned something that is not what its outputs need."""


def sql_function(sql: str) -> Callable[..., pl.LazyFrame]:
    """Return a function of the tables, by name, that builds the query of one SELECT."""

    def build(**tables: pl.LazyFrame) -> pl.LazyFrame:
        return pl.SQLContext(tables).execute(sql, eager=False)

    return build


def load(code: Mapping[str, str]) -> Callable[..., Any]:
    """Return the function that ``{"source", "function"}``, ``{"reference"}`` or ``{"sql"}`` stands for."""
    if "sql" in code:
        return sql_function(code["sql"])
    if "reference" in code:
        module, _, path = code["reference"].partition(":")
        found: Any = importlib.import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
        return found  # type: ignore[no-any-return]
    namespace: dict[str, Any] = {"pl": pl, "__name__": "polars_task"}
    exec(compile(code["source"], "<polars_task>", "exec"), namespace)
    return namespace[code["function"]]  # type: ignore[no-any-return]


def frames(value: Any, keys: list[str], single: bool) -> dict[str, pl.LazyFrame]:
    """Return what the function gave as LazyFrames by output.

    :param keys: the outputs; ``single`` says that there is one and the function returns it bare.
    """
    if single:
        value = {keys[0]: value}
    if not isinstance(value, Mapping):
        got = _described(value)
        raise WrongReturnError(f"must return a dict of LazyFrames with the keys {keys}, got {got}")
    if set(value) != set(keys):
        raise WrongReturnError(
            f"must return a dict with the keys {sorted(keys)}, got the keys {sorted(map(str, value))}"
        )
    for key, frame in value.items():
        if not isinstance(frame, pl.LazyFrame | pl.DataFrame):
            where = "" if single else f" for {key!r}"
            raise WrongReturnError(f"must return a LazyFrame{where}, got {_described(frame)}")
    return {key: frame.lazy() for key, frame in value.items()}


def _described(value: Any) -> str:
    if value is None:
        return "None (is a return missing?)"
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")


def described_error(error: BaseException) -> dict[str, Any]:
    """Return an exception as JSON: its class names up to ``BaseException``, message and traceback text."""
    return {
        "classes": [base.__name__ for base in type(error).__mro__[:-1]],
        "message": str(error),
        "errno": getattr(error, "errno", None),
        "traceback": "".join(traceback.format_exception(error))[-8000:],
    }
