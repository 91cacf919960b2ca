"""What is remembered of queries, for how long, and how many workers they ask for."""

from __future__ import annotations

import json
import time

import pytest

from airflow_provider_polars.dev_cluster import queries
from airflow_provider_polars.dev_cluster.queries import CANCELED, FAILED, IN_PROGRESS, SUCCESS, Output, Queries, Query
from airflow_provider_polars.protocol import compute_plane_pb2 as wire

OUTPUT = Output(["/out.parquet"], "parquet", 3)


def query(**settings: object) -> Query:
    return Query(wire.QuerySettings(**settings), plan=b"a secret plan")


def distributed(minimum: int | None = None, maximum: int | None = None, **settings: object) -> Query:
    workers = wire.NumWorkers(min=minimum, max=maximum)
    return query(distributed=wire.DistributedOptions(), n_workers=workers, **settings)


def ended(known: Queries, age: float) -> Query:
    one = query()
    known.add(one)
    one.end(SUCCESS)
    one.ended_at = time.time() - age
    return one


def test_what_ended_before_the_retention_is_forgotten() -> None:
    known = Queries(ttl=60)
    old, young, running = ended(known, 61), ended(known, 50), query()
    known.add(running)

    assert known.forget_old() == [old]

    assert list(known) == [young, running]
    assert known.get(old.id) is None
    assert known.get(young.id) is young
    assert known.forget_old() == []


def test_only_so_many_ended_queries_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "MAX_REMEMBERED", 2)
    known = Queries(ttl=60)
    running = [query() for _ in range(3)]
    for one in running:
        known.add(one)
    ages = [30, 10, 40, 20]
    of_age = {age: ended(known, age) for age in ages}

    assert known.forget_old() == [of_age[40], of_age[30]]

    assert list(known) == [*running, of_age[10], of_age[20]]


def test_the_first_end_counts_and_the_plan_is_dropped() -> None:
    one = query()
    one.start(["worker-1"])
    assert (one.state, one.attempts) == (IN_PROGRESS, 1)

    one.end(CANCELED)
    one.end(SUCCESS, output=OUTPUT)
    one.end(FAILED, errors={"scheduler": "ValueError: late"})

    assert (one.state, one.output, one.errors, one.plan) == (CANCELED, None, {}, b"")
    assert one.ended.is_set()


def test_the_start_is_that_of_the_first_attempt() -> None:
    one = query()
    one.start(["worker-1"])
    first = one.started
    one.start(["worker-2"])

    assert (one.started, one.attempts, one.workers) == (first, 2, ["worker-2"])


def test_nothing_of_the_plan_is_shown() -> None:
    one = query(priority=7)

    assert "secret" not in json.dumps(one.summary()) + repr(one)
    assert one.summary()["priority"] == 7


@pytest.mark.parametrize(
    ("one", "needed", "most"),
    [
        (query(), 1, 1),
        (query(n_workers=wire.NumWorkers(min=4, max=8)), 1, 1),
        (distributed(), 1, None),
        (distributed(minimum=3), 3, None),
        (distributed(maximum=2), 1, 2),
        (distributed(minimum=3, maximum=5), 3, 5),
        (distributed(minimum=3, maximum=2), 3, 3),
        (distributed(n_workers_old=4), 4, None),
        (distributed(minimum=0, maximum=0), 1, None),
    ],
)
def test_the_workers_that_a_query_asks_for(one: Query, needed: int, most: int | None) -> None:
    assert (one.needed_workers, one.most_workers) == (needed, most)


@pytest.mark.parametrize(
    ("ttl", "expired"),
    [
        (None, False),
        ({"seconds": 5}, True),
        ({"seconds": 15}, False),
        ({"seconds": 9, "nanos": 999_999_999}, True),
        ({"seconds": -1}, True),
        ({"seconds": 2**63 - 1, "nanos": 2**31 - 1}, False),
        ({"seconds": -(2**63), "nanos": -(2**31)}, True),
    ],
)
def test_rows_for_the_client_expire(ttl: dict[str, int] | None, expired: bool) -> None:
    one = query(flight=wire.FlightOptions(ttl=ttl))
    assert not one.rows_expired

    one.end(SUCCESS)
    one.ended_at = time.time() - 10

    assert one.rows_expired is expired
    one.rows_deleted = True
    assert not one.rows_expired
