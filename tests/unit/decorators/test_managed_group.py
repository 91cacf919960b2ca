"""``polars_compute`` with a compute that is started: where the tasks that start and stop it stand."""

from __future__ import annotations

import copy
from typing import Any

from airflow.sdk import DAG, TaskGroup, TriggerRule, task_group

from airflow_provider_polars import ClusterCompute, LocalCompute, PolarsRemoteOperator, polars_compute
from airflow_provider_polars.decorators.compute_group import PolarsComputeGroup
from airflow_provider_polars.operators.start_compute import PolarsStartComputeOperator
from airflow_provider_polars.operators.stop_compute import PolarsStopComputeOperator
from tests.unit.decorators.managed_groups import (
    LARGE,
    RUNNING,
    SMALL,
    after,
    before,
    edges,
    note,
    numbers,
    plain,
    query,
)


def parts(group: PolarsComputeGroup) -> tuple[PolarsStartComputeOperator, PolarsStopComputeOperator]:
    """Return the tasks that start and stop the compute of a group."""
    assert group.start is not None
    assert group.stop is not None
    return group.start, group.stop


# ---- one group


def test_start_precedes_the_first_tasks_alone_and_stop_follows_the_last_alone() -> None:
    with DAG("diamond", schedule=None) as dag, polars_compute("etl", SMALL):
        first, other = query("first"), query("other")
        middle = query("middle", first, other)
        query("left", middle)
        query("right", middle)
    assert edges(dag) == {
        "etl.start_compute >> etl.first",
        "etl.start_compute >> etl.other",
        "etl.first >> etl.middle",
        "etl.other >> etl.middle",
        "etl.middle >> etl.left",
        "etl.middle >> etl.right",
        "etl.left >> etl.tasks_done",
        "etl.right >> etl.tasks_done",
    }


def test_stop_is_a_teardown_of_start_that_fails_the_run() -> None:
    with DAG("pair", schedule=None) as dag, polars_compute("etl", SMALL) as group:
        query("only")
    start, stop = parts(group)
    assert start.is_setup
    assert (stop.is_teardown, stop.on_failure_fail_dagrun) == (True, True)
    assert before(dag, "etl.stop_compute") == {"etl.start_compute", "etl.tasks_done"}
    assert stop.trigger_rule == TriggerRule.ALL_DONE_SETUP_SUCCESS


def test_between_the_last_tasks_and_stop_is_a_teardown_that_does_and_counts_for_nothing() -> None:
    """Tasks that such a teardown alone follows decide the state of a run; before stop they would not."""
    with DAG("done", schedule=None) as dag, polars_compute("etl", SMALL) as group:
        query("only")
    done = dag.get_task("etl.tasks_done")
    assert done is group.done
    assert (done.is_teardown, done.on_failure_fail_dagrun) == (True, False)
    assert done.inherits_from_empty_operator
    assert after(dag, "etl.only") == {"etl.tasks_done"}


def test_start_gets_the_compute_and_stop_what_start_returns() -> None:
    with DAG("handle", schedule=None), polars_compute("etl", SMALL) as group:
        query("only")
    start, stop = parts(group)
    assert start.compute == SMALL
    assert getattr(stop.compute, "operator", None) is start


def test_both_know_the_tasks_that_use_the_compute() -> None:
    with DAG("users", schedule=None), polars_compute("etl", SMALL) as group:
        first = query("first")
        plain("second", first)
    start, stop = parts(group)
    assert start.users == stop.users == ("etl.first", "etl.second")


def test_start_and_stop_are_there_for_tasks_that_name_them() -> None:
    with DAG("named", schedule=None) as dag:
        with polars_compute("etl", SMALL) as group:
            start, stop = parts(group)
            only = query("only")
            start >> only
        plain("told", stop)
    assert (dag.get_task("etl.start_compute"), dag.get_task("etl.stop_compute")) == (start, stop)
    assert edges(dag) == {
        "etl.start_compute >> etl.only",
        "etl.only >> etl.tasks_done",
        "etl.stop_compute >> told",
    }


def test_a_way_over_tasks_outside_of_the_group_counts() -> None:
    """Start and stop frame what lies between, once."""
    with DAG("outside", schedule=None) as dag:
        between = plain("between")
        with polars_compute("etl", SMALL):
            query("first") >> between
            query("last", between)
    assert edges(dag) == {
        "etl.start_compute >> etl.first",
        "etl.first >> between",
        "between >> etl.last",
        "etl.last >> etl.tasks_done",
    }


