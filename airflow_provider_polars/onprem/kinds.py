"""Kinds of values of a configuration: what each may be, and an example that is right."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from airflow_provider_polars.exceptions import ConfigurationError
from airflow_provider_polars.onprem import addresses, durations

_PLACEHOLDER = re.compile(r"\$\(|\$\{|\$[A-Za-z_]|\{\{|\}\}|^<.*>$|`")
_NOT_FILLED_IN = "must be filled in: this is a placeholder that nothing replaced"


@dataclasses.dataclass(frozen=True)
class Kind:
    """A kind of value.

    :param name: what the guide calls it.
    :param problem: returns the rule that a value breaks, None if it breaks none.
    :param example: a right value, as it stands in a file.
    """

    name: str
    problem: Callable[[Any], str | None]
    example: str


def text_problem(value: object) -> str | None:
    """Return the rule that a value breaks which is to be text of at least one character, all filled in."""
    if not isinstance(value, str):
        return "must be text, in quotes"
    if not value.strip():
        return "must not be empty"
    if any(character in value for character in "\r\n\0"):
        return "must be one line"
    return _NOT_FILLED_IN if _PLACEHOLDER.search(value) else None


def _path_problem(value: object) -> str | None:
    if (problem := text_problem(value)) is not None:
        return problem
    return "must be the path of a file or folder, not a URL" if "://" in str(value) else None


def _flag_problem(value: object) -> str | None:
    return None if isinstance(value, bool) else "must be true or false, without quotes"


def _duration_problem(value: object) -> str | None:
    if (problem := text_problem(value)) is not None:
        return problem
    return _problem_of(durations.parse, value)


def _address_problem(value: object) -> str | None:
    if isinstance(value, str) and _PLACEHOLDER.search(value):
        return _NOT_FILLED_IN
    return _problem_of(addresses.parse, value)


def _map_problem(value: object) -> str | None:
    if not isinstance(value, dict) or not all(isinstance(entry, str) for entry in value.values()):
        return "must be a table of names and texts"
    bad = [name for name in value if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name)]
    return f"must have names of variables as keys; {bad[0]!r} is none" if bad else None


def _texts_problem(value: object) -> str | None:
    values = value if isinstance(value, list) and value else [value]
    return next((problem for entry in values if (problem := text_problem(entry)) is not None), None)


def _problem_of(parse: Callable[[Any], object], value: object) -> str | None:
    try:
        parse(value)
    except ConfigurationError as error:
        return str(error)
    return None


def count(name: str = "whole number", *, example: str = "2") -> Kind:
    """Return the kind of whole numbers from 1 on."""

    def problem(value: object) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int):
            return "must be a whole number, without quotes"
        return None if 1 <= value < 2**63 else "must be at least 1 and fit 64 bits"

    return Kind(name, problem, example)


def url(*schemes: str, example: str) -> Kind:
    """Return the kind of URLs with one of ``schemes`` and a host, and without a password."""

    def problem(value: object) -> str | None:
        if (found := text_problem(value)) is not None:
            return found
        try:
            parts = urlsplit(str(value))
            host = parts.hostname
        except ValueError:
            return "must be a URL"
        if parts.scheme not in schemes or not host:
            return f"must be a URL that begins with {' or '.join(f'{scheme}://' for scheme in schemes)}"
        return "must not hold a password" if parts.password else None

    return Kind("URL", problem, f'"{example}"')


def choice(*values: str) -> Kind:
    """Return the kind of one text out of ``values``."""
    listed = " or ".join(f'"{value}"' for value in values)

    def problem(value: object) -> str | None:
        return None if value in values else f"must be {listed}"

    return Kind(listed, problem, f'"{values[0]}"')


TEXT = Kind("text", text_problem, '"a-name"')
TEXTS = Kind("text or list", _texts_problem, '"a-name"')
PATH = Kind("path", _path_problem, '"/an/absolute/path"')
FLAG = Kind("true, false", _flag_problem, "true")
COUNT = count()
BYTES = count("bytes", example="104857600")
DURATION = Kind("duration", _duration_problem, '"5 secs"')
ADDRESS = Kind("address", _address_problem, '"10.0.0.1:5052"')
VARIABLES = Kind("table of texts", _map_problem, '{ NAME = "value" }')
WEB = url("http", "https", example="http://host:8080")
S3 = url("s3", "s3a", example="s3://bucket/prefix")
GCS = url("gs", "gcs", example="gs://bucket/prefix")
ABS = url("az", "azure", "abfs", "abfss", "adl", example="az://container/prefix")
