"""The link from a task to its query: there as soon as the task has pushed it, and nowhere else."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, BaseOperator, BaseOperatorLink
from airflow.serialization.serialized_objects import DagSerialization

from airflow_provider_polars.links.observatory import LINK_KEY, PolarsObservatoryLink, push

if TYPE_CHECKING:
    from tests.harness.in_memory import InMemoryAirflow

URL = "http://observatory.example:3001/api/v1/query/6f0c4a52-5b8e-4c35-9f3d-0d5f1f9f6f6a"


class Linked(BaseOperator):
    """A task that submits a query, and may fail after."""

    operator_extra_links: Collection[BaseOperatorLink] = (PolarsObservatoryLink(),)

    def __init__(self, *, url: str | None = URL, fails: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.url = url
        self.fails = fails

    def execute(self, context: Any) -> None:
        if self.url:
            self.query_link = self.url
            push(context, self.url)
        if self.fails:
            raise ValueError("of the test")


@pytest.mark.parametrize("fails", [False, True])
def test_the_link_leads_to_what_the_task_has_pushed_however_it_ends(
    in_memory_airflow: InMemoryAirflow, fails: bool
) -> None:
    outcome = in_memory_airflow.run_task(Linked(task_id="t", fails=fails))
    assert outcome.state == ("failed" if fails else "success")
    assert outcome.xcoms[LINK_KEY] == URL


def test_the_link_is_there_while_the_task_runs(in_memory_airflow: InMemoryAirflow) -> None:
    """The user interface reads the very key that the task pushes to."""
    with DAG("linked", schedule=None) as dag:
        Linked(task_id="t")
    (task,) = DagSerialization.to_dict(dag)["dag"]["tasks"]
    assert task["__var"]["_operator_extra_links"] == {"Polars query": LINK_KEY}
    outcome = in_memory_airflow.run_task(Linked(task_id="t"))
    pushed = [request.body for request in outcome.requests if request.method == "POST" and LINK_KEY in request.path]
    assert pushed[0] == URL


def test_a_task_that_has_pushed_nothing_has_no_link(in_memory_airflow: InMemoryAirflow) -> None:
    assert not in_memory_airflow.run_task(Linked(task_id="t", url=None)).xcoms.get(LINK_KEY)
