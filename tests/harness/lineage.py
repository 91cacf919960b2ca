"""Airflow's OpenLineage provider in this process: its real listener, with a file for a transport."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airflow.sdk import conf
from airflow.sdk.listener import get_listener_manager

SECTION = "openlineage"


@dataclass(frozen=True)
class Events:
    """The file that the provider writes its events to."""

    file: Path

    @property
    def options(self) -> dict[str, str]:
        """The section ``[openlineage]`` with which the provider writes there."""
        transport = {"type": "file", "log_file_path": str(self.file), "append": True}
        return {"transport": json.dumps(transport), "namespace": "tests"}

    @property
    def text(self) -> str:
        """All events as they are written."""
        return self.file.read_text() if self.file.exists() else ""

    def of(self, job: str) -> list[dict[str, Any]]:
        """Return the events of one job, ``dag.task``, in their order."""
        events = [json.loads(line) for line in self.text.splitlines()]
        return [event for event in events if event["job"]["name"] == job]

    def one(self, job: str, kind: str) -> dict[str, Any]:
        """Return the one event of a job that is ``START``, ``COMPLETE`` or ``FAIL``."""
        (event,) = [event for event in self.of(job) if event["eventType"] == kind]
        return event


def names(datasets: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return namespaces and names of the data sets of an event."""
    return [(dataset["namespace"], dataset["name"]) for dataset in datasets]


@contextmanager
def listening(file: Path) -> Iterator[Events]:
    """Have tasks of this process listened to, and their events written to ``file``.

    Events are written by a thread, as ``execute_in_thread`` says: this process has run queries, and does not fork. The
    options are not given as environment variables, which threads of the client may be reading.
    """
    events, manager = Events(file), get_listener_manager()  # the plugin, which is asked now, has no transport yet
    if not conf.has_section(SECTION):
        conf.add_section(SECTION)
    options = {**events.options, "execute_in_thread": "True"}
    for name, value in options.items():
        conf.set(SECTION, name, value)
    from airflow.providers.openlineage.plugins.listener import OpenLineageListener

    listener = OpenLineageListener()  # type: ignore[no-untyped-call]
    manager.add_listener(listener)  # type: ignore[no-untyped-call]
    try:
        yield events
    finally:
        manager.pm.unregister(listener)
        for name in options:
            conf.remove_option(SECTION, name)
