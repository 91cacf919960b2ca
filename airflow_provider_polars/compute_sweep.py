"""The sweep: which of the computes that live are ours and used by nobody any more, and the end of those."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

from airflow_provider_polars.backends.managing import ComputeManager, Found
from airflow_provider_polars.compute.cloud import MAX_LIFETIME_HOURS
from airflow_provider_polars.compute_lifecycle import ComputeLifecycle
from airflow_provider_polars.exceptions import ComputeStopError, PolarsProviderError
from airflow_provider_polars.lifecycle import Log
from airflow_provider_polars.marks import Owner

HOUR = 3600.0
ACTIVE_RUNS = ("queued", "running")
"""States of runs whose computes are used."""

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Report:
    """What a sweep has found and done: for each compute its id, age, billable minutes at most, and why.

    :param problems: why computes could not be judged or stopped.
    """

    stopped: list[Row] = dataclasses.field(default_factory=list)
    kept: list[Row] = dataclasses.field(default_factory=list)
    not_ours: list[Row] = dataclasses.field(default_factory=list)
    problems: list[Exception] = dataclasses.field(default_factory=list)

    def check(self) -> None:
        """Raise if anything went wrong.

        :raises ComputeStopError: naming all that did.
        """
        if self.problems:
            raise ComputeStopError(
                f"{len(self.problems)} computes could not be judged or stopped: {'; '.join(map(str, self.problems))}"
            )


@dataclasses.dataclass(frozen=True)
class _Verdict:
    """What becomes of a compute, and why, as words."""

    stop: bool
    why: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sweep:
    """Stops computes of this deployment whose run has ended, or that live for too long.

    :param is_active: tells whether the run of an owner is queued or running; what it raises is a problem.
    :param lifetime: hours after which one is stopped whatever its run does; None for what it was started with.
    :param timeout: seconds until each must have ended.
    :param price: of a vCPU for an hour, None if that is not known.
    :param report_only: stop nothing.
    """

    is_active: Callable[[Owner], bool]
    timeout: float
    lifetime: float | None = None
    price: float | None = None
    report_only: bool = False

    def run(self, manager: ComputeManager[Any], log: Log) -> Report:
        """Look at all computes of the place, and stop those that are to be stopped."""
        report = Report()
        for found in manager.found():
            verdict = self._judged(found, report)
            row = describe(found, self.price) | {"why": verdict.why}
            place = "not_ours" if found.handle is None else "stopped" if verdict.stop else "kept"
            if verdict.stop and not self.report_only:
                try:
                    ComputeLifecycle(manager, log=log).stop(found.handle, self.timeout)
                except PolarsProviderError as error:
                    report.problems.append(error)
                    place = "kept"
            getattr(report, place).append(row)
            log.info("%s: %s", place.replace("_", " ") + (" (report only)" if self.report_only else ""), row)
        return report

    def _judged(self, found: Found[Any], report: Report) -> _Verdict:
        try:
            return self._judge(found)
        except Exception as error:  # of Airflow; the others are judged all the same
            report.problems.append(error)
            return _Verdict(False, f"whether its run is active is not known: {error}")

    def _judge(self, found: Found[Any]) -> _Verdict:
        if found.handle is None:
            return _Verdict(False, "not ours")
        age, hours = _age(found), self.lifetime or found.max_lifetime or MAX_LIFETIME_HOURS
        if age is not None and age > hours * HOUR:
            return _Verdict(True, f"it lives for {age / HOUR:.1f} hours, more than {hours:g}")
        if found.owner is None:
            return _Verdict(False, "whose it is, is not known: its manifest does not say")
        run = f"the run {found.owner.run_id} of {found.owner.dag_id}"
        if self.is_active(found.owner):
            return _Verdict(False, f"{run} is active")
        return _Verdict(True, f"{run} has ended, or does not exist any more")


def describe(found: Found[Any], price: float | None) -> Row:
    """Return what people want to know of a compute that was found.

    :param price: of a vCPU for an hour; with it ``cost_at_most`` is there where size and age are known.
    """
    age, vcpus = _age(found), found.status.vcpus
    row: Row = {
        "compute_id": found.status.compute_id,
        "name": found.status.name,
        "state": found.status.words,
        "age_minutes": None if age is None else round(age / 60, 1),
        "billable_minutes_at_most": None if age is None else round(age / 60, 1),
        "vcpus": vcpus,
    }
    if found.owner is not None:
        row |= {"dag_id": found.owner.dag_id, "run_id": found.owner.run_id, "task_id": found.owner.task_id}
    if price is not None and age is not None and vcpus is not None:
        row["cost_at_most"] = round(age / HOUR * vcpus * price, 4)
    return row


def _age(found: Found[Any]) -> float | None:
    return time.time() - found.status.requested if found.status.requested else None
