"""The ways to a service account, shown by the example DAGs on real Airflow processes, and that it is seen nowhere.

AWS Secrets Manager is moto on loopback; the identity service of Polars Cloud is a stand-in at the wire.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.airflow.credential_dags.refused_credentials import WRONG
from tests.airflow.test_visible import stored_text
from tests.harness.identity import IdentityStandIn
from tests.harness.rest import AirflowRest
from tests.harness.secrets_manager import REGION, SecretsManager, secrets_manager
from tests.harness.stack import AirflowStack
from tests.harness.waiting import wait_for

HERE = Path(__file__).parent
EXAMPLE = HERE.parents[1] / "dags" / "example_credentials.py"
BACKEND = "airflow.providers.amazon.aws.secrets.secrets_manager.SecretsManagerBackend"
ID, SECRET = "POLARS_CLOUD_CLIENT_ID", "POLARS_CLOUD_CLIENT_SECRET"
VARIABLES = {"source": f"Variables {ID} and {SECRET}"}
WAYS = ("connection", "http", "vault", "backend", "airflow_var", "metastore", "own_names", "process")

pytestmark = pytest.mark.own_stack


def account(way: str) -> tuple[str, str]:
    """Return client id and client secret of the account that is handed over in this way."""
    return f"client-of-{way}", f"correct-horse-of-{way}"


ACCOUNTS = dict(map(account, WAYS))
OTHER_SECRETS = ("wrong-horse-of-connection", "half-a-horse", "broken-horse")


@dataclass
class Deployment:
    """Airflow, what it is connected to, and the runs so far."""

    stack: AirflowStack
    identity: IdentityStandIn
    aws: SecretsManager
    runs: list[tuple[str, str]] = field(default_factory=list)

    @property
    def rest(self) -> AirflowRest:
        """Client of the API server."""
        return self.stack.rest

    def run(self, dag_id: str) -> tuple[str, str]:
        """Run a DAG to its end; return the state and the id of the run."""
        self.rest.wait_for_dag(dag_id)
        run_id = self.rest.trigger(dag_id)
        self.runs.append((dag_id, run_id))
        return self.rest.wait_for_run(dag_id, run_id), run_id

    def check(self, way: str) -> tuple[Any, str]:
        """Run an example; return what its task returned, and who asked the identity service for a token."""
        before = len(self.identity.asked)
        dag_id = f"example_credentials_{way}"
        state, run_id = self.run(dag_id)
        (task,) = self.rest.task_instances(dag_id, run_id)
        log = self.rest.log_text(dag_id, run_id, task["task_id"])
        assert state == "success", log
        returned = self.rest.xcom(dag_id, run_id, task["task_id"])
        assert f"Polars Cloud service account from {returned['source'].replace('polars/airflow', '***')}" in log
        (asked,) = self.identity.seen[before:]
        return returned, asked

    def restart_scheduler(self, **variables: str) -> None:
        """Start the scheduler, whose tasks inherit its environment, anew with these variables."""
        if "scheduler" in self.stack.processes:
            self.stack.stop_process("scheduler")
        common = dict(self.stack.env)
        self.stack.env |= variables
        try:
            self.stack.start_process("scheduler")
        finally:
            self.stack.env = common
        self.stack.wait_until_healthy()


@pytest.fixture(scope="module")
def deployment(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """Start all, and hand over an account in each way."""
    folder = tmp_path_factory.mktemp("credentials")
    dags = folder / "dags"
    shutil.copytree(HERE / "credential_dags", dags, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(EXAMPLE, dags)
    with secrets_manager(folder) as aws, IdentityStandIn(folder, ACCOUNTS) as identity:
        backend = {
            "AIRFLOW__SECRETS__BACKEND": BACKEND,
            "AIRFLOW__SECRETS__BACKEND_KWARGS": json.dumps({"endpoint_url": aws.url, "region_name": REGION}),
        }
        env = {**aws.environment("reader"), **identity.environment, **backend}
        with AirflowStack(dags, env=env, processes=["api-server", "dag-processor"]) as stack:
            deployed = Deployment(stack, identity, aws)
            fill_aws(aws)
            fill_airflow(stack, aws)
            variables = dict(zip((ID, SECRET), account("process"), strict=True))
            prefixed = zip((f"AIRFLOW_VAR_{ID}", f"AIRFLOW_VAR_{SECRET}"), account("airflow_var"), strict=True)
            deployed.restart_scheduler(**variables, **dict(prefixed))
            yield deployed
            stack.keep_home = request.session.testsfailed > 0


def fill_aws(aws: SecretsManager) -> None:
    """Make the secrets of the deployment, good and bad."""
    client = aws.client()
    for name, value in zip((ID, SECRET), account("backend"), strict=True):
        client.create_secret(Name=f"airflow/variables/{name}", SecretString=value)
    client_id, client_secret = account("vault")
    both = json.dumps({"client_id": client_id, "client_secret": client_secret})
    client.create_secret(Name="polars/airflow", SecretString=both)
    client.create_secret(Name="polars/broken", SecretString='{"client_secret": "broken-horse"')


def fill_airflow(stack: AirflowStack, aws: SecretsManager) -> None:
    """Make connections and Variables, good and bad, as administrators do."""
    set_cloud = stack.rest.set_connection
    login, password = account("connection")
    set_cloud("polars_cloud_default", "polars_cloud", login=login, password=password, port=443)
    for identity in ("reader", "stranger"):
        set_cloud(f"aws_{identity}", **aws.connection(identity))

    def in_vault(conn_id: str, secret: str, reader: str = "aws_reader") -> None:
        set_cloud(conn_id, "polars_cloud", extra={"client_secret_id": secret, "vault_conn_id": reader}, port=443)

    in_vault("polars_cloud_vault", "polars/airflow")
    in_vault("denied", "polars/airflow", "aws_stranger")
    in_vault("missing", "polars/missing")
    in_vault("broken", "polars/broken")
    set_cloud("wrong_secret", "polars_cloud", login=login, password="wrong-horse-of-connection", port=443)
    set_cloud("half", "http", password="half-a-horse")
    for name, value in zip((ID, SECRET), account("metastore"), strict=True):
        stack.rest.set_variable(name, value)
    for name, value in zip(("polars_etl_client_id", "polars_etl_client_secret"), account("own_names"), strict=True):
        done = stack.cli("variables", "set", name, value)
        assert done.returncode == 0, done.stderr


# The tests of this module build on each other, in this order: each takes away what won before.


def test_a_connection_wins_over_all_else(deployment: Deployment) -> None:
    returned, asked = deployment.check("connection")
    assert (returned, asked) == ({"source": "the connection 'polars_cloud_default'"}, "client-of-connection")


def test_an_http_connection_does_too(deployment: Deployment) -> None:
    """As Polars' own guide has it."""
    login, password = account("http")
    deployment.rest.set_connection("polars_cloud_default", "http", login=login, password=password)
    returned, asked = deployment.check("connection")
    assert (returned, asked) == ({"source": "the connection 'polars_cloud_default'"}, "client-of-http")


