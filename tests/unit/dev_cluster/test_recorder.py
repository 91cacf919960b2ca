"""What is kept of calls."""

from __future__ import annotations

import pytest

from airflow_provider_polars.dev_cluster import recorder
from airflow_provider_polars.dev_cluster.recorder import Recorder


def test_calls_are_kept_in_their_order_with_what_was_said() -> None:
    kept = Recorder()
    kept.add("SubmitQuery", [("x-polars-user", "ada")], plan_bytes=7)
    kept.add("CancelQuery", [])

    first, second = kept.since(0)

    assert (first["index"], first["call"], first["headers"], first["plan_bytes"]) == (
        0,
        "SubmitQuery",
        {"x-polars-user": "ada"},
        7,
    )
    assert second["call"] == "CancelQuery"
    assert first["time"] <= second["time"]
    assert kept.since(1) == [second]
    assert kept.since(2) == []


def test_credentials_are_not_kept() -> None:
    kept = Recorder()
    kept.add("SubmitQuery", [("authorization", "Bearer s3cret"), ("x-other", b"\xff")])

    assert kept.since(0)[0]["headers"]["authorization"] == "***"
    assert "s3cret" not in str(kept.since(0))


def test_the_oldest_calls_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "KEPT", 3)
    kept = Recorder()
    for number in range(5):
        kept.add("GetQueryStatus", [], number=number)

    assert [(record["index"], record["number"]) for record in kept.since(0)] == [(2, 2), (3, 3), (4, 4)]
