"""Connections to clusters in real Airflow: the form, what the API shows, the Test button, and the test on a worker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provider_polars.get_provider_info import get_provider_info
from airflow_provider_polars.testing import DevCluster, start_dev_cluster
from tests.harness.waiting import wait_for

if TYPE_CHECKING:
    from tests.harness.stack import AirflowStack

TOKEN = "staple-battery-horse-7710"
CONN_ID = "tested_cluster"
NO_VALUE = dict.fromkeys(("domain_name", "insecure", "observatory", "scaling", "headers"))
"""What the form saves for fields that are left alone."""


@pytest.fixture(scope="module")
def guarded_cluster() -> Iterator[DevCluster]:
    """Run a cluster with TLS that asks for a token."""
    with start_dev_cluster("--tls", "--token", TOKEN, "--workers", "1") as cluster:
        yield cluster


@pytest.fixture
def saved(airflow_stack: AirflowStack, guarded_cluster: DevCluster) -> dict[str, Any]:
    """Save a connection to that cluster as the form does, and return what the form sends for it."""
    host, port = guarded_cluster.uri.removeprefix("https://").split(":")
    authority = (guarded_cluster.authority or b"").decode()
    extra = {**NO_VALUE, "tls": True, "ca_cert": authority, "observatory": guarded_cluster.observatory}
    fields = {"host": host, "port": int(port), "login": "ada", "schema": ""}
    airflow_stack.rest.set_connection(CONN_ID, "polars_cluster", **fields, password=TOKEN, extra=extra)
    return {"connection_id": CONN_ID, "conn_type": "polars_cluster", **fields, "extra": json.dumps(extra)}


def test_the_form_has_the_fields_of_a_cluster(airflow_stack: AirflowStack) -> None:
    (form,) = (
        meta
        for meta in airflow_stack.rest.request("GET", "/ui/connections/hook_meta")
        if meta["connection_type"] == "polars_cluster"
    )
    (known,) = (
        entry for entry in get_provider_info()["connection-types"] if entry["connection-type"] == "polars_cluster"
    )
    assert form["hook_name"] == "Polars Cluster"
    assert list(form["extra_fields"]) == list(known["conn-fields"])
    assert form["standard_fields"]["url_schema"]["hidden"]
    assert form["standard_fields"]["password"]["title"] == "Token"
    assert "answers 400" in form["standard_fields"]["port"]["placeholder"]


def test_the_button_reaches_a_guarded_cluster_and_nobody_is_shown_the_token(
    airflow_stack: AirflowStack, guarded_cluster: DevCluster, saved: dict[str, Any]
) -> None:
    answer = airflow_stack.rest.request("POST", "/api/v2/connections/test", body=saved)
    assert answer["status"] is True, answer
    assert answer["message"].startswith(f"{guarded_cluster.uri} answers: cluster development-cluster ")
    assert TOKEN not in json.dumps([answer, airflow_stack.rest.get(f"/connections/{CONN_ID}")])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"password": "another-token"}, "refuses the token"),
        ({"extra": json.dumps({"tls": True})}, "is not signed by an authority that this system trusts"),
        ({"extra": "{}"}, "speaks TLS, and the address says http://"),
    ],
)
def test_the_button_says_what_is_wrong(
    airflow_stack: AirflowStack, saved: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    answer = airflow_stack.rest.request("POST", "/api/v2/connections/test", body={**saved, **changes})
    assert answer["status"] is False
    assert message in answer["message"]


@pytest.fixture
def portless(airflow_stack: AirflowStack, guarded_cluster: DevCluster) -> dict[str, Any]:
    """Save a connection to that cluster whose address is all in its host; return what the API takes for it."""
    extra = {"ca_cert": (guarded_cluster.authority or b"").decode(), "observatory": guarded_cluster.observatory}
    fields: dict[str, Any] = {"host": guarded_cluster.uri, "password": TOKEN}
    airflow_stack.rest.set_connection("portless_cluster", "polars_cluster", **fields, extra=extra)
    return {
        "connection_id": "portless_cluster",
        "conn_type": "polars_cluster",
        **fields,
        "extra": json.dumps(extra),
    }


def test_the_test_on_a_worker_needs_no_port(
    airflow_stack: AirflowStack, guarded_cluster: DevCluster, portless: dict[str, Any]
) -> None:
    rest, path = airflow_stack.rest, "/api/v2/connections/enqueue-test"
    asked = rest.request("POST", path, body=portless)

    def ended() -> dict[str, Any] | None:
        answer: dict[str, Any] = rest.request("GET", path, headers={"Airflow-Connection-Test-Token": asked["token"]})
        return answer if answer["state"] in ("success", "failed") else None

    answer = wait_for(ended, 60, lambda: "the test on the worker did not end")
    assert answer["state"] == "success", answer
    assert answer["result_message"].startswith(f"{guarded_cluster.uri} answers: ")


def test_the_command_line_needs_no_port(airflow_stack: AirflowStack, portless: dict[str, Any]) -> None:
    output = airflow_stack.cli("connections", "test", portless["connection_id"]).stdout
    assert "Connection success!" in output
    assert TOKEN not in output
