"""``Spec``: the common base of Compute and Sink values.

A Spec is a frozen dataclass of plain JSON values. It may hold Jinja templates; rendering makes a new Spec
(``map_templates``) and never changes one in place, because Airflow shares a DAG's objects between runs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import math
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal, TypeVar

from airflow_provider_polars.exceptions import (
    ConfigurationError,
    UnknownArgumentError,
    UnknownKindError,
    nearest,
)

S = TypeVar("S", bound="Spec")

SENSITIVE_WORDS = (
    "secret",
    "password",
    "passwd",
    "passphrase",
    "token",
    "credential",
    "accesskey",
    "accountkey",
    "apikey",
    "customerkey",
    "masterkey",
    "privatekey",
    "saskey",
    "serviceaccount",
    "connectionstring",
    "bearer",
    "authorization",
)
_PASSWORD_IN_URL = re.compile(r"://[^/@\s]*:[^/@\s]+@")
_XCOM_TEXT = "{{ task_instance.xcom_pull(task_ids='"


def is_template(value: object) -> bool:
    """Return True for text that Jinja still has to render."""
    return isinstance(value, str) and any(mark in value for mark in ("{{", "{%", "{#"))


def check_keywords(owner: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raise :class:`UnknownArgumentError`, naming the nearest known keyword, for any that is not known."""
    known = set(known)
    for name in given:
        if name not in known:
            raise UnknownArgumentError(
                f"{owner} has no argument {name!r}{nearest(name, known)} Its arguments are: {', '.join(sorted(known))}."
            )


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Spec:
    """A frozen, typed, JSON-serializable value with a ``kind``.

    Fields are coerced to their declared type, so that ``cpus="{{ params.cpus }}"`` is an integer once
    rendered; text that is still a template is left alone.

    :raises UnknownArgumentError: for a keyword that is not a field.
    :raises ConfigurationError: for a value that does not fit its field, for an XComArg, and for a
        mapping whose key names a secret.
    """

    kind: ClassVar[str]
    family: ClassVar[str]
    registry: ClassVar[dict[str, type[Any]]]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "kind" in cls.__dict__:
            cls.registry[cls.kind] = cls

    def __new__(cls, *args: Any, **kwargs: Any) -> Spec:
        check_keywords(cls.__name__, kwargs, (field.name for field in dataclasses.fields(cls)))
        return super().__new__(cls)

    def __post_init__(self) -> None:
        hints = field_types(self)
        for field in dataclasses.fields(self):
            where = f"{type(self).__name__}({field.name}=)"
            value = getattr(self, field.name)
            _refuse_xcom(value, where)
            object.__setattr__(self, field.name, coerce(value, hints[field.name], where))
        self.check()

    def check(self) -> None:
        """Raise :class:`ConfigurationError` where fields contradict each other. Called after coercion."""

    def to_dict(self) -> dict[str, Any]:
        """Return ``{"kind": ..., field: value}`` as JSON values, fields at their default left out."""
        values: dict[str, Any] = {"kind": self.kind}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if value != _default(field):
                values[field.name] = _json_copy(value)
        return values

    @classmethod
    def from_dict(cls: type[S], data: Mapping[str, Any]) -> S:
        """Return the value that :meth:`to_dict` wrote.

        :raises UnknownKindError: if ``data`` has no known ``kind``.
        :raises ConfigurationError: if a field is missing or does not fit.
        """
        if not isinstance(data, Mapping) or not isinstance(data.get("kind"), str):
            raise UnknownKindError(
                f"A {cls.family} as JSON is an object with a 'kind', got {type(data).__name__}: {_shown(data)}."
            )
        values = dict(data)
        found: type[S] = cls.find_kind(values.pop("kind"))
        for field in dataclasses.fields(found):
            if field.name not in values and _default(field) is dataclasses.MISSING:
                raise ConfigurationError(
                    f"{found.__name__} needs {field.name}=, got only: {', '.join(values) or 'nothing'}."
                )
        return found(**values)

    @classmethod
    def find_kind(cls, kind: str) -> type[Any]:
        """Return the class registered for ``kind``.

        :raises UnknownKindError: naming the nearest kind.
        """
        if kind not in cls.registry:
            raise UnknownKindError(
                f"There is no {cls.family} of kind {kind!r}{nearest(kind, cls.registry)} "
                f"Known kinds: {', '.join(sorted(cls.registry))}."
            )
        return cls.registry[kind]

    def map_templates(self: S, function: Callable[[str], Any]) -> S:
        """Return a copy in which every template, at any depth, is replaced by ``function(template)``.

        Other text stays as it is: Jinja would drop the newline of ``line_terminator="\\n"``. Jinja's native
        rendering makes numbers of digits; a field of text takes them as text.
        """
        hints = field_types(self)

        def rendered(template: str, hint: Any) -> Any:
            value = function(template)
            return str(value) if isinstance(value, int | float) and _is_text(hint) else value

        fields = {
            field.name: _map_templates(getattr(self, field.name), functools.partial(rendered, hint=hints[field.name]))
            for field in dataclasses.fields(self)
        }
        return dataclasses.replace(self, **fields)

    def serialize(self) -> dict[str, Any]:
        """Return :meth:`to_dict` with every value under a sensitive key masked: what people may see."""
        return {key: _masked(value) for key, value in self.to_dict().items()}

    def __repr__(self) -> str:
        fields = {key: value for key, value in self.serialize().items() if key != "kind"}
        return f"{type(self).__name__}({', '.join(f'{key}={value!r}' for key, value in fields.items())})"

    __str__ = __repr__


