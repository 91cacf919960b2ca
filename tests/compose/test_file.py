"""``docker-compose.yaml``: the form that the Compose specification asks for, and what we ask of each service."""

from __future__ import annotations

import importlib.resources
import json
import re
from typing import Any

import jsonschema
import pytest
import tomllib

from tests.compose.composition import REPOSITORY, composition, services, stages

LONG_RUNNING = sorted({**services(), **services("onprem")}.keys() - {"airflow-init"})
ALL = sorted({**services(), **services("onprem")})
CONTAINER_PATH = re.compile(r"/(?:opt/airflow|run|etc/polars|var/lib)/[\w./-]+")


def service(name: str) -> dict[str, Any]:
    """Return a service."""
    found: dict[str, Any] = composition()["services"][name]
    return found


def texts(given: dict[str, Any]) -> list[str]:
    """Return what a service's command and environment say."""
    return [*given.get("command", ()), *filter(None, given.get("environment", {}).values())]


def test_the_file_has_the_form_of_the_compose_specification() -> None:
    vendored = importlib.resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    schema = json.loads(vendored.read_text())

    jsonschema.validate(composition(), schema, cls=jsonschema.validators.validator_for(schema))


def test_airflow_runs_as_in_production_and_polars_own_server_in_a_profile_alone() -> None:
    assert {"api-server", "scheduler", "dag-processor", "triggerer", "airflow-init", "postgres"} < services().keys()
    assert services("onprem").keys() == {"polars-onprem-leader", "polars-onprem-worker"}


@pytest.mark.parametrize("name", ALL)
def test_an_image_has_a_tag_of_its_own(name: str) -> None:
    _, _, tag = service(name)["image"].partition(":")

    assert tag not in ("", "latest")


@pytest.mark.parametrize("name", LONG_RUNNING)
def test_a_service_is_restarted_and_has_a_health_check_and_a_limit(name: str) -> None:
    given = service(name)

    assert given["restart"] == "unless-stopped"
    assert given["healthcheck"]["test"][0] == "CMD"
    assert given["deploy"]["resources"]["limits"]["memory"]


@pytest.mark.parametrize("name", ALL)
def test_no_service_runs_as_root_or_may_become_it(name: str) -> None:
    given = service(name)

    if "build" in given:
        users = [arguments for instruction, arguments in _with_bases(given["build"]["target"]) if instruction == "USER"]
        assert users[-1] == "50000:0"
    else:
        assert given["user"] not in ("root", "0", "0:0")
    assert given["cap_drop"] == ["ALL"]
    assert given["security_opt"] == ["no-new-privileges:true"]


def test_ports_are_published_on_loopback_alone() -> None:
    published = [port for name in ALL for port in service(name).get("ports", ())]

    assert published == ["127.0.0.1:8080:8080"]


def test_another_port_may_be_published() -> None:
    loopback, scheduler = (services(variables={"AIRFLOW_PORT": "9090"})[name] for name in ("loopback", "scheduler"))

    assert loopback["ports"] == ["127.0.0.1:9090:8080"]
    assert scheduler["environment"]["AIRFLOW__API__BASE_URL"] == "http://127.0.0.1:9090"


@pytest.mark.parametrize("name", ALL)
def test_secrets_are_files_and_in_no_variable(name: str) -> None:
    given = service(name)
    sensitive = re.compile("password|secret|token|fernet|jwt|sql_alchemy_conn|license|credentials|account", re.I)

    for variable, value in given.get("environment", {}).items():
        if sensitive.search(variable) and not variable.startswith("AIRFLOW__SECRETS__BACKEND"):
            assert CONTAINER_PATH.search(value), f"{variable} is no path"


@pytest.mark.parametrize("name", ALL)
def test_a_service_has_each_secret_that_it_names_and_no_other(name: str) -> None:
    given = service(name)
    named = {found for text in texts(given) for found in re.findall(r"/run/secrets/(\w+)", text)}

    assert set(given.get("secrets", ())) == named
    assert named <= composition()["secrets"].keys()


@pytest.mark.parametrize("name", ALL)
def test_a_folder_that_services_share_is_a_volume_of_each_that_names_it(name: str) -> None:
    given = service(name)
    mounted = [
        volume["target"] if isinstance(volume, dict) else volume.split(":")[1] for volume in given.get("volumes", ())
    ]
    in_image = ("/opt/airflow/dags", "/opt/airflow/passwords.json", "/run/secrets/")

    for text in texts(given):
        for path in CONTAINER_PATH.findall(text):
            assert path.startswith((*in_image, *mounted)), path


