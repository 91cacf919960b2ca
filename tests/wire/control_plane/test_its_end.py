"""What is left when a control plane itself ends: nothing."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

import psutil
import pytest

from airflow_provider_polars.testing import start_control_plane
from tests.harness.waiting import wait_for
from tests.wire.control_plane.instances import alive, connected, hold, refuses, started

if TYPE_CHECKING:
    from airflow_provider_polars.testing import ControlPlane
    from tests.wire.control_plane.conftest import Clients
    from tests.wire.gates import Gate

pytestmark = pytest.mark.own_cluster


def ports_of(plane: ControlPlane) -> list[int]:
    return [int(address.rpartition(":")[2]) for address in (plane.api, plane.dev)]


def test_a_control_plane_that_is_told_to_end_ends_its_instances_at_once(clients: Clients, gate: Gate) -> None:
    with start_control_plane("--stopping-seconds", "600") as plane:
        client = clients(plane.environment)
        running = connected(plane, client, mode="Proxy")
        hold(client, gate)
        stopping = connected(plane, client)
        client.say("ctx.stop()")
        started(client)
        pids = [child.pid for child in psutil.Process(plane.pid).children(recursive=True)]
        assert {*running["pids"], *stopping["pids"]} <= {*pids}

    # Its exit code was 0: else the block raises.
    assert alive(pids) == []
    assert [port for port in [*running["ports"], *stopping["ports"], *ports_of(plane)] if not refuses(port)] == []


def test_a_control_plane_that_is_killed_leaves_no_worker(clients: Clients, gate: Gate) -> None:
    with contextlib.suppress(RuntimeError), start_control_plane() as plane:  # it does not end cleanly
        client = clients(plane.environment)
        instance = connected(plane, client)
        hold(client, gate)
        started(client)
        pids = [child.pid for child in psutil.Process(plane.pid).children(recursive=True)]
        assert {*instance["pids"]} <= {*pids}

        os.kill(plane.pid, signal.SIGKILL)
        wait_for(lambda: None if alive(pids) else True, 60, lambda: f"{alive(pids)} are left", interval=0.02)

    assert alive([plane.pid, *pids]) == []
    assert [port for port in [*instance["ports"], *ports_of(plane)] if not refuses(port)] == []
