"""What starts and stops instances of Polars Cloud: what it hands on, what it gives up, and what it leaves alone.

Polars Cloud is a stand-in that answers as each test says; ``tests/wire/cloud`` has the rest, with one that works.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_polars import CloudCompute
from airflow_provider_polars.backends import cloud_manager
from airflow_provider_polars.backends.cloud_manager import CloudManager
from airflow_provider_polars.backends.cloud_orders import versions
from airflow_provider_polars.compute_lifecycle import ComputeLifecycle
from airflow_provider_polars.exceptions import (
    ComputeStartError,
    ConfigurationError,
    ControlPlaneRefusedError,
    QuotaExceededError,
)
from tests.harness.identity import answer
from tests.harness.waiting import wait_for
from tests.unit.backends.local_runs import LOG
from tests.unit.clients.api_stand_in import ApiStandIn, Call, Reply
from tests.unit.compute_errors import PATH, WORKSPACE, polars_cloud
from tests.unit.scripted_manager import ASKED, HANDLE, INSTANCE, OWNER

OTHER = "4a0f91ab-3c8a-4d28-9fa5-032a0371fc04"
FIND, REGISTER, START = f"GET {PATH}/manifest/find", f"POST {PATH}/manifest", f"POST {PATH}/manifest/start"
UNREGISTER = f"DELETE {PATH}/manifest"
DONE, ABSENT = answer(204, ""), answer(404, {"message": "no such manifest"})
Cloud = Callable[..., tuple[ApiStandIn, CloudManager]]


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    """Return ``cloud(compute)``, which gives a stand-in of Polars Cloud and what starts computes there."""
    with ExitStack() as stack:
        yield lambda compute=ASKED: stack.enter_context(polars_cloud(tmp_path, compute))


def manifest(live: str | None = None, **model: Any) -> Reply:
    """Return the answer that shows the manifest of the owner."""
    return answer(200, {"name": OWNER.mark, "live_cluster_id": live, "env_vars": OWNER.variables(), **model})


def model(instance_id: str, status: str = "Starting") -> dict[str, Any]:
    """Return an instance that carries our mark, as it is shown."""
    return {"id": instance_id, "name": OWNER.mark, "status": status, "mode": "Direct", "polars_version": "2.0.0"}


def instance(instance_id: str = INSTANCE, status: str = "Starting") -> Reply:
    """Return the answer that shows an instance."""
    return answer(200, model(instance_id, status))


def show_report(api: ApiStandIn, **fields: Any) -> None:
    """Let there be a manifest that somebody else has registered as ``report``, and none of the owner."""
    python = ".".join(map(str, versions()["python_version"].values()))
    report = {
        **{"name": "report", "env_vars": {}, "mode": "Proxy", "log_level": "Info", "cluster_size": 1},
        **{"python_version": python, "polars_version": versions()["polars_version"], "instance_type": "m6i.large"},
    }
    api.by_call[FIND] = lambda call: answer(200, {**report, **fields}) if call.query["name"] == "report" else ABSENT


def stop_of(instance_id: str) -> str:
    """Return the call that stops an instance."""
    return f"POST {PATH}/compute/{instance_id}/stop"


def changes(api: ApiStandIn) -> list[str]:
    """Return the calls that change something, oldest first."""
    return [call for call in api.asked if not call.startswith("GET ")]


# ---- what a start registers and returns


def started(api: ApiStandIn, manager: CloudManager) -> tuple[dict[str, Any], CloudCompute]:
    """Let an instance be started; return what was registered, and the handle."""
    bodies: list[dict[str, Any]] = []

    def register(call: Call) -> Reply:
        bodies.append(json.loads(call.body))
        return answer(200, {})

    api.by_call[REGISTER] = register
    api.replies[START] = [instance()]
    api.replies[f"GET {PATH}/compute"] = [answer(200, {"result": []})]
    handle = manager.start(OWNER)
    (body,) = bodies
    return body, handle


@pytest.mark.parametrize(
    ("asked", "idle", "lifetime"), [({}, 60, 24.0), ({"idle_timeout_mins": 15, "max_lifetime": 1.5}, 15, 1.5)]
)
def test_idle_timeout_and_lifetime_are_always_set(
    cloud: Cloud, asked: dict[str, Any], idle: int, lifetime: float
) -> None:
    api, manager = cloud(CloudCompute(cpus=2, memory=4, **asked))
    body, handle = started(api, manager)
    assert body["idle_timeout_mins"] == handle.idle_timeout_mins == idle
    assert float(body["env_vars"]["AIRFLOW_POLARS_MAX_LIFETIME"]) == handle.max_lifetime == lifetime
    assert (handle.compute_id, handle.mark, handle.workspace) == (INSTANCE, OWNER.mark, WORKSPACE)


@pytest.mark.parametrize(("of_manifest", "idle"), [(20, 20), (None, 60)])
def test_the_idle_timeout_is_that_of_the_manifest_if_it_has_one(
    cloud: Cloud, of_manifest: int | None, idle: int
) -> None:
    api, manager = cloud(CloudCompute(name="report", max_lifetime=2.0))
    show_report(api, idle_timeout_mins=of_manifest)
    body, handle = started(api, manager)
    assert body["idle_timeout_mins"] == handle.idle_timeout_mins == idle
    assert (handle.name, handle.instance_type, handle.max_lifetime) == (None, "m6i.large", 2.0)


def test_secrets_of_a_manifest_are_kept_out_of_logs(cloud: Cloud) -> None:
    api, manager = cloud(CloudCompute(name="report"))
    masked: list[str] = []
    manager.plane.mask = masked.append
    show_report(api, env_vars={"DB_PASSWORD": "of the manifest", "RUST_LOG": "info"})
    body, handle = started(api, manager)
    assert body["env_vars"]["DB_PASSWORD"] == "of the manifest"
    assert "of the manifest" in masked
    assert "info" not in masked
    assert handle.env_vars == {}


# ---- starts that meet another one, or whose answer is lost


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start again at once."""
    monkeypatch.setattr(cloud_manager, "PAUSES", (0.001, 0.001))


