"""Why a plan cannot be sent to a cluster, and which part of the query is the reason."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

from airflow_provider_polars.exceptions import PlanError

if TYPE_CHECKING:
    import polars as pl

_NODES = (
    (re.compile(r"\bObject\b"), re.compile(r"^DF \[")),
    (re.compile(r"in-memory"), re.compile(r"in-mem")),
    (re.compile(r"python|pickle", re.IGNORECASE), re.compile(r"python", re.IGNORECASE)),
)
_ADVICE = (
    (re.compile(r"\bObject\b"), "Give the column a data type of Polars."),
    (re.compile(r"in-memory sink"), "Write to a path or URL."),
    (re.compile(r"in-memory"), "Scan a path or URL that the cluster can read."),
    (re.compile(r"pickle"), "Make what the function needs inside of it."),
    (re.compile(r"local"), "Scan a URL, or let the cluster allow scans of its own disks (allow_local_scans)."),
)
_SHOWN_NODES = 3


def unsendable(frame: pl.LazyFrame, error: Exception, query: str) -> PlanError:
    """Return the error for a plan that Polars refuses to serialise, naming the nodes that can be the reason.

    :param error: of ``prepare_query``: ``invalid cloud plan: ...``.
    """
    reason = " ".join(str(error).removeprefix("invalid cloud plan:").split())
    reason = reason.removeprefix("serialization failed error: ")
    nodes = _nodes(frame, reason)
    where = f" In its plan: {'; '.join(nodes)}." if nodes else ""
    advice = next((text for pattern, text in _ADVICE if pattern.search(reason)), "")
    return PlanError(f"The plan of the query {query} cannot be sent to a cluster: {reason}.{where} {advice}".rstrip())


def _nodes(frame: pl.LazyFrame, reason: str) -> list[str]:
    wanted = next((node for cause, node in _NODES if cause.search(reason)), None)
    if wanted is None:
        return []
    with contextlib.suppress(Exception):
        lines = [line.strip() for line in frame.explain(optimized=False).splitlines()]
        return [line[:120] for line in lines if wanted.search(line)][:_SHOWN_NODES]
    return []
