"""``PolarsClusterHook.test_connection``: the Test button."""

from __future__ import annotations

import importlib.metadata
import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from airflow.sdk import Connection

from airflow_provider_polars.hooks import cluster as cluster_hook
from airflow_provider_polars.hooks.cluster import PolarsClusterHook
from airflow_provider_polars.testing import DevCluster, start_dev_cluster
from airflow_provider_polars.testing.environment import REFUSED
from tests.unit.hooks.cluster_connections import CONN_ID, TOKEN, Connect
from tests.wire.peers import peer, refusing_port

LIMITS = ("TEST_SECONDS", "_PROBE_SECONDS", "_OBSERVATORY_SECONDS")
SHIPPED = {name: getattr(cluster_hook, name) for name in LIMITS}
LATE = 10.0
"""Seconds by which a busy machine may be late."""


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let those who answer take their time."""
    for name in LIMITS:
        monkeypatch.setattr(cluster_hook, name, 40.0)


@pytest.fixture(scope="module")
def guarded_cluster() -> Iterator[DevCluster]:
    """Run a cluster with TLS that asks for a token."""
    with start_dev_cluster("--tls", "--token", TOKEN, "--workers", "1") as cluster:
        yield cluster


def fields_for(cluster: DevCluster, **extra: Any) -> dict[str, Any]:
    """Return the fields of a connection to a cluster, its extra fields with ``extra`` in them."""
    known = {"observatory": cluster.observatory}
    if cluster.authority:
        known["ca_cert"] = cluster.authority.decode()
    return {"host": cluster.uri, "password": cluster.token, "extra": {**known, **extra}}


def pressed(hook: PolarsClusterHook) -> tuple[bool, str]:
    """Return what the Test button says, which it has to say in time."""
    started = time.monotonic()
    outcome = hook.test_connection()
    assert time.monotonic() - started < cluster_hook.TEST_SECONDS + LATE
    return outcome


def test_the_button_tells_the_versions_of_the_cluster(connect: Connect, polars_dev_cluster: DevCluster) -> None:
    good, text = pressed(connect(**fields_for(polars_dev_cluster)))
    assert good
    assert re.fullmatch(
        rf"{polars_dev_cluster.uri} answers: cluster development-cluster \S+, Polars {polars_dev_cluster.polars}\.",
        text,
    )


@pytest.mark.parametrize("given", [{}, {"insecure": True, "ca_cert": None}, {"domain_name": "localhost"}])
def test_the_button_passes_tls_and_token(connect: Connect, guarded_cluster: DevCluster, given: dict[str, Any]) -> None:
    good, text = pressed(connect(**fields_for(guarded_cluster, **given)))
    assert good
    assert text.startswith(f"{guarded_cluster.uri} answers: ")
    assert TOKEN not in text
    assert "But" not in text


def test_the_button_works_through_airflows_own_way_to_the_hook(
    guarded_cluster: DevCluster, polars_dev_cluster: DevCluster
) -> None:
    """It finds the hook by the type of the connection, in the metadata of the provider."""
    for cluster in (guarded_cluster, polars_dev_cluster):
        fields = fields_for(cluster)
        connection = Connection(
            conn_id=CONN_ID, conn_type="polars_cluster", **{**fields, "extra": json.dumps(fields["extra"])}
        )
        good, text = connection.test_connection()
        assert good, text
        assert text.startswith(f"{cluster.uri} answers: ")


@pytest.mark.parametrize(
    ("password", "extra", "message"),
    [
        (None, {}, "asks for a token"),
        ("another-token", {}, "refuses the token"),
        (TOKEN, {"ca_cert": None}, "is not signed by an authority that this system trusts"),
        (TOKEN, {"domain_name": "elsewhere.invalid"}, "not for elsewhere.invalid"),
        (TOKEN, {"ca_cert": "no certificate"}, "cannot be read"),
    ],
)
def test_the_button_says_why_a_guarded_cluster_refuses(
    connect: Connect, guarded_cluster: DevCluster, password: str | None, extra: dict[str, Any], message: str
) -> None:
    good, text = pressed(connect(**{**fields_for(guarded_cluster, **extra), "password": password}))
    assert not good
    assert guarded_cluster.uri in text
    assert message in text
    assert "another-token" not in text


def test_the_button_says_what_is_there_instead_of_a_cluster(connect: Connect, polars_dev_cluster: DevCluster) -> None:
    good, text = pressed(connect(host=polars_dev_cluster.observatory))
    assert not good
    assert "is a web server (HTTP/1), not the scheduler" in text
    with refusing_port() as port:
        assert "Nothing listens at" in pressed(connect(host="127.0.0.1", port=port))[1]
    assert "does not resolve" in pressed(connect(host="cluster.invalid", port=5051))[1]


def test_the_button_answers_in_time_whoever_is_silent(
    connect: Connect, polars_dev_cluster: DevCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in SHIPPED.items():
        monkeypatch.setattr(cluster_hook, name, seconds)
    with peer() as (host, port):
        good, text = pressed(connect(host=host, port=port))
        assert not good
        assert "said nothing" in text
        good, text = pressed(connect(host=polars_dev_cluster.uri, extra={"observatory": f"http://{host}:{port}"}))
    assert good
    assert f"But the observatory at http://{host}:{port} does not answer" in text
    assert cluster_hook.TEST_SECONDS < 5


def test_the_button_says_that_the_observatory_is_not_there(connect: Connect, polars_dev_cluster: DevCluster) -> None:
    good, text = pressed(connect(**fields_for(polars_dev_cluster, observatory=f"http://{REFUSED}")))
    assert good
    assert f"But the observatory at http://{REFUSED} does not answer" in text
    assert text.endswith("queries run without it, their details and links do not.")


def test_the_button_warns_of_another_polars(
    connect: Connect, polars_dev_cluster: DevCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = connect(**fields_for(polars_dev_cluster))
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "1.2.3")
    good, text = pressed(hook)
    assert good
    assert (
        f"Polars 1.2.3 is installed where this test ran; the workers need polars=={polars_dev_cluster.polars}" in text
    )


def test_the_button_needs_no_polars_where_it_runs(
    connect: Connect, polars_dev_cluster: DevCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook = connect(**fields_for(polars_dev_cluster))

    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    good, text = pressed(hook)
    assert good
    assert f"No Polars is installed where this test ran; the workers need polars=={polars_dev_cluster.polars}" in text


def test_the_button_does_not_import_polars(polars_dev_cluster: DevCluster, run_python: Callable[..., str]) -> None:
    output = run_python(
        "import sys\n"
        "from airflow_provider_polars.hooks import cluster\n"
        "cluster.TEST_SECONDS = cluster._PROBE_SECONDS = cluster._OBSERVATORY_SECONDS = 40.0\n"
        "good, text = cluster.PolarsClusterHook('polars_x').test_connection()\n"
        "print(good, *(name for name in ('polars', 'polars_cloud') if name in sys.modules))",
        AIRFLOW_CONN_POLARS_X=json.dumps({"conn_type": "polars_cluster", **fields_for(polars_dev_cluster)}),
    )
    assert output.splitlines()[-1] == "True"
