"""The log of a task as its page shows it: what was submitted where, and a summary whose lines stand in columns."""

from __future__ import annotations

import pytest

from tests.browser.chromium import Browser
from tests.browser.pages import LogPage
from tests.harness.development import Development

pytestmark = pytest.mark.browser


def test_the_summary_stands_in_columns_at_the_end_of_the_log(world: Development, browser: Browser) -> None:
    dag_id, conn_type = "on_polars_cluster", "polars_cluster"
    world.rest.set_connection(f"form_{conn_type}", conn_type, **world.connections[conn_type])
    world.rest.wait_for_dag(dag_id)
    run_id = world.rest.trigger(dag_id)
    assert world.rest.wait_for_run(dag_id, run_id) == "success"
    query_id = world.rest.xcom(dag_id, run_id, "query")["query_id"]

    page = LogPage(browser, dag_id, run_id, "query")
    page.open()
    page.line(f"Submitted query {query_id} to cluster ")
    names = ["rows", "size", "written", "time", "work", "ran on", "link"]
    lines = [page.line(f"Summary of query {query_id}"), *(page.line(f"  {name:9}") for name in names)]
    browser.picture("log_of_a_query")

    assert len({line.left for line in lines}) == 1
    assert {line.spaces for line in lines} == {"preserve"}
    assert len({line.font for line in lines}) == 1
    assert "mono" in lines[0].font
    tops = [line.top for line in lines]
    assert tops == sorted(set(tops))