def test_mapped_and_plain_tasks_use_the_compute_too() -> None:
    with DAG("kinds", schedule=None) as dag, polars_compute("etl", SMALL):
        numbers.override(task_id="mapped").expand(start=[1, 2])
        PolarsRemoteOperator.partial(task_id="classic", query=numbers.function).expand_kwargs([{}])
        note.override(task_id="plain")()
        with TaskGroup("inside"):
            query("deep")
    users = {"etl.mapped", "etl.classic", "etl.plain", "etl.inside.deep"}
    assert after(dag, "etl.start_compute") == {*users, "etl.tasks_done", "etl.stop_compute"}
    assert before(dag, "etl.tasks_done") == {*users, "etl.start_compute"}


def test_a_task_with_a_compute_of_its_own_has_no_edge_to_start_and_stop() -> None:
    """It is cleared alone, and waits for nothing that it does not need."""
    with DAG("own", schedule=None) as dag, polars_compute("etl", SMALL) as group:
        query("user")
        query("decorated", compute=LocalCompute())
        PolarsRemoteOperator(task_id="classic", query=numbers.function, compute=LARGE)
        numbers.override(task_id="mapped", compute=LocalCompute()).expand(start=[1])
        PolarsRemoteOperator.partial(task_id="each", query=numbers.function).expand(compute=[LARGE, SMALL])
    assert edges(dag) == {"etl.start_compute >> etl.user", "etl.user >> etl.tasks_done"}
    assert parts(group)[0].users == ("etl.user",)


def test_a_task_that_names_what_the_start_returns_is_a_user() -> None:
    """The stop waits for it too."""
    with DAG("named", schedule=None) as dag, polars_compute("etl", SMALL) as group:
        handle: Any = parts(group)[0].output
        query("decorated", compute=handle)
        PolarsRemoteOperator.partial(task_id="each", query=numbers.function, compute=handle).expand(labels=["a", "b"])
        with polars_compute("large", LARGE) as inner:
            query("joined")
            query("small", compute=handle)
    assert parts(group)[0].users == ("etl.decorated", "etl.each", "etl.large.small")
    assert parts(inner)[0].users == ("etl.large.joined",)
    assert before(dag, "etl.tasks_done") == {"etl.start_compute", *parts(group)[0].users}
    assert after(dag, "etl.start_compute") == {*parts(group)[0].users, "etl.tasks_done", "etl.stop_compute"}


def test_a_later_task_may_have_a_trigger_rule() -> None:
    with DAG("rules", schedule=None) as dag, polars_compute("etl", SMALL):
        first = query("first")
        query("repair", first, trigger_rule="one_failed")
        query("always", first, trigger_rule="all_done")
    assert after(dag, "etl.start_compute") == {"etl.first", "etl.tasks_done", "etl.stop_compute"}
    assert dag.get_task("etl.repair").trigger_rule == TriggerRule.ONE_FAILED


# ---- beside other tasks


def test_what_precedes_a_group_precedes_its_start_and_what_follows_does_not_wait_for_its_stop() -> None:
    with DAG("beside", schedule=None) as dag:
        before_all, then = plain("before"), plain("then")
        with polars_compute("etl", SMALL) as group:
            query("b", query("a"))
        before_all >> group >> then
    assert after(dag, "before") == {"etl.start_compute"}
    assert before(dag, "then") == {"etl.b"}


def test_a_group_starts_after_what_all_of_its_first_tasks_wait_for() -> None:
    with DAG("waits", schedule=None) as dag:
        both, one, other = plain("both"), plain("one"), plain("other")
        with polars_compute("etl", SMALL):
            query("a", both, one)
            query("b", both, other)
    assert before(dag, "etl.start_compute") == {"both"}


def test_a_group_with_a_first_task_that_waits_for_nothing_starts_at_once() -> None:
    with DAG("at_once", schedule=None) as dag:
        slow = plain("slow")
        with polars_compute("etl", SMALL):
            query("a", slow)
            query("b")
    assert before(dag, "etl.start_compute") == set()


def test_groups_beside_each_other_have_nothing_to_do_with_each_other() -> None:
    with DAG("two", schedule=None) as dag:
        with polars_compute("one", SMALL):
            query("a")
        with polars_compute("other", LARGE):
            query("b")
    assert edges(dag) == {
        "one.start_compute >> one.a",
        "one.a >> one.tasks_done",
        "other.start_compute >> other.b",
        "other.b >> other.tasks_done",
    }


# ---- groups within groups


