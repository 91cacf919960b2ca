"""Queries in proxy mode: the client speaks to the control plane alone."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.wire.control_plane.console import SaidError
from tests.wire.control_plane.instances import connected, ended, found, hold, lend, started

if TYPE_CHECKING:
    from airflow_provider_polars.testing import ControlPlane
    from tests.wire.control_plane.conftest import Clients
    from tests.wire.control_plane.console import Console
    from tests.wire.gates import Gate

SUBMITTED = "query = {}.remote(ctx).single_node().execute(blocking=False); str(query._query_id)"
ROWS = "pl.LazyFrame({'a': [1, 2]})"
WRONG = "pl.LazyFrame({'a': ['x']}).select(pl.col('a').cast(pl.Int64))"
RESULT = "result = query.await_result(raise_on_failure=False); [result.status.name, result.n_rows_total]"
STATE = "query.get_status().name"
BY_ID = "pc.ProxyQuery(uuid.UUID({!r}), uuid.UUID({!r})).get_status().name"


def test_a_query_runs_and_tells_where_its_rows_are(plane: ControlPlane, shared_client: Console, tmp_path: Path) -> None:
    instance = connected(plane, shared_client, mode="Proxy")
    place = tmp_path / "a.parquet"

    shared_client.say(f"query = {ROWS}.remote(ctx).labels(['one', 'two']).single_node().sink_parquet({str(place)!r})")

    assert shared_client.say("type(query).__name__") == "ProxyQuery"
    assert shared_client.say(RESULT) == ["SUCCESS", 2]
    assert shared_client.say("result.location, result.file_type") == [[str(place)], "parquet"]
    assert place.exists()
    (submission,) = plane.recorder.submissions
    assert (submission["compute_id"], submission["labels"]) == (instance["id"], ["one", "two"])
    model = shared_client.say("""
        found = API_CLIENT.get_query(API_CLIENT.get_default_workspace_id(), query._query_id)
        one, timing, result = found.query, found.state_timing, found.result
        [str(one.id), str(one.cluster_id), str(one.user_id), timing.latest_status.__repr__(), result.n_rows_result,
         result.finished_stages, one.request_time <= one.started_at <= one.ended_at]
    """)
    ids = [submission["query_id"], instance["id"], plane.account.id]
    assert model == [*ids, "QueryStatusCodeModel.Success", 2, 1, True]


def test_a_result_without_a_place_is_read_from_where_the_stand_in_has_it(
    plane: ControlPlane, shared_client: Console
) -> None:
    connected(plane, shared_client, mode="Proxy")

    shared_client.say(SUBMITTED.format(ROWS))

    assert shared_client.say("query.await_result().lazy().collect()['a'].to_list()") == [1, 2]


def test_a_query_waits_runs_and_ends(plane: ControlPlane, shared_client: Console, gate: Gate) -> None:
    connected(plane, shared_client, mode="Proxy", cluster_size=2)
    lend(shared_client, gate)
    shared_client.say(
        "first, second, query = "
        "(gate.frame(name).remote(ctx).single_node().execute(blocking=False) for name in ('1', '2', '3'))"
    )
    gate.wait_until_started("1")
    gate.wait_until_started("2")

    assert shared_client.say("[one.get_status().name for one in (first, second, query)]") == [
        "INPROGRESS",
        "INPROGRESS",
        "SCHEDULED",
    ]
    gate.open()
    assert shared_client.say("[one.await_result().status.name for one in (first, second, query)]") == ["SUCCESS"] * 3


def test_a_query_that_fails_raises_the_class_of_its_error(plane: ControlPlane, shared_client: Console) -> None:
    connected(plane, shared_client, mode="Proxy")
    shared_client.say(SUBMITTED.format(WRONG))

    with pytest.raises(SaidError, match="conversion from `str` to `i64` failed") as raised:
        shared_client.say("query.await_result()")

    assert raised.value.kind == "InvalidOperationError"
    assert shared_client.say(STATE) == "FAILED"
    assert shared_client.say(RESULT) == ["FAILED", None]


def test_a_plan_that_cannot_run_is_refused(plane: ControlPlane, shared_client: Console) -> None:
    connected(plane, shared_client, mode="Proxy")

    with pytest.raises(SaidError, match="no_such_column"):
        shared_client.say(SUBMITTED.format("pl.LazyFrame({'a': [1]}).select('no_such_column')"))

    assert "ColumnNotFoundError" in plane.recorder.submissions[0]["refused"]


def test_a_query_that_is_cancelled_is_canceled_and_does_not_raise(
    plane: ControlPlane, shared_client: Console, gate: Gate
) -> None:
    connected(plane, shared_client, mode="Proxy")
    hold(shared_client, gate)

    shared_client.say("query.cancel()")

    assert shared_client.say(RESULT)[0] == "CANCELED"
    assert shared_client.say("query.await_result().status.name") == "CANCELED"
    shared_client.say("query.cancel()")  # nothing happens to one that has ended
    assert shared_client.say(STATE) == "CANCELED"


def test_queries_are_listed_in_the_order_of_their_submission(plane: ControlPlane, shared_client: Console) -> None:
    connected(plane, shared_client, mode="Proxy")
    ids = [shared_client.say(SUBMITTED.format(ROWS)) for _ in range(3)]

    listed = "[str(found.id) for found in API_CLIENT.get_queries(API_CLIENT.get_default_workspace_id())]"

    assert shared_client.say(listed) == ids


def test_a_query_is_taken_up_by_its_ids_and_by_its_pickle(
    plane: ControlPlane, shared_client: Console, other_client: Console, gate: Gate
) -> None:
    connected(plane, shared_client, mode="Proxy")
    hold(shared_client, gate)
    pickled = shared_client.say("import base64, pickle; base64.b64encode(pickle.dumps(query)).decode()")
    query_id = shared_client.say("str(query._query_id)")
    assert query_id.encode() not in base64.b64decode(pickled)  # it is there as a number

    other = other_client
    other.say(f"import base64, pickle; query = pickle.loads(base64.b64decode({pickled!r}))")
    assert other.say(STATE) == other.say(BY_ID.format(query_id, plane.workspace.id)) == "INPROGRESS"
    gate.open()

    assert other.say(RESULT) == ["SUCCESS", 1]


def test_a_query_of_another_workspace_is_not_found(
    plane: ControlPlane, shared_client: Console, stranger: Console
) -> None:
    connected(plane, shared_client, mode="Proxy")
    query_id = shared_client.say(SUBMITTED.format(ROWS))
    their = plane.accounts[1].workspace.id

    with pytest.raises(SaidError, match="NotFoundError: "):
        stranger.say(BY_ID.format(query_id, their))
    with pytest.raises(SaidError, match="no access to the workspace"):
        stranger.say(BY_ID.format(query_id, plane.workspace.id))
    with pytest.raises(SaidError, match=r"(?i)not found"):
        stranger.say(f"API_CLIENT.get_query_result(uuid.UUID({query_id!r}))")
    assert stranger.say("API_CLIENT.get_queries(API_CLIENT.get_default_workspace_id())") == []
    with pytest.raises(SaidError, match="NotFoundError: "):
        stranger.say(f"pc.ProxyQuery(uuid.UUID({query_id!r}), uuid.UUID({their!r})).cancel()")
    assert shared_client.say(RESULT) == ["SUCCESS", 2]


def test_an_unknown_query_is_not_found(plane: ControlPlane, shared_client: Console) -> None:
    with pytest.raises(SaidError, match="NotFoundError: "):
        shared_client.say(BY_ID.format("00000000-0000-4000-8000-000000000000", plane.workspace.id))


@pytest.mark.parametrize("end", ["stop", "loss"])
def test_a_query_fails_when_its_instance_ends_and_is_known_afterwards(
    plane: ControlPlane, shared_client: Console, gate: Gate, end: str
) -> None:
    instance = connected(plane, shared_client, mode="Proxy")
    hold(shared_client, gate)

    if end == "stop":
        shared_client.say("ctx.stop()")
    else:
        plane.kill(instance["id"])
    ended(plane, instance["id"])

    with pytest.raises(SaidError, match=f"ComputeError: the compute cluster {instance['id']} has ended"):
        shared_client.say("query.await_result()")
    assert shared_client.say(STATE) == "FAILED"


def test_a_query_fails_when_its_instance_has_lost_its_memory_and_then_ends(
    plane: ControlPlane, shared_client: Console, gate: Gate
) -> None:
    instance = connected(plane, shared_client, mode="Proxy")
    hold(shared_client, gate)

    plane.restart(instance["id"], memory=False)
    plane.kill(instance["id"])

    assert shared_client.say(STATE) == "FAILED"


@pytest.mark.own_cluster
def test_queries_for_an_instance_that_starts_are_queued_until_it_is_up(
    start_plane: Callable[..., ControlPlane], clients: Clients
) -> None:
    plane = start_plane("--starting-seconds", "10")
    client = clients(plane.environment)
    instance_id = started(client, mode="Proxy")
    client.say("ctx = pc.ComputeContext.connect(instance_id)")

    client.say(SUBMITTED.format(WRONG) + "; wrong = query")
    client.say(SUBMITTED.format(ROWS) + "; canceled = query; canceled.cancel()")
    client.say(SUBMITTED.format(ROWS))

    assert client.say("[one.get_status().name for one in (wrong, canceled, query)]") == ["QUEUED", "CANCELED", "QUEUED"]
    assert found(plane, instance_id)["state"] == "Starting"
    assert client.say(RESULT) == ["SUCCESS", 2]
    with pytest.raises(SaidError, match="InvalidOperationError: "):
        client.say("wrong.await_result()")
    assert client.say("canceled.get_status().name") == "CANCELED"


@pytest.mark.own_cluster
def test_a_query_that_is_queued_fails_when_its_instance_does_not_start(
    start_plane: Callable[..., ControlPlane], clients: Clients
) -> None:
    plane = start_plane("--starting-seconds", "600")
    client = clients(plane.environment)
    instance_id = started(client, mode="Proxy")
    client.say("ctx = pc.ComputeContext.connect(instance_id)")
    client.say(SUBMITTED.format(ROWS))

    plane.kill(instance_id)

    with pytest.raises(SaidError, match=f"ComputeError: the compute cluster {instance_id} has ended"):
        client.say("query.await_result()")
    with pytest.raises(SaidError, match=f"the compute cluster {instance_id} is failed"):
        client.say(SUBMITTED.format(ROWS))
    refused = [submission.get("refused") for submission in plane.recorder.submissions]
    assert refused == [None, f"the compute cluster {instance_id} is failed"]


def test_an_instance_in_direct_mode_takes_no_query_by_the_control_plane(
    plane: ControlPlane, shared_client: Console
) -> None:
    instance = connected(plane, shared_client)
    shared_client.say("ctx._connection_mode = pc.polars_cloud.DBClusterModeModel.Proxy")

    with pytest.raises(SaidError, match=f"the compute cluster {instance['id']} is in direct mode"):
        shared_client.say(SUBMITTED.format(ROWS))
