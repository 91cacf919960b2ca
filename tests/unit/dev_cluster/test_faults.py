"""What can go wrong with calls, which of them it hits, and how often."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_polars.dev_cluster.faults import DROP, OWN_FIELDS, Fault, FaultError, Faults, Hit, present_hit
from airflow_provider_polars.dev_cluster.recorder import Recorder


def drop(call: str, **fields: Any) -> Fault:
    return Fault(call, DROP, **fields)


@pytest.mark.parametrize(
    ("pattern", "hit", "passes"),
    [
        ("SubmitQuery", "SubmitQuery", "GetQueryStatus"),
        ("Get*", "GetQueryStatus", "GET query"),
        ("GET query", "GET query", "GET /elsewhere"),
        ("*Query*", "CancelQuery", "DoGet"),
        ("POST workspace/*/compute/start", "POST workspace/*/compute/start", "POST workspace/*/compute/stop"),
        ("*", "DoGet", None),
    ],
)
def test_a_fault_hits_the_calls_whose_names_fit_its_pattern(pattern: str, hit: str, passes: str | None) -> None:
    faults = Faults()
    fault = drop(pattern, times=None)
    faults.add(fault)

    assert faults.hit(hit) is fault
    assert passes is None or faults.hit(passes) is None
    assert faults.hits(fault.id) == 1


def test_a_fault_hits_one_call_unless_it_is_told_otherwise() -> None:
    faults = Faults()
    once, thrice = faults.add(drop("SubmitQuery")), faults.add(drop("CancelQuery", times=3))

    assert [faults.hit("SubmitQuery") is None for _ in range(3)] == [False, True, True]
    assert [faults.hit("CancelQuery") is None for _ in range(5)] == [False, False, False, True, True]
    assert (faults.hits(once), faults.hits(thrice)) == (1, 3)


def test_a_fault_without_a_number_of_times_hits_until_it_is_lifted() -> None:
    faults = Faults()
    fault = faults.add(drop("*", times=None))

    assert all(faults.hit("DoGet") for _ in range(50))
    faults.lift(fault)

    assert faults.hit("DoGet") is None


def test_calls_that_are_to_pass_first_pass_and_do_not_count_as_hits() -> None:
    faults = Faults()
    fault = faults.add(drop("SubmitQuery", skip=2, times=2))

    assert [faults.hit("SubmitQuery") is None for _ in range(6)] == [True, True, False, False, True, True]
    assert faults.hits(fault) == 2


def test_the_first_fault_that_fits_and_is_not_spent_counts() -> None:
    faults = Faults()
    first, second = drop("Submit*"), drop("*", times=None)
    for fault in (first, second):
        faults.add(fault)

    assert [faults.hit("SubmitQuery"), faults.hit("SubmitQuery")] == [first, second]


def test_statuses_of_grpc_and_of_http_hit_only_calls_that_can_be_answered_so() -> None:
    faults = Faults()
    grpc, http = Fault("*", "answer", status="UNAVAILABLE", times=None), Fault("*", "answer", status=503, times=None)
    for fault in (grpc, http):
        faults.add(fault)

    assert faults.hit("SubmitQuery") is grpc
    assert faults.hit("GET query") is http


def test_only_a_submission_can_fail() -> None:
    faults = Faults()
    fault = Fault("*", "fail", errors=("ComputeError: no",))
    faults.add(fault)

    assert faults.hit("GetQueryStatus") is None
    assert faults.hit("SubmitQuery") is fault


def test_faults_tell_what_they_are_and_how_often_they_have_hit() -> None:
    faults = Faults()
    faults.add(Fault("SubmitQuery", "answer", status="INTERNAL", message="no"))
    faults.add(Fault("Get*", "delay", seconds=2, times=None, skip=1))
    faults.add(Fault("SubmitQuery", "fail", errors=()))
    faults.hit("SubmitQuery")

    told = faults.to_json()

    assert [{name: value for name, value in fault.items() if name != "id"} for fault in told] == [
        {
            "call": "SubmitQuery",
            "do": "answer",
            "status": "INTERNAL",
            "message": "no",
            "times": 1,
            "skip": 0,
            "hits": 1,
        },
        {"call": "Get*", "do": "delay", "seconds": 2, "times": None, "skip": 1, "hits": 0},
        {"call": "SubmitQuery", "do": "fail", "errors": (), "times": 1, "skip": 0, "hits": 0},
    ]
    assert len({fault["id"] for fault in told}) == 3


def test_lifted_faults_are_gone() -> None:
    faults = Faults()
    first, second, third = (drop("*") for _ in range(3))
    for fault in (first, second, third):
        faults.add(fault)

    faults.lift(first.id)
    assert [fault.lifted.is_set() for fault in (first, second, third)] == [True, False, False]
    assert list(faults) == [second, third]
    with pytest.raises(KeyError):
        faults.lift(first.id)
    with pytest.raises(KeyError):
        faults.hits(first.id)

    faults.clear()
    assert second.lifted.is_set()
    assert faults.to_json() == []


@pytest.mark.parametrize("seconds", [None, 60.0])
def test_what_waits_for_a_fault_goes_on_when_it_is_lifted(seconds: float | None) -> None:
    async def wait() -> None:
        faults, fault = Faults(), drop("*")
        faults.add(fault)
        waiting = asyncio.create_task(fault.wait(seconds))
        await asyncio.sleep(0)
        assert not waiting.done()
        faults.clear()
        await asyncio.wait_for(waiting, 30)

    asyncio.run(wait())


def test_what_waits_for_a_time_goes_on_after_it() -> None:
    begun = time.monotonic()

    asyncio.run(drop("*").wait(0.05))

    assert 0.05 <= time.monotonic() - begun < 30


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ([], "a fault is [], but must be a JSON object with call and do"),
        ({}, "call is null, but must be the name of a call"),
        ({"call": "", "do": "drop"}, 'call is "", but must be the name of a call'),
        ({"call": 3, "do": "drop"}, "call is 3, but must be the name of a call"),
        ({"call": "*"}, "do is null, but must be one of delay, hang, drop, reset, answer, fail"),
        ({"call": "*", "do": "explode"}, 'do is "explode", but must be one of'),
        ({"call": "*", "do": []}, "do is [], but must be one of"),
        (
            {"call": "*", "do": "drop", "seconds": 1},
            "seconds is 1, but must be left out: it is for delay, not for drop",
        ),
        ({"call": "*", "do": "hang", "errors": []}, "errors is [], but must be left out: it is for fail, not for hang"),
        ({"call": "*", "do": "drop", "after": 1}, "after is 1, but must be left out: the fields are call, do, seconds"),
        ({"call": "*", "do": "drop", "id": 1}, "id is 1, but must be left out"),
        ({"call": "*", "do": "delay"}, "seconds is null, but must be a number above 0"),
        ({"call": "*", "do": "delay", "seconds": 0}, "seconds is 0, but must be a number above 0"),
        ({"call": "*", "do": "delay", "seconds": float("nan")}, "seconds is NaN, but must be a number above 0"),
        ({"call": "*", "do": "delay", "seconds": "1"}, 'seconds is "1", but must be a number above 0'),
        ({"call": "*", "do": "answer"}, "status is null, but must be one of CANCELLED, UNKNOWN"),
        ({"call": "*", "do": "answer", "status": "OK"}, 'status is "OK", but must be one of'),
        ({"call": "*", "do": "answer", "status": "unavailable"}, 'status is "unavailable", but must be one of'),
        ({"call": "*", "do": "answer", "status": 100}, "status is 100, but must be one of"),
        ({"call": "*", "do": "answer", "status": True}, "status is true, but must be one of"),
        ({"call": "*", "do": "answer", "status": []}, "status is [], but must be one of"),
        ({"call": "*", "do": "answer", "status": 503, "message": 1}, "message is 1, but must be a text"),
        ({"call": "*", "do": "answer", "status": "INTERNAL", "body": {}}, "body is {}, but must be left out: gRPC has"),
        ({"call": "*", "do": "fail"}, "errors is null, but must be a list of texts"),
        ({"call": "*", "do": "fail", "errors": "ComputeError: no"}, 'errors is "ComputeError: no", but must be a list'),
        ({"call": "*", "do": "fail", "errors": [1]}, "errors is [1], but must be a list of texts"),
        ({"call": "Get*", "do": "fail", "errors": []}, 'call is "Get*", but must be SubmitQuery or a pattern of it'),
        ({"call": "*", "do": "drop", "times": 0}, "times is 0, but must be a whole number above 0, or null"),
        ({"call": "*", "do": "drop", "times": 1.5}, "times is 1.5, but must be a whole number above 0, or null"),
        ({"call": "*", "do": "drop", "times": True}, "times is true, but must be a whole number above 0, or null"),
        ({"call": "*", "do": "drop", "skip": -1}, "skip is -1, but must be a whole number, 0 or above"),
        ({"call": "*", "do": "drop", "skip": None}, "skip is null, but must be a whole number, 0 or above"),
    ],
)
def test_what_means_nothing_is_refused_with_field_and_value(fields: Any, complaint: str) -> None:
    with pytest.raises(FaultError) as refusal:
        Fault.from_json(fields)

    assert str(refusal.value).startswith(complaint)


def test_a_record_tells_the_fault_of_its_call() -> None:
    recorder, fault = Recorder(), drop("*")

    async def answer() -> bool:
        hit = Hit(fault)
        present_hit.set(hit)
        recorder.add("SubmitQuery", [])
        return hit.recorded

    async def calls() -> bool:
        recorded = await asyncio.create_task(answer())
        recorder.add("CancelQuery", [])
        return recorded

    assert asyncio.run(calls())
    hit, other = recorder.since(0)
    assert hit["fault"] == "drop"
    assert "fault" not in other


def test_the_guide_lists_what_can_become_of_a_call_and_the_fields_of_it() -> None:
    guide = Path(__file__).resolve().parents[3] / "docs" / "dev-cluster.md"
    _, _, table = guide.read_text().partition("| `do` |")
    rows = [line.split("|") for line in table.split("\n\n")[0].splitlines()[2:]]

    assert {row[1].strip(" `"): re.findall(r"`(\w+)`", row[3]) for row in rows} == {
        do: list(names) for do, names in OWN_FIELDS.items()
    }
