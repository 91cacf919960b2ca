"""What ``docker compose up`` starts, as processes: each service with its very command, and a user's first runs."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from tests.compose.composition import REPOSITORY, services
from tests.compose.natively import NativeServices, remove
from tests.harness.rest import AirflowRest

EXAMPLES = ("example_first", "example_cluster", "example_cloud")

pytestmark = pytest.mark.own_stack


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the secrets as ``make compose-secrets`` does, in a checkout of their own."""
    checkout = tmp_path_factory.mktemp("checkout")
    (checkout / "docker").mkdir()
    script = checkout / "docker" / "secrets.sh"
    script.write_bytes((REPOSITORY / "docker" / "secrets.sh").read_bytes())
    subprocess.run(["sh", script], check=True, capture_output=True)
    return checkout / ".compose" / "secrets"


@pytest.fixture(scope="module")
def stack(secrets: Path) -> Iterator[NativeServices]:
    """Start all services that need no profile."""
    folder = Path(tempfile.mkdtemp(prefix="compose-"))
    try:
        with NativeServices(services(), secrets, folder) as started:
            yield started
    finally:
        remove(folder)


@pytest.fixture(scope="module")
def rest(stack: NativeServices, secrets: Path) -> Iterator[AirflowRest]:
    """Sign in as the documentation says."""
    password = (secrets / "admin_password").read_text()
    client = AirflowRest(f"http://127.0.0.1:{stack.ports['8080']}", password=password, diagnose=stack.told)
    yield client
    client.close()


@pytest.fixture(scope="module")
def runs(rest: AirflowRest) -> dict[str, str]:
    """Switch the examples on and trigger each; their schedule begins with the next midnight."""
    started = {}
    for dag_id in EXAMPLES:
        rest.wait_for_dag(dag_id)
        rest.request("PATCH", f"/api/v2/dags/{dag_id}", body={"is_paused": False})
        started[dag_id] = rest.trigger(dag_id)
    return started


def result(rest: AirflowRest, runs: dict[str, str], dag_id: str, task_id: str) -> dict[str, Any]:
    """Wait for the success of a run; return what one of its tasks has handed on."""
    if rest.wait_for_run(dag_id, runs[dag_id]) != "success":
        failed = [task for task in rest.task_instances(dag_id, runs[dag_id]) if task["state"] == "failed"]
        pytest.fail("\n".join(rest.log_text(dag_id, runs[dag_id], task["task_id"]) for task in failed))
    handed_on: dict[str, Any] = rest.xcom(dag_id, runs[dag_id], task_id)
    return handed_on


def test_every_service_passes_its_own_health_check(stack: NativeServices) -> None:
    assert set(stack.ready) == set(stack.services)
    assert stack.ready.index("airflow-init") < stack.ready.index("api-server")


def test_the_ui_lists_no_connection_of_secrets_manager(rest: AirflowRest) -> None:
    assert rest.get_all("/connections", "connections") == []


def test_a_result_without_a_sink_is_in_the_bucket_of_moto(
    rest: AirflowRest, runs: dict[str, str], stack: NativeServices
) -> None:
    (location,) = result(rest, runs, "example_first", "total")["locations"]

    assert location.startswith("s3://lake/results/")
    there = {
        "aws_endpoint_url": f"http://127.0.0.1:{stack.ports['5000']}",
        "aws_allow_http": "true",
        "aws_region": "eu-west-1",
        "aws_access_key_id": "any",
        "aws_secret_access_key": "any",
    }
    assert pl.read_parquet(location, storage_options=there).item() == sum(range(1_000_000))


def test_the_cluster_takes_the_token_that_airflow_finds_in_secrets_manager(
    rest: AirflowRest, runs: dict[str, str], stack: NativeServices
) -> None:
    written = result(rest, runs, "example_cluster", "distributed.by_day")["locations"]

    assert pl.read_parquet(written).height == 1000
    assert written[0].startswith(f"{stack.folder}/disk/opt/airflow/lake/")


def test_the_control_plane_starts_an_instance_for_the_account_of_secrets_manager(
    rest: AirflowRest, runs: dict[str, str]
) -> None:
    written = result(rest, runs, "example_cloud", "etl.by_customer")["locations"]

    assert pl.read_parquet(written).height == 97


def test_no_secret_is_in_a_log(rest: AirflowRest, runs: dict[str, str], stack: NativeServices, secrets: Path) -> None:
    for dag_id, run_id in runs.items():
        rest.wait_for_run(dag_id, run_id)
    texts = [re.split(r"[\s:@]+", file.read_text()) for file in secrets.iterdir()]
    long_enough = {word for words in texts for word in words if re.fullmatch(r"[\w=-]{16,}", word)}
    known = long_enough - {"aws_access_key_id", "aws_secret_access_key"}
    logs = [*stack.folder.glob("*.log"), *(stack.folder / "disk/opt/airflow/logs").rglob("*.log")]

    assert len(known) >= 9
    assert len(logs) > len(stack.services)
    shown = {str(log): sum(secret in log.read_text(errors="replace") for secret in known) for log in logs}
    assert {log: count for log, count in shown.items() if count} == {}


def test_all_of_them_stop_and_their_checks_tell(stack: NativeServices) -> None:
    """The last test: nothing runs after it."""
    checked = [name for name in stack.services if name not in ("airflow-init", "loopback")]

    codes = stack.stop()

    assert codes.keys() == stack.services.keys()
    orderly = ("moto", "polars-control-plane", "polars-dev-cluster", "postgres")
    assert {name: codes[name] for name in orderly} == dict.fromkeys(orderly, 0)
    assert [name for name in checked if stack.health(name).returncode == 0] == []
