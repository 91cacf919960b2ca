"""Where nobody listens nothing is looked for, and where the provider is missing nothing of it is asked for."""

from __future__ import annotations

import json
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

TASK = """
import json, sys
import polars as pl
from airflow_provider_polars import polars_task
from airflow_provider_polars.lineage.listening import is_listened_to
from tests.harness.in_memory import InMemoryAirflow

task = polars_task(task_id="query", openlineage_inject_parent_job_info=True)(lambda: pl.LazyFrame({"a": [1]}))()
outcome = InMemoryAirflow().run_task(task)
print()
print(json.dumps({
    "state": outcome.state,
    "listened_to": is_listened_to(),
    "loaded": sorted(name for name in sys.modules if "openlineage" in name),
}))
"""


PARENT_RUN = """
import json
from airflow_provider_polars.lineage.listening import parent_run
print(json.dumps({"parent_run": parent_run(None)}))
"""


def packages_without_provider(folder: Path) -> Path:
    """Return a folder of links to all packages that are installed here but OpenLineage's."""
    installed = Path(sysconfig.get_path("purelib"))
    _link(installed, folder, lambda name: "openlineage" not in name and name != "airflow")
    _link(installed / "airflow", folder / "airflow", lambda name: name != "providers")
    _link(installed / "airflow" / "providers", folder / "airflow" / "providers", lambda name: name != "openlineage")
    return folder


def _link(source: Path, target: Path, wanted: Callable[[str], bool]) -> None:
    target.mkdir()
    for entry in source.iterdir():
        if wanted(entry.name):
            (target / entry.name).symlink_to(entry)


@pytest.fixture
def ran(run_python: Callable[..., str], tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    """Return ``ran(code)``, which tells what became of a task in a fresh interpreter, and what it has loaded."""

    def ran(code: str) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(
            run_python(code, AIRFLOW__POLARS__RESULTS_PATH=str(tmp_path)).splitlines()[-1]
        )
        return told

    return ran


def test_tasks_run_without_the_provider(ran: Callable[[str], dict[str, Any]], tmp_path: Path) -> None:
    packages = packages_without_provider(tmp_path / "packages")
    code = f"import sys\nsys.path[:] = [path for path in sys.path if 'site-packages' not in path] + ['{packages}']\n"

    told = ran(code + TASK)

    assert (told["state"], told["listened_to"]) == ("success", False)
    assert [name for name in told["loaded"] if name.startswith(("openlineage", "airflow.providers.open"))] == []
    assert ran(code + PARENT_RUN) == {"parent_run": None}


def test_the_client_of_openlineage_is_not_loaded_where_events_go_nowhere(
    ran: Callable[[str], dict[str, Any]],
) -> None:
    told = ran(TASK)

    assert (told["state"], told["listened_to"]) == ("success", False)
    assert [name for name in told["loaded"] if name.startswith("openlineage")] == []