def test_of_two_starts_that_meet_the_one_that_the_manifest_names_is_kept(cloud: Cloud, short_pauses: None) -> None:
    api, manager = cloud()
    api.by_call[FIND] = lambda call: manifest(OTHER) if START in api.asked else ABSENT
    api.replies |= {REGISTER: [DONE], START: [instance()], stop_of(INSTANCE): [DONE]}
    api.reply(f"{PATH}/compute", answer(200, {"result": []}))
    api.reply(f"{PATH}/compute/{OTHER}", instance(OTHER))
    assert manager.start(OWNER).compute_id == OTHER
    assert changes(api) == [REGISTER, START, stop_of(INSTANCE)]


@pytest.mark.parametrize("named", [instance(OTHER, "Stopped"), ABSENT], ids=["ended", "unknown"])
def test_an_instance_that_has_ended_is_not_kept_although_the_manifest_names_it(cloud: Cloud, named: Reply) -> None:
    api, manager = cloud()
    api.replies |= {FIND: [manifest(OTHER)], UNREGISTER: [DONE], REGISTER: [DONE], START: [instance()]}
    api.reply(f"{PATH}/compute", answer(200, {"result": []}))
    api.reply(f"{PATH}/compute/{OTHER}", named)
    assert manager.start(OWNER).compute_id == INSTANCE
    assert [call for call in changes(api) if "/stop" in call] == []


def test_a_second_instance_of_the_mark_is_stopped(cloud: Cloud) -> None:
    api, manager = cloud()
    rows = [model(INSTANCE), model(OTHER), {**model(OTHER), "id": WORKSPACE, "name": "somebody else's"}]
    api.replies |= {REGISTER: [DONE], START: [instance()], stop_of(OTHER): [DONE]}
    api.reply(f"{PATH}/compute", answer(200, {"result": rows}))
    assert manager.start(OWNER).compute_id == INSTANCE
    assert changes(api) == [REGISTER, START, stop_of(OTHER)]


def test_an_account_that_may_not_list_instances_may_start_one(cloud: Cloud) -> None:
    api, manager = cloud()
    api.replies |= {REGISTER: [DONE], START: [instance()]}
    api.reply(f"{PATH}/compute", answer(403, {"message": "no list"}))
    assert manager.start(OWNER).compute_id == INSTANCE


@pytest.mark.parametrize(
    ("first", "calls"), [([], [REGISTER, START, UNREGISTER]), ([answer(503, "")], [REGISTER, START, REGISTER, START])]
)
def test_a_start_that_is_refused_leaves_no_manifest_unless_it_may_have_an_instance(
    cloud: Cloud, short_pauses: None, first: list[Reply], calls: list[str]
) -> None:
    """After an answer that was lost the mark is all by which its instance can be found."""
    api, manager = cloud()
    api.reply(f"{PATH}/manifest", DONE)
    api.replies[START] = [*first, answer(422, {"message": "no such machine"})]
    with pytest.raises(ControlPlaneRefusedError, match="no such machine"):
        manager.start(OWNER)
    assert changes(api) == calls