def test_a_vault_that_the_connection_names_is_read_directly(deployment: Deployment) -> None:
    returned, asked = deployment.check("vault")
    assert asked == "client-of-vault"
    assert returned == {
        "source": "the secret 'polars/airflow' of AWS Secrets Manager (client_secret_id of the connection "
        "'polars_cloud_vault')"
    }


def test_variables_set_on_the_command_line_may_have_names_of_their_own(deployment: Deployment) -> None:
    returned, asked = deployment.check("variables")
    assert asked == "client-of-own_names"
    assert returned == {"source": "Variables polars_etl_client_id and polars_etl_client_secret"}


def test_the_secrets_backend_wins_over_the_environment_of_airflow(deployment: Deployment) -> None:
    assert deployment.check("secrets_backend") == (VARIABLES, "client-of-backend")


def test_airflow_var_in_the_environment_wins_over_the_metastore(deployment: Deployment) -> None:
    """Where the secrets backend has nothing."""
    for name in (ID, SECRET):
        deployment.aws.client().delete_secret(SecretId=f"airflow/variables/{name}", ForceDeleteWithoutRecovery=True)
    assert deployment.check("environment") == (VARIABLES, "client-of-airflow_var")


def test_the_metastore_wins_over_the_plain_environment_and_that_comes_last(deployment: Deployment) -> None:
    deployment.restart_scheduler(**dict(zip((ID, SECRET), account("process"), strict=True)))
    assert deployment.check("secrets_backend") == (VARIABLES, "client-of-metastore")
    for name in (ID, SECRET):
        deployment.rest.request("DELETE", f"/api/v2/variables/{name}")
    plain = {"source": f"environment variables {ID} and {SECRET}"}
    assert deployment.check("environment") == (plain, "client-of-process")


