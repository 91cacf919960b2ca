"""``polars-dev-cluster fault`` in a shell."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from airflow_provider_polars.testing import DevCluster
from tests.wire.command import ANY_PORTS, Shell
from tests.wire.peers import peer, refusing_port

FRAME = pl.LazyFrame({"a": [1, 2, 3]})
ONE_WORKER = (*ANY_PORTS, "--json", "--workers", "1")


def test_a_fault_is_added_listed_and_cleared(polars_dev_cluster: DevCluster, context: Any, shell: Shell) -> None:
    where = ("--url", f"{polars_dev_cluster.observatory}/")

    added = shell.run("fault", "add", *where, "Submit*", "answer", "--status", "unavailable", "--message", "later")
    assert (added.returncode, added.stderr) == (0, "")
    fault = int(added.stdout)
    other = int(shell.run("fault", "add", *where, "DoGet", "delay", "--seconds", "0.5", "--skip", "3").stdout)
    with pytest.raises(RuntimeError, match="currently unavailable, later"):
        FRAME.remote(context).single_node().execute()

    listed = shell.run("fault", "list", *where)
    assert listed.stdout.splitlines() == [
        f"{fault}  Submit*  answer  status UNAVAILABLE  message later  1 of 1 hits",
        f"{other}  DoGet  delay  seconds 0.5  after 3 calls  0 of 1 hits",
    ]
    assert shell.run("fault", "clear", *where, str(fault)).returncode == 0
    assert [each["id"] for each in polars_dev_cluster.faults.counted()] == [other]
    assert shell.run("fault", "clear", *where).returncode == 0
    assert polars_dev_cluster.faults.counted() == []


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["*", "hang", "--times", "all"], {"call": "*", "do": "hang", "times": None}),
        (["GET query", "answer", "--status", "503"], {"call": "GET query", "do": "answer", "status": 503}),
        (["GET *", "answer", "--status", "200", "--body", '{"a": 1}'], {"status": 200, "body": {"a": 1}}),
        (["GET *", "answer", "--status", "200", "--body", "<html>"], {"status": 200, "body": "<html>"}),
        (["SubmitQuery", "fail"], {"do": "fail", "errors": []}),
        (["SubmitQuery", "fail", "--error", "ComputeError: a", "--error", "b"], {"errors": ["ComputeError: a", "b"]}),
    ],
)
def test_a_fault_is_what_the_arguments_say(
    polars_dev_cluster: DevCluster, shell: Shell, arguments: list[str], fault: dict[str, Any]
) -> None:
    assert shell.run("fault", "add", "--url", polars_dev_cluster.observatory, *arguments).returncode == 0

    (added,) = polars_dev_cluster.faults.counted()
    assert added == {**added, **fault}


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("add", "SubmitQuery", "explode"), 'do is "explode", but must be one of delay, hang'),
        (("add", "SubmitQuery", "delay"), "seconds is null, but must be a number above 0"),
        (("add", "SubmitQuery", "drop", "--status", "503"), "status is 503, but must be left out"),
        (("add", "SubmitQuery", "drop", "--error", "no"), 'errors is ["no"], but must be left out'),
        (("clear", "99999"), "no fault 99999"),
    ],
)
def test_what_is_wrong_is_said(
    polars_dev_cluster: DevCluster, shell: Shell, arguments: tuple[str, ...], complaint: str
) -> None:
    ended = shell.run("fault", *arguments, "--url", polars_dev_cluster.observatory)

    assert ended.returncode == 1
    assert ended.stderr.startswith(f"polars-dev-cluster: {complaint}")
    assert polars_dev_cluster.faults.counted() == []


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("fault",), "the following arguments are required: action"),
        (("fault", "add", "SubmitQuery"), "the following arguments are required: DO"),
        (("fault", "add", "SubmitQuery", "drop", "--times", "often"), "argument --times"),
        (("fault", "clear", "first"), "argument ID: invalid int value: 'first'"),
    ],
)
def test_arguments_that_mean_nothing_are_named(shell: Shell, arguments: tuple[str, ...], complaint: str) -> None:
    ended = shell.run(*arguments)

    assert ended.returncode == 2
    assert complaint in ended.stderr


def test_a_cluster_that_does_not_answer_is_named(shell: Shell) -> None:
    with refusing_port() as port:
        ended = shell.run("fault", "list", "--url", f"http://127.0.0.1:{port}")

    assert ended.returncode == 1
    assert (
        ended.stderr == f"polars-dev-cluster: http://127.0.0.1:{port} does not answer: [Errno 111] Connection refused\n"
    )


@pytest.mark.parametrize("url", ["localhost", "localhost:3001", "127.0.0.1:3001", ""])
def test_a_url_without_its_scheme_is_refused(shell: Shell, url: str) -> None:
    ended = shell.run("fault", "list", "--url", url)

    complaint = f"polars-dev-cluster: --url is {url!r}, but must begin with http:// or https://\n"
    assert (ended.returncode, ended.stderr) == (1, complaint)


def test_the_port_of_a_scheduler_is_no_address_of_faults(polars_dev_cluster: DevCluster, shell: Shell) -> None:
    ended = shell.run("fault", "list", "--url", polars_dev_cluster.uri)

    complaint = f"polars-dev-cluster: {polars_dev_cluster.uri} answers, but not in HTTP: give the address of an"
    assert (ended.returncode, ended.stderr[: len(complaint)]) == (1, complaint)


@pytest.mark.parametrize(
    ("says", "complaint"),
    [
        (b"", "does not answer: Remote end closed connection without response"),
        (b"HTTP/1.1 200 OK\r\n\r\n<html>", "answers, but not with JSON: it is not the address of a /_dev"),
    ],
)
def test_what_is_no_cluster_is_named(shell: Shell, says: bytes, complaint: str) -> None:
    with peer(says, hangs_up=True) as (host, port):
        ended = shell.run("fault", "list", "--url", f"http://{host}:{port}")

    assert (ended.returncode, ended.stderr) == (1, f"polars-dev-cluster: http://{host}:{port} {complaint}\n")


@pytest.mark.own_cluster
def test_a_server_that_says_nothing_is_not_waited_for_longer_than_10_s(shell: Shell) -> None:
    with peer() as (host, port):
        ended = shell.run("fault", "list", "--url", f"http://{host}:{port}")

    complaint = f"polars-dev-cluster: http://{host}:{port} does not answer: timed out\n"
    assert (ended.returncode, ended.stderr) == (1, complaint)


def test_a_token_that_no_header_can_have_is_not_shown(polars_dev_cluster: DevCluster, shell: Shell) -> None:
    ended = shell.run("fault", "list", "--url", polars_dev_cluster.observatory, "--token", "first\nsecond")

    assert (ended.returncode, "the token has characters that no header can have" in ended.stderr) == (1, True)
    assert "second" not in ended.stderr


def test_no_cluster_is_up(shell: Shell) -> None:
    ended = shell.run("fault", "list", "--port", "5051")

    assert (ended.returncode, ended.stderr) == (1, "polars-dev-cluster: no development cluster is up on port 5051\n")


@pytest.mark.own_cluster
def test_the_port_says_which_cluster_is_meant(shell: Shell) -> None:
    with shell.up(*ONE_WORKER) as first:
        first.wait_until_ready()
        assert shell.run("fault", "add", "*", "hang").returncode == 0
        with shell.up(*ONE_WORKER) as second:
            ports = [up.facts["scheduler"].rpartition(":")[2] for up in (first, second)]

            undecided = shell.run("fault", "add", "SubmitQuery", "drop")
            decided = shell.run("fault", "add", "--port", ports[1], "SubmitQuery", "drop")

            assert undecided.returncode == 1
            assert undecided.stderr == (
                "polars-dev-cluster: several are up, on the ports {}, {}: say --port\n".format(*sorted(ports, key=int))
            )
            assert decided.returncode == 0
            assert [fault["do"] for up in (first, second) for fault in up.cluster.faults.counted()] == ["hang", "drop"]


@pytest.mark.own_cluster
def test_a_cluster_with_tls_and_a_token_wants_both(shell: Shell) -> None:
    with shell.up(*ONE_WORKER, "--tls", "--token", "the-right-token") as up:
        up.wait_until_ready()
        add = ("fault", "add", "SubmitQuery", "drop")

        refused = shell.run(*add)
        assert (refused.returncode, refused.stderr) == (
            1,
            "polars-dev-cluster: the bearer token is missing or wrong\n",
        )
        assert shell.run(*add, "--token", "the-right-token").returncode == 0
        assert shell.run(*add, POLARS_DEV_CLUSTER_TOKEN="the-right-token").returncode == 0
        assert len(up.cluster.faults.counted()) == 2


@pytest.mark.own_cluster
def test_a_cluster_on_which_much_goes_wrong_says_nothing_and_ends_cleanly(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over TLS too: connections are lost, calls hang, and it restarts."""
    from airflow_provider_polars.testing.environment import set_environment

    with shell.up(*ONE_WORKER, "--tls") as up:
        cluster = up.cluster
        set_environment(cluster.environment, monkeypatch)
        for do in ("drop", "reset"):
            context = cluster.context()
            query: Any = FRAME.remote(context).single_node().execute(blocking=False)
            query.await_result()
            for call in ("GetQueryStatus", "GET query"):
                cluster.faults.add(call, do)
            with pytest.raises(RuntimeError, match="transport error"):
                query.get_status()
            with pytest.raises(RuntimeError, match="error sending request"):
                context._get_direct_client().get_query_details(query._query_id)
        cluster.restart()
        cluster.restart(memory=False)
        assert FRAME.remote(cluster.context()).single_node().collect().height == 3
        cluster.restart(seconds=600, wait=False)

        assert up.process.terminate() is None
        assert up.process.wait(30) == 0
        up.wait_for_the_end_of_all()
        assert up.log == ""
    assert shell.left == []
