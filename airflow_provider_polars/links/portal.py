"""The link from a task to its compute, in the portal of the service that runs it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context
    from airflow.sdk.types import TaskInstanceKey

LINK_KEY = "polars_compute_link"


class PolarsComputeLink(BaseOperatorLink):
    """Leads to the page of an instance of Polars Cloud; nowhere for a compute that has none."""

    name = "Polars compute"
    xcom_key = LINK_KEY

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return where the compute that ``operator`` has to do with is shown, "" if there is no such page."""
        return str(getattr(operator, "compute_link", ""))


def push(context: Context, url: str) -> None:
    """Keep where the link of this task instance leads, so that it is there while the task runs."""
    context["ti"].xcom_push(key=LINK_KEY, value=url)
