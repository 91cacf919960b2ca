"""Rules for values by themselves: every key refuses what it cannot be, and unknown keys are kept."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_polars.onprem import keys, kinds, versions
from airflow_provider_polars.onprem.checking import check
from airflow_provider_polars.onprem.findings import Finding
from airflow_provider_polars.onprem.keys import KEYS, Key
from airflow_provider_polars.onprem.node import NodeConfig
from airflow_provider_polars.onprem.value_rules import findings
from tests.unit.onprem.clusters import changed, found, put, rendered

WRONG: dict[str, list[tuple[Any, str]]] = {
    kinds.TEXT.name: [
        (5, "must be text, in quotes"),
        ("", "must not be empty"),
        (" ", "must not be empty"),
        ("a\nb", "must be one line"),
        ("$(hostname)", "is a placeholder that nothing replaced"),
        ("${NODE}", "is a placeholder that nothing replaced"),
        ("$NODE", "is a placeholder that nothing replaced"),
        ("<your-id>", "is a placeholder that nothing replaced"),
    ],
    kinds.TEXTS.name: [
        (5, "must be text, in quotes"),
        ([], "must be text, in quotes"),
        (["a", ""], "must not be empty"),
    ],
    kinds.PATH.name: [(True, "must be text"), ("", "must not be empty"), ("s3://b/x", "not a URL")],
    kinds.FLAG.name: [("true", "must be true or false, without quotes"), (1, "must be true or false")],
    kinds.COUNT.name: [("2", "must be a whole number"), (True, "must be a whole number"), (0, "must be at least 1")],
    kinds.BYTES.name: [(1.5, "must be a whole number"), (-1, "must be at least 1"), (2**63, "fit 64 bits")],
    kinds.DURATION.name: [(5, "must be text"), ("5", "must be a span of time"), ("0s", "longer than nothing")],
    kinds.ADDRESS.name: [("node-1", "a name is written as"), (5052, "must be an address"), ("${IP}:1", "placeholder")],
    kinds.VARIABLES.name: [
        ("A=1", "must be a table"),
        ({"A": 1}, "must be a table"),
        ({"a b": "c"}, "names of variab"),
    ],
    kinds.WEB.name: [("host:80", "must be a URL that begins with"), ("ftp://h", "must be a URL"), (80, "must be text")],
    '"kubernetes"': [("nomad", 'must be "kubernetes"'), (1, 'must be "kubernetes"')],
    '"stdout" or "stderr"': [("file", 'must be "stdout" or "stderr"')],
}
CASES = [(key, value, rule) for key in keys.ALL for value, rule in WRONG[key.kind.name] if key.kind.name in WRONG]


def alone(path: str, value: Any, server: tuple[int, int, int] = versions.NEWEST) -> list[Finding]:
    """Return what is found of a file that has one key."""
    data: dict[str, Any] = {}
    put(data, path, value)
    return list(findings(NodeConfig(data, "node-1"), server))


@pytest.mark.parametrize(("key", "value", "rule"), CASES, ids=lambda part: part.path if isinstance(part, Key) else None)
def test_each_key_refuses_what_it_cannot_be_and_says_what_to_write(key: Key, value: Any, rule: str) -> None:
    (finding,) = alone(key.path, value)
    assert (finding.severity, finding.key) == ("breach", key.path)
    if key.kind.name != "URL":
        assert rule in finding.rule
    assert finding.fix == f"Write for example {key.path} = {key.example}."


@pytest.mark.parametrize("key", keys.ALL, ids=lambda key: key.path)
def test_the_example_of_each_key_is_taken(key: Key) -> None:
    from airflow_provider_polars.onprem import files

    value = files.loads(f"value = {key.example}", "example")["value"]
    assert [finding.severity for finding in alone(key.path, value)] == ["warning"] * key.secret
    assert key.default is None or key.kind.problem(key.default) is None


@pytest.mark.parametrize("section", sorted(keys.SECTIONS))
def test_a_section_is_a_table(section: str) -> None:
    (finding,) = alone(section, 5)
    assert (finding.severity, finding.key) == ("breach", section)
    assert "must be" in finding.rule


def test_every_breach_of_every_node_is_told_at_once_with_path_value_rule_and_fix() -> None:
    nodes = changed(
        rendered(2),
        {
            "node-1": {"scheduler.n_workers": "2", "worker.heartbeat_period": "soon"},
            "node-2": {"monitoring.enabled": "yes"},
        },
    )
    assert [str(finding) for finding in check(nodes) if finding.severity == "breach"] == [
        'node-1: scheduler.n_workers ("2"): must be a whole number, without quotes. '
        "Write for example scheduler.n_workers = 2.",
        'node-1: worker.heartbeat_period ("soon"): must be a span of time up to hours, such as "5 secs", "10 mins" or '
        '"PT5S". Write for example worker.heartbeat_period = "5 secs".',
        'node-2: monitoring.enabled ("yes"): must be true or false, without quotes. '
        "Write for example monitoring.enabled = true.",
    ]


@pytest.mark.parametrize(
    ("path", "fix"),
    [
        ("scheduler.n_worker", "Correct or remove it; did you mean 'n_workers'?"),
        ("instanceid", "Correct or remove it; did you mean 'instance_id'?"),
        ("workers", "Correct or remove it; did you mean 'worker'?"),
        ("tls", "Correct or remove it; tls stands at observatory.rest_api.service.connection.tls or "),
        ("zzz", "Correct or remove it."),
        ("cublet_id", "Write instance_id instead."),
        ("static_leader.leader_key", "Write static_leader.leader_instance_id instead."),
        ("worker.service_port", "Write worker.task_service.bind_addr instead."),
        ("worker.shuffle_location.s3.aws_regoin", "If it is not meant as another option of Polars' scan_parquet; did"),
        ("worker.shuffle_location.s3.google_x", "Correct or remove it"),
    ],
)
def test_an_unknown_key_is_kept_and_warned_about_with_the_nearest_name(path: str, fix: str) -> None:
    (node,) = changed(rendered(1), {"node-1": {path: "a"}})
    assert node.raw(path) == "a"
    (finding,) = findings(node, versions.NEWEST)
    assert (finding.severity, finding.key) == ("warning", path)
    assert finding.rule == "is no key that is known, and is kept as it is"
    assert finding.fix.startswith(fix)


def test_other_options_of_object_stores_are_passed_on_without_a_word() -> None:
    assert alone("worker.shuffle_location.s3.aws_virtual_hosted_style_request", "true") == []


@pytest.mark.parametrize("key", [key for key in keys.ALL if key.since > versions.OLDEST], ids=lambda key: key.path)
def test_a_key_that_the_server_is_too_old_for_is_warned_about(key: Key) -> None:
    from airflow_provider_polars.onprem import files

    value = files.loads(f"value = {key.example}", "example")["value"]
    warnings = [finding for finding in alone(key.path, value, versions.OLDEST) if "is read by servers" in finding.rule]
    assert [finding.severity for finding in warnings] == ["warning"]
    assert f"from {versions.shown(key.since)} on, and this is for 0.2.3" in warnings[0].rule
    assert not any("is read by servers" in finding.rule for finding in alone(key.path, value, key.since))


def test_an_old_server_reads_the_short_form_of_the_licence() -> None:
    assert alone("license", "/a", versions.OLDEST) == []
    assert NodeConfig({"license": "/a"}, "n").value(keys.LICENSE_FILE) == "/a"
    assert [finding.rule for finding in alone("license", "")] == ["must not be empty"]


@pytest.mark.parametrize("key", [key for key in keys.ALL if key.secret], ids=lambda key: key.path)
def test_a_secret_in_a_file_is_warned_about_and_never_shown(key: Key) -> None:
    (finding,) = alone(key.path, "hunter2")
    assert finding.severity == "warning"
    assert "hunter2" not in str(finding)
    assert finding.value == '"***"'
    assert f"set the variable PC_CUBLET__{key.path.replace('.', '__')} for the server" in finding.fix


def test_values_that_look_like_secrets_are_not_shown_wherever_they_stand() -> None:
    (node,) = changed(
        rendered(1), {"node-1": {"worker.env_vars": {"API_TOKEN": "hunter2", "A": "b"}, "password": "x7y7"}}
    )
    told = [str(finding) for finding in check([node])]
    assert found([node]) == [("warning", "node-1", "password"), ("warning", "node-1", "worker.env_vars.API_TOKEN")]
    assert not any("hunter2" in line or "x7y7" in line for line in told)
    (finding,) = alone("scaling.rest.uri", "http://user:hunter2@host")
    assert "hunter2" not in str(finding)
    assert finding.rule == "must not hold a password"


def test_a_relative_path_is_warned_about() -> None:
    (finding,) = alone("observatory.database_path", "queries.sqlite")
    assert (finding.severity, finding.rule) == ("warning", "is relative to wherever the server is started")


def test_an_unknown_part_of_an_address_is_warned_about() -> None:
    (finding,) = alone("worker.task_service.bind_addr", {"ip": "10.0.0.1", "prot": 5})
    assert finding.rule == "has an unknown part 'prot'; did you mean 'port'"


def test_long_values_are_shown_in_part() -> None:
    (finding,) = alone("scheduler.n_workers", "x" * 1000)
    assert len(finding.value) < 100


def test_default_ports_are_those_of_the_reference() -> None:
    ports = {name: service.port for name, service in keys.SERVICES.items()}
    assert ports == {
        "client": 5051,
        "registration": 5050,
        "receiver": 5049,
        "rest": 3001,
        "task": 5052,
        "shuffle": 5053,
    }
    assert all(KEYS[service.bind].default == f"0.0.0.0:{service.port}" for service in keys.SERVICES.values())
