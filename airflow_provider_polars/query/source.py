"""``Query``: how to build the LazyFrame. A source of code together with the arguments it is called with."""

from __future__ import annotations

import ast
import builtins
import dataclasses
import dis
import importlib
import inspect
import re
import types
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn

from airflow_provider_polars.exceptions import ConfigurationError, QueryDefinitionError
from airflow_provider_polars.spec import to_json

_AIRFLOW_MODULE_PREFIX = re.compile(r"^unusual_prefix_[0-9a-f]+_")
_REFERENCE = re.compile(r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$")


class QuerySource:
    """Where the code of a query is. ``repr`` is stable: Airflow stores it with the DAG."""

    def load(self) -> Callable[..., Any]:
        """Return the callable that builds the query in this process."""
        raise NotImplementedError

    def code(self) -> dict[str, str]:
        """Return the code as JSON, for a runner in another process.

        :raises ConfigurationError: if the code cannot leave this process.
        """
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, repr=False)
class FunctionSource(QuerySource):
    """A Python function."""

    function: Callable[..., Any]

    def __repr__(self) -> str:
        function = inspect.unwrap(self.function)
        name = getattr(function, "__qualname__", type(function).__qualname__).replace("<locals>.", "")
        module = _AIRFLOW_MODULE_PREFIX.sub("", getattr(function, "__module__", None) or "?")
        return f"{module}.{name}"

    __str__ = __repr__
    serialize = __repr__

    def load(self) -> Callable[..., Any]:
        return self.function

    def code(self) -> dict[str, str]:
        function = self.function
        if inspect.unwrap(function) is not function:
            self._refuse("a decorator has put another function around it")
        if not isinstance(function, types.FunctionType) or function.__name__ == "<lambda>":
            self._refuse("it is not a function made by def")
        if function.__code__.co_freevars:
            self._refuse(f"it uses variables of the function around it: {', '.join(function.__code__.co_freevars)}")
        if outside := sorted(_global_names(function)):
            self._refuse(f"it uses names of its module: {', '.join(outside)}")
        try:
            definition = _definition(inspect.getsource(function))
        except (OSError, TypeError) as error:
            self._refuse(f"its source text is not available ({error})")
        if not isinstance(definition, ast.FunctionDef):
            self._refuse("it is not a function made by def")
        if outside := sorted(_default_names(definition.args)):
            self._refuse(f"its defaults use names of its module: {', '.join(outside)}")
        definition.decorator_list = []
        return {"source": ast.unparse(definition), "function": definition.name}

    def _refuse(self, reason: str) -> NoReturn:
        raise ConfigurationError(
            f"The query {self!r} cannot be sent to another process: {reason}. Import and define all it needs "
            'inside the function, or give the query as "package.module:function".'
        )


@dataclasses.dataclass(frozen=True)
class ReferenceSource(QuerySource):
    """A function named as ``"package.module:function"``, imported where the query is built."""

    target: str

    def __post_init__(self) -> None:
        if not _REFERENCE.match(self.target):
            raise ConfigurationError(
                f'query= as text must read "package.module:function", got {self.target!r}. SQL goes into sql=.'
            )

    def __repr__(self) -> str:
        return self.target

    __str__ = __repr__
    serialize = __repr__

    def load(self) -> Callable[..., Any]:
        module_name, _, path = self.target.partition(":")
        try:
            found: Any = importlib.import_module(module_name)
            for name in path.split("."):
                found = getattr(found, name)
        except (ImportError, AttributeError) as error:
            raise QueryDefinitionError(f"The query {self.target!r} cannot be imported here: {error}.") from error
        if not callable(found):
            raise QueryDefinitionError(f"The query {self.target!r} is a {type(found).__name__}, not a function.")
        function: Callable[..., Any] = found
        return function

    def code(self) -> dict[str, str]:
        return {"reference": self.target}


