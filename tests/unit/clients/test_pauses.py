"""Pauses between attempts."""

from __future__ import annotations

import itertools

from airflow_provider_polars.clients.pauses import pauses


def test_pauses_grow_up_to_a_limit_and_are_never_shorter_than_half_of_it() -> None:
    for _ in range(20):
        found = list(itertools.islice(pauses(1.0, 6.0), 6))
        assert all(limit / 2 <= pause <= limit for pause, limit in zip(found, [1, 2, 4, 6, 6, 6], strict=True))


def test_pauses_of_two_who_wait_differ() -> None:
    first, second = (list(itertools.islice(pauses(1.0, 60.0), 8)) for _ in range(2))
    assert first != second
