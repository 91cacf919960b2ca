"""Write ``docs/settings.md``: the options and connection fields of the provider, from ``get_provider_info.py``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
PAGE = REPOSITORY / "docs" / "settings.md"
STANDARD_FIELDS = ("host", "port", "login", "password", "schema")
INTRODUCTION = """# Options and connection fields

`make docs` writes this page from the metadata that Airflow itself reads, for `airflow config` and for the forms of
connections. [Configuration](configuration.md) says how to set them.
"""


def table(heading: list[str], rows: Iterator[list[str]]) -> str:
    """Return a table of Markdown."""
    lines = [heading, ["---"] * len(heading), *rows]
    return "".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines)


def code(text: str | None) -> str:
    """Return ``text`` as code, and nothing for nothing."""
    return f"`{text}`" if text else ""


def options(section: str, described: dict[str, Any]) -> str:
    """Return the part of one section of the configuration."""
    rows = (
        [
            code(name),
            option["type"],
            code(option["default"]) or "empty",
            code(option["example"]),
            option["version_added"],
            option["description"],
        ]
        for name, option in described["options"].items()
    )
    return (
        f"## The `[{section}]` section\n\n"
        f"In the environment, an option is `AIRFLOW__{section.upper()}__` and its name in capitals.\n\n"
        + table(["Option", "Type", "Default", "Example", "Since", "Meaning"], rows)
    )


def kind(schema: dict[str, Any]) -> str:
    """Return what a field of a connection holds, in words."""
    if "enum" in schema:
        return " or ".join(code(str(value)) for value in schema["enum"])
    types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    (name,) = [name for name in types if name != "null"]
    return {"string": "text", "object": "JSON object", "boolean": "true or false", "integer": "whole number"}[name]


def connection(described: dict[str, Any]) -> str:
    """Return the part of one type of connection."""
    form = described["ui-field-behaviour"]
    rows = [
        [code(name), form["relabeling"].get(name, name.capitalize()), "", form["placeholders"].get(name, "")]
        for name in STANDARD_FIELDS
        if name not in form["hidden-fields"]
    ]
    rows += [
        [code(name), field["label"], kind(field["schema"]), field["description"]]
        for name, field in described["conn-fields"].items()
    ]
    return (
        f"## Connections of type `{described['connection-type']}`\n\n"
        f"*{described['hook-name']}* in the form. Read by `{described['hook-class-name']}`.\n\n"
        + table(["Field", "In the form", "Holds", "Meaning"], iter(rows))
    )


def page(info: dict[str, Any]) -> str:
    """Return the page for the metadata of a provider."""
    parts = [options(section, described) for section, described in info["config"].items()]
    parts += [connection(described) for described in info["connection-types"]]
    return "\n".join([INTRODUCTION, *parts])


if __name__ == "__main__":
    sys.path.insert(0, str(REPOSITORY))
    from airflow_provider_polars.get_provider_info import get_provider_info

    PAGE.write_text(page(get_provider_info()))  # type: ignore[no-untyped-call]
