"""Our own facet: of queries, and of tasks that start and stop a compute."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema
import polars as pl
import pytest

from airflow_provider_polars import __version__, polars_task
from airflow_provider_polars.lineage.facets import SCHEMA_URL
from tests.unit.guide import DOCS
from tests.unit.operators.compute_tasks import start, stop
from tests.unit.operators.conftest import service  # noqa: F401
from tests.unit.outcomes import succeeded
from tests.unit.scripted_manager import INSTANCE, READY, STOPPED, Service

if TYPE_CHECKING:
    from tests.harness.in_memory import InMemoryAirflow
    from tests.harness.lineage import Events

PAGES_OF_VERSION = (
    f"https://raw.githubusercontent.com/airflow-provider-polars/airflow-provider-polars/v{__version__}/docs"
)
SCHEMA = json.loads((DOCS / "schemas" / "PolarsRunFacet.json").read_text())


def facet(event: dict[str, Any]) -> dict[str, Any]:
    """Return what our facet says, which is as its schema has it."""
    found: dict[str, Any] = event["run"]["facets"]["polars"]
    jsonschema.validate(found, {**SCHEMA, "$ref": "#/$defs/PolarsRunFacet"})
    assert found["_schemaURL"] == f"{SCHEMA['$id']}#/$defs/PolarsRunFacet"
    assert found.keys() - {"_producer", "_schemaURL"} <= SCHEMA["$defs"]["PolarsRunFacet"]["properties"].keys()
    return {name: value for name, value in found.items() if not name.startswith("_")}


def test_the_schema_is_that_of_this_version_as_a_file() -> None:
    assert SCHEMA["$id"] == f"{PAGES_OF_VERSION}/schemas/PolarsRunFacet.json"
    assert f"{SCHEMA['$id']}#/$defs/PolarsRunFacet" == SCHEMA_URL


@pytest.mark.usefixtures("results_path")
def test_the_facet_of_a_query_names_compute_engine_and_query(
    in_memory_airflow: InMemoryAirflow, events: Events
) -> None:
    task = polars_task(task_id="query", engine="streaming")(lambda: pl.LazyFrame({"a": [1]}))()

    result = succeeded(in_memory_airflow.run_task(task))

    assert facet(events.one("in_memory.query", "COMPLETE")) == {
        "compute": "local",
        "engine": "streaming",
        "queries": [{"queryId": result["query_id"], "output": "return_value", "state": "succeeded"}],
    }


def test_the_facet_of_a_start_and_a_stop_names_the_instance(
    in_memory_airflow: InMemoryAirflow,
    events: Events,
    service: Service,  # noqa: F811
) -> None:
    service.statuses = [READY]
    succeeded(in_memory_airflow.run_task(start()))
    service.statuses = [STOPPED]
    succeeded(in_memory_airflow.run_task(stop()))

    assert facet(events.one("in_memory.start", "START")) == {"compute": "cloud", "queries": []}
    for task_id in ("start", "stop"):
        told = facet(events.one(f"in_memory.{task_id}", "COMPLETE"))
        assert told == {"compute": "cloud", "computeId": INSTANCE, "queries": []}
