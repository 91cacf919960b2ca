"""Pictures of the guide: each is shown, and each is one that the browser tests take."""

from __future__ import annotations

import re

from airflow_provider_polars.get_provider_info import get_provider_info
from tests.unit.guide import DOCS, REPOSITORY

TAKEN = re.compile(r"\.picture\(f?\"([^\"]+)\"")
SHOWN = re.compile(r"!\[([^\]]+)\]\(pictures/([\w.]+)\)")


def taken() -> set[str]:
    """Return the names of the pictures that browser tests take."""
    names = [
        name
        for file in (REPOSITORY / "tests" / "browser").glob("test_*.py")
        for name in TAKEN.findall(file.read_text())
    ]
    types = [connection["connection-type"] for connection in get_provider_info()["connection-types"]]
    return {f"{name.replace('{conn_type}', conn_type)}.png" for name in names for conn_type in types}


def test_each_picture_is_shown_with_a_text_and_comes_from_a_browser_test() -> None:
    shown = [picture for page in DOCS.glob("*.md") for _, picture in SHOWN.findall(page.read_text())]
    assert sorted(shown) == sorted(file.name for file in (DOCS / "pictures").iterdir())
    assert len(shown) >= 5
    assert set(shown) <= taken()
