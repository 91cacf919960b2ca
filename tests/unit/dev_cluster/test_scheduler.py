"""The scheduler, with workers that say what the test says, in the order that the test wants."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_polars.dev_cluster.queries import CANCELED, FAILED, IN_PROGRESS, SCHEDULED, SUCCESS, Query
from airflow_provider_polars.dev_cluster.scheduler import PlanRejectedError, Scheduler
from airflow_provider_polars.dev_cluster.settings import Settings
from airflow_provider_polars.dev_cluster.workers import PLANNER, Worker
from airflow_provider_polars.protocol import compute_plane_pb2 as wire

HEADER = b"DSL_VERSION" + bytes(68)
PLANNED = {"sink": "File", "target": "/out", "ir": "", "physical": "", "nodes": [], "roots": 1, "edges": []}
LOST = "ComputeError: worker-1 ended while it ran the query"


class FakeWorker(Worker):
    """Notes what it is told."""

    def __init__(self, name: str, role: str = "worker") -> None:
        header = base64.b64encode(HEADER).decode()
        super().__init__(
            {"name": name, "role": role, "pid": 1, "polars": "2.0.0", "python": "3.11.7", "header": header}
        )
        self.told: list[dict[str, Any]] = []

    def send(self, message: dict[str, Any], body: bytes = b"") -> None:
        self.told.append(message)

    @property
    def runs(self) -> list[str]:
        return [message["id"] for message in self.told]


class World:
    """A scheduler with fake workers."""

    def __init__(self, results: Path, workers: int = 1, **settings: Any) -> None:
        self.killed: list[str] = []
        self.scheduler = Scheduler(Settings(workers=workers, **settings), results, self.killed.append)
        self.plans = True
        self.planner = self.join(PLANNER, PLANNER)
        self.workers = [self.join(f"worker-{number + 1}") for number in range(workers)]

    def join(self, name: str, role: str = "worker") -> FakeWorker:
        worker = FakeWorker(name, role)
        self.scheduler.joined(worker)
        return worker

    def done(self, worker: FakeWorker, query: Query, **answer: Any) -> None:
        outcome = {"files": ["/out"], "format": "parquet", "rows": 1, "head_error": None, "seconds": 0.1}
        self.scheduler.heard(worker, {"is": "done", "id": query.id, **outcome, **answer}, b"")

    async def submit(self, query: Query | None = None) -> Query:
        """Submit a query that the planner finds good."""
        query = query or Query(wire.QuerySettings(), HEADER)
        submitted = asyncio.ensure_future(self.scheduler.submit(query, client_polars="2.0.0"))
        await turns()
        self.planned(query)
        await submitted
        return query

    def planned(self, query: Query, **answer: Any) -> None:
        self.scheduler.heard(self.planner, {"is": "planned", "id": query.id, **(answer or PLANNED)}, b"")


async def turns() -> None:
    """Let everything happen that is due."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., None]:
    """Return ``run(test, workers=1, **settings)``, which gives a coroutine function a world of its own."""

    def run(test: Callable[[World], Awaitable[None]], **settings: Any) -> None:
        async def main() -> None:
            await asyncio.wait_for(test(World(tmp_path, **settings)), 10)

        asyncio.run(main())

    return run


def with_retries(number: int) -> Query:
    return Query(wire.QuerySettings(n_retries=number), HEADER)


def distributed(minimum: int, number_of_retries: int = 0) -> Query:
    settings = wire.QuerySettings(
        distributed=wire.DistributedOptions(), n_workers=wire.NumWorkers(min=minimum), n_retries=number_of_retries
    )
    return Query(settings, HEADER)


def test_a_worker_that_answers_after_the_cancel_gets_nothing_more_to_do(run: Callable[..., None]) -> None:
    async def test(world: World) -> None:
        (worker,) = world.workers
        cancelled, following = await world.submit(), await world.submit()

        world.scheduler.cancel(cancelled)
        world.done(worker, cancelled)

        assert world.killed == ["worker-1"]
        assert worker.runs == [cancelled.id]
        assert (cancelled.state, cancelled.output) == (CANCELED, None)
        world.scheduler.left(worker)
        assert following.state == SCHEDULED
        assert world.join("worker-1").runs == [following.id]

    run(test)


def test_a_worker_that_used_up_its_memory_gets_nothing_more_to_do(run: Callable[..., None]) -> None:
    async def test(world: World) -> None:
        (worker,) = world.workers
        greedy, following = await world.submit(with_retries(3)), await world.submit()

        world.done(worker, greedy, error="MemoryError: too much", exhausted=True)
        world.done(worker, greedy)
        world.scheduler.left(worker)

        assert (greedy.state, greedy.errors["scheduler"]) == (FAILED, "MemoryError: too much")
        assert world.killed == ["worker-1"]
        assert worker.runs == [greedy.id]
        assert world.join("worker-1").runs == [following.id]

    run(test)


