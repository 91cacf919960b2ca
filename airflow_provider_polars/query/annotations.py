"""What a function's parameter wants of an upstream result, read from its annotation's text.

Annotations are never evaluated: ``pl`` is often imported only inside the function or for type checkers.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Callable
from typing import Any

from airflow_provider_polars.exceptions import ConfigurationError

FORMS = {"LazyFrame": "lazy", "DataFrame": "eager", "ResultRef": "ref"}


def parameter_form(function: Callable[..., Any], parameter: str) -> str:
    """Return ``lazy``, ``eager`` or ``ref``; ``lazy`` where the annotation names none of the three types.

    :raises ConfigurationError: if the annotation names more than one.
    """
    parameters = inspect.signature(function).parameters
    others = next((other for other in parameters.values() if other.kind is other.VAR_KEYWORD), None)
    found = parameters.get(parameter, others)
    annotation = found.annotation if found is not None else inspect.Parameter.empty
    wanted = {FORMS[name] for name in _names(annotation) if name in FORMS}
    if len(wanted) > 1:
        raise ConfigurationError(
            f"Parameter {parameter!r} is annotated {annotation!r}, which names more than one of "
            f"{', '.join(FORMS)}. Choose one of them."
        )
    return wanted.pop() if wanted else "lazy"


def positional_names(function: Callable[..., Any], count: int) -> list[str]:
    """Return the names of the parameters that take the first ``count`` positional arguments."""
    names: list[str] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            names += [parameter.name] * (count - len(names))
        names.append(parameter.name)
    return names[:count]


def returns_mapping(function: Callable[..., Any]) -> bool:
    """Return True if the return annotation's text begins with a mapping type."""
    annotation = getattr(function, "__annotations__", {}).get("return")
    text = annotation if isinstance(annotation, str) else str(annotation)
    return re.match(r"^(<class ')?(typing\.|collections\.abc\.)?(dict|Dict|Mapping)\b", text.strip("'\"")) is not None


def _names(annotation: Any) -> set[str]:
    if isinstance(annotation, str):
        return set(re.findall(r"\w+", annotation))
    names = {getattr(annotation, "__name__", "")}
    for argument in typing.get_args(annotation):
        names |= _names(argument)
    return names
