"""Where the code of a query comes from, and what of it can go to another process."""

from __future__ import annotations

import functools
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from airflow_provider_polars import runner
from airflow_provider_polars.exceptions import ConfigurationError, QueryDefinitionError
from airflow_provider_polars.query.source import (
    FunctionSource,
    Input,
    Query,
    ReferenceSource,
    SqlSource,
    make_source,
    map_inputs,
)

LIMIT = 3
sum = pl.sum


def self_contained(rows: int, *, start: int = 0) -> pl.LazyFrame:
    """Return numbers from ``start``."""
    import polars as pl

    def double(column: pl.Expr) -> pl.Expr:
        return column * 2

    return pl.select(n=double(pl.int_range(start, start + rows))).lazy()


def uses_a_global() -> pl.LazyFrame:
    return pl.select(n=pl.int_range(LIMIT)).lazy()


def uses_a_global_inside() -> Any:
    return [row + 1 for row in (lambda: range(LIMIT))()]


def uses_a_global_named_like_a_builtin() -> pl.LazyFrame:
    return pl.select(n=1).lazy().select(sum("n"))


def uses_a_global_in_a_default(limit: int = LIMIT) -> pl.LazyFrame:
    return pl.select(n=pl.int_range(limit)).lazy()


def calls_itself(n: int) -> pl.LazyFrame:
    return calls_itself(n - 1) if n else pl.LazyFrame({"n": [0]})


async def asynchronous() -> None:
    """Not a query."""


def wrapping(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs).head(1)

    return wrapper


@wrapping
def wrapped() -> pl.LazyFrame:
    return pl.LazyFrame({"n": [1, 2]})


def closure() -> Callable[[], pl.LazyFrame]:
    """Return a function that needs this one's variables."""
    rows, name = 3, "n"

    def inner() -> pl.LazyFrame:
        return pl.select(pl.int_range(rows).alias(name)).lazy()

    return inner


def with_text() -> Callable[[], pl.LazyFrame]:
    """Return a function that holds text at the beginning of a line."""

    def inner() -> pl.LazyFrame:
        text = """\
n
    1
"""
        return pl.LazyFrame({"text": [text]})

    return inner


class Builder:
    """Builds queries in ways that are no functions."""

    def __call__(self) -> pl.LazyFrame:
        """Return a query."""
        return pl.LazyFrame()

    def method(self) -> pl.LazyFrame:
        """Return a query."""
        return pl.LazyFrame()


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make ``pkg.queries`` importable and return its name."""
    package = tmp_path / "pkg"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "queries.py").write_text(
        "import polars as pl\nclass Group:\n    def q():\n        return pl.LazyFrame({'n': [1]})\nnumber = 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield "pkg.queries"
    for name in ("pkg", "pkg.queries"):
        sys.modules.pop(name, None)


def sent(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``function`` as another process would load it from JSON."""
    return runner.load(json.loads(json.dumps(FunctionSource(function).code())))


# ---- functions


@pytest.mark.parametrize("source", [self_contained, calls_itself])
def test_a_function_that_holds_all_it_needs_is_the_same_in_another_process(source: Callable[..., Any]) -> None:
    assert sent(source)(3).collect().equals(source(3).collect())


def test_text_in_an_indented_function_is_sent_as_it_is() -> None:
    assert sent(with_text())().collect()["text"].to_list() == ["n\n    1\n"]
    assert with_text()().collect()["text"].to_list() == ["n\n    1\n"]


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (closure(), "it uses variables of the function around it: name, rows"),
        (uses_a_global, "it uses names of its module: LIMIT"),
        (uses_a_global_inside, "it uses names of its module: LIMIT"),
        (uses_a_global_named_like_a_builtin, "it uses names of its module: sum"),
        (uses_a_global_in_a_default, "its defaults use names of its module: LIMIT"),
        (lambda: pl.LazyFrame(), "it is not a function made by def"),
        (functools.partial(self_contained, 3), "it is not a function made by def"),
        (Builder(), "it is not a function made by def"),
        (Builder().method, "it is not a function made by def"),
        (asynchronous, "it is not a function made by def"),
        (wrapped, "a decorator has put another function around it"),
        (len, "it is not a function made by def"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_function_that_needs_more_than_itself_is_not_sent(function: Callable[..., Any], reason: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        FunctionSource(function).code()
    assert f"The query {FunctionSource(function)!r} cannot be sent to another process: {reason}" in str(caught.value)
    assert 'give the query as "package.module:function"' in str(caught.value)


def test_a_function_without_source_text_is_not_sent() -> None:
    namespace: dict[str, Any] = {}
    exec("def made_at_run_time():\n    return 1", namespace)
    with pytest.raises(ConfigurationError, match="its source text is not available"):
        FunctionSource(namespace["made_at_run_time"]).code()


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (self_contained, "self_contained"),
        (wrapped, "wrapped"),
        (closure(), "closure.inner"),
        (lambda: 1, "<lambda>"),
        (Builder(), "Builder"),
        (Builder().method, "Builder.method"),
    ],
)
def test_the_name_of_a_function_holds_no_address(function: Callable[..., Any], name: str) -> None:
    source = FunctionSource(function)
    assert repr(source) == str(source) == source.serialize() == f"{__name__}.{name}"
    assert source.load() is function