@pytest.mark.parametrize("status", [409, 422])
def test_a_quota_is_no_other_start_whatever_its_status(cloud: Cloud, status: int) -> None:
    api, manager = cloud()
    api.replies |= {REGISTER: [answer(status, {"message": "quota of 64 vCPUs"})], UNREGISTER: [DONE]}
    with pytest.raises(QuotaExceededError):
        manager.start(OWNER)
    assert changes(api) == [REGISTER, UNREGISTER]


@pytest.mark.parametrize("registered", [True, False])
def test_of_a_start_that_is_registered_an_instance_may_come(cloud: Cloud, registered: bool) -> None:
    api, manager = cloud()
    api.replies[FIND] = [manifest(None) if registered else ABSENT]
    assert manager.may_come(OWNER) is registered


# ---- what is stopped


@pytest.mark.parametrize(
    ("named", "ended"), [(INSTANCE, [INSTANCE, OTHER]), (OTHER, [INSTANCE]), (None, [INSTANCE, OTHER])]
)
def test_a_stop_ends_all_of_the_mark_but_what_a_newer_start_has_made(
    cloud: Cloud, named: str | None, ended: list[str]
) -> None:
    api, manager = cloud(HANDLE)
    api.replies[FIND] = [manifest(named)]
    for instance_id in (INSTANCE, OTHER):
        api.reply(f"{PATH}/compute/{instance_id}", instance(instance_id, "Idle"))
        api.reply(f"{PATH}/compute/{instance_id}/stop", DONE)
    api.reply(f"{PATH}/compute", answer(200, {"result": [model(INSTANCE), model(OTHER)]}))
    manager.stop(HANDLE)
    assert changes(api) == [stop_of(instance_id) for instance_id in ended]


@pytest.mark.parametrize("status", [404, 409])
def test_an_instance_that_has_ended_meanwhile_is_fine(cloud: Cloud, status: int) -> None:
    api, manager = cloud(HANDLE)
    api.replies[f"GET {PATH}/compute/{INSTANCE}"] = [instance(status="Idle"), instance(status="Stopped")]
    api.reply(f"{PATH}/compute/{INSTANCE}/stop", answer(status, {"message": "has ended"}))
    manager.stop(HANDLE)
    assert changes(api) == [stop_of(INSTANCE)]


@pytest.mark.parametrize("reply", [answer(404, {"message": "no"}), answer(403, {"message": "no"}), answer(503, "")])
def test_one_of_ours_whose_manifest_cannot_be_read_is_found_without_its_owner(cloud: Cloud, reply: Reply) -> None:
    api, manager = cloud(CloudCompute())
    api.reply(f"{PATH}/compute", answer(200, {"result": [model(INSTANCE)]}))
    api.replies[FIND] = [reply]
    (found,) = manager.found()
    assert (found.owner, found.max_lifetime) == (None, None)
    assert found.handle is not None
    assert (found.handle.compute_id, found.handle.mark) == (INSTANCE, OWNER.mark)


# ---- whose it is


def test_what_was_started_here_is_ours_and_what_was_not_is_not(cloud: Cloud) -> None:
    api, manager = cloud()
    assert manager.is_ours(HANDLE) is True
    assert manager.is_ours(CloudCompute(compute_id=INSTANCE)) is False
    assert api.calls == []


@pytest.mark.parametrize("mark", ["af-prod-0123456789abcdef", "af-tests2-0123456789abcdef", "etl"])
def test_the_mark_of_another_deployment_is_told(cloud: Cloud, mark: str) -> None:
    _, manager = cloud()
    with pytest.raises(ConfigurationError) as caught:
        manager.is_ours(CloudCompute(compute_id=INSTANCE, mark=mark))
    assert str(caught.value) == (
        f"The instance {INSTANCE} carries the mark {mark!r}, and this Airflow is 'tests' ([polars] deployment_id): it "
        "is not stopped. Stop it where it was started; if deployment_id was changed meanwhile, stop it by hand."
    )