def test_an_answer_just_before_the_end_of_a_worker_counts(run: Callable[..., None]) -> None:
    async def test(world: World) -> None:
        query = await world.submit(with_retries(1))

        world.done(world.workers[0], query)
        world.scheduler.left(world.workers[0])

        assert (query.state, query.attempts) == (SUCCESS, 1)

    run(test)


def test_a_query_goes_to_another_worker_as_often_as_it_may(run: Callable[..., None]) -> None:
    async def test(world: World) -> None:
        query = await world.submit(with_retries(1))
        first, second = sorted(world.workers, key=lambda worker: worker.runs, reverse=True)

        world.scheduler.left(first)
        assert (second.runs, query.state, query.attempts) == ([query.id], IN_PROGRESS, 2)
        world.done(first, query, error="ValueError: late")
        assert query.state == IN_PROGRESS

        world.scheduler.left(second)
        assert query.state == FAILED
        assert query.errors["scheduler"] == f"ComputeError: {second.name} ended while it ran the query"

    run(test, workers=2)


def test_a_query_that_waits_to_run_again_can_be_cancelled(run: Callable[..., None]) -> None:
    async def test(world: World) -> None:
        query = await world.submit(with_retries(1))
        world.scheduler.left(world.workers[0])
        assert query.state == SCHEDULED

        world.scheduler.cancel(query)

        assert world.join("worker-1").runs == []
        assert (query.state, world.killed) == (CANCELED, [])

    run(test)


def test_the_end_of_a_worker_that_stands_by_does_not_start_a_query_twice(run: Callable[..., None]) -> None:
    async def test(world: World) -> None:
        query = await world.submit(distributed(2, number_of_retries=1))
        first, stands_by = sorted(world.workers, key=lambda worker: worker.runs, reverse=True)

        world.scheduler.left(stands_by)
        replacement = world.join(stands_by.name)

        assert (query.state, query.attempts, replacement.runs) == (IN_PROGRESS, 1, [])
        world.done(first, query)
        assert query.state == SUCCESS
        following = await world.submit(distributed(2))
        assert following.state == IN_PROGRESS

    run(test, workers=2)


def test_a_query_is_planned_once_more_if_the_planner_ends(run: Callable[..., None]) -> None:
    async def test(world: World) -> None:
        query = Query(wire.QuerySettings(), HEADER)
        submitted = asyncio.ensure_future(world.scheduler.submit(query, client_polars="2.0.0"))
        await turns()
        world.scheduler.left(world.planner)
        await turns()
        assert not submitted.done()

        world.planner = world.join(PLANNER, PLANNER)
        await turns()
        assert world.planner.runs == [query.id]
        world.planned(query)
        await submitted

        assert query.planned
        assert query.state == IN_PROGRESS

    run(test)


def test_a_plan_at_which_the_planner_ends_twice_is_refused(run: Callable[..., None]) -> None:
    async def test(world: World) -> None:
        query = Query(wire.QuerySettings(), HEADER)
        submitted = asyncio.ensure_future(world.scheduler.submit(query, client_polars="2.0.0"))
        for _ in range(2):
            await turns()
            world.scheduler.left(world.planner)
            world.planner = world.join(PLANNER, PLANNER)

        with pytest.raises(PlanRejectedError, match="ComputeError: the process that checks plans ended 2 times"):
            await submitted
        assert list(world.scheduler.queries) == []

    run(test)


@pytest.mark.parametrize(("others_are_planned", "killed"), [(False, [PLANNER]), (True, [])])
def test_a_planner_that_answers_nobody_is_replaced_and_the_query_runs_unchecked(
    run: Callable[..., None], others_are_planned: bool, killed: list[str]
) -> None:
    async def test(world: World) -> None:
        query = Query(wire.QuerySettings(), HEADER)
        submitted = asyncio.ensure_future(world.scheduler.submit(query, client_polars="2.0.0"))
        await turns()
        if others_are_planned:
            await world.submit()

        await submitted

        assert query.planned is None
        assert query.state in (IN_PROGRESS, SCHEDULED)
        assert world.killed == killed
        world.planned(query, error="ValueError: late")
        assert query.state in (IN_PROGRESS, SCHEDULED)

    run(test, planning_seconds=0.05)


