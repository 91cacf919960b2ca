"""A task log, as the API answers it, as plain text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def render_log(content: Sequence[str | Mapping[str, Any]]) -> str:
    """Return one line per event with all its fields, followed by frames, type and text of its exceptions."""
    return "\n".join(map(_log_line, content))


def _log_line(content: str | Mapping[str, Any]) -> str:
    if isinstance(content, str):
        return content
    fields = dict(content)
    head = " ".join(str(fields.pop(key)) for key in ("timestamp", "level", "logger", "event") if fields.get(key))
    details = fields.pop("error_detail", None) or []
    rest = "".join(f" {key}={value!r}" for key, value in fields.items())
    return "\n".join([head + rest, *(_exception_text(detail) for detail in details)])


def _exception_text(detail: Mapping[str, Any]) -> str:
    frames = [f"  {frame['filename']}:{frame['lineno']} in {frame['name']}" for frame in detail.get("frames") or []]
    nested = [_exception_text(inner) for group in detail.get("exceptions") or [] for inner in group]
    return "\n".join(
        [*frames, f"{detail['exc_type']}: {detail['exc_value']}", *(detail.get("exc_notes") or []), *nested]
    )
