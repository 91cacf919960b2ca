"""What happens to Airflow itself while queries are awaited."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator, Sequence

from tests.faults.case import Case
from tests.faults.cells import LOCAL, Cell, Fault, Outcome
from tests.faults.many import TWENTY
from tests.faults.world import World, freeze

AWAY_SECONDS = 20.0
TAKEN_FOR_DEAD = "SchedulerJob instances as failed"
"""What a scheduler logs before it cares for the tasks of another one."""

NO_TRIGGER = {"*/sync": "no trigger waits"}


def faults() -> Iterator[Fault]:
    """Yield the rows of the matrix."""
    yield Fault(
        "triggerer_killed",
        "SIGKILL and restart of the triggerer while 20 queries of each compute are awaited",
        _awaited,
        {**NO_TRIGGER, "*": Outcome(submissions=TWENTY, results=TWENTY)},
        variant="twenty",
        at_once=_triggerer_killed,
        exclusive=("*",),
    )
    yield Fault(
        "two_triggerers",
        "two triggerers have one trigger",
        _awaited,
        {**NO_TRIGGER, "*": Outcome()},
        at_once=_let_two_run,
        exclusive=("*",),
        around=_second_triggerer,
    )
    yield Fault(
        "airflow_scheduler_killed",
        "SIGKILL and restart of Airflow's scheduler; its workers live on",
        _awaited,
        {f"{LOCAL}/*": Outcome(submissions=(1, 2)), "*": Outcome()},
        at_once=_restart_scheduler,
        exclusive=("*",),
        settle=20.0,
    )
    yield Fault(
        "database_away",
        f"Airflow's database away for {AWAY_SECONDS:g} s",
        _awaited,
        {"*/sync": Outcome(submissions=(1, 2)), "*": Outcome()},
        at_once=_database_away,
        exclusive=("*",),
        settle=20.0,
    )


def _awaited(case: Case) -> None:
    case.trigger()
    case.wait_until_awaited()


def _restart_scheduler(world: World, cases: Sequence[Case]) -> None:
    since = world.log_of("scheduler").stat().st_size
    world.replace_alone("scheduler")
    world.wait_for_log("scheduler", TAKEN_FOR_DEAD, since)


def _database_away(world: World, cases: Sequence[Case]) -> None:
    """Nothing is waited for then: a scheduler that ends for it waits in turn for the tasks that its workers run."""
    with world.postgres.away():
        threading.Event().wait(AWAY_SECONDS)


@contextlib.contextmanager
def _second_triggerer(world: World, cells: Sequence[Cell]) -> Iterator[None]:
    try:
        yield
    finally:
        world.end_second_triggerer()


def _let_two_run(world: World, cases: Sequence[Case]) -> None:
    """Freeze the triggerer until another one has its triggers, let it go on, and wait until it has ended them."""
    jobs = {case: case.wait_until_triggered()["id"] for case in cases}
    world.start_second_triggerer()
    first = world.stack.processes["triggerer"]
    freeze(first, signal.SIGSTOP)
    try:
        for case, job in jobs.items():
            case.wait_until_triggered(not_by=job)
    finally:
        freeze(first, signal.SIGCONT)
    for case, job in jobs.items():
        case.wait_for_word_of(job, "trigger completed")


def _triggerer_killed(world: World, cases: Sequence[Case]) -> None:
    jobs = {case: case.wait_until_triggered()["id"] for case in cases}
    world.replace("triggerer", signal.SIGKILL)
    for case, job in jobs.items():
        case.wait_until_triggered(not_by=job)
