"""The link from a task to its query in the observatory of a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.sdk import BaseOperatorLink

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context
    from airflow.sdk.types import TaskInstanceKey

LINK_KEY = "polars_query_link"


class PolarsObservatoryLink(BaseOperatorLink):
    """Leads to what the observatory knows of the query; nowhere for a compute that has no observatory."""

    name = "Polars query"
    xcom_key = LINK_KEY

    def get_link(self, operator: BaseOperator, *, ti_key: TaskInstanceKey) -> str:
        """Return where the query that ``operator`` has submitted in this process is shown, "" if there is none.

        Airflow asks when the task has ended, and keeps the answer where :func:`push` has put it before.
        """
        return str(getattr(operator, "query_link", ""))


def push(context: Context, url: str) -> None:
    """Keep where the link of this task instance leads, so that it is there while the task runs."""
    context["ti"].xcom_push(key=LINK_KEY, value=url)