def test_the_name_of_a_function_in_a_dag_file_is_the_same_for_every_parse() -> None:
    def query() -> None:
        """Do nothing."""

    query.__module__ = "unusual_prefix_0123456789abcdef_my_dag"
    query.__qualname__ = "query"
    assert repr(FunctionSource(query)) == "my_dag.query"


# ---- references


def test_a_reference_is_imported_where_the_query_is_built(module: str) -> None:
    source = make_source(f"{module}:Group.q")
    assert module not in sys.modules
    assert source.load()().collect().rows() == [(1,)]
    assert runner.load(source.code())().collect().rows() == [(1,)]
    assert repr(source) == f"{module}:Group.q"


@pytest.mark.parametrize("text", ["pkg.queries", "pkg:", ":f", "pkg.queries:f()", "SELECT 1", "pkg/queries.py:f", ""])
def test_text_that_is_no_reference_is_refused_when_the_dag_is_parsed(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make_source(text)
    assert f'must read "package.module:function", got {text!r}. SQL goes into sql=.' in str(caught.value)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("no_such_package.q:f", "cannot be imported here: No module named 'no_such_package'"),
        ("{module}:missing", "cannot be imported here: module 'pkg.queries' has no attribute 'missing'"),
        ("{module}:Group.missing", "cannot be imported here"),
        ("{module}:number", "is a int, not a function"),
    ],
)
def test_a_reference_to_nothing_is_a_query_that_cannot_be_built(module: str, name: str, reason: str) -> None:
    target = name.format(module=module)
    with pytest.raises(QueryDefinitionError) as caught:
        ReferenceSource(target).load()
    assert f"The query {target!r} {reason}" in str(caught.value)


@pytest.mark.parametrize("query", [3, None, pl.LazyFrame(), ["pkg:f"]])
def test_what_is_no_source_is_refused(query: Any) -> None:
    with pytest.raises(ConfigurationError, match="query= must be a function that returns a LazyFrame or"):
        make_source(query)


def test_a_source_stays_the_source_that_it_is() -> None:
    source = SqlSource("SELECT 1")
    assert make_source(source) is source
    assert make_source(self_contained) == FunctionSource(self_contained)


# ---- SQL


@pytest.mark.parametrize("load", [lambda source: source.load(), lambda source: runner.load(source.code())])
def test_sql_is_a_function_of_its_tables(load: Callable[[SqlSource], Callable[..., pl.LazyFrame]]) -> None:
    query = load(SqlSource("SELECT a.n FROM a JOIN b ON a.n = b.n"))
    frame = query(a=pl.LazyFrame({"n": [1, 2]}), b=pl.LazyFrame({"n": [2, 3]}))
    assert isinstance(frame, pl.LazyFrame)
    assert frame.collect().rows() == [(2,)]


# ---- arguments


def test_positional_arguments_are_sent_by_name() -> None:
    query = Query(FunctionSource(self_contained), args=(3,), kwargs={"start": 2})
    assert query.named_arguments() == {"rows": 3, "start": 2}


def test_keyword_arguments_that_a_function_collects_are_sent_as_they_are() -> None:
    def collects(first: int, **others: int) -> None:
        """Take anything."""

    assert Query(FunctionSource(collects), args=(1,), kwargs={"a": 2}).named_arguments() == {"first": 1, "a": 2}


def test_positional_arguments_that_a_function_collects_have_no_name_to_be_sent_by() -> None:
    def collects(*numbers: int) -> None:
        """Take anything."""

    with pytest.raises(ConfigurationError, match=r"Parameter \*numbers cannot be sent to another process"):
        Query(FunctionSource(collects), args=(1, 2)).named_arguments()


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (object(), "Object of type object is not JSON serializable"),
        ({1, 2}, "Object of type set is not JSON serializable"),
        ([b"x"], "Object of type bytes is not JSON serializable"),
        (pl.LazyFrame(), "Object of type LazyFrame is not JSON serializable"),
        ({"a": [{1: "x"}]}, "the key 1 is int, and JSON would make it text"),
    ],
)
def test_a_parameter_that_is_not_json_is_refused_by_its_name(value: Any, reason: str) -> None:
    query = Query(FunctionSource(self_contained), kwargs={"rows": value})
    with pytest.raises(ConfigurationError) as caught:
        query.named_arguments()
    assert str(caught.value).startswith("Parameter 'rows' goes to another process and must hold JSON values only")
    assert reason in str(caught.value)


def test_upstream_results_among_the_arguments_need_not_be_json() -> None:
    upstream = Input(scan={"format": "parquet"}, storage_options={"aws_secret_access_key": "hunter2"})
    arguments = {"rows": [upstream, {"nested": (upstream,)}]}
    assert Query(FunctionSource(self_contained), kwargs=arguments).named_arguments() == arguments
    assert map_inputs(arguments, lambda _: "frame") == {"rows": ["frame", {"nested": ("frame",)}]}
    assert "hunter2" not in repr(upstream)
