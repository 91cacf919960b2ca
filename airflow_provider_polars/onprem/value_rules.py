"""Rules for each value by itself: its kind, whether its key is known, and since which server."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from airflow_provider_polars.exceptions import nearest
from airflow_provider_polars.onprem import addresses, keys, kinds, versions
from airflow_provider_polars.onprem.findings import Finding, shown
from airflow_provider_polars.onprem.keys import KEYS, SECTIONS, Key
from airflow_provider_polars.onprem.node import NodeConfig

Version = tuple[int, int, int]
_ALIKE = 0.8


def findings(node: NodeConfig, server: Version) -> Iterator[Finding]:
    """Yield what is wrong or odd with the values of a node, one by one."""
    yield from _walk(node.name, "", node.data, server)


def _walk(node: str, at: str, table: Mapping[str, Any], server: Version) -> Iterator[Finding]:
    for name, value in table.items():
        path = f"{at}.{name}" if at else name
        if path == "license" and isinstance(value, str):
            yield from _check(node, KEYS[keys.LICENSE_FILE], value, versions.OLDEST, path)
        elif path in KEYS:
            yield from _check(node, KEYS[path], value, server, path)
        elif path not in SECTIONS:
            yield from _unknown(node, path, value)
        elif isinstance(value, Mapping):
            yield from _walk(node, path, value, server)
        else:
            known = ", ".join(sorted(_children(path)))
            rule = "must be a table"
            yield Finding(node, path, shown(path, value), rule, f"Write a section [{path}] with keys such as {known}.")


def _check(node: str, key: Key, value: Any, server: Version, path: str) -> Iterator[Finding]:
    told = shown(path, value)
    if (problem := key.kind.problem(value)) is not None:
        fix = f"Write for example {path} = {key.example}."
        yield Finding(node, path, told, problem, fix)
        return
    if key.since > server and path != "license":
        rule = f"is read by servers from {versions.shown(key.since)} on, and this is for {versions.shown(server)}"
        yield Finding(node, path, told, rule, "Take a newer server, or leave the key out.", "warning")
    if key.secret:
        rule = "is a secret, which a file shows to whoever can read it"
        fix = f"Leave it out, and set the variable {keys.variable(path)} for the server."
        yield Finding(node, path, told, rule, fix, "warning")
    if key.kind is kinds.PATH and not str(value).startswith("/"):
        rule = "is relative to wherever the server is started"
        yield Finding(node, path, told, rule, "Write an absolute path.", "warning")
    if key.kind is kinds.ADDRESS and isinstance(value, Mapping):
        for part in value.keys() - set(addresses.PARTS):
            rule = f"has an unknown part {part!r}{nearest(part, addresses.PARTS)}"[:-1]
            yield Finding(node, path, told, rule, "An address has ip or hostname, and port.", "warning")


def _unknown(node: str, path: str, value: Any) -> Iterator[Finding]:
    at, _, name = path.rpartition(".")
    store = at.rpartition(".")[2]
    siblings = _children(at)
    if path in keys.FORMER:
        fix = f"Write {keys.FORMER[path]} instead."
    elif name.startswith(keys.OPTIONS.get(store, "\0")):
        if not difflib.get_close_matches(name, siblings, n=1, cutoff=_ALIKE):
            return
        fix = f"If it is not meant as another option of Polars' scan_parquet{nearest(name, siblings)}"
    else:
        close = nearest(name, siblings)
        close = _elsewhere(name) if close == "." else close
        fix = f"Correct or remove it{close}"
    yield Finding(node, path, shown(path, value), "is no key that is known, and is kept as it is", fix, "warning")


def _elsewhere(name: str) -> str:
    """Return the end of a sentence with the paths that a name has in other sections."""
    found = [path for path in (*KEYS, *sorted(SECTIONS)) if path.rpartition(".")[2] == name]
    return f"; {name} stands at {' or '.join(found)}." if 0 < len(found) <= 3 else "."


def _children(path: str) -> set[str]:
    start = f"{path}." if path else ""
    return {key[len(start) :].partition(".")[0] for key in KEYS if key.startswith(start)}
