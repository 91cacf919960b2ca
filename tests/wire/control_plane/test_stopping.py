"""What an instance does from its stop on, and while its scheduler restarts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.harness.waiting import wait_for
from tests.wire.control_plane.console import SaidError
from tests.wire.control_plane.instances import SECONDS, ask, connected, found, hold, refuses

if TYPE_CHECKING:
    from airflow_provider_polars.testing import ControlPlane
    from tests.wire.control_plane.conftest import Clients
    from tests.wire.control_plane.console import Console
    from tests.wire.gates import Gate

QUERY = "pl.LazyFrame({'a': [1]}).remote(ctx).single_node().execute(blocking=False)"


@pytest.mark.own_cluster
def test_an_instance_in_direct_mode_ends_its_queries_and_takes_none_while_it_stops(
    start_plane: Callable[..., ControlPlane], clients: Clients, gate: Gate
) -> None:
    plane = start_plane("--stopping-seconds", "600")
    client = clients(plane.environment)
    instance = connected(plane, client)
    hold(client, gate)
    client.say(f"queued = {QUERY}")
    place = f"workspace/{plane.workspace.id}/compute/{instance['id']}"
    assert ask(plane, client, "GET", f"{place}/public_info").status_code == 200

    assert ask(plane, client, "POST", f"{place}/stop").is_success  # ctx.stop() would have ctx refuse queries itself

    with pytest.raises(SaidError, match=f"the compute cluster {instance['id']} has ended"):
        client.say(QUERY)
    assert client.say("[one.get_status().name for one in (query, queued)]") == ["FAILED", "FAILED"]
    told = plane.get(f"/instances/{instance['id']}/_dev/queries")
    assert [query["state"] for query in told] == ["FAILED", "FAILED"]
    assert ask(plane, client, "GET", f"{place}/public_info").status_code == 409
    assert found(plane, instance["id"])["state"] == "Stopping"


@pytest.mark.own_cluster
def test_a_query_in_proxy_mode_ends_as_soon_as_its_instance_stops(
    start_plane: Callable[..., ControlPlane], clients: Clients, gate: Gate
) -> None:
    plane = start_plane("--stopping-seconds", "600")
    client = clients(plane.environment)
    instance = connected(plane, client, mode="Proxy")
    hold(client, gate)

    client.say("ctx.stop()")

    with pytest.raises(SaidError, match=f"the compute cluster {instance['id']} has ended"):
        client.say("query.await_result()")
    assert found(plane, instance["id"])["state"] == "Stopping"


def test_a_restart_that_nobody_waits_for_goes_on(plane: ControlPlane, shared_client: Console) -> None:
    instance = connected(plane, shared_client)
    dev, scheduler = f"/instances/{instance['id']}/_dev", instance["ports"][0]

    assert plane.post(f"{dev}/restart", {"memory": True, "seconds": 3, "wait": False}) == {"listens": False}

    assert refuses(scheduler)
    wait_for(lambda: not refuses(scheduler) or None, SECONDS, lambda: str(plane.get(f"{dev}/status")))
