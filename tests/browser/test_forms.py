"""The form of each connection type: what it shows and saves, its Test button, and a DAG with what was saved."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from airflow_provider_polars.get_provider_info import get_provider_info
from tests.browser.chromium import Browser
from tests.browser.filled import FILLED, Filled
from tests.browser.pages import DIALOG, Answer, ConnectionForm, ConnectionList, DagPage, Field, RunPage
from tests.harness.development import Development

TYPES: dict[str, dict[str, Any]] = {
    entry["connection-type"]: entry
    for entry in get_provider_info()["connection-types"]  # type: ignore[no-untyped-call]
}
STANDARD = {"description": "Description", "host": "Host", "port": "Port", "login": "Login", "password": "Password"}
SCHEMA = "schema"

pytestmark = pytest.mark.browser


def widget_of(schema: dict[str, Any]) -> str:
    """Return the widget that shows a field as its schema says."""
    kinds = {"boolean": "switch", "object": "json", "integer": "number", "string": "text"}
    formats = {"multiline": "multiline", "password": "password"}
    if "enum" in schema:
        return "select"
    return formats.get(schema.get("format", ""), kinds[schema["type"][0]])


def begin(browser: Browser, conn_type: str) -> ConnectionForm:
    """Open a new form for a type."""
    connections = ConnectionList(browser)
    connections.open()
    form = connections.add()
    form.choose(TYPES[conn_type]["hook-name"])
    return form


def fill(form: ConnectionForm, filled: Filled, *, only: tuple[str, Any] | None = None) -> None:
    """Fill in all, or one field alone."""
    values = {**filled.standard, **filled.extra} if only is None else dict([only])
    for name, value in values.items():
        (form.fill_extra if name in filled.extra else form.fill)(name, value)


@pytest.mark.parametrize("conn_type", TYPES)
def test_the_form_shows_what_the_provider_says(browser: Browser, conn_type: str) -> None:
    entry = TYPES[conn_type]
    behaviour, fields = entry["ui-field-behaviour"], entry["conn-fields"]
    form = begin(browser, conn_type)

    shown = form.standard()
    browser.picture(f"form_{conn_type}_standard", DIALOG)
    expected = {name: label for name, label in STANDARD.items() if name not in behaviour["hidden-fields"]}
    assert {name: field.label for name, field in shown.items()} == expected | {
        name: label for name, label in behaviour["relabeling"].items() if name in expected
    }
    assert {name: shown[name].placeholder for name in behaviour["placeholders"]} == behaviour["placeholders"]
    if "password" in shown:
        assert shown["password"].widget == "password"

    assert form.extra(list(fields)) == {
        name: Field(field["label"], field["description"], "", widget_of(field["schema"]))
        for name, field in fields.items()
    }
    browser.picture(f"form_{conn_type}_extra", DIALOG)
    enums = {name: field["schema"]["enum"] for name, field in fields.items() if "enum" in field["schema"]}
    assert {name: form.options(name) for name in enums} == enums


@pytest.mark.parametrize("conn_type", TYPES)
def test_a_connection_is_made_tested_corrected_and_used(browser: Browser, world: Development, conn_type: str) -> None:
    """The whole way of somebody who has never seen the form, a slip included."""
    assert conn_type in FILLED, f"say in tests/browser/filled.py what people fill into the form of {conn_type}"
    filled, conn_id = FILLED[conn_type](world), f"form_{conn_type}"
    connections = ConnectionList(browser)

    form = begin(browser, conn_type)
    form.fill("connection_id", conn_id)
    fill(form, filled)
    fill(form, filled, only=filled.wrong)
    form.save()

    refused = connections.test(conn_id)
    browser.picture(f"refused_{conn_type}")
    assert refused.title == "Test Connection Failed"
    assert filled.refusal in refused.text

    form = connections.edit(conn_id)
    name = filled.wrong[0]
    fill(form, filled, only=(name, {**filled.standard, **filled.extra}[name]))
    form.save()

    approved = connections.test(conn_id)
    browser.picture(f"approved_{conn_type}")
    assert approved.title == "Test Connection Successful", approved
    assert filled.approval in approved.text

    stored = world.rest.get(f"/connections/{conn_id}")
    assert stored["conn_type"] == conn_type
    shown = {name: value for name, value in filled.standard.items() if name != "password"}
    assert {name: stored[name] for name in shown} == shown
    extra = json.loads(stored["extra"])
    assert {name: value for name, value in extra.items() if value is not None} == filled.extra
    assert extra.keys() == TYPES[conn_type]["conn-fields"].keys()
    told = json.dumps([refused, approved, stored]) + browser.text()
    assert [secret for secret in filled.secrets if secret in told] == []

    run_by_hand(browser, world, conn_type)


def test_airflow_itself_refuses_to_test_a_connection_without_a_port(browser: Browser, world: Development) -> None:
    """Airflow 3.3.2. Once it does not, the forms and the guide need not speak of it."""
    host = {"host": world.cluster.uri, "password": world.cluster.token}
    world.rest.set_connection("portless", "polars_cluster", **host)
    connections = ConnectionList(browser)
    connections.open()

    answer = connections.test("portless")
    assert answer == Answer("Test Connection Failed", "Bad Request")


def run_by_hand(browser: Browser, world: Development, conn_type: str) -> None:
    """Start the DAG of a connection by its button, and see it succeed."""
    dag_id = f"on_{conn_type}"
    world.rest.wait_for_dag(dag_id)
    DagPage(browser, dag_id).trigger()
    run_id = browser.until(lambda: newest_run(world, dag_id), f"a run of {dag_id}")
    page = RunPage(browser, dag_id, run_id)
    page.open()
    state = world.rest.wait_for_run(dag_id, run_id)
    assert state == "success", world.rest.log_text(dag_id, run_id, "query")
    page.wait_for_state("Success")
    browser.picture(f"run_{conn_type}")
    assert world.rest.get(f"/dags/{dag_id}/dagRuns/{run_id}")["triggering_user_name"] == "admin"
    result = world.rest.xcom(dag_id, run_id, "query")
    assert pl.read_parquet(result["locations"]).rows() == [(1,)]


def newest_run(world: Development, dag_id: str) -> str | None:
    """Return the id of the only run of a DAG, None if there is none yet."""
    runs = world.rest.get(f"/dags/{dag_id}/dagRuns")["dag_runs"]
    return str(runs[0]["dag_run_id"]) if runs else None
