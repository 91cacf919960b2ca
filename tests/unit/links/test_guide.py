"""The guide says which tasks have which links."""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any

from airflow_provider_polars.get_provider_info import get_provider_info
from tests.conftest import REPOSITORY

GUIDE = REPOSITORY / "docs" / "user-interface.md"


def operators() -> list[Any]:
    """Return the operators and sensors that the provider lists."""
    info = get_provider_info()  # type: ignore[no-untyped-call]
    modules = [name for kind in ("operators", "sensors") for entry in info[kind] for name in entry["python-modules"]]
    return [
        found
        for name in modules
        for found in vars(importlib.import_module(name)).values()
        if inspect.isclass(found) and found.__module__ == name and hasattr(found, "operator_extra_links")
    ]


def test_the_table_of_links_names_every_task_that_has_one() -> None:
    rows = dict(re.findall(r"^\| \*(Polars \w+)\* \| (.*?) \|", GUIDE.read_text(), re.MULTILINE))
    found: dict[str, set[str]] = {}
    for operator in operators():
        for link in operator.operator_extra_links:
            found.setdefault(link.name, set()).add(operator.__name__)
    assert {name: set(re.findall(r"`(Polars\w+)`", row)) for name, row in rows.items()} == found


def test_every_link_is_one_that_the_provider_lists() -> None:
    listed = set(get_provider_info()["extra-links"])  # type: ignore[no-untyped-call]
    used = {type(link) for operator in operators() for link in operator.operator_extra_links}
    assert {f"{link.__module__}.{link.__qualname__}" for link in used} == listed