def test_each_stand_in_has_a_folder_of_its_own() -> None:
    """A development cluster removes what processes have left that it cannot see, as those of another container."""
    assert (
        service("polars-dev-cluster")["environment"]["TMPDIR"]
        != service("polars-control-plane")["environment"]["TMPDIR"]
    )


@pytest.mark.parametrize("name", ["polars-dev-cluster", "polars-control-plane"])
def test_workers_see_the_results_that_a_stand_in_keeps(name: str) -> None:
    folder = service(name)["environment"]["TMPDIR"]

    assert folder.startswith("/opt/airflow/lake/")
    for reader in (name, "scheduler"):  # tasks run in the scheduler's container
        assert "lake:/opt/airflow/lake" in service(reader)["volumes"]


@pytest.mark.parametrize("name", ALL)
def test_an_address_leads_to_a_service_that_listens_there(name: str) -> None:
    """By name through the network of all, on 127.0.0.1 within the one that some services share."""
    given = service(name)
    own = given.get("network_mode", f"service:{name}").removeprefix("service:")
    # What moto keeps are addresses as Airflow sees them.
    here = "loopback" if name == "moto" else own

    for host, port in re.findall(r"[/@]([\w.-]+):(\d{4})", " ".join(texts(given))):
        assert port in service(here if host == "127.0.0.1" else host)["expose"], f"{host}:{port}"
    for port in re.findall(r"127\.0\.0\.1\D+(\d{4})", str(given.get("healthcheck"))):
        assert port in service(own)["expose"]


def test_every_secret_but_the_licence_is_made_by_the_script_and_ignored_by_git() -> None:
    given = composition()["secrets"]
    script = (REPOSITORY / "docker" / "secrets.sh").read_text()

    made = set(re.findall(r"^secret (\w+) ", script, re.MULTILINE))
    assert made == given.keys() - {"polars_license"}
    assert {secret["file"] for secret in given.values()} == {
        *(f"./.compose/secrets/{name}" for name in made),
        "./.compose/license.json",
    }
    assert "/.compose/" in (REPOSITORY / ".gitignore").read_text().splitlines()


def test_the_licensed_server_is_started_with_files_and_a_licence_of_the_user() -> None:
    """Rendered only: it needs a licence, and was never run."""
    given = services("onprem", {"POLARS_LICENSE_FILE": "/mine/license.json", "POLARS_ONPREM_TAG": "0.0.1"})
    leader = given["polars-onprem-leader"]

    assert leader["command"] == ["/emptydir/bin/pc-cublet", "service", "--config-path", "/etc/polars/leader.toml"]
    assert leader["build"]["args"] == {"POLARS_ONPREM_TAG": "0.0.1"}
    assert leader["environment"]["POLARS_EULA_ACCEPTED"] is None  # what the user's shell says, and else nothing
    assert leader["volumes"][0]["source"] == "./.compose/onprem"
    for name, node in given.items():
        environment = node["environment"]
        assert environment["PC_CUBLET__static_leader__leader_instance_id"] == "leader"
        assert environment["PC_CUBLET__static_leader__scheduler_service__public_addr__port"] == "5050"
        assert node["command"][-1] == f"/etc/polars/{name.rpartition('-')[2]}.toml"
    variables = {"POLARS_LICENSE_FILE": "/mine/license.json"}
    assert composition(variables)["secrets"]["polars_license"] == {"file": "/mine/license.json"}


def test_the_files_of_nodes_in_the_guide_are_of_one_cluster_and_leave_the_rest_to_the_compose_file() -> None:
    guide = (REPOSITORY / "docs" / "docker-compose.md").read_text()
    files = {
        name: tomllib.loads(text) for name, text in re.findall(r"^`(\S+)`:\n\n```toml\n(.*?)^```$", guide, re.M | re.S)
    }

    assert files.keys() == {service(name)["command"][-1].rpartition("/")[2] for name in services("onprem")}
    assert files["leader.toml"]["cluster_id"] == files["worker.toml"]["cluster_id"]
    assert files["leader.toml"]["scheduler"]["n_workers"] == 1
    for name, file in files.items():
        variables = service(f"polars-onprem-{name.removesuffix('.toml')}")["environment"]
        assert file.keys() & {"license", "instance_id", "static_leader"} == set()
        assert variables.keys() >= {"PC_CUBLET__instance_id", "PC_CUBLET__license__on_prem_enterprise__license_path"}


def _with_bases(target: str) -> list[tuple[str, str]]:
    found = stages()
    base = found[target][0][1].partition(" ")[0]
    return [*(_with_bases(base) if base in found else []), *found[target]]
