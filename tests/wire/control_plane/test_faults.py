"""Faults of a control plane and of its instances, as the real client sees them; what they answer is the stand-in's."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.harness.waiting import wait_for
from tests.wire.control_plane.console import SaidError
from tests.wire.control_plane.instances import alive, connected, ended, started, until

if TYPE_CHECKING:
    from airflow_provider_polars.testing import ControlPlane
    from tests.wire.control_plane.console import Console

ME = "GET user/me"
START = "POST workspace/*/compute/start"
ASK = "API_CLIENT.get_user().id"
SUBMIT = "query = pl.LazyFrame({'a': [1]}).remote(ctx).single_node().execute(blocking=False)"
SIGN_IN = """
API_CLIENT.clear_authentication()
given = {"client_id": os.environ["POLARS_CLOUD_CLIENT_ID"], "client_secret": os.environ["POLARS_CLOUD_CLIENT_SECRET"]}
pc.authenticate(**given, interactive=False)
"""


def refusal(client: Console, code: str) -> SaidError:
    """Return what the client raises."""
    with pytest.raises(SaidError) as raised:
        client.say(code)
    return raised.value


@pytest.mark.parametrize("status", [400, 403, 409, 422, 500, 503])
def test_a_status_reaches_the_client_without_its_number(
    plane: ControlPlane, shared_client: Console, status: int
) -> None:
    fault = plane.faults.add(ME, "answer", status=status, message="not today")

    error = refusal(shared_client, ASK)

    assert (error.kind, json.loads(error.text)) == ("ValueError", {"message": "not today", "errors": {}})
    assert plane.faults.hits(fault) == 1
    assert shared_client.say(ASK) == plane.account.id


def test_401_is_told_in_the_client_s_own_words(plane: ControlPlane, shared_client: Console) -> None:
    plane.faults.add(ME, "answer", status=401, message="not you")
    assert "Status 401 Unauthorized" in refusal(shared_client, ASK).text


def test_404_has_a_class_of_its_own(plane: ControlPlane, shared_client: Console) -> None:
    plane.faults.add(ME, "answer", status=404, message="nobody")
    assert refusal(shared_client, ASK).kind == "NotFoundError"


def test_an_answer_that_is_no_json_is_told_with_its_status(plane: ControlPlane, shared_client: Console) -> None:
    plane.faults.add(ME, "answer", status=502, body="<html>bad gateway</html>")
    assert "502" in refusal(shared_client, ASK).text


def test_a_late_answer_is_waited_for(plane: ControlPlane, shared_client: Console) -> None:
    plane.faults.add(ME, "delay", seconds=0.5)
    taken = shared_client.say(f"begun = time.monotonic(); {ASK}; time.monotonic() - begun")
    assert 0.5 <= taken < 30


def test_a_call_that_hangs_ends_when_its_fault_is_lifted(plane: ControlPlane, shared_client: Console) -> None:
    fault = plane.faults.add(ME, "hang")
    shared_client.begin(ASK)
    wait_for(lambda: plane.faults.hits(fault) or None, 20, lambda: str(plane.faults.counted()))

    plane.faults.lift(fault)

    with pytest.raises(SaidError, match="until its fault was lifted"):
        shared_client.end()


def test_a_call_whose_connection_is_reset_does_nothing(plane: ControlPlane, shared_client: Console) -> None:
    plane.faults.add(START, "reset")

    with pytest.raises(SaidError, match="RuntimeError"):
        started(shared_client)

    assert plane.started == []


@pytest.mark.parametrize("fault", [{"do": "answer", "status": 500}, {"do": "answer", "status": 401, "body": {}}])
def test_a_token_endpoint_that_is_down_looks_like_a_wrong_secret(
    plane: ControlPlane, shared_client: Console, fault: dict[str, object]
) -> None:
    plane.faults.add("POST token", times=None, **fault)  # type: ignore[arg-type]

    error = refusal(shared_client, SIGN_IN)

    assert (error.kind, "missing field `access_token`" in error.text) == ("AuthLoadError", True)
    plane.faults.clear()
    shared_client.say(SIGN_IN)
    assert shared_client.say(ASK) == plane.account.id


@pytest.mark.own_cluster
def test_above_the_quota_nothing_is_started(
    start_plane: Callable[..., ControlPlane], clients: Callable[..., Console]
) -> None:
    plane = start_plane("--max-vcpus", "3")
    client = clients(plane.environment)
    first = started(client, cpus=2)

    with pytest.raises(SaidError, match="quota exceeded: 2 of 3 vCPUs are in use, and 2 more were asked for"):
        started(client, cpus=2)

    assert plane.started == [first]


# ---- of the cluster that an instance is


def test_a_query_that_a_fault_fails_raises_the_class_of_its_error(plane: ControlPlane, shared_client: Console) -> None:
    instance = connected(plane, shared_client)
    plane.faults_of(instance["id"]).add("SubmitQuery", "fail", errors=["ColumnNotFoundError: nothing is called b"])
    shared_client.say(SUBMIT)

    assert refusal(shared_client, "query.await_result()").kind == "ColumnNotFoundError"
    assert shared_client.say("query.await_result(raise_on_failure=False).status.name") == "FAILED"


def test_an_instance_that_forgets_its_queries_does_not_know_them(plane: ControlPlane, shared_client: Console) -> None:
    instance = connected(plane, shared_client)
    shared_client.say(SUBMIT)
    shared_client.say("query.await_result()")

    plane.restart(instance["id"], memory=False)

    assert "requested entity was not found" in refusal(shared_client, "query.get_status()").text


def test_a_worker_that_is_killed_is_replaced(plane: ControlPlane, shared_client: Console) -> None:
    instance = connected(plane, shared_client)

    plane.kill_worker(instance["id"])

    shared_client.say(SUBMIT.replace("remote(ctx)", "remote(ctx, n_retries=1)"))
    assert shared_client.say("query.await_result().status.name") == "SUCCESS"
    pids = until(plane, instance["id"], "Idle")["pids"]
    assert len(pids) == len(instance["pids"])
    assert pids != instance["pids"]


def test_a_machine_that_is_lost_leaves_no_process(plane: ControlPlane, shared_client: Console) -> None:
    instance = connected(plane, shared_client)

    plane.kill(instance["id"], "taken away")

    gone = ended(plane, instance["id"])
    assert (gone["state"], gone["termination"]["termination_message"]) == ("Failed", "taken away")
    assert alive(instance["pids"]) == []
