"""Queries, and what is remembered of them."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_polars.protocol import compute_plane_pb2 as wire

SCHEDULED = wire.QUERY_STATUS_SCHEDULED
IN_PROGRESS = wire.QUERY_STATUS_IN_PROGRESS
SUCCESS = wire.QUERY_STATUS_SUCCESS
FAILED = wire.QUERY_STATUS_FAILED
CANCELED = wire.QUERY_STATUS_CANCELED
MAX_REMEMBERED = 10_000


@dataclass
class Plans:
    """What Polars says about a plan."""

    sink: str = ""
    target: str = ""
    ir: str = ""
    physical: str = ""
    nodes: list[str] = field(default_factory=list)
    """Labels of the physical plan, roots first."""

    roots: int = 1
    edges: list[tuple[int, int]] = field(default_factory=list)
    """Pairs of consumer and input, as positions among the nodes."""


@dataclass
class Output:
    """What a query has written."""

    files: list[str]
    """Empty where its sink does not tell."""

    format: str
    rows: int | None
    """None where its sink does not tell, or what it wrote cannot be read back."""

    head: bytes = b""
    head_error: str | None = None
    seconds: float = 0.0


@dataclass(eq=False)
class Query:
    """One submitted query."""

    settings: wire.QuerySettings
    plan: bytes = field(repr=False)
    """Dropped when the query has ended: it may hold secrets."""

    user: str = ""
    info: wire.QueryInfo = field(default_factory=wire.QueryInfo)
    plans: Plans = field(default_factory=Plans)
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    state: int = SCHEDULED
    requested: float = field(default_factory=time.time)
    planned: float | None = None
    started: float | None = None
    ended_at: float | None = None
    attempts: int = 0
    workers: list[str] = field(default_factory=list)
    """Names of the workers that the query has reserved; the first of them runs it."""

    output: Output | None = None
    rows_deleted: bool = False
    errors: dict[str, str] = field(default_factory=dict)
    """Place (``scheduler``, ``worker-1``) to ``TypeName: message``."""

    ended: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def distributed(self) -> bool:
        """Whether it was submitted as a distributed query."""
        return bool(self.settings.WhichOneof("query_type") == "distributed")

    @property
    def needed_workers(self) -> int:
        """How many workers must be there before it starts."""
        wanted = self.settings.n_workers.min or self.settings.n_workers_old
        return max(1, wanted) if self.distributed else 1

    @property
    def most_workers(self) -> int | None:
        """How many it reserves at most; None is all there are."""
        if not self.distributed:
            return 1
        return max(self.needed_workers, self.settings.n_workers.max) if self.settings.n_workers.max else None

    @property
    def rows_expired(self) -> bool:
        """Whether its rows were for the client, for a time that has passed."""
        if self.rows_deleted or self.ended_at is None or not self.settings.flight.HasField("ttl"):
            return False
        ttl = self.settings.flight.ttl
        return bool(time.time() > self.ended_at + ttl.seconds + ttl.nanos / 1e9)

    def start(self, workers: list[str]) -> None:
        """Note that it runs now."""
        self.state, self.workers = IN_PROGRESS, workers
        self.started = self.started or time.time()
        self.attempts += 1

    def end(self, state: int, *, output: Output | None = None, errors: dict[str, str] | None = None) -> None:
        """Note how it ended; the first end counts."""
        if self.ended.is_set():
            return
        self.state, self.output, self.errors = state, output, errors or {}
        self.ended_at, self.plan = time.time(), b""
        self.ended.set()

    def summary(self) -> dict[str, Any]:
        """Return what people may see of it: nothing of the plan's bytes."""
        return {
            "id": self.id,
            "state": wire.QueryStatus.Name(self.state).removeprefix("QUERY_STATUS_"),
            "user": self.user,
            "distributed": self.distributed,
            "priority": self.settings.priority,
            "labels": [label.name for label in self.info.labels],
            "attempts": self.attempts,
            "workers": self.workers,
            "requested": self.requested,
            "started": self.started,
            "ended": self.ended_at,
            "errors": self.errors,
        }


class Queries:
    """All queries that are remembered, by id."""

    def __init__(self, ttl: float) -> None:
        self.ttl = ttl
        self._queries: dict[str, Query] = {}

    def __iter__(self) -> Iterator[Query]:
        return iter(self._queries.values())

    def add(self, query: Query) -> None:
        """Remember a query."""
        self._queries[query.id] = query

    def get(self, query_id: str) -> Query | None:
        """Return a query, or None if it was never there or is forgotten."""
        return self._queries.get(query_id)

    def forget_old(self) -> list[Query]:
        """Forget what ended longer ago than the retention, and the oldest of too many; return those."""
        ended = sorted((query for query in self if query.ended_at is not None), key=lambda query: query.ended_at or 0.0)
        too_many = max(0, len(ended) - MAX_REMEMBERED)
        limit = time.time() - self.ttl
        old = [query for index, query in enumerate(ended) if index < too_many or (query.ended_at or 0.0) < limit]
        for query in old:
            del self._queries[query.id]
        return old