def test_an_inner_group_starts_when_its_work_can_begin_and_is_no_user_of_the_outer_one() -> None:
    with DAG("nested", schedule=None) as dag, polars_compute("etl", SMALL) as outer:
        prepared, checked = query("prepared"), query("checked")
        with polars_compute("large", LARGE) as inner:
            joined = query("joined", prepared, checked)
            query("ranked", prepared, checked)
        query("report", joined)
    assert before(dag, "etl.large.start_compute") == {"etl.prepared", "etl.checked"}
    assert after(dag, "etl.large.start_compute") == {
        "etl.large.joined",
        "etl.large.ranked",
        "etl.large.tasks_done",
        "etl.large.stop_compute",
    }
    assert before(dag, "etl.large.tasks_done") == {
        "etl.large.start_compute",
        "etl.large.joined",
        "etl.large.ranked",
    }
    assert after(dag, "etl.start_compute") == {"etl.prepared", "etl.checked", "etl.tasks_done", "etl.stop_compute"}
    assert before(dag, "etl.tasks_done") == {"etl.start_compute", "etl.report"}
    assert parts(outer)[0].users == ("etl.checked", "etl.prepared", "etl.report")
    assert parts(inner)[0].users == ("etl.large.joined", "etl.large.ranked")


def test_the_outer_compute_does_not_wait_for_the_inner_one() -> None:
    with DAG("nested", schedule=None) as dag, polars_compute("etl", SMALL):
        prepared = query("prepared")
        with polars_compute("large", LARGE):
            query("joined", prepared)
    assert before(dag, "etl.tasks_done") == {"etl.start_compute", "etl.prepared"}
    assert after(dag, "etl.large.joined") == {"etl.large.tasks_done"}


def test_a_group_within_whose_compute_is_not_started_adds_nothing() -> None:
    with DAG("nested", schedule=None) as dag, polars_compute("etl", SMALL):
        first = query("first")
        for number, compute in enumerate((LocalCompute(), ClusterCompute(uri="http://node:5051"), RUNNING)):
            with polars_compute(f"inner{number}", compute) as inner:
                query("other", first)
            assert (inner.start, inner.done, inner.stop) == (None, None, None)
    assert before(dag, "etl.tasks_done") == {"etl.start_compute", "etl.first"}
    assert [task_id for task_id in dag.task_ids if "start" in task_id] == ["etl.start_compute"]


def test_a_started_group_within_one_that_is_not_is_wired_alike() -> None:
    with DAG("nested", schedule=None) as dag, polars_compute("local", LocalCompute()):
        first = query("first")
        with polars_compute("large", LARGE):
            query("joined", first)
    assert edges(dag) == {
        "local.first >> local.large.joined",
        "local.first >> local.large.start_compute",
        "local.large.start_compute >> local.large.joined",
        "local.large.joined >> local.large.tasks_done",
    }


def test_a_group_in_a_mapped_group_has_a_start_and_a_stop_of_each_index() -> None:
    with DAG("mapped", schedule=None) as dag:

        @task_group
        def region(start: int) -> None:
            with polars_compute("etl", SMALL):
                query("second", numbers.override(task_id="first")(start))

        region.expand(start=[1, 2])
    assert edges(dag) == {
        "region.etl.start_compute >> region.etl.first",
        "region.etl.first >> region.etl.second",
        "region.etl.second >> region.etl.tasks_done",
    }
    mapped = [dag.get_task(f"region.etl.{name}_compute").get_closest_mapped_task_group() for name in ("start", "stop")]
    assert [group.group_id for group in mapped if group is not None] == ["region", "region"]


# ---- a group that is opened again, and copies


def test_a_group_may_be_opened_again() -> None:
    with DAG("again", schedule=None) as dag:
        with polars_compute("etl", SMALL) as group:
            first = query("first")
        start, stop = parts(group)
        with group:
            query("second", first)
            query("third")
    assert parts(group) == (start, stop)
    assert start.users == ("etl.first", "etl.second", "etl.third")
    assert after(dag, "etl.start_compute") == {"etl.first", "etl.third", "etl.tasks_done", "etl.stop_compute"}
    assert before(dag, "etl.tasks_done") >= {"etl.second", "etl.third"}
    dag.check_cycle()


def test_copies_and_parts_of_a_dag_keep_start_and_stop() -> None:
    with DAG("copies", schedule=None) as dag, polars_compute("etl", SMALL):
        query("b", query("a"))
    twin = copy.deepcopy(dag)
    assert edges(twin) == edges(dag)
    part = dag.partial_subset("etl.a", include_upstream=True)
    assert set(part.task_ids) == {"etl.start_compute", "etl.a", "etl.tasks_done", "etl.stop_compute"}
    assert part.get_task("etl.stop_compute").is_teardown
