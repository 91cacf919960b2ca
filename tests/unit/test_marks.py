"""The mark of a compute: whom it was started for, and whether this deployment has started it."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest

from airflow_provider_polars.exceptions import ConfigurationError
from airflow_provider_polars.marks import MAX_MARK, Owner, check_deployment, is_marked

OWNER = Owner(deployment="prod", dag_id="sales", run_id="scheduled__2026-01-01", task_id="etl.start_compute")
ANOTHER: dict[str, Any] = {
    "deployment": "prod2",
    "dag_id": "sale",
    "run_id": "manual",
    "task_id": "start_compute",
    "map_index": 0,
}
MANIFEST_NAME = re.compile(r"[A-Za-z0-9 -]{3,32}")
"""What Polars Cloud takes for a name, as its client checks it."""


def test_a_mark_names_the_deployment_and_nothing_else_that_people_could_read() -> None:
    assert re.fullmatch(r"af-prod-[0-9a-f]{16}", OWNER.mark)


def test_the_longest_deployment_makes_the_longest_name_that_the_service_takes() -> None:
    owner = dataclasses.replace(OWNER, deployment="a" * 12, dag_id="d" * 250, run_id="r" * 250, task_id="t" * 250)
    assert len(owner.mark) == MAX_MARK == 32
    assert MANIFEST_NAME.fullmatch(owner.mark)


def test_a_mark_is_the_same_in_every_process_and_release() -> None:
    """What runs was marked by a process that is gone, perhaps of an earlier release."""
    assert OWNER.mark == "af-prod-d5984e10087e7ccc"
    assert dataclasses.replace(OWNER).mark == OWNER.mark


def test_ids_in_any_script_make_a_mark() -> None:
    owner = dataclasses.replace(OWNER, dag_id="продажи", run_id="手動", task_id="größe")
    assert MANIFEST_NAME.fullmatch(owner.mark)


@pytest.mark.parametrize("part", ANOTHER)
def test_a_mark_differs_with_each_part_of_the_owner(part: str) -> None:
    assert dataclasses.replace(OWNER, **{part: ANOTHER[part]}).mark != OWNER.mark


def test_parts_do_not_run_into_each_other() -> None:
    split = [("a", "bc"), ("ab", "c"), ("a.b", "c"), ("a", "b.c")]
    marks = {dataclasses.replace(OWNER, dag_id=dag_id, run_id=run_id).mark for dag_id, run_id in split}
    indexes = {
        dataclasses.replace(OWNER, task_id=task_id, map_index=index).mark for task_id, index in [("t", 11), ("t1", 1)]
    }
    assert (len(marks), len(indexes)) == (4, 2)


# ---- what a compute tells of its owner


@pytest.mark.parametrize("owner", [OWNER, dataclasses.replace(OWNER, map_index=7), Owner(**ANOTHER)])
def test_an_owner_is_read_from_the_variables_that_tell_of_it(owner: Owner) -> None:
    variables = owner.variables()
    assert {type(value) for value in variables.values()} == {str}
    assert Owner.of({**variables, "RUST_LOG": "info"}) == owner


def test_the_variables_have_names_of_this_package() -> None:
    assert OWNER.variables() == {
        "AIRFLOW_POLARS_DEPLOYMENT": "prod",
        "AIRFLOW_POLARS_DAG_ID": "sales",
        "AIRFLOW_POLARS_RUN_ID": "scheduled__2026-01-01",
        "AIRFLOW_POLARS_TASK_ID": "etl.start_compute",
        "AIRFLOW_POLARS_MAP_INDEX": "-1",
    }


@pytest.mark.parametrize("missing", sorted(OWNER.variables()))
def test_without_one_of_the_variables_there_is_no_owner(missing: str) -> None:
    variables = {name: value for name, value in OWNER.variables().items() if name != missing}
    assert Owner.of(variables) is None
    assert Owner.of({**variables, missing: ""}) is None


@pytest.mark.parametrize("index", ["first", "1.5", "--1"])
def test_a_map_index_that_is_none_makes_no_owner(index: str) -> None:
    assert Owner.of({**OWNER.variables(), "AIRFLOW_POLARS_MAP_INDEX": index}) is None


def test_variables_of_others_make_no_owner() -> None:
    assert Owner.of({}) is None
    assert Owner.of({"RUST_LOG": "info", "AIRFLOW_CTX_DAG_ID": "sales"}) is None


# ---- deployments


def test_a_mark_is_that_of_its_deployment_alone() -> None:
    deployments = ["p", "prod", "prod2", "prodeu", "2prod", "rod"]
    marks = {name: dataclasses.replace(OWNER, deployment=name).mark for name in deployments}
    for deployment in deployments:
        assert [name for name, mark in marks.items() if is_marked(mark, deployment)] == [deployment]


@pytest.mark.parametrize(
    "name",
    [
        None,
        "",
        "nightly report",
        "af-prod",
        "af-prod-",
        "af-prod-0123456789abcde",
        "af-prod-0123456789abcdef0",
        "af-prod-0123456789ABCDEF",
        "af-prod-0123456789abcdeg",
        "af-prod-0123456789abcdef\n",
        "AF-prod-0123456789abcdef",
        "xaf-prod-0123456789abcdef",
        "af-prod-eu-0123456789abcdef",
    ],
)
def test_another_name_is_no_mark(name: str | None) -> None:
    assert not is_marked(name, "prod")


def test_the_name_of_a_deployment_is_no_pattern() -> None:
    assert not is_marked(OWNER.mark, "pr.d")
    assert not is_marked(OWNER.mark, ".*")


@pytest.mark.parametrize("name", ["prod", "p", "7", "a1b2c3d4e5f6"])
def test_small_letters_and_digits_name_a_deployment(name: str) -> None:
    assert check_deployment(name) == name


@pytest.mark.parametrize(
    "name", ["Prod", "prod-eu", "prod_2", "production-of-sales", "a" * 13, " prod", "prod\n", "größe"]
)
def test_another_name_of_a_deployment_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_deployment(name)
    assert str(caught.value) == (
        f"[polars] deployment_id must be 1 to 12 small letters and digits, such as prod, got {name!r}."
    )


def test_without_a_name_of_the_deployment_the_message_says_what_it_is_for_and_how_to_set_it() -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_deployment("")
    assert str(caught.value) == (
        "[polars] deployment_id is not set. It marks the computes that this Airflow starts, so that no other one "
        "stops them: set it to a name that no other Airflow with the same workspace has, such as prod "
        "(AIRFLOW__POLARS__DEPLOYMENT_ID=prod), on all workers."
    )
