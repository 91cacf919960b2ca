"""What takes the queries goes away, hangs, refuses, or loses what it answers."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from tests.faults.case import Case
from tests.faults.cells import CLUSTER, LOCAL, PROXY, Cell, Expectations, Fault, Outcome, Strike
from tests.faults.process_faults import BEFORE, ORPHAN, STORED, wait_for_reaction
from tests.faults.world import World

NO_CLUSTER = {f"{LOCAL}/*": "the worker needs no cluster"}
NO_CONTROL_PLANE = {**NO_CLUSTER, f"{CLUSTER}/*": "a cluster has no control plane"}
UNKNOWN = "what Polars Cloud says of a query that its instance has forgotten is not known"
AGAIN = Outcome(submissions=2)
THROUGH_PLANE = (f"{PROXY}/*",)
"""Where faults are those of the control plane, and of all that pass it."""

PATIENCE = 15
"""Seconds after which a compute that does not answer is given up, in place of 300."""

START_CALL = "POST workspace/*/manifest/start"
HITS = 4


def remote(expected: Outcome) -> Expectations:
    """Return what is expected wherever there is a cluster."""
    return {**NO_CLUSTER, "*": expected}


def faults() -> Iterator[Fault]:
    """Yield the rows of the matrix."""
    yield Fault(
        "polars_restarted_with_memory",
        "Polars scheduler killed and restarted with its memory",
        _restarting(memory=True),
        remote(AGAIN),
    )
    yield Fault(
        "polars_restarted_without_memory",
        "Polars scheduler killed and restarted without its memory",
        _restarting(memory=False),
        {f"{PROXY}/*": UNKNOWN, **remote(AGAIN)},
    )
    yield Fault("worker_killed", "SIGKILL to the worker of the cluster", _worker_killed, remote(AGAIN))
    for seconds in (5, 60):
        yield Fault(
            f"hang_{seconds}",
            f"Polars scheduler hangs for {seconds} s",
            _before_it_is_awaited,
            remote(Outcome()),
            at_once=_hanging(seconds),
            long=seconds > 30,
            exclusive=THROUGH_PLANE,
            conf={"hold": STORED},
        )
    yield Fault(
        "hang_for_ever",
        f"Polars scheduler hangs for ever, given up after {PATIENCE} s in place of 300",
        _before_it_is_awaited,
        remote(Outcome(running=1, results=0, state="failed")),
        at_once=_hanging(None),
        variant="one_retry",
        around=_impatient,
        exclusive=("*/deferred", *THROUGH_PLANE),
        long=True,
        opens=False,
        conf={"patience": PATIENCE, "hold": STORED},
    )
    yield Fault(
        "reset_during_poll",
        "connection reset while a query is awaited",
        _polls_go_wrong("reset"),
        remote(Outcome()),
        exclusive=THROUGH_PLANE,
        conf={"hold": STORED},
    )
    for number, name in ((429, "RESOURCE_EXHAUSTED"), (503, "UNAVAILABLE")):
        yield Fault(
            f"storm_{number}",
            f"{number} to every call while a query is awaited, {name} over gRPC",
            _storming(number, name),
            remote(Outcome()),
            exclusive=THROUGH_PLANE,
            conf={"hold": STORED},
        )
    yield Fault(
        "submit_answer_lost",
        "answer to the submission lost",
        _submit_answer_lost,
        {f"{PROXY}/*": Outcome(), **remote(ORPHAN)},
        exclusive=THROUGH_PLANE,
        conf={"hold": BEFORE},
    )
    yield Fault(
        "start_answer_lost",
        "answer to the start of the instance lost",
        _awaited,
        {**NO_CONTROL_PLANE, "*": Outcome()},
        before=_lose_start,
        exclusive=("cloud*",),
    )
    yield Fault(
        "token_expired",
        "token expired",
        _awaited,
        {**NO_CONTROL_PLANE, "*": Outcome()},
        at_once=lambda world, cases: world.plane.expire_tokens(),
    )


def _awaited(case: Case) -> None:
    case.trigger()
    case.wait_until_awaited()


def _restarting(*, memory: bool) -> Strike:
    def restart(case: Case) -> None:
        _awaited(case)
        case.restart_scheduler(memory=memory)
        wait_for_reaction(case)

    return restart


def _worker_killed(case: Case) -> None:
    _awaited(case)
    case.kill_worker()
    wait_for_reaction(case)


def _before_it_is_awaited(case: Case) -> None:
    case.trigger()
    case.held(STORED)
    case.wait_until_started()


def _hanging(seconds: float | None) -> Any:
    """Return what lets calls hang from the first look at a query on."""

    def hang(world: World, cases: Sequence[Case]) -> None:
        servers: dict[int, list[Case]] = {}
        for case in cases:
            servers.setdefault(id(world.plane) if case.cell.backend == PROXY else id(case), []).append(case)
        added = [(there, there[0].faults.add(_calls(there[0]), "hang", times=None)) for there in servers.values()]
        for case in cases:
            case.release(STORED)
        if seconds is None:
            return
        for there, fault in added:
            there[0].wait_for_hits(fault, len(there))
        threading.Event().wait(seconds)
        for there, fault in added:
            there[0].faults.lift(fault)

    return hang


def _calls(case: Case) -> str:
    """Return the pattern of all calls about queries, and of no others that pass the control plane."""
    return "*uery*" if case.cell.backend == PROXY else "*"


def _polls_go_wrong(do: str) -> Strike:
    def hit(case: Case) -> None:
        case.trigger()
        case.held(STORED)
        pattern = "GET workspace/*/query/*" if case.cell.backend == PROXY else "GetQueryResult"
        _pass_under(case, case.faults.add(pattern, do, times=2), 2)

    return hit


def _storming(number: int, name: str) -> Strike:
    def storm(case: Case) -> None:
        case.trigger()
        case.held(STORED)
        proxied = case.cell.backend == PROXY
        status: Any = number if proxied else name
        pattern = "GET *query*" if proxied else "*"
        fault = case.faults.add(pattern, "answer", status=status, message="a storm", times=None)
        _pass_under(case, fault, HITS)
        case.faults.lift(fault)

    return storm


def _pass_under(case: Case, fault: int, hits: int) -> None:
    case.release(STORED)
    case.wait_for_hits(fault, hits)
    case.wait_until_begun()


def _submit_answer_lost(case: Case) -> None:
    case.trigger()
    case.held(BEFORE)
    case.faults.add("SubmitQuery", "drop")
    case.release(BEFORE)
    wait_for_reaction(case)


def _lose_start(case: Case) -> None:
    case.world.plane.faults.add(START_CALL, "drop")


@contextlib.contextmanager
def _impatient(world: World, cells: Sequence[Cell]) -> Iterator[None]:
    """Have a triggerer that gives up early, if one is to wait."""
    if all(cell.mode == "sync" for cell in cells):
        yield
        return
    with world.environment(AIRFLOW__POLARS__UNREACHABLE_SECONDS=str(PATIENCE)):
        world.replace("triggerer", signal.SIGTERM)
        yield
    world.replace("triggerer", signal.SIGTERM)