@dataclasses.dataclass(frozen=True)
class SqlSource(QuerySource):
    """A SELECT over named tables, run by ``polars.SQLContext``. The tables are the query's arguments."""

    sql: str

    def __repr__(self) -> str:
        return "sql"

    __str__ = __repr__
    serialize = __repr__

    def load(self) -> Callable[..., Any]:
        from airflow_provider_polars import runner

        return runner.sql_function(self.sql)

    def code(self) -> dict[str, str]:
        return {"sql": self.sql}


def make_source(query: Any) -> QuerySource:
    """Return the source for what an author gives as ``query=``.

    :raises ConfigurationError: if it is neither a callable nor ``"package.module:function"``.
    """
    if isinstance(query, QuerySource):
        return query
    if isinstance(query, str):
        return ReferenceSource(query)
    if callable(query):
        return FunctionSource(query)
    raise ConfigurationError(
        f'query= must be a function that returns a LazyFrame or "package.module:function", got {type(query).__name__}.'
    )


@dataclasses.dataclass(frozen=True)
class Query:
    """A source and its arguments; upstream results among them are :class:`Input` values."""

    source: QuerySource
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def named_arguments(self) -> dict[str, Any]:
        """Return the arguments by name, as a runner takes them.

        :raises ConfigurationError: if one has no name, or is not JSON; the message names it.
        """
        named = dict(self.kwargs)
        if self.args:
            signature = inspect.signature(self.source.load())
            bound = signature.bind(*self.args, **self.kwargs)
            named = {}
            for name, value in bound.arguments.items():
                kind = signature.parameters[name].kind
                if kind is inspect.Parameter.VAR_POSITIONAL:
                    raise ConfigurationError(f"Parameter *{name} cannot be sent to another process; name each one.")
                named |= value if kind is inspect.Parameter.VAR_KEYWORD else {name: value}
        for name, value in named.items():
            to_json(_without_inputs(value), f"Parameter {name!r} goes to another process and")
        return named


@dataclasses.dataclass(frozen=True)
class Input:
    """An upstream result or a table, ready to be scanned.

    :param scan: what the runner needs: ``format``, ``locations``, ``schema``, ``options``.
    :param form: ``lazy``, ``eager`` or ``ref``: what the parameter wants.
    :param ref: the reference itself, for ``ref``.
    :param storage_options: resolved credentials; never shown, never stored.
    """

    scan: Mapping[str, Any]
    form: str = "lazy"
    ref: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    storage_options: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)


def map_inputs(value: Any, function: Callable[[Input], Any]) -> Any:
    """Return ``value`` with every :class:`Input` in it, at any depth, replaced by ``function(input)``."""
    if isinstance(value, Input):
        return function(value)
    if isinstance(value, list):
        return [map_inputs(item, function) for item in value]
    if type(value) is tuple:
        return tuple(map_inputs(item, function) for item in value)
    if isinstance(value, dict):
        return {key: map_inputs(item, function) for key, item in value.items()}
    return value


def _without_inputs(value: Any) -> Any:
    return map_inputs(value, lambda _: None)


def _definition(text: str) -> ast.stmt:
    """Return the first statement of ``text``; indented text is put into a block, so that no string in it changes."""
    statement = ast.parse(f"if True:\n{text}" if text[0].isspace() else text).body[0]
    return statement.body[0] if isinstance(statement, ast.If) else statement


def _global_names(function: types.FunctionType) -> Iterator[str]:
    for code in _nested(function.__code__):
        for instruction in dis.get_instructions(code):
            name = instruction.argval
            if instruction.opname != "LOAD_GLOBAL" or name in ("pl", function.__name__):
                continue
            if name in function.__globals__ or not hasattr(builtins, name):
                yield name


def _default_names(arguments: ast.arguments) -> set[str]:
    defaults = [default for default in (*arguments.defaults, *arguments.kw_defaults) if default is not None]
    names = {node.id for default in defaults for node in ast.walk(default) if isinstance(node, ast.Name)}
    return {name for name in names if name != "pl" and not hasattr(builtins, name)}


def _nested(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _nested(constant)