@pytest.mark.parametrize(
    ("told", "vcpus"),
    [
        ({"vcpus": 8, "req_cpu_cores": 4, "cluster_size": 3}, 8),
        ({"req_cpu_cores": 4, "cluster_size": 3}, 12),
        ({"req_cpu_cores": 4}, None),
        ({"cluster_size": 3}, None),
    ],
)
def test_vcpus_are_those_of_all_nodes_or_not_known(cloud: Cloud, told: dict[str, int], vcpus: int | None) -> None:
    api, manager = cloud()
    api.reply(f"{PATH}/compute/{INSTANCE}", answer(200, model(INSTANCE) | told))
    assert manager.status(CloudCompute(compute_id=INSTANCE)).vcpus == vcpus


# ---- what is given up


def given_up(api: ApiStandIn, manager: CloudManager, handle: CloudCompute | None = None) -> list[str]:
    """Give up what was started, and return the calls that change something."""
    for instance_id in (INSTANCE, OTHER):
        api.reply(f"{PATH}/compute/{instance_id}/stop", DONE)
    api.replies[UNREGISTER] = [DONE]
    assert manager.instances.workspace.id == WORKSPACE
    manager.give_up(OWNER, handle)
    return changes(api)


@pytest.mark.parametrize(
    ("live", "handle", "ended"),
    [(INSTANCE, None, [INSTANCE]), (INSTANCE, HANDLE, [INSTANCE]), (None, HANDLE, [INSTANCE])],
    ids=["by the manifest", "by both", "by the handle"],
)
def test_an_instance_is_stopped_and_its_manifest_removed(
    cloud: Cloud, live: str | None, handle: CloudCompute | None, ended: list[str]
) -> None:
    api, manager = cloud()
    api.replies[FIND] = [manifest(live)]
    assert given_up(api, manager, handle) == [*map(stop_of, ended), UNREGISTER]


def test_an_instance_of_the_manifest_and_another_of_the_handle_are_both_stopped(cloud: Cloud) -> None:
    api, manager = cloud()
    api.replies[FIND] = [manifest(OTHER)]
    calls = given_up(api, manager, HANDLE)
    assert sorted(calls[:2]) == sorted([stop_of(INSTANCE), stop_of(OTHER)])
    assert calls[2:] == [UNREGISTER]


@pytest.mark.parametrize(("status", "calls"), [("Idle", []), ("Stopped", [UNREGISTER])])
@pytest.mark.parametrize("handle", [None, HANDLE], ids=["by the manifest", "by both"])
def test_the_manifest_stays_if_the_stop_is_refused_and_the_instance_lives(
    cloud: Cloud, handle: CloudCompute | None, status: str, calls: list[str]
) -> None:
    """It is what a next try finds the instance by."""
    api, manager = cloud()
    api.replies |= {FIND: [manifest(INSTANCE)], UNREGISTER: [DONE]}
    api.reply(f"{PATH}/compute/{INSTANCE}", instance(status=status))
    api.replies[stop_of(INSTANCE)] = [answer(409, {"message": "not now"})]
    assert manager.instances.workspace.id == WORKSPACE
    manager.give_up(OWNER, handle)
    assert changes(api) == [stop_of(INSTANCE), *calls]


def test_the_manifest_stays_if_one_of_two_instances_cannot_be_stopped(cloud: Cloud) -> None:
    api, manager = cloud()
    api.replies |= {FIND: [manifest(OTHER)], stop_of(INSTANCE): [answer(503, "")], stop_of(OTHER): [DONE]}
    assert manager.instances.workspace.id == WORKSPACE
    manager.give_up(OWNER, HANDLE)
    assert set(changes(api)) == {stop_of(INSTANCE), stop_of(OTHER)}


def test_a_manifest_without_an_instance_stays_for_whoever_looks_next(cloud: Cloud) -> None:
    """The start may be under way: what it makes is found by the manifest alone."""
    api, manager = cloud()
    api.replies[FIND] = [manifest(None)]
    assert given_up(api, manager) == []


def test_where_nothing_was_registered_there_is_nothing_to_give_up(cloud: Cloud) -> None:
    api, manager = cloud()
    assert given_up(api, manager) == []


def test_a_manifest_of_another_owner_is_left_alone(cloud: Cloud) -> None:
    api, manager = cloud()
    api.replies[FIND] = [manifest(OTHER, env_vars={})]
    assert given_up(api, manager) == []
    assert given_up(api, manager, HANDLE) == [stop_of(INSTANCE)]


