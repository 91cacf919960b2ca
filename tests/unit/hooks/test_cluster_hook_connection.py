"""``PolarsClusterHook``: a connection in every form, and what a compute says over it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import pytest
from airflow.models.connection import Connection as StoredConnection
from airflow.sdk import Connection
from airflow.sdk.log import redact

from airflow_provider_polars.clients.access import ClusterAccess
from airflow_provider_polars.compute.cluster import ClusterCompute
from airflow_provider_polars.compute.local import LocalCompute
from airflow_provider_polars.dev_cluster.certificates import make_certificates
from airflow_provider_polars.exceptions import ConfigurationError
from airflow_provider_polars.get_provider_info import get_provider_info
from airflow_provider_polars.hooks.cluster import PolarsClusterHook
from airflow_provider_polars.hooks.polars import PolarsHook, make_hook
from tests.unit.hooks.cluster_connections import CONN_ID, TOKEN, Connect

if TYPE_CHECKING:
    from tests.harness.in_memory import InMemoryAirflow

GUIDE = Path(__file__).resolve().parents[3] / "docs" / "on-premises.md"


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """Return the certificate of an authority."""
    return make_certificates(tmp_path, "127.0.0.1")[0]


# ---- forms of one connection

WHOLE = ClusterAccess(
    uri="https://scheduler.example:6051",
    observatory="https://observatory.example:4001",
    headers={"x-team": "sales", "authorization": f"Bearer {TOKEN}"},
    ca_cert="-----BEGIN CERTIFICATE-----\nAA+/==\n-----END CERTIFICATE-----",
    domain_name="cluster.example",
    user_name="ada",
)
EXTRA = {
    "tls": True,
    "observatory": WHOLE.observatory,
    "ca_cert": WHOLE.ca_cert,
    "domain_name": "cluster.example",
    "headers": {"X-Team": "sales"},
}
FIELDS = {"host": "scheduler.example", "port": 6051, "login": "ada", "password": TOKEN}
SAVED_BY_THE_FORM = {"insecure": False, "scaling": None, "schema": "", **EXTRA}
URI_EXTRA = urlencode({**EXTRA, "tls": "true", "headers": json.dumps(EXTRA["headers"])})
FORMS = {
    "form": json.dumps({"conn_type": "polars_cluster", **FIELDS, "schema": "", "extra": json.dumps(SAVED_BY_THE_FORM)}),
    "JSON": json.dumps({"conn_type": "polars_cluster", **FIELDS, "extra": EXTRA}),
    "JSON, address as host": json.dumps(
        {
            "conn_type": "polars-cluster",
            **FIELDS,
            "host": "https://scheduler.example:6051/",
            "port": None,
            "extra": {**EXTRA, "tls": None},
        }
    ),
    "JSON, port said twice": json.dumps(
        {"conn_type": "polars_cluster", **FIELDS, "host": "scheduler.example:6051", "extra": EXTRA}
    ),
    "URI": f"polars-cluster://ada:{TOKEN}@scheduler.example:6051/?{URI_EXTRA}",
    "URI, address as host": f"polars-cluster://https://ada:{TOKEN}@scheduler.example:6051/?{URI_EXTRA}",
    "URI, extra as JSON": f"polars-cluster://ada:{TOKEN}@scheduler.example:6051/?__extra__={quote(json.dumps(EXTRA))}",
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_of_a_connection_says_the_same(connect: Connect, form: str) -> None:
    access = connect(FORMS[form]).access(ClusterCompute())
    assert access == WHOLE
    assert access.headers == WHOLE.headers


@pytest.mark.parametrize("kind", [Connection, StoredConnection])
@pytest.mark.parametrize("host", ["scheduler.example", "https://scheduler.example", "https://scheduler.example:6051"])
def test_a_connection_survives_airflows_way_of_passing_it_to_a_test(connect: Connect, kind: Any, host: str) -> None:
    """It goes through a URI."""
    fields = {**FIELDS, "host": host, "port": 6051, "extra": json.dumps(SAVED_BY_THE_FORM)}
    stored = kind(conn_id=CONN_ID, conn_type="polars_cluster", **fields)
    assert connect(stored.get_uri()).access(ClusterCompute()) == WHOLE


def test_the_forms_of_the_guide_say_the_same(connect: Connect) -> None:
    text = GUIDE.read_text()
    forms = [*re.findall(r"^export AIRFLOW_CONN_\w+='(.*)'$", text, re.MULTILINE)]
    forms += re.findall(r"^```json\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(forms) == 3
    for form in forms:
        hook = connect(form)
        assert hook.scaling(ClusterCompute()) == "single-node"
        assert hook.access(ClusterCompute()) == ClusterAccess(
            uri="https://scheduler.example.com:5051",
            headers={"x-team": "sales", "authorization": "Bearer the-token"},
            user_name="airflow",
        )


def test_the_guide_has_every_field_by_the_name_that_the_form_shows() -> None:
    (entry,) = (
        entry for entry in get_provider_info()["connection-types"] if entry["connection-type"] == "polars_cluster"
    )
    shown = {"port": "Port", **entry["ui-field-behaviour"]["relabeling"]}
    shown |= {name: field["label"] for name, field in entry["conn-fields"].items()}
    section = GUIDE.read_text().partition("## The connection")[2].partition("\n## ")[0]
    assert dict(re.findall(r"^\| `(\w+)` \| ([\w ]+) \|", section, re.MULTILINE)) == shown


@pytest.mark.parametrize(
    ("host", "port", "tls", "uri"),
    [
        ("scheduler", None, None, "http://scheduler:5051"),
        ("scheduler", 0, False, "http://scheduler:5051"),
        (" scheduler ", None, "true", "https://scheduler:5051"),
        ("scheduler:80", None, False, "http://scheduler:80"),
        ("http://scheduler/", 80, None, "http://scheduler:80"),
        ("https://scheduler", None, False, "https://scheduler:5051"),
        ("https://scheduler", 443, True, "https://scheduler:443"),
        ("::1", 80, None, "http://[::1]:80"),
        ("[::1]:80", 80, None, "http://[::1]:80"),
        ("https://::1", None, None, "https://[::1]:5051"),
    ],
)
def test_an_address_may_be_a_host_or_a_whole_one(connect: Connect, host: str, port: Any, tls: Any, uri: str) -> None:
    hook = connect(host=host, port=port, extra={"tls": tls})
    assert hook.access(ClusterCompute()).uri == uri


@pytest.mark.parametrize(
    ("text", "uri"),
    [
        ("polars-cluster://scheduler", "http://scheduler:5051"),
        ("polars-cluster://[::1]:80/?tls=1", "https://[::1]:80"),
        (f"polars-cluster://:{TOKEN}@scheduler:80", "http://scheduler:80"),
        ("polars-cluster://scheduler/?tls=&insecure=&ca_cert=&headers=", "http://scheduler:5051"),
    ],
)
def test_a_uri_may_leave_things_out(connect: Connect, text: str, uri: str) -> None:
    assert connect(text).access(ClusterCompute()).uri == uri


@pytest.mark.parametrize("nothing", [None, "", "  "])
def test_null_and_blank_fields_count_as_unset(connect: Connect, nothing: Any) -> None:
    names = ("tls", "ca_cert", "domain_name", "insecure", "observatory", "scaling", "headers")
    hook = connect(host="scheduler", login=nothing, password=nothing, extra=dict.fromkeys(names, nothing))
    assert hook.access(ClusterCompute()) == ClusterAccess(uri="http://scheduler")
    assert hook.access(ClusterCompute()).headers == {}
    assert hook.scaling(ClusterCompute()) == "auto"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"host": "http://scheduler", "extra": {"tls": True}}, "begins with http://, and TLS is switched on; choose"),
        ({"host": "scheduler:80", "port": 81}, "says port 80, its port 81; say it once"),
        ({"host": "ftp://scheduler"}, "must begin with http:// or https://"),
        ({"host": "scheduler/api"}, "goes on after the port"),
        ({"host": "scheduler", "extra": {"tls": "maybe"}}, "field tls of the connection 'polars_x' must be true or"),
        ({"host": "scheduler", "extra": {"insecure": 7}}, "field insecure of the connection 'polars_x' must be true"),
        ({"host": "scheduler", "extra": {"ca_cert": ["x"]}}, "ca_cert of the connection 'polars_x' must be text"),
        ({"host": "scheduler", "extra": {"observatory": "obs"}}, "address of the observatory, 'obs', must begin"),
        ({"host": "scheduler", "extra": {"scaling": "both"}}, "must be one of auto, distributed, single-node, got"),
        ({"host": "scheduler", "extra": {"headers": ["x"]}}, "field headers of the connection 'polars_x' must be a"),
        ({"host": "scheduler", "extra": {"headers": "x: y"}}, "field headers of the connection 'polars_x' must be a"),
        ({"host": "scheduler", "extra": {"headers": {"x": 1}}}, "value of the header 'x' cannot be sent"),
        ({"host": "scheduler", "extra": "{broken"}, "The extra of the connection 'polars_x' is no JSON object"),
        ({"host": "scheduler", "extra": "[1]"}, "The extra of the connection 'polars_x' is no JSON object"),
        ({"host": "scheduler", "login": "Zoë"}, "The user name 'Zoë' cannot be sent"),
        ({"host": "scheduler", "extra": {"insecure": True}}, "There is insecure for http://scheduler:5051"),
    ],
)
def test_a_field_that_cannot_be_is_named(connect: Connect, fields: dict[str, Any], message: str) -> None:
    hook = connect(**fields)
    with pytest.raises(ConfigurationError) as caught:
        hook.access(ClusterCompute())
    assert message in str(caught.value)
    assert hook.test_connection() == (False, str(caught.value).replace(f"connection {CONN_ID!r}", "connection"))


@pytest.mark.parametrize("name", ["Authorization", "X-Api-Key", "x-auth-token", "client-secret"])
def test_a_header_that_looks_like_a_secret_is_refused_without_its_value(connect: Connect, name: str) -> None:
    hook = connect(host="scheduler", extra={"headers": {name: TOKEN}})
    with pytest.raises(ConfigurationError, match=f"holds '{name}', which looks like a secret") as caught:
        hook.access(ClusterCompute())
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize("token", [f"{TOKEN}\nx: y", f"{TOKEN}ü"])
def test_a_token_that_cannot_be_sent_is_refused_without_being_shown(connect: Connect, token: str) -> None:
    good, text = connect(host="scheduler", password=token).test_connection()
    assert not good
    assert "The value of the header 'authorization' cannot be sent" in text
    assert TOKEN not in text


def test_white_space_around_a_token_is_none_of_it(connect: Connect) -> None:
    """Files end with a line break, and so does what is pasted from them."""
    access = connect(host="scheduler", password=f" {TOKEN}\n").access(ClusterCompute())
    assert access.headers["authorization"] == f"Bearer {TOKEN}"


# ---- the compute over the connection


def test_what_the_compute_says_wins_field_by_field(connect: Connect, authority: Path) -> None:
    hook = connect(**FIELDS, extra={**EXTRA, "insecure": True, "scaling": "distributed"})
    compute = ClusterCompute(
        uri="https://other:1",
        observatory="http://elsewhere:2",
        ca_cert=str(authority),
        domain_name="other.example",
        insecure=False,
        user_name="grace",
        headers={"X-Team": "risk", "x-more": "1"},
        scaling="single-node",
    )
    access = hook.access(compute)
    assert access == ClusterAccess(
        uri="https://other:1",
        observatory="http://elsewhere:2",
        headers={"x-team": "risk", "x-more": "1", "authorization": f"Bearer {TOKEN}"},
        ca_cert=authority.read_text(),
        domain_name="other.example",
        insecure=False,
        user_name="grace",
    )
    assert (hook.scaling(compute), hook.scaling(ClusterCompute())) == ("single-node", "distributed")


def test_a_compute_alone_needs_no_connection() -> None:
    access = PolarsClusterHook().access(ClusterCompute(uri="http://scheduler"))
    assert access == ClusterAccess(uri="http://scheduler")
    assert PolarsClusterHook().scaling(ClusterCompute(scaling="distributed")) == "distributed"


def test_a_connection_of_type_polars_leaves_all_to_the_compute(connect: Connect) -> None:
    hook = connect(f"polars://ada:{TOKEN}@ignored/?tls=true")
    assert hook.access(ClusterCompute(uri="http://scheduler")) == ClusterAccess(uri="http://scheduler")


@pytest.mark.parametrize("conn_type", ["http", "polars_cloud", "aws"])
def test_a_connection_of_another_type_is_refused_by_name(connect: Connect, conn_type: str) -> None:
    hook = connect(json.dumps({"conn_type": conn_type, "host": "scheduler"}))
    with pytest.raises(ConfigurationError, match=f"'polars_x' is of type '{conn_type}'; a cluster needs one of type"):
        hook.access(ClusterCompute(uri="http://scheduler"))


@pytest.mark.parametrize("fields", [None, {}, {"port": 5051, "extra": {"tls": True}}])
def test_no_address_anywhere_says_where_one_may_be(connect: Connect, fields: dict[str, Any] | None) -> None:
    hook = PolarsClusterHook() if fields is None else connect(**fields)
    with pytest.raises(ConfigurationError, match=r"ClusterCompute\(uri=.* or as the host of a connection of type"):
        hook.access(ClusterCompute())


def test_a_connection_that_does_not_exist_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_POLARS_ABSENT", raising=False)
    with pytest.raises(ConfigurationError, match="conn_id='polars_absent' names no connection"):
        PolarsClusterHook("polars_absent").access(ClusterCompute(uri="http://scheduler"))


@pytest.mark.parametrize("there", ["nothing", "a folder", "no text"])
def test_a_ca_certificate_that_cannot_be_read_is_named(tmp_path: Path, there: str) -> None:
    path = tmp_path / "ca.pem"
    if there == "a folder":
        path.mkdir()
    elif there == "no text":
        path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match=f"CA certificate '{path}' cannot be read on this worker: "):
        PolarsClusterHook().access(ClusterCompute(uri="https://scheduler", ca_cert=str(path)))


def test_the_connection_is_asked_for_once(in_memory_airflow: InMemoryAirflow, connect: Connect, mocker: Any) -> None:
    hook = connect(host="scheduler")
    found = mocker.spy(PolarsHook, "find_connection")
    hook.access(ClusterCompute())
    hook.scaling(ClusterCompute())
    assert found.call_count == 1


def test_the_hook_makes_the_backend_of_its_compute(connect: Connect) -> None:
    connect(host="scheduler", extra={"scaling": "single-node"})
    compute = ClusterCompute(user_name="ada")
    hook = make_hook(compute, CONN_ID)
    assert type(hook) is PolarsClusterHook
    backend: Any = hook.get_backend(compute)
    assert type(backend).__name__ == "ClusterBackend"
    assert backend.compute is compute
    assert backend.access == ClusterAccess(uri="http://scheduler", user_name="ada")
    assert backend.scaling == "single-node"


# ---- default compute


@pytest.mark.parametrize("hook_class", [PolarsHook, PolarsClusterHook])
def test_a_cluster_connection_stands_for_its_cluster(connect: Connect, hook_class: type[PolarsHook]) -> None:
    """A task that names it, and no compute, runs there."""
    connect(host="scheduler")
    assert hook_class(CONN_ID).default_compute() == ClusterCompute()


def test_connections_of_other_types_name_their_compute(connect: Connect) -> None:
    for conn_type in ("polars", "http"):
        connect(json.dumps({"conn_type": conn_type, "extra": {"default_compute": {"kind": "local", "threads": 2}}}))
        assert PolarsHook(CONN_ID).default_compute() == LocalCompute(threads=2)
    connect(json.dumps({"conn_type": "polars", "extra": {"default_compute": {"kind": "cluster", "uri": "http://a"}}}))
    assert PolarsHook(CONN_ID).default_compute() == ClusterCompute(uri="http://a")


# ---- secrets and warnings


def test_the_token_is_masked_in_logs(connect: Connect) -> None:
    token = "a-token-for-the-masker-alone"
    access = connect(host="scheduler", password=token).access(ClusterCompute())
    assert redact(f"before {token} after") == "before *** after"
    assert token not in repr(access)


@pytest.mark.parametrize(
    ("fields", "warned"),
    [
        ({"host": "http://scheduler", "password": TOKEN}, ["http://scheduler:5051", "http://scheduler:3001"]),
        (
            {"host": "https://scheduler", "password": TOKEN, "extra": {"observatory": "http://obs"}},
            ["http://obs:3001"],
        ),
        ({"host": "https://scheduler", "password": TOKEN}, []),
        ({"host": "http://scheduler"}, []),
        ({"host": "http://127.0.0.1", "password": TOKEN}, []),
        ({"host": "http://localhost", "password": TOKEN}, []),
        ({"host": "::1", "password": TOKEN}, []),
    ],
)
def test_a_token_that_travels_in_clear_is_warned_of(
    connect: Connect, capsys: pytest.CaptureFixture[str], fields: dict[str, Any], warned: list[str]
) -> None:
    connect(**fields).access(ClusterCompute())
    output = capsys.readouterr().out
    assert re.findall(r"The token travels unencrypted to (\S+); use https:// there", output) == warned
    assert TOKEN not in output


def test_a_certificate_that_is_not_verified_is_warned_of(connect: Connect, capsys: pytest.CaptureFixture[str]) -> None:
    connect(host="https://scheduler", extra={"insecure": True}).access(ClusterCompute())
    assert "The certificate of https://scheduler:5051 is not verified, as insecure says" in capsys.readouterr().out
