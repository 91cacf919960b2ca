"""``polars-dev-cluster`` lets nobody else in unasked, and its processes import no more than they need."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from typing import Any

import polars as pl
import pytest

from airflow_provider_polars.dev_cluster.server import address
from tests.wire.command import ANY_PORTS, Shell, listeners

pytestmark = pytest.mark.own_cluster

JSON = (*ANY_PORTS, "--json")
ONE_WORKER = (*JSON, "--workers", "1")
OTHER_HOST = "127.0.0.2"
"""Not the one address of loopback that the command takes unasked, and yet no other can reach it."""


@pytest.mark.parametrize("host", [OTHER_HOST, "0.0.0.0"])
def test_another_host_needs_to_be_allowed(shell: Shell, host: str) -> None:
    up = shell.run("up", *ANY_PORTS, "--host", host, "--token", "secret")

    assert up.returncode == 1
    assert up.stderr == (
        f"polars-dev-cluster: --host {host} lets others in, who could run code here: add --allow-remote to mean it\n"
    )


@pytest.mark.parametrize("options", [(), ("--token",), ("--tls",)], ids=["neither", "no TLS", "no token"])
def test_another_host_needs_a_token_and_tls(shell: Shell, options: tuple[str, ...]) -> None:
    up = shell.run("up", *ANY_PORTS, "--host", OTHER_HOST, "--allow-remote", *options)

    assert up.returncode == 1
    assert "--allow-remote needs --token" in up.stderr


def test_workers_do_not_see_what_is_not_for_queries(shell: Shell) -> None:
    secrets = {
        "AIRFLOW__CORE__FERNET_KEY": "airflow",
        "AIRFLOW_CONN_LAKE": "aws://key",
        "POLARS_DEV_CLUSTER_TOKEN": "token",
        "POLARS_CLOUD_CLIENT_SECRET": "client",
    }
    with shell.up(*ONE_WORKER, AWS_REGION="eu-west-1", **secrets) as up:
        up.wait_until_ready()
        for worker in up.children:
            seen = worker.environ()
            assert not seen.keys() & secrets.keys()
            assert seen["AWS_REGION"] == "eu-west-1"


def test_another_host_is_listened_on_once_it_is_allowed(shell: Shell) -> None:
    with shell.up(*ONE_WORKER, "--host", OTHER_HOST, "--allow-remote", "--token", "--tls") as up:
        cluster = up.cluster

        assert cluster.uri.startswith(f"https://{OTHER_HOST}:")
        assert cluster.observatory.startswith(f"https://{OTHER_HOST}:")
        assert cluster.token
        assert listeners(up.process) == {OTHER_HOST, "127.0.0.1"}  # the latter for the workers, which stay here


@pytest.mark.parametrize("token", ["", "two\nlines", "naïve"], ids=["empty", "two lines", "not ASCII"])
def test_a_token_that_no_header_can_carry_is_refused(shell: Shell, token: str) -> None:
    up = shell.run("up", *ANY_PORTS, "--token", token)

    assert up.returncode == 1
    assert up.stderr == ("polars-dev-cluster: a token has at least one character, and only printable ones of ASCII\n")


def test_a_token_is_made_if_none_is_given(shell: Shell) -> None:
    tokens = []
    for _ in range(2):
        with shell.up(*ANY_PORTS, "--workers", "1", "--token") as up:
            (token,) = re.findall(r"^  token +(\S+)", up.wait_until_ready(), re.MULTILINE)
            tokens.append(token)

    assert len(set(tokens)) == 2
    assert min(map(len, tokens)) >= 32


def test_a_token_of_the_environment_is_not_to_be_seen_among_the_processes(shell: Shell) -> None:
    with shell.up(*ONE_WORKER, POLARS_DEV_CLUSTER_TOKEN="of-the-environment") as up:
        assert up.facts["token"] == "of-the-environment"
        for process in (up.process, *up.children):
            assert "of-the-environment" not in " ".join(process.cmdline())


def test_a_token_of_the_command_line_counts_more_than_that_of_the_environment(shell: Shell) -> None:
    with shell.up(*ONE_WORKER, "--token", "given", POLARS_DEV_CLUSTER_TOKEN="of-the-environment") as up:
        assert up.facts["token"] == "given"


def test_it_listens_on_loopback_alone(shell: Shell) -> None:
    with shell.up(*JSON) as up:
        up.wait_until_ready()

        assert listeners(up.process) == {"127.0.0.1"}
        for worker in up.children:
            assert listeners(worker) == set()


def test_an_address_of_ipv6_stands_in_brackets() -> None:
    assert address("::1", 5051) == "[::1]:5051"
    assert address("127.0.0.1", 5051) == "127.0.0.1:5051"


def test_the_scheduler_imports_neither_polars_nor_airflow(shell: Shell) -> None:
    code = (
        "import json, sys\n"
        "from airflow_provider_polars.dev_cluster.cli import main\n"
        "code = main(sys.argv[1:])\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))\n"
        "sys.exit(code)\n"
    )
    with shell.up(*ONE_WORKER, "--tls", "--token", command=[sys.executable, "-c", code]) as up:
        up.wait_until_ready()
        assert up.end(signal.SIGTERM) == 0
        imported = json.loads(up.output.splitlines()[-1])

    assert {"grpc", "starlette", "airflow_provider_polars"} <= set(imported)
    assert {name for name in imported if name.startswith("_polars")} == set()
    assert {"airflow", "polars", "polars_cloud", "pyarrow", "pandas", "numpy"}.isdisjoint(imported)


def test_workers_import_the_standard_library_grpc_and_polars_alone(context: Any) -> None:
    def modules(_: pl.DataFrame) -> pl.DataFrame:
        return pl.DataFrame({"name": sorted({name.partition(".")[0] for name in sys.modules})})

    frame = pl.LazyFrame({"a": [1]}).map_batches(modules, schema={"name": pl.String})

    imported = set(frame.remote(context).single_node().collect()["name"])

    expected = subprocess.run(
        [sys.executable, "-c", "import cloudpickle, grpc, polars, sys; print(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    others = imported - {name.partition(".")[0] for name in expected.stdout.split()} - set(sys.stdlib_module_names)
    assert {name for name in others if not name.startswith("_sysconfigdata")} == {"polars_worker"}