def field_types(value: object) -> dict[str, Any]:
    """Return the declared type of each field of a dataclass instance, class variables included."""
    cls: Any = type(value)
    return _type_hints(cls)


@functools.cache
def _type_hints(cls: Any) -> dict[str, Any]:
    return typing.get_type_hints(cls)


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default


def is_sensitive(name: str) -> bool:
    """Return True if a key of this name usually holds a secret."""
    letters = re.sub(r"[^a-z0-9]", "", name.lower())
    return any(word in letters for word in SENSITIVE_WORDS)


def _json_copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _json_copy(item) for key, item in value.items()}
    return [_json_copy(item) for item in value] if isinstance(value, list | tuple) else value


def _masked(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: "***" if is_sensitive(str(key)) else _masked(item) for key, item in value.items()}
    return [_masked(item) for item in value] if isinstance(value, list | tuple) else value


def _shown(value: Any) -> str:
    return repr(_masked(value))[:200]


def _map_templates(value: Any, function: Callable[[str], Any]) -> Any:
    if isinstance(value, Mapping):
        return {key: _map_templates(item, function) for key, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_map_templates(item, function) for item in value)
    return function(value) if is_template(value) else value


def _is_text(hint: Any) -> bool:
    return hint is str or any(_is_text(argument) for argument in typing.get_args(hint))


def _refuse_xcom(value: Any, where: str) -> None:
    if isinstance(value, Mapping):
        for item in value.values():
            _refuse_xcom(item, where)
    elif isinstance(value, list | tuple | set):
        for item in value:
            _refuse_xcom(item, where)
    elif (hasattr(value, "iter_references") and hasattr(value, "operator")) or (
        isinstance(value, str) and _XCOM_TEXT in value
    ):
        raise ConfigurationError(
            f"{where} was given the output of a task. Airflow would see no dependency on that task. "
            "Pass the whole compute= or sink= as that output, or give the value as a plain dict."
        )


_TRUE_FALSE = {"true": True, "1": True, "false": False, "0": False}


def coerce(value: Any, hint: Any, where: str) -> Any:
    """Return ``value`` as the type ``hint`` declares; templates pass unchanged.

    Known are ``str``, ``int``, ``float``, ``bool``, ``Literal[...]``, ``tuple[X, ...]``, ``Sequence[X]``,
    ``dict[str, X]``, ``Any`` and unions with ``None``.

    :raises ConfigurationError: naming ``where``, the value and what was expected.
    """
    if is_template(value) or hint is Any:
        return value
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        options = [option for option in arguments if option is not type(None)]
        fitting = (item for item in options if (typing.get_origin(item) is dict) == isinstance(value, Mapping))
        return coerce(value, next(fitting, options[0]), where)
    if origin is Literal:
        if value in arguments:
            return value
        known = [str(argument) for argument in arguments]
        raise ConfigurationError(
            f"{where} must be one of {', '.join(known)}, got {value!r}{nearest(str(value), known)}"
        )
    if origin in (tuple, Sequence):
        items = (value,) if isinstance(value, str) else value
        if isinstance(items, list | tuple):
            return tuple(coerce(item, arguments[0], where) for item in items)
    elif origin is dict:
        if isinstance(value, Mapping):
            return {str(key): _mapped_value(key, item, arguments[1], where) for key, item in value.items()}
    elif hint is bool:
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.strip().lower() in _TRUE_FALSE:
            return _TRUE_FALSE[value.strip().lower()]
    elif hint in (int, float):
        number = _number(value)
        if number is not None and (hint is float or number == int(number)):
            return hint(number)
    elif hint is str and isinstance(value, str):
        if _PASSWORD_IN_URL.search(value):
            raise ConfigurationError(f"{where} is a URL with a password in it. Secrets stay in Airflow connections.")
        return value
    expected = getattr(hint, "__name__", str(hint)) if origin is None else str(hint)
    got = type(value).__name__ if origin is dict else f"{type(value).__name__}: {_shown(value)}"
    raise ConfigurationError(f"{where} must be {expected}, got {got}.")


def _mapped_value(key: Any, value: Any, hint: Any, where: str) -> Any:
    if is_sensitive(str(key)):
        raise ConfigurationError(
            f"{where} holds {key!r}, which looks like a secret. Secrets stay in Airflow connections: "
            "remove the key and name a connection instead (aws_conn_id= for S3, conn_id= for a cluster)."
        )
    return coerce(value, hint, f"{where}[{key!r}]")


def _number(value: Any) -> int | float | None:
    """Return a finite number for one or for its text, None for anything else; an integer is never rounded."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    for kind in (int, float):
        with contextlib.suppress(ValueError, OverflowError):
            number = kind(value)
            if number == value or isinstance(value, str):
                return number if math.isfinite(number) else None
    return None


def _check_keys(value: Any) -> None:
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"the key {key!r} is {type(key).__name__}, and JSON would make it text")
    items = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    for item in items:
        _check_keys(item)


def to_json(value: Any, where: str) -> str:
    """Return ``value`` as JSON text.

    :raises ConfigurationError: naming ``where`` if a part of it is not JSON.
    """
    try:
        _check_keys(value)
        return json.dumps(value)
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{where} must hold JSON values only (text, numbers, booleans, lists, objects): {error}."
        ) from None