def test_an_instance_that_was_not_started_is_not_given_up(cloud: Cloud) -> None:
    api, manager = cloud(CloudCompute(compute_id=INSTANCE))
    api.replies[FIND] = [manifest(INSTANCE)]
    assert given_up(api, manager) == []


def test_before_anything_was_asked_for_nothing_is_given_up(cloud: Cloud) -> None:
    api, manager = cloud()
    manager.give_up(OWNER)
    assert api.calls == []


def test_after_it_was_given_up_nothing_is_started(cloud: Cloud) -> None:
    api, manager = cloud()
    manager.give_up(OWNER)
    with pytest.raises(ComputeStartError, match="no instance is started any more"):
        manager.start(OWNER)
    assert changes(api) == []


def test_what_cannot_be_given_up_is_logged(cloud: Cloud, caplog: pytest.LogCaptureFixture) -> None:
    api, manager = cloud()
    api.replies[FIND] = [answer(503, "maintenance")]
    with caplog.at_level(logging.WARNING):
        assert given_up(api, manager) == []
    (message,) = caplog.messages
    assert message.startswith(f"The instance {OWNER.mark} could not be stopped: Polars Cloud (")


def giving_up() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "polars-give-up"]


def test_a_service_that_hangs_does_not_hold_up_the_end_of_a_task(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud_manager, "GIVE_UP_SECONDS", 0.2)
    api, manager = cloud()
    released = threading.Event()

    def hang(handler: BaseHTTPRequestHandler) -> None:
        released.wait(60)
        handler.close_connection = True

    api.replies[FIND] = [hang]
    begin = time.monotonic()
    assert given_up(api, manager) == []
    assert time.monotonic() - begin < 30
    released.set()
    wait_for(lambda: not giving_up() or None, 60, lambda: str(giving_up()), interval=0.02)  # it has more to log


def test_an_instance_that_is_made_while_its_start_is_given_up_is_stopped(cloud: Cloud) -> None:
    """The service has begun to make it when the task is killed, and its manifest does not name it yet, or ever."""
    api, manager = cloud()
    lifecycle = ComputeLifecycle(manager, log=LOG)
    looks: list[str] = []

    def find(call: Call) -> Reply:
        looks.append(str(call))
        registered = REGISTER in api.asked and UNREGISTER not in api.asked
        return manifest(None) if registered else ABSENT

    def start(call: Call) -> Reply:
        before = len(looks)
        lifecycle.kill(OWNER)
        assert len(looks) == before + 1
        return instance()

    api.by_call |= {FIND: find, START: start}
    api.reply(f"{PATH}/manifest", DONE)
    api.reply(f"{PATH}/compute", answer(200, {"result": []}))
    api.reply(f"{PATH}/compute/{INSTANCE}/stop", DONE)
    with pytest.raises(ComputeStartError, match="The task was killed"):
        lifecycle.start(OWNER, 10.0)
    assert changes(api) == [REGISTER, START, stop_of(INSTANCE), UNREGISTER]


def test_one_stop_that_is_refused_does_not_keep_the_other_from_being_asked_for(cloud: Cloud) -> None:
    api, manager = cloud()
    manager.instances  # noqa: B018
    api.replies[FIND] = [manifest(OTHER)]
    api.replies[stop_of(INSTANCE)] = [answer(409, {"message": "it has ended already"})]
    api.replies[stop_of(OTHER)] = [DONE]
    api.replies[UNREGISTER] = [DONE]

    manager.give_up(OWNER, HANDLE)

    assert changes(api) == [stop_of(INSTANCE), stop_of(OTHER), UNREGISTER]


def test_a_start_that_is_given_up_between_its_two_calls_starts_nothing(cloud: Cloud) -> None:
    api, manager = cloud()
    api.replies[FIND] = [ABSENT]

    def register(_: Call) -> Reply:
        manager._given_up = True
        return answer(200, {})

    api.by_call[REGISTER] = register

    with pytest.raises(ComputeStartError, match="no instance is started any more"):
        manager.start(OWNER)

    assert changes(api) == [REGISTER]


def test_a_pause_between_two_attempts_is_cut_short(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud_manager, "PAUSES", (60.0,))
    api, manager = cloud()

    def find(_: Call) -> Reply:
        manager._given_up = True
        return answer(503, {"message": "later"})

    api.by_call[FIND] = find
    begun = time.monotonic()

    with pytest.raises(ComputeStartError, match="no instance is started any more"):
        manager.start(OWNER)

    assert time.monotonic() - begun < 30.0
