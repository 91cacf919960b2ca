"""The process of a task, or its supervisor, ends at any moment: by SIGKILL, and by SIGTERM."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping

from tests.faults.case import Case
from tests.faults.cells import Expectations, Fault, Outcome, Strike

BEFORE, BETWEEN, STORED = "before_submit", "between", "after_store"
WAITING, RESULT, REPORT = "waiting", "after_result", "before_report"
POINTS = {
    BEFORE: "before it submits",
    BETWEEN: "between submit and store",
    STORED: "after the store",
    WAITING: "while it waits",
    RESULT: "after the result",
    REPORT: "before Airflow knows of the result",
}
NO_PROCESS = "no process of the task waits"
RERUN = Outcome(submissions=2)
"""A query on the worker ends with its task, and the retry runs it again."""

ORPHAN = Outcome(submissions=2, running=1)
"""A known limit but in proxy mode, which lists queries: nobody knows the first query, and it runs to its end."""

KILLED: Mapping[str, Expectations] = {
    BEFORE: {"*": Outcome()},
    BETWEEN: {"local/*": RERUN, "cloud_proxy/*": Outcome(), "*": ORPHAN},
    STORED: {"local/*": RERUN, "*": Outcome()},
    WAITING: {"local/*": RERUN, "*/deferred": NO_PROCESS, "*": Outcome()},
    RESULT: {"local/*": RERUN, "*": Outcome()},
    REPORT: {"*": Outcome()},
}
TERMINATED: Mapping[str, Expectations] = {
    BEFORE: {"local/*": Outcome(submissions=(1, 2)), "*": Outcome()},
    BETWEEN: {"*": RERUN},
    STORED: {"*": RERUN},
    WAITING: {"*/deferred": NO_PROCESS, "*": RERUN},
    RESULT: {"*": Outcome()},
    REPORT: {"*": Outcome()},
}
SUPERVISOR_KILLED: Mapping[str, Expectations] = {
    **KILLED,
    BETWEEN: {"cloud_proxy/*": Outcome(submissions=(1, 2)), "*": RERUN},
}


def faults() -> Iterator[Fault]:
    """Yield the rows of the matrix."""
    for whom, signum, expected in (
        ("task", signal.SIGKILL, KILLED),
        ("supervisor", signal.SIGKILL, SUPERVISOR_KILLED),
        ("task", signal.SIGTERM, TERMINATED),
        ("supervisor", signal.SIGTERM, TERMINATED),
    ):
        for point, words in POINTS.items():
            name = f"{whom}_{'killed' if signum == signal.SIGKILL else 'terminated'}_{point}"
            yield Fault(
                name=name,
                title=f"{signum.name} to the {whom if whom == 'supervisor' else 'task'}, {words}",
                strike=_ending(whom, signum, point),
                expected=expected[point],
                conf={"hold": point},
            )


def _ending(whom: str, signum: signal.Signals, point: str) -> Strike:
    def strike(case: Case) -> None:
        case.trigger()
        if point in (RESULT, REPORT):
            case.wait_until_awaited()
            case.open()
        if point == WAITING:
            pids = case.wait_until_begun()
            case.wait_until_started()
        else:
            pids = case.held(point)
            if point in (BETWEEN, STORED):
                case.wait_until_started()
        case.kill(pids[whom], signum)
        if whom == "supervisor" and signum == signal.SIGKILL:
            case.release(point)  # its task goes on, and finds that nobody listens
        wait_for_reaction(case)

    return strike


def wait_for_reaction(case: Case) -> None:
    """Wait until a later try has submitted or adopted a query, or there is none."""

    def seen() -> bool | None:
        task = case.task()
        later = any(file.name != "1.begun" for file in case.folder.glob("*.begun"))
        return later or task["state"] in ("success", "failed") or None

    case.wait(seen, "a reaction", interval=0.5)
