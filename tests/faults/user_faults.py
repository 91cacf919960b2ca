"""What people and time limits do to a task that runs or is deferred."""

from __future__ import annotations

import signal
from collections.abc import Iterator

from tests.faults.case import TASK, Case
from tests.faults.cells import Fault, Outcome, Strike
from tests.faults.process_faults import STORED, wait_for_reaction

ON_KILL_SECONDS = 40.0
"""Within which a triggerer has cancelled the query of a deferred task."""

NOTHING = Outcome(results=0)


def faults() -> Iterator[Fault]:
    """Yield the rows of the matrix."""
    yield Fault(
        "cleared",
        "task cleared",
        _cleared,
        {"*": Outcome(submissions=2)},
        settle=ON_KILL_SECONDS,
    )
    yield Fault(
        "sibling_cleared",
        "another task cleared, then SIGKILL to the task",
        _sibling_cleared,
        {"local/*": Outcome(submissions=2), "*": Outcome()},
        conf={"hold": STORED},
    )
    for state in ("failed", "success"):
        yield Fault(
            f"marked_{state}",
            f"task marked {state}",
            _marking(state),
            {"*": Outcome(results=0, state=state)},
            settle=ON_KILL_SECONDS,
        )
    yield Fault(
        "run_marked_failed",
        "run marked failed",
        _run_marked,
        {"*": Outcome(results=0, state="failed")},
        settle=ON_KILL_SECONDS,
    )
    yield Fault(
        "run_timeout",
        "`dagrun_timeout` passes",
        _time_passes,
        {"cloud*": Outcome(results=0, left=1, state="skipped"), "*": Outcome(results=0, state="skipped")},
        variant="run_timeout",
        long=True,
        settle=ON_KILL_SECONDS,
    )
    yield Fault(
        "task_timeout",
        "`execution_timeout` passes",
        _time_passes,
        {"*": Outcome(results=0, state="failed")},
        variant="task_timeout",
    )


def _cleared(case: Case) -> None:
    case.trigger()
    case.wait_until_awaited()
    case.rest.clear(case.dag_id, case.run_id, [TASK])
    case.wait_until_begun(2)


def _sibling_cleared(case: Case) -> None:
    case.trigger()
    pids = case.held(STORED)
    case.rest.wait_for_task(case.dag_id, case.run_id, "sibling")
    case.rest.clear(case.dag_id, case.run_id, ["sibling"])
    case.kill(pids["task"], signal.SIGKILL)
    wait_for_reaction(case)


def _marking(state: str) -> Strike:
    def mark(case: Case) -> None:
        case.trigger()
        case.wait_until_awaited()
        case.rest.set_task_state(case.dag_id, case.run_id, TASK, state)

    return mark


def _run_marked(case: Case) -> None:
    case.trigger()
    case.wait_until_awaited()
    case.set_run_state("failed")


def _time_passes(case: Case) -> None:
    case.trigger()
    case.wait_until_awaited()
    case.wait_for_state("failed", "skipped", "success")