def test_every_example_has_been_run(deployment: Deployment) -> None:
    """By the tests above."""
    examples = set(re.findall(r"^def (example_\w+)", EXAMPLE.read_text(), re.MULTILINE))
    assert examples == {dag_id for dag_id, _ in deployment.runs if dag_id.startswith("example_")}


# ---- what is wrong is told, and nothing is shown

MESSAGES = {
    "wrong_secret": "CredentialsError: Polars Cloud refuses the service account from the connection 'wrong_secret'",
    "half": "CredentialsError: There is half a service account for Polars Cloud",
    "denied": "CredentialsError: AWS Secrets Manager does not let the connection 'aws_stranger' read the secret",
    "missing": "CredentialsError: AWS Secrets Manager has no secret",
    "broken": "begins as a JSON object and is none",
    "absent": "ConfigurationError: conn_id='absent' names no connection",
}


CARELESS = {
    "prints_it": "My secret is ***, and I am ***.",
    "returns_it": "A service account is a secret: it cannot be returned from a task or kept as an XCom.",
    "fails_with_it": "It went wrong with ***:***",
}


@pytest.fixture(scope="module")
def refused(deployment: Deployment) -> str:
    """Run the tasks that go wrong; return the id of the run."""
    login, password = account("connection")
    deployment.rest.set_connection("polars_cloud_default", "polars_cloud", login=login, password=password, port=443)
    state, run_id = deployment.run("refused_credentials")
    assert state == "failed"
    return run_id


@pytest.mark.parametrize("conn_id", WRONG)
def test_a_task_log_says_what_is_wrong(deployment: Deployment, refused: str, conn_id: str) -> None:
    assert MESSAGES[conn_id] in deployment.rest.log_text("refused_credentials", refused, conn_id)


def test_the_form_asks_for_the_account_and_for_a_port(deployment: Deployment) -> None:
    """It is built from the metadata of the provider."""
    forms: list[dict[str, Any]] = deployment.rest.request("GET", "/ui/connections/hook_meta")
    (form,) = (form for form in forms if form["connection_type"] == "polars_cloud")
    standard, extra = form["standard_fields"], form["extra_fields"]
    assert (form["hook_name"], standard["login"]["title"], standard["password"]["title"]) == (
        "Polars Cloud",
        "Client id",
        "Client secret",
    )
    assert {name for name, field in standard.items() if field and field["hidden"]} == {"host", "url_schema"}
    assert "Test button of Airflow 3.3.2 answers 400" in standard["port"]["placeholder"]
    assert extra["connection_mode"]["schema"]["enum"] == ["direct", "proxy"]
    assert all(field["description"] for field in extra.values())


def press_test_button(deployment: Deployment, conn_id: str) -> dict[str, Any]:
    """Test a connection as the button of the user interface does, in the API server."""
    body = deployment.rest.get(f"/connections/{conn_id}")
    answer: dict[str, Any] = deployment.rest.request("POST", "/api/v2/connections/test", body=body)
    return answer


def test_the_test_button_and_the_command_line_check_the_account(deployment: Deployment, refused: str) -> None:
    for conn_id in ("polars_cloud_default", "polars_cloud_vault"):
        answer = press_test_button(deployment, conn_id)
        assert answer["status"] is True, answer
        assert answer["message"].startswith("Polars Cloud accepts the service account from the ")
    answer = press_test_button(deployment, "wrong_secret")
    assert answer["status"] is False
    assert answer["message"].startswith("Polars Cloud refuses the service account from the connection: ")
    done = deployment.stack.cli("connections", "test", "denied")
    assert "AWS Secrets Manager does not let the connection 'aws_stranger' read the secret" in done.stdout
    assert [secret for secret in secrets_of(deployment) if secret in done.stdout + done.stderr] == []