def test_a_query_whose_client_goes_away_while_it_is_planned_is_not_taken_in(run: Callable[..., None]) -> None:
    async def test(world: World) -> None:
        query = Query(wire.QuerySettings(), HEADER)
        submitted = asyncio.ensure_future(world.scheduler.submit(query, client_polars="2.0.0"))
        await turns()

        submitted.cancel()
        await turns()
        world.planned(query)

        assert list(world.scheduler.queries) == []
        assert world.workers[0].runs == []

    run(test)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        (Query(wire.QuerySettings(), b""), "ComputeError: the bytes of the query are no plan of Polars"),
        (
            Query(wire.QuerySettings(), HEADER[:-1] + b"x"),
            r"the client has Polars 1\.39\.3 and this cluster has Polars",
        ),
        (Query(wire.QuerySettings(engine=99), HEADER), "InvalidOperationError: this cluster has no engine 99"),
    ],
)
def test_what_cannot_run_is_refused_without_a_look_into_the_plan(
    run: Callable[..., None], query: Query, reason: str
) -> None:
    async def test(world: World) -> None:
        with pytest.raises(PlanRejectedError, match=reason):
            await world.scheduler.submit(query, client_polars="1.39.3")
        assert world.planner.told == []

    run(test)


def test_a_query_that_is_only_planned_needs_no_worker(run: Callable[..., None]) -> None:
    async def test(world: World) -> None:
        query = Query(wire.QuerySettings(execute_until=wire.EXECUTE_UNTIL_PHYSICAL), HEADER)
        await world.submit(query)

        assert (query.state, query.attempts) == (SUCCESS, 0)
        assert world.workers[0].runs == []

    run(test)


def test_a_second_query_waits_until_the_first_one_has_ended(run: Callable[..., None]) -> None:
    async def test(world: World) -> None:
        (worker,) = world.workers
        first, second = await world.submit(), await world.submit()
        assert worker.runs == [first.id]

        world.done(worker, first, error="ValueError: no")

        assert (first.state, first.errors) == (FAILED, {"scheduler": "ValueError: no", "worker-1": "ValueError: no"})
        assert worker.runs == [first.id, second.id]
        world.scheduler.left(worker)
        assert second.errors == {"scheduler": LOST, "worker-1": LOST}

    run(test)


@pytest.mark.parametrize(("n_retries", "state"), [(0, FAILED), (1, SCHEDULED)])
def test_a_scheduler_that_restarts_with_its_memory_treats_what_ran_as_lost_and_keeps_its_queue(
    run: Callable[..., None], n_retries: int, state: int
) -> None:
    async def test(world: World) -> None:
        (worker,) = world.workers
        done = await world.submit()
        world.done(worker, done)
        ran, queued = await world.submit(with_retries(n_retries)), await world.submit()

        world.scheduler.restart(memory=True)

        assert not world.scheduler.ready.is_set()
        assert [query.state for query in (done, ran, queued)] == [SUCCESS, state, SCHEDULED]
        if state == FAILED:
            error = "ComputeError: the scheduler restarted while it ran the query"
            assert ran.errors == {"scheduler": error, "worker-1": error}
        again = world.join("worker-1")
        world.done(worker, ran)
        world.scheduler.left(worker)
        assert again.runs == [queued.id]
        assert (ran.state, ran.output) == (state, None)
        world.done(again, queued)
        assert again.runs == [queued.id, *([] if state == FAILED else [ran.id])]

    run(test)


def test_a_scheduler_that_restarts_without_its_memory_knows_no_query(run: Callable[..., None]) -> None:
    async def test(world: World) -> None:
        (worker,) = world.workers
        for _ in range(3):
            await world.submit(with_retries(3))
        assert world.scheduler.busy

        world.scheduler.restart(memory=False)
        world.scheduler.left(worker)

        assert not world.scheduler.busy
        assert list(world.scheduler.queries) == []
        assert world.join("worker-1").runs == []

    run(test)


def test_a_query_that_is_to_fail_does_not_run(run: Callable[..., None]) -> None:
    async def test(world: World) -> None:
        for errors in (["ComputeError: one", "ValueError: two"], []):
            query = Query(wire.QuerySettings(), HEADER)
            submitted = asyncio.ensure_future(world.scheduler.submit(query, client_polars="2.0.0", errors=errors))
            await turns()
            world.planned(query)
            await submitted

            assert query.state == FAILED
            places = ("scheduler", "worker-1", "worker-2")
            assert query.errors == dict(zip(places, [*errors[:1], *errors], strict=True) if errors else {})
        assert world.workers[0].runs == []

    run(test)
