"""Which query runs where: planning, the queue, retries and cancels."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from airflow_provider_polars.dev_cluster.queries import (
    CANCELED,
    FAILED,
    IN_PROGRESS,
    SCHEDULED,
    SUCCESS,
    Output,
    Plans,
    Queries,
    Query,
)
from airflow_provider_polars.dev_cluster.settings import Settings
from airflow_provider_polars.dev_cluster.workers import PLANNER, Worker
from airflow_provider_polars.protocol import compute_plane_pb2 as wire

SWEEP_SECONDS = 1.0
PLANNER_ENDS = 2  # after which a plan is taken for the reason


class PlanRejectedError(Exception):
    """A plan that cannot run; its text is ``TypeName: message``, of an exception of Polars or Python."""


class ClosedError(Exception):
    """A scheduler that takes no query any more; the text says why, as ``TypeName: message``."""


class Scheduler:
    """Takes queries in, gives them to workers by priority and then by age, and knows how they ended.

    :param results: folder of results that have no place of their own.
    :param kill: ends the process of a worker, by name; another one takes its place.
    """

    def __init__(self, settings: Settings, results: Path, kill: Callable[[str], None]) -> None:
        self.settings = settings
        self.queries = Queries(settings.result_ttl)
        self.results = results
        self.workers: dict[str, Worker] = {}
        self.planner: Worker | None = None
        self.ready = asyncio.Event()
        self._planner_joined = asyncio.Event()
        self.polars = self.python = ""
        self.told_polars: str | None = None
        """What clients are told in place of the version that runs here."""

        self._header = b""
        self._kill = kill
        self._waiting: list[tuple[int, int, Query]] = []
        self._order = itertools.count()
        self._planning: dict[str, asyncio.Future[dict[str, Any] | None]] = {}
        self._planned = 0.0
        self._closed: str | None = None

    async def submit(self, query: Query, *, client_polars: str, errors: Sequence[str] | None = None) -> None:
        """Check a plan and put its query into the queue.

        :param errors: it is not to run, but to fail with these, which may be none.
        :raises PlanRejectedError: for a plan that cannot run.
        :raises ClosedError: if it takes no query any more.
        """
        if self._closed is not None:
            raise ClosedError(self._closed)
        if query.settings.engine not in wire.Engine.values():
            raise PlanRejectedError(f"InvalidOperationError: this cluster has no engine {query.settings.engine}")
        await self.ready.wait()
        self._check_version(query.plan, client_polars)
        if (answer := await self._plan(query)) is not None:
            if "error" in answer:
                raise PlanRejectedError(answer["error"])
            query.plans = Plans(**{field.name: answer[field.name] for field in fields(Plans)})
            query.planned = time.time()
        if self._closed is not None:
            raise ClosedError(self._closed)
        self.queries.add(query)
        if errors is not None:
            places = {f"worker-{index + 1}": error for index, error in enumerate(errors)}
            query.end(FAILED, errors={"scheduler": errors[0], **places} if errors else {})
            return
        if query.settings.execute_until in (wire.EXECUTE_UNTIL_IR, wire.EXECUTE_UNTIL_PHYSICAL):
            query.end(SUCCESS)
            return
        self._enqueue(query)

    def cancel(self, query: Query) -> None:
        """End a query that has not ended; one that runs loses its worker."""
        self._stop(query, CANCELED)

    def close(self, error: str) -> None:
        """Take no query any more, and let those that have not ended fail; what they have done can be asked for.

        :param error: why, ``TypeName: message``.
        """
        self._closed, self._waiting = error, []
        for query in self.queries:
            self._stop(query, FAILED, {"scheduler": error})

    def _stop(self, query: Query, state: int, errors: dict[str, str] | None = None) -> None:
        if query.ended.is_set():
            return
        query.end(state, errors=errors)
        for name in query.workers[:1]:
            worker = self.workers.get(name)
            if worker is not None and worker.query_id == query.id:
                self._end(worker)
        self._release(query)

    @property
    def busy(self) -> bool:
        """Whether a query is planned, queued or runs."""
        return bool(self._planning) or any(not query.ended.is_set() for query in self.queries)

    def restart(self, *, memory: bool) -> None:
        """Begin anew, without workers; those that are there are dismissed, and their processes are not ended here.

        :param memory: whether queries are still known: those that ran are started again or fail, as if their workers
            were lost.
        """
        self.ready.clear()
        if self.planner is not None:
            self.planner.dismiss()
            self.left(self.planner)
        workers, self.workers = self.workers, {}
        for worker in workers.values():
            worker.query_id = None
            worker.dismiss()
        if not memory:
            self.queries, self._waiting = Queries(self.settings.result_ttl), []
        for query in self.queries:
            if query.state == IN_PROGRESS:
                self._lost(query, query.workers[0], "ComputeError: the scheduler restarted while it ran the query")

    def delete_result(self, query: Query) -> None:
        """Remove the result of a query that has no place of its own."""
        shutil.rmtree(self.results / query.id, ignore_errors=True)

    async def sweep(self) -> None:
        """Forget old queries and their results, and end workers that are silent, for ever."""
        while True:
            begun = time.monotonic()
            await asyncio.sleep(SWEEP_SECONDS)
            late = time.monotonic() - begun - SWEEP_SECONDS  # this process stood still: what workers said waits for it
            limit = time.monotonic() - self.settings.heartbeat_seconds - late
            for worker in [*self.workers.values(), *filter(None, [self.planner])]:
                if worker.seen < limit:
                    self._end(worker)
            expired = [query for query in self.queries if query.rows_expired]
            for query in expired + self.queries.forget_old():
                query.rows_deleted = True
                await asyncio.to_thread(shutil.rmtree, self.results / query.id, ignore_errors=True)

    def joined(self, worker: Worker) -> None:
        """Take a worker in."""
        self._header, self.polars, self.python = worker.header, worker.polars, worker.python
        if worker.role == PLANNER:
            self.planner = worker
            self._planner_joined.set()
        else:
            self.workers[worker.name] = worker
        if self.planner is not None and len(self.workers) >= self.settings.workers:
            self.ready.set()
        self._dispatch()

    def left(self, worker: Worker) -> None:
        """Run the query of a worker that is gone again, or end it."""
        if worker is self.planner:
            self.planner = None
            self._planner_joined.clear()
            for future in self._planning.values():
                if not future.done():
                    future.set_result(None)
            return
        if self.workers.get(worker.name) is worker:
            del self.workers[worker.name]
        query = self.queries.get(worker.query_id) if worker.query_id else None
        if query is None or query.ended.is_set() or query.workers[:1] != [worker.name]:
            return
        self._lost(query, worker.name, f"ComputeError: {worker.name} ended while it ran the query")

    def heard(self, worker: Worker, message: dict[str, Any], body: bytes) -> None:
        """Take the answer of a worker."""
        if message["is"] == "planned":
            self._planned = time.monotonic()
            future = self._planning.get(message["id"])
            if future is not None and not future.done():
                future.set_result(message)
            return
        query = self.queries.get(message["id"]) if worker.query_id == message["id"] else None
        worker.query_id = None
        if message.get("exhausted"):
            self._end(worker)
        if query is None or query.ended.is_set() or query.workers[:1] != [worker.name]:
            self._dispatch()
        elif "error" in message:
            self._fail(query, worker.name, message["error"])
        else:
            output = Output(
                files=message["files"],
                format=message["format"],
                rows=message["rows"],
                head=body,
                head_error=message["head_error"],
                seconds=message["seconds"],
            )
            query.end(SUCCESS, output=output)
            self._release(query)

    def _check_version(self, plan: bytes, client_polars: str) -> None:
        if plan[: len(self._header)] == self._header:
            return
        if not plan.startswith(self._header[:11]):
            raise PlanRejectedError("ComputeError: the bytes of the query are no plan of Polars")
        raise PlanRejectedError(
            f"ComputeError: the client has Polars {client_polars or 'of an unknown version'} and this cluster "
            f"has Polars {self.polars}: plans are not portable between them. Install polars=={self.polars} beside the "
            "client, or start the cluster with --python and an interpreter that has the client's Polars."
        )

    async def _plan(self, query: Query) -> dict[str, Any] | None:
        """Return what the planner says, or None if it takes too long: the query then runs unchecked."""
        begun = time.monotonic()
        try:
            return await asyncio.wait_for(self._ask_planner(query), self.settings.planning_seconds)
        except asyncio.TimeoutError:
            if self.planner is not None and self._planned < begun:
                self._kill(PLANNER)  # its threads may never come back
            return None
        finally:
            self._planning.pop(query.id, None)

    async def _ask_planner(self, query: Query) -> dict[str, Any]:
        dot = query.settings.graph_format == wire.GRAPH_FORMAT_DOT
        for _ in range(PLANNER_ENDS):
            while self.planner is None:
                await self._planner_joined.wait()
            answer = self._planning[query.id] = asyncio.get_running_loop().create_future()
            self.planner.send({"do": "plan", "id": query.id, "dot": dot, "flags": _flags(query)}, query.plan)
            said: dict[str, Any] | None = await answer
            if said is not None:
                return said
        return {"error": f"ComputeError: the process that checks plans ended {PLANNER_ENDS} times at this one"}

    def _enqueue(self, query: Query) -> None:
        self._waiting.append((-query.settings.priority, next(self._order), query))
        self._dispatch()

    def _dispatch(self) -> None:
        """Start the first queries of the queue while there are workers for them.

        None overtakes the first, except those that wait for more workers than the cluster has.
        """
        idle = [worker for worker in self.workers.values() if worker.query_id is None]
        if not idle:
            return
        waiting, self._waiting = sorted(entry for entry in self._waiting if not entry[2].ended.is_set()), []
        for index, entry in enumerate(waiting):
            query = entry[2]
            wanted = max(query.needed_workers, min(query.most_workers or len(self.workers), len(self.workers)))
            if query.needed_workers <= len(self.workers):
                if len(idle) < wanted:
                    self._waiting += waiting[index:]
                    return
                self._start(query, idle[:wanted])
                del idle[:wanted]
            else:
                self._waiting.append(entry)

    def _start(self, query: Query, workers: list[Worker]) -> None:
        for worker in workers:
            worker.query_id = query.id
        query.start([worker.name for worker in workers])
        workers[0].send(
            {
                "do": "run",
                "id": query.id,
                "engine": query.settings.engine or wire.ENGINE_AUTO,
                "flags": _flags(query),
                "distributed": query.distributed,
                "maintain_order": query.settings.flight.maintain_order,
                "results": os.fspath(self.results),
            },
            query.plan,
        )

    def _end(self, worker: Worker) -> None:
        """End the process of a worker, and give it nothing more to do."""
        if self.workers.get(worker.name) is worker:
            del self.workers[worker.name]
        self._kill(worker.name)
        worker.dismiss()

    def _lost(self, query: Query, place: str, error: str) -> None:
        """Run a query that has lost its worker again, or end it."""
        if query.attempts > query.settings.n_retries:
            self._fail(query, place, error)
            return
        query.state = SCHEDULED
        self._release(query)
        self._enqueue(query)

    def _fail(self, query: Query, place: str, error: str) -> None:
        query.end(FAILED, errors={"scheduler": error, place: error})
        self._release(query)

    def _release(self, query: Query) -> None:
        """Free the workers that only stood by."""
        for name in query.workers[1:]:
            worker = self.workers.get(name)
            if worker is not None and worker.query_id == query.id:
                worker.query_id = None
        self._dispatch()


def _flags(query: Query) -> int | None:
    return query.settings.optimization_flags if query.settings.HasField("optimization_flags") else None
