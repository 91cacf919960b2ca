"""From what is known of the lineage of a task to what the OpenLineage provider takes. It is imported here alone."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_polars import __version__
from airflow_provider_polars.lineage.naming import name_of
from airflow_provider_polars.lineage.record import Lineage, QueryTold, Written
from airflow_provider_polars.query.paths import public_text

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

SCHEMA_URL = (
    "https://raw.githubusercontent.com/airflow-provider-polars/airflow-provider-polars/"
    f"v{__version__}/docs/schemas/PolarsRunFacet.json#/$defs/PolarsRunFacet"
)
"""Of our own facet."""


def operator_lineage(lineage: Lineage, sql: str | None = None) -> OperatorLineage[Any, Any]:
    """Return the data sets and facets of a task.

    :param sql: of its query, None for a query that is no SQL.
    """
    from airflow.providers.common.compat.openlineage.facet import Dataset, SQLJobFacet
    from airflow.providers.openlineage.extractors import OperatorLineage

    names = [name_of(dataset) for dataset in lineage.inputs]
    return OperatorLineage(
        inputs=[Dataset(namespace=namespace, name=name) for namespace, name in names],
        outputs=[_output(written) for written in lineage.outputs],
        run_facets=_run_facets(lineage),
        job_facets={"sql": SQLJobFacet(query=public_text(sql))} if sql else {},
    )


def _output(written: Written) -> Any:
    from airflow.providers.common.compat.openlineage.facet import (
        OutputDataset,
        OutputStatisticsOutputDatasetFacet,
        SchemaDatasetFacet,
        SchemaDatasetFacetFields,
    )

    facets: dict[str, Any] = {}
    counts: dict[str, Any] = {}
    result = written.result
    if result is not None and result.schema:
        fields = [SchemaDatasetFacetFields(name=name, type=dtype) for name, dtype in result.schema]
        facets["schema"] = SchemaDatasetFacet(fields=fields)
    if result is not None and result.rows is not None and not written.appended:
        counts["outputStatistics"] = OutputStatisticsOutputDatasetFacet(
            rowCount=result.rows, size=result.bytes, fileCount=result["files"]
        )
    namespace, name = name_of(written.dataset)
    return OutputDataset(namespace=namespace, name=name, facets=facets, outputFacets=counts)


def _run_facets(lineage: Lineage) -> dict[str, Any]:
    from airflow.providers.common.compat.openlineage.facet import ExternalQueryRunFacet

    if not lineage.compute:
        return {}
    facets = {
        "polars": _polars_facet()(
            compute=lineage.compute,
            computeId=lineage.compute_id or None,
            engine=lineage.engine or None,
            queries=_told(lineage.queries),
        )
    }
    if lineage.queries:
        source = f"polars-{lineage.compute}"
        facets["externalQuery"] = ExternalQueryRunFacet(externalQueryId=lineage.queries[0].query_id, source=source)
    return facets


def _told(queries: Sequence[QueryTold]) -> list[dict[str, str]]:
    return [
        {"queryId": query.query_id, "output": query.output, "state": query.state}
        | ({"link": query.link} if query.link else {})
        for query in queries
    ]


@functools.cache
def _polars_facet() -> Any:
    """Return the class of our own run facet; docs/schemas/PolarsRunFacet.json describes it."""
    import attrs
    from airflow.providers.common.compat.openlineage.facet import RunFacet

    @attrs.define
    class PolarsRunFacet(RunFacet):
        compute: str
        queries: list[dict[str, str]]
        computeId: str | None = None
        engine: str | None = None

        @staticmethod
        def _get_schema() -> str:
            return SCHEMA_URL

    return PolarsRunFacet
