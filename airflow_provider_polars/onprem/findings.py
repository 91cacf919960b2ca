"""``Finding``: what is wrong, or odd, with one key of one node."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from typing import Any, Literal

from airflow_provider_polars.onprem.keys import KEYS
from airflow_provider_polars.spec import SENSITIVE_WORDS

MASK = "***"
_LONGEST = 80
_PASSWORD = re.compile(r"://[^/@\s]*:[^/@\s]+@")


@dataclasses.dataclass(frozen=True, order=True)
class Finding:
    """What is wrong, or odd, with one key of one node.

    :param node: the file, or the node, that has the key.
    :param key: path of the key.
    :param value: its value as it is shown, secrets masked; ``"not set"`` without one.
    :param rule: what must be.
    :param fix: what to do.
    :param severity: ``"breach"`` if the cluster cannot work so; ``"warning"`` if it may.
    """

    node: str
    key: str
    value: str
    rule: str
    fix: str
    severity: Literal["breach", "warning"] = "breach"

    def __str__(self) -> str:
        return f"{self.node}: {self.key} ({self.value}): {self.rule}. {self.fix}"


def is_secret(path: str) -> bool:
    """Return True for a key whose value must not be shown: known as secret, or with a name that says so."""
    known = KEYS.get(path)
    if known is not None:
        return known.secret
    name = re.sub(r"[^a-z]", "", path.rpartition(".")[2].lower())
    return any(word in name for word in SENSITIVE_WORDS)


def secret_paths(data: Mapping[str, Any], at: str = "") -> list[str]:
    """Return the paths of all keys in a table whose values must not be shown."""
    found: list[str] = []
    for name, value in data.items():
        path = f"{at}.{name}" if at else name
        if isinstance(value, Mapping):
            found += secret_paths(value, path)
        elif is_secret(path):
            found.append(path)
    return found


def shown(path: str, value: Any) -> str:
    """Return a value as it may be shown."""
    if value is None:
        return "not set"
    text = json.dumps(_masked(path, value), ensure_ascii=False, default=str)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _masked(path: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _masked(f"{path}.{name}", entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [_masked(path, entry) for entry in value]
    if is_secret(path):
        return MASK
    return _PASSWORD.sub(f"://{MASK}@", value) if isinstance(value, str) else value
