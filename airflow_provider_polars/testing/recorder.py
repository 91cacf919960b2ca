"""What was received, for assertions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

CANCELS = ("CancelQuery", "POST workspace/*/query/*/cancel")
"""On a cluster, and on a control plane."""


class Recorder:
    """What a cluster or a control plane has received since the test began.

    :param get: returns what a path of it answers.
    """

    def __init__(self, get: Callable[[str], Any]) -> None:
        self._get = get
        self._since = 0

    def calls(self, name: str | None = None) -> list[dict[str, Any]]:
        """Return the calls, oldest first: ``call``, ``time`` (epoch seconds), ``headers``, and what was asked for.

        :param name: only this one. On a cluster: ``SubmitQuery``, ``GetQueryStatus``, ``GetQueryResult``,
            ``GetQueryPlans``, ``CancelQuery``, ``DeleteQueryResult``, ``GetComputeVersions``, ``PollFlightInfo``,
            ``DoGet`` or ``GET query`` (of the observatory). On a control plane: ``POST token``, ``SubmitQuery``,
            ``GetQueryResult``, or method and path with ``*`` for ids, as in ``POST workspace/*/compute/start``.
        """
        records: list[dict[str, Any]] = self._get(f"/_dev/records?since={self._since}")
        return [record for record in records if name in (None, record["call"])]

    @property
    def submissions(self) -> list[dict[str, Any]]:
        """Queries that were submitted, those that were refused included (``refused`` says why)."""
        return self.calls("SubmitQuery")

    @property
    def cancels(self) -> list[dict[str, Any]]:
        """Cancels that were asked for, those that were refused included; ``query_id`` says of which query."""
        return [call for call in self.calls() if call["call"] in CANCELS]

    def forget(self) -> None:
        """Begin anew."""
        records = self._get("/_dev/records")
        self._since = records[-1]["index"] + 1 if records else 0
