"""The summary that a task writes into its log at its end, as a test reads it: from a console or from the REST API."""

from __future__ import annotations

import re

_TITLE = re.compile(r"Summary of (\d+ queries|query \S+)")
_BEFORE, _AFTER = r"(?:\binfo\s*\]| info \S+) ", r"(?:\s+\[airflow\.\S+\] loc=| \w+=['\d]|$)"
_EVENT = re.compile(rf"{_BEFORE}(?P<text>  \S.*?|Summary of .*?){_AFTER}")


def lines_of_summary(log: str) -> list[str]:
    """Return the lines of the last summary in a log, without what the log puts around them."""
    lines: list[str] = []
    for line in log.splitlines():
        event = _EVENT.search(line)
        if event is not None and _TITLE.match(event["text"]):
            lines = [event["text"]]
        elif event is not None and lines:
            lines.append(event["text"])
    return lines


def summary(log: str) -> dict[str, str]:
    """Return what the last summary of one query says, by its names; ``query`` is the id."""
    title, *lines = lines_of_summary(log)
    names_and_texts = (re.split(r" {2,}", line.strip(), maxsplit=1) for line in lines)
    return {"query": title.rpartition(" ")[2], **{name: text for name, text in names_and_texts}}  # noqa: C416