def test_a_connection_without_a_port_is_tested_on_a_worker(deployment: Deployment, refused: str) -> None:
    login, password = account("connection")
    body = {"connection_id": "portless", "conn_type": "polars_cloud", "login": login, "password": password}
    token = deployment.rest.request("POST", "/api/v2/connections/enqueue-test", body=body)["token"]

    def ended() -> dict[str, Any] | None:
        url = f"{deployment.stack.base_url}/api/v2/connections/enqueue-test"
        client = deployment.rest._client
        answer: dict[str, Any] = client.get(url, headers={"Airflow-Connection-Test-Token": token}).json()
        return answer if answer.get("state") in ("success", "failed") else None

    result = wait_for(ended, 60, deployment.rest.diagnose)
    assert result["state"] == "success", result
    assert "Polars Cloud accepts the service account" in json.dumps(result)


def secrets_of(deployment: Deployment) -> list[str]:
    """Return every secret of the deployment: of Polars Cloud, and of AWS."""
    return [*ACCOUNTS.values(), *OTHER_SECRETS, *(secret for _, secret in deployment.aws.keys.values())]


def answers(deployment: Deployment) -> Iterator[str]:
    """Yield what the API answers about all that has run and all that is configured."""
    rest = deployment.rest
    for path in ("/connections", "/variables", "/eventLogs", "/importErrors", "/assets/events"):
        yield json.dumps(rest.get(path, limit=100))
    for dag_id, run_id in deployment.runs:
        yield json.dumps(rest.get(f"/dags/{dag_id}/details"))
        for instance in rest.task_instances(dag_id, run_id):
            yield json.dumps(instance)
            task_id = instance["task_id"]
            entries = f"/dags/{dag_id}/dagRuns/{quote(run_id, safe='')}/taskInstances/{task_id}/xcomEntries"
            for entry in rest.get(entries)["xcom_entries"]:
                yield json.dumps(rest.xcom(dag_id, run_id, task_id, entry["key"]))
            for number in range(1, instance["try_number"] + 1):
                yield rest.log_text(dag_id, run_id, task_id, try_number=number)


def places_of_secrets(deployment: Deployment) -> dict[str, list[str]]:
    """Return where which secret is seen: answers of the API, the metastore, each log of a task or a process."""
    home = deployment.stack.home
    files = [file for folder in ("task_logs", "logs") for file in (home / folder).rglob("*.log")]
    texts = {str(file.relative_to(home)): file.read_text(errors="replace") for file in files}
    texts |= {"API": "\n".join(answers(deployment)), "metastore": "\n".join(stored_text(home))}
    for place in ("API", "metastore", "logs/scheduler.log"):
        assert "refused_credentials" in texts[place]
    secrets = secrets_of(deployment)
    return {place: [secret for secret in secrets if secret in text] for place, text in texts.items()}


def test_no_secret_is_seen_anywhere_after_all_this(deployment: Deployment, refused: str) -> None:
    """Not in XComs, rendered fields, serialized DAGs, the audit log, exceptions and whatever else is stored or said."""
    assert deployment.rest.task_instance("refused_credentials", refused, "wrong_secret")["try_number"] == 2
    assert {place: seen for place, seen in places_of_secrets(deployment).items() if seen} == {}


def test_a_task_that_is_careless_with_its_account_shows_stars(deployment: Deployment, refused: str) -> None:
    """And cannot return it. Airflow's LocalExecutor copies what tasks say to the scheduler's own output unmasked."""
    state, run_id = deployment.run("careless_credentials")
    assert state == "failed"
    said = {task: deployment.rest.log_text("careless_credentials", run_id, task) for task in CARELESS}
    for task, words in CARELESS.items():
        assert words in said[task]
    places = places_of_secrets(deployment)
    del places["logs/scheduler.log"]
    assert {place: seen for place, seen in places.items() if seen} == {}
