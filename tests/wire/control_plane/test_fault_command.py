"""``polars-dev-cluster fault`` in a shell, for a control plane and for its instances."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.wire.control_plane.instances import until
from tests.wire.control_plane.raw import Caller

if TYPE_CHECKING:
    from airflow_provider_polars.testing import ControlPlane
    from tests.wire.command import Shell, Up

UP = ("--control-plane", "--api-port", "0", "--token-port", "0", "--dev-port", "0", "--json")
ONE_WORKER = ("--port", "0", "--observatory-port", "0", "--json", "--workers", "1")
UNAVAILABLE = ("answer", "--status", "503", "--message", "not today")


def port_of(up: Up) -> str:
    return str(up.facts.get("api", up.facts.get("scheduler"))).rpartition(":")[2]


@pytest.mark.own_cluster
def test_faults_of_a_control_plane_are_set_by_the_port_of_its_api(shell: Shell) -> None:
    with shell.up(*UP) as up:
        where = ("--port", port_of(up))
        caller = Caller(up.plane)

        added = shell.run("fault", "add", *where, "GET user/me", *UNAVAILABLE)
        assert (added.returncode, added.stderr) == (0, "")
        other = shell.run("fault", "add", *where, "POST token", "delay", "--seconds", "0.5").stdout.strip()
        answer = caller.ask("GET", "user/me")

        assert (answer.status_code, answer.json()["message"]) == (503, "not today")
        listed = shell.run("fault", "list", *where)
        assert listed.stdout.splitlines() == [
            f"{added.stdout.strip()}  GET user/me  answer  status 503  message not today  1 of 1 hits",
            f"{other}  POST token  delay  seconds 0.5  0 of 1 hits",
        ]
        assert shell.run("fault", "clear", *where, other).returncode == 0
        assert [fault["call"] for fault in up.plane.faults.counted()] == ["GET user/me"]
        assert shell.run("fault", "clear", *where).returncode == 0
        assert up.plane.faults.counted() == []
        assert caller.ask("GET", "user/me").status_code == 200


def test_faults_of_an_instance_are_set_by_its_url(plane: ControlPlane, shell: Shell) -> None:
    instance = Caller(plane).start()
    until(plane, instance, "Idle")
    where = ("--url", f"{plane.dev}/instances/{instance}")

    added = shell.run("fault", "add", *where, "SubmitQuery", "answer", "--status", "unavailable")

    assert (added.returncode, added.stderr) == (0, "")
    listed = shell.run("fault", "list", *where).stdout
    assert listed == f"{added.stdout.strip()}  SubmitQuery  answer  status UNAVAILABLE  0 of 1 hits\n"
    assert len(plane.faults_of(instance).counted()) == 1
    assert plane.faults.counted() == []
    assert shell.run("fault", "clear", *where).returncode == 0
    assert plane.faults_of(instance).counted() == []


def test_an_instance_that_is_not_there_is_named(plane: ControlPlane, shell: Shell) -> None:
    ended = shell.run("fault", "list", "--url", f"{plane.dev}/instances/nobody")

    assert (ended.returncode, ended.stderr) == (1, "polars-dev-cluster: no compute cluster nobody\n")


@pytest.mark.own_cluster
def test_a_cluster_and_a_control_plane_that_are_both_up_need_a_port(shell: Shell) -> None:
    with shell.up(*UP) as plane, shell.up(*ONE_WORKER) as cluster:
        ports = [port_of(plane), port_of(cluster)]

        undecided = shell.run("fault", "add", "SubmitQuery", "drop")

        assert (undecided.returncode, undecided.stdout) == (1, "")
        assert undecided.stderr == (
            "polars-dev-cluster: several are up, on the ports {}, {}: say --port\n".format(*sorted(ports, key=int))
        )
        for port, do in zip(ports, ("drop", "reset"), strict=True):
            assert shell.run("fault", "add", "--port", port, "SubmitQuery", do).returncode == 0
        assert [fault["do"] for fault in plane.plane.faults.counted()] == ["drop"]
        assert [fault["do"] for fault in cluster.cluster.faults.counted()] == ["reset"]
