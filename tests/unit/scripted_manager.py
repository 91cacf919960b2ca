"""A manager that starts nothing and says what a script says, and tells what it was asked for."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Sequence

from airflow_provider_polars import CloudCompute
from airflow_provider_polars.backends.managing import ComputeManager, ComputeState, ComputeStatus, Found
from airflow_provider_polars.compute_lifecycle import ComputeLifecycle, Pending
from airflow_provider_polars.exceptions import (
    ControlPlaneRefusedError,
    ControlPlaneUnavailableError,
    CredentialsError,
    CredentialsUnavailableError,
    QuotaExceededError,
)
from airflow_provider_polars.marks import Owner
from tests.unit.backends.local_runs import LOG

INSTANCE = "0b9d0d4a-3d5f-4c39-9f1e-6a2f4f2c7a10"
OWNER = Owner(deployment="tests", dag_id="sales", run_id="manual", task_id="start")
ASKED = CloudCompute(cpus=2, memory=4)
HANDLE = dataclasses.replace(ASKED, compute_id=INSTANCE, mark=OWNER.mark)
REQUESTED = 1_767_225_600.0
"""When what lives was asked for, in epoch seconds."""


def status(
    state: ComputeState, reason: str = "", *, ended: float | None = None, vcpus: int | None = 2
) -> ComputeStatus:
    """Return a status of the one compute."""
    return ComputeStatus(
        compute_id=INSTANCE,
        state=state,
        words=state.value.title(),
        reason=reason,
        requested=REQUESTED,
        ended=ended,
        vcpus=vcpus,
    )


STARTING, READY, STOPPING, STOPPED, GONE = (
    status(ComputeState[name]) for name in ("STARTING", "READY", "STOPPING", "STOPPED", "GONE")
)
FAILED = status(ComputeState.FAILED, "Failed: no capacity")
SOMEBODY_ELSES = CloudCompute(compute_id=INSTANCE)
SOON = 10.0
"""Seconds: longer than anything takes here."""

AWAY = ControlPlaneUnavailableError("Polars Cloud gives no answer.")
NO_TOKEN = CredentialsUnavailableError("The identity service gave status 503.")
PASSING = [
    AWAY,
    NO_TOKEN,
    CredentialsError("a token was refused"),
    ControlPlaneRefusedError("forbidden"),
    QuotaExceededError("too many calls: rate limit"),
]
"""What may have gone at the next look."""


class Service:
    """What runs computes, as it is seen by the processes of its tasks.

    :ivar events: what it was asked for, oldest first; looks at the status are left out.
    :ivar statuses: what looks find, in their order; the last one stays. An error is raised.
    :ivar after_stop: what looks find once it was told to stop; None if nothing changes then.
    :ivar looks: how often it was looked at.
    :ivar handle: of the one compute.
    :ivar may_come: whether a start that raised may still make the compute.
    :ivar given_up: for whom something was given up, and which handle was told.
    :ivar all: what a search for all computes finds.
    :ivar page: where people look at the compute.
    :ivar closed: how many managers have released what they held.
    """

    def __init__(self) -> None:
        self.events: list[str] = []
        self.lives = False
        self.statuses: list[ComputeStatus | BaseException] = [READY]
        self.after_stop: list[ComputeStatus | BaseException] | None = [STOPPED]
        self.errors: dict[str, Exception | list[Exception]] = {}
        self.looks = 0
        self.looked = threading.Event()
        self.before_find: Callable[[], None] = lambda: None
        self.before_start: Callable[[], None] = lambda: None
        self.before_close: Callable[[], None] = lambda: None
        self.check: Callable[[], None] = lambda: None
        self.handle = HANDLE
        self.may_come = False
        self.given_up: list[tuple[Owner, CloudCompute | None]] = []
        self.all: list[Found[CloudCompute]] = []
        self.page = ""
        self.closed = 0

    def ask(self, what: str) -> None:
        """Keep that something was asked for; raise what the script has for it. Of a list each error is raised once."""
        self.events.append(what)
        error = self.errors.get(what)
        if isinstance(error, list):
            error = error.pop(0) if error else None
        if error is not None:
            raise error

    def look(self) -> ComputeStatus:
        """Return the next status of the script, or raise it."""
        self.looks += 1
        self.looked.set()
        found = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if isinstance(found, BaseException):
            raise found
        return found


class ScriptedManager(ComputeManager[CloudCompute]):
    """Starts nothing; says what the script of its service says."""

    def __init__(self, service: Service) -> None:
        super().__init__(ASKED)
        self.service = service

    def check(self) -> None:
        self.service.check()

    def find(self, owner: Owner) -> CloudCompute | None:
        self.service.before_find()
        self.service.ask("find")
        return self.service.handle if self.service.lives else None

    def start(self, owner: Owner) -> CloudCompute:
        self.service.before_start()
        self.service.ask("start")
        self.service.lives = True
        return self.service.handle

    def may_come(self, owner: Owner) -> bool:
        return self.service.may_come

    def ready(self, handle: CloudCompute, at: float) -> CloudCompute:
        return dataclasses.replace(handle, ready_at=at)

    def is_ours(self, handle: CloudCompute) -> bool:
        if isinstance(error := self.service.errors.get("is ours"), Exception):
            raise error
        return handle.mark is not None

    def status(self, handle: CloudCompute) -> ComputeStatus:
        assert handle.compute_id == INSTANCE
        return self.service.look()

    def stop(self, handle: CloudCompute) -> None:
        self.service.ask("stop")
        if self.service.after_stop is not None:
            self.service.statuses = list(self.service.after_stop)

    def forget(self, handle: CloudCompute) -> None:
        self.service.ask("forget")
        self.service.lives = False

    def give_up(self, owner: Owner, handle: CloudCompute | None = None) -> None:
        self.service.given_up.append((owner, handle))
        self.service.events.append("give up")

    def found(self) -> Sequence[Found[CloudCompute]]:
        return self.service.all

    def link(self, handle: CloudCompute) -> str:
        return self.service.page

    def close(self) -> None:
        self.service.before_close()
        self.service.closed += 1


class Process:
    """One process of a task that has to do with the compute; what it has announced, and kept for another one."""

    def __init__(self, service: Service, *, shared: bool = True) -> None:
        self.announced: list[CloudCompute] = []
        self.kept: list[Pending[CloudCompute]] = []
        self.lifecycle = ComputeLifecycle(
            ScriptedManager(service),
            log=LOG,
            announce=self.announced.append,
            keep=self.kept.append,
            shared=shared,
        )
