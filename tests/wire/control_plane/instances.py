"""Starting instances with the real client, and looking at what becomes of them."""

from __future__ import annotations

import pickle
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx

from airflow_provider_polars.dev_cluster.registry import started_at
from tests.harness.waiting import wait_for

if TYPE_CHECKING:
    from airflow_provider_polars.testing import ControlPlane
    from tests.wire.control_plane.console import Console
    from tests.wire.gates import Gate

REPOSITORY = Path(__file__).resolve().parents[3]
SECONDS = 60.0
START = """
from polars_cloud.polars_cloud import DBClusterModeModel, DBCPUArchitectureModel
def start(mode="Direct", minutes=600, cpus=2, **options):
    given = dict.fromkeys(["instance_type", "storage", "big_instance_type", "big_instance_multiplier",
                           "big_instance_storage", "requirements_txt", "labels", "log_level"])
    given |= {"cpus": cpus, "ram_gb": 4, "cpu_architectures": [DBCPUArchitectureModel.X86_64], "cluster_size": 1,
              "env_vars": {}, "idle_timeout_mins": minutes, "mode": getattr(DBClusterModeModel, mode), **options}
    return str(API_CLIENT.start_compute(workspace_id=API_CLIENT.get_default_workspace_id(), **given).id)
"""
"""Starts without waiting: ``ComputeContext.start()`` in direct mode sleeps for 30 s after its first look."""


def started(client: Console, **options: Any) -> str:
    """Start an instance and return its id; its state is Starting."""
    client.say(START)
    given = ", ".join(f"{name}={value!r}" for name, value in options.items())
    instance_id: str = client.say(f"instance_id = start({given}); instance_id")
    return instance_id


def connected(plane: ControlPlane, client: Console, **options: Any) -> dict[str, Any]:
    """Start an instance, wait until it is up, have ``ctx`` be the client's context for it, and return it."""
    instance_id = started(client, **options)
    instance = until(plane, instance_id, "Idle")
    client.say("ctx = pc.ComputeContext.connect(uuid.UUID(instance_id), API_CLIENT.get_default_workspace_id())")
    return instance


def lend(client: Console, gate: Gate) -> None:
    """Have ``gate`` be that gate in the process of the client too."""
    client.say(f"import pickle, sys; sys.path.append({str(REPOSITORY)!r}); gate = pickle.loads({pickle.dumps(gate)!r})")


def hold(client: Console, gate: Gate, name: str = "held") -> None:
    """Submit ``query`` to ``ctx``, and wait until it runs; it goes on when the gate is opened."""
    lend(client, gate)
    client.say(f"query = gate.frame({name!r}).remote(ctx).single_node().execute(blocking=False)")
    gate.wait_until_started(name)


def status(client: Console) -> str:
    """Return what ``ctx`` says of its instance."""
    said: str = client.say("ctx.get_status().name")
    return said


def ask(plane: ControlPlane, client: Console, method: str, path: str, body: Any = None) -> httpx.Response:
    """Ask the REST interface what the client would not, with the token that it has."""
    headers = {"authorization": client.say("API_CLIENT.get_auth_header()")}
    return httpx.request(method, f"{plane.api}/api/v1/{path}", json=body, headers=headers, trust_env=False)


def found(plane: ControlPlane, instance_id: str) -> dict[str, Any]:
    """Return an instance as it is."""
    return next(instance for instance in plane.instances if instance["id"] == instance_id)


def until(plane: ControlPlane, instance_id: str, *states: str) -> dict[str, Any]:
    """Wait until an instance is in one of the states, and return it."""

    def look() -> dict[str, Any] | None:
        instance = found(plane, instance_id)
        return instance if instance["state"] in states else None

    return wait_for(look, SECONDS, lambda: str(found(plane, instance_id)), interval=0.05)


def ended(plane: ControlPlane, instance_id: str) -> dict[str, Any]:
    """Wait until an instance has ended, and return it."""
    return until(plane, instance_id, "Stopped", "Failed")


def refuses(port: int) -> bool:
    """Return whether nothing listens at a port."""
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) != 0


def alive(pids: list[int]) -> list[int]:
    """Return which of the processes run; those that only wait to be reaped do not."""
    return [pid for pid in pids if started_at(pid) is not None]
