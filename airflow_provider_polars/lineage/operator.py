"""``LineageOperator``: what the OpenLineage provider asks of an operator that runs queries."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from airflow_provider_polars.lineage.record import Lineage
from airflow_provider_polars.query.options import QueryOptions

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage


class LineageOperator:
    """Base of operators that tell their lineage. The provider calls its methods, maybe in a forked process."""

    sql: str | None = None
    lineage: Lineage | None = None
    """What was found while the task ran; None until it has submitted."""

    wait: bool | None = None
    """False for a task that ends before its queries: what they write is told by the task that waits for them."""

    def expected_lineage(self) -> Lineage:
        """Return what the arguments of the task tell before it runs."""
        return Lineage()

    def get_openlineage_facets_on_start(self) -> OperatorLineage[Any, Any]:
        """Return the data sets that the arguments name."""
        return self._told(self.expected_lineage())

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """Return what the queries have read and written."""
        return self._told(self.lineage or self.expected_lineage())

    def get_openlineage_facets_on_failure(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """Return what the queries have read, and would have written."""
        return self.get_openlineage_facets_on_complete(task_instance)

    def _told(self, lineage: Lineage) -> OperatorLineage[Any, Any]:
        from airflow_provider_polars.lineage.facets import operator_lineage

        if QueryOptions(wait=self.wait).wait is False:
            lineage = dataclasses.replace(lineage, outputs=())
        return operator_lineage(lineage, self.sql)
