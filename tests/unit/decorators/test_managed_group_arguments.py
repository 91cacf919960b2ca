"""``polars_compute`` with a compute that is started: its arguments, what is refused, and what Airflow stores of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from airflow.models.serialized_dag import SerializedDagModel
from airflow.sdk import DAG, TaskGroup, TriggerRule
from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.serialization.serialized_objects import DagSerialization

from airflow_provider_polars import CloudCompute, ClusterCompute, LocalCompute, PolarsRemoteOperator, polars_compute
from airflow_provider_polars.exceptions import ConfigurationError, PolarsProviderError, UnknownArgumentError
from tests.unit.decorators.managed_groups import ADDED, LARGE, RUNNING, SMALL, edges, numbers, plain, query

HOUR = timedelta(hours=1)


def refusal(dag: DAG, *arguments: Any, compute: Any = SMALL, **group: Any) -> str:
    """Return the message with which a group with one query is refused; ``arguments`` are keywords of the query."""
    with dag, pytest.raises(PolarsProviderError) as caught, polars_compute("etl", compute, **group):
        query("only", **dict(arguments))
    return str(caught.value)


# ---- what is refused


@pytest.mark.parametrize("rule", ["all_done", "one_failed", "none_failed", "always"])
def test_a_first_task_with_a_trigger_rule_is_refused_by_name(rule: str) -> None:
    message = refusal(DAG("rule", schedule=None), ("trigger_rule", rule))
    assert message.startswith(
        "The task 'etl.only' is one of the first of the group 'etl': it follows the task that starts the compute"
    )
    assert message.endswith(f"allows no trigger_rule={rule!r}. Leave the rule out, or move the task out of the group.")


def test_a_first_task_with_the_usual_rule_spelt_out_is_fine() -> None:
    with DAG("rule", schedule=None), polars_compute("etl", SMALL):
        query("only", trigger_rule=TriggerRule.ALL_SUCCESS)


def inner_group() -> None:
    """Make a group with another compute."""
    with polars_compute("inner", SMALL):
        query("only")


@pytest.mark.parametrize("fill", [lambda: None, lambda: query("own", compute=LocalCompute()), inner_group])
def test_a_group_that_nobody_would_use_is_refused(fill: Callable[[], Any]) -> None:
    with DAG("empty", schedule=None), pytest.raises(ConfigurationError) as caught, polars_compute("etl", LARGE):
        fill()
    assert str(caught.value) == (
        f"No task in the group 'etl' uses its compute: {LARGE!r} would be started and stopped for nothing. Put tasks "
        "into it, or use a plain TaskGroup."
    )


def test_a_group_of_a_compute_that_is_not_started_may_be_empty() -> None:
    with DAG("empty", schedule=None) as dag:
        for name, compute in (("local", LocalCompute()), ("running", RUNNING)):
            with polars_compute(name, compute):
                pass
    assert list(dag.task_ids) == []


@pytest.mark.parametrize("nested", [False, True])
def test_two_groups_of_one_name_are_refused_by_it(nested: bool) -> None:
    full = "outer.etl" if nested else "etl"
    with DAG("twice", schedule=None), TaskGroup("outer", prefix_group_id=nested):
        with polars_compute("etl", SMALL):
            query("a")
        with pytest.raises(ConfigurationError) as caught:
            polars_compute("etl", LARGE)
    assert str(caught.value) == (
        f"There are two groups {full!r} in the DAG. Give each polars_compute() a name of its own, or "
        "add_suffix_on_collision=True."
    )


def test_groups_of_one_name_in_different_groups_are_fine() -> None:
    with DAG("twice", schedule=None) as dag:
        for region in ("eu", "us"):
            with TaskGroup(region), polars_compute("etl", SMALL):
                query("a")
    assert {"eu.etl.start_compute", "us.etl.start_compute"} <= set(dag.task_ids)


@pytest.mark.parametrize("compute", [LocalCompute(), ClusterCompute(uri="http://node:5051"), RUNNING])
@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"start_kwargs": {"start_timeout": 60}}, "start_timeout"),
        ({"start_kwargs": {"retries": 1}, "stop_kwargs": {"stop_timeout": 60}}, "retries, stop_timeout"),
    ],
)
def test_arguments_of_a_start_that_there_is_not_are_refused(compute: Any, given: Any, named: str) -> None:
    assert refusal(DAG("unused", schedule=None), compute=compute, **given) == (
        f"{type(compute).__name__} of the group 'etl' is not started: {named} would do nothing. Remove start_kwargs= "
        "and stop_kwargs=."
    )


@pytest.mark.parametrize("name", ["compute", "users", "trigger_rule", "task_id", "task_group", "dag", "do_xcom_push"])
@pytest.mark.parametrize("given", ["start_kwargs", "stop_kwargs"])
def test_an_argument_that_the_group_sets_itself_is_refused(given: str, name: str) -> None:
    dag = DAG("own", schedule=None)
    assert refusal(dag, **{given: {"pool": "cloud", name: None}}) == (
        f"start_kwargs= and stop_kwargs= of the group 'etl' cannot have {name}: the group sets that itself."
    )
    assert list(dag.task_ids) == []


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"start_kwargs": {"strat_timeout": 1}}, "PolarsStartComputeOperator has no argument 'strat_timeout'; did you"),
        ({"stop_kwargs": {"stop_timeut": 1}}, "PolarsStopComputeOperator has no argument 'stop_timeut'; did you mean"),
    ],
)
def test_a_misspelt_argument_of_start_or_stop_names_the_nearest(given: dict[str, Any], words: str) -> None:
    with DAG("misspelt", schedule=None), pytest.raises(UnknownArgumentError) as caught:
        polars_compute("etl", SMALL, **given).__enter__()
    assert words in str(caught.value)


def test_a_query_that_would_outlive_the_compute_is_refused() -> None:
    message = refusal(DAG("wait", schedule=None), ("wait", False))
    assert message.startswith("wait=False has no place in the compute group 'etl'")


@pytest.mark.parametrize(
    "wrong", [{"trigger_rule": "all_done"}, {"wait": False}, {"sink": {"kind": "ndjson", "path": "/lake/x"}}]
)
def test_a_dag_after_a_group_that_was_refused_is_not_spoilt(wrong: dict[str, Any]) -> None:
    """Both may be in one file, whose other DAGs run on."""
    refusal(DAG("refused", schedule=None), *wrong.items())
    refusal(DAG("misspelt", schedule=None), start_kwargs={"strat_timeout": 1})
    with DAG("next", schedule=None) as dag, polars_compute("etl", SMALL):
        query("only")
    assert set(dag.task_ids) == {"etl.only", *(f"etl.{name}" for name in ADDED)}


def test_an_error_of_the_dag_itself_is_not_covered() -> None:
    def author() -> None:
        raise ZeroDivisionError

    with DAG("broken", schedule=None), pytest.raises(ZeroDivisionError), polars_compute("etl", SMALL):
        author()


# ---- names


def test_names_are_those_of_the_group_unless_it_lends_none() -> None:
    with DAG("names", schedule=None) as dag:
        for name in ("eu", "us"):
            with polars_compute(name, SMALL, prefix_group_id=False):
                query(f"query_{name}")
    assert edges(dag) == {
        "eu_start_compute >> query_eu",
        "query_eu >> eu_tasks_done",
        "us_start_compute >> query_us",
        "query_us >> us_tasks_done",
    }


def test_two_groups_whose_tasks_would_have_the_same_names_are_refused() -> None:
    with DAG("same", schedule=None) as dag:
        with TaskGroup("eu"), polars_compute("etl", SMALL, prefix_group_id=False):
            query("query_eu")
        with TaskGroup("us"), pytest.raises(ConfigurationError) as caught:
            polars_compute("etl", SMALL, prefix_group_id=False).__enter__()
        query("after")
    message = str(caught.value)
    assert message.startswith("There are two groups 'etl' in the DAG whose tasks have the same ids: ")
    assert "etl_start_compute" in message
    assert message.endswith("Give each polars_compute() a name of its own, or leave out prefix_group_id=False.")
    assert set(dag.task_ids) == {"query_eu", "after", *(f"etl_{name}" for name in ADDED)}


def test_a_suffix_tells_groups_of_one_name_apart() -> None:
    with DAG("suffix", schedule=None) as dag:
        for _ in range(2):
            with polars_compute("etl", SMALL, add_suffix_on_collision=True):
                query("only")
    assert edges(dag) == {
        f"{group}.{edge}"
        for group in ("etl", "etl__1")
        for edge in (f"start_compute >> {group}.only", f"only >> {group}.tasks_done")
    }


# ---- arguments of start and stop


def test_pool_queue_and_connection_are_those_of_the_group() -> None:
    given: dict[str, Any] = {"pool": "cloud", "queue": "large", "conn_id": "polars_eu"}
    with DAG("group", schedule=None) as dag, polars_compute("etl", SMALL, **given):
        query("only")
        query("other", pool="own", queue="small")
    placed = {task.task_id.removeprefix("etl."): (task.pool, task.queue) for task in dag.tasks}
    del placed["tasks_done"]  # which no worker runs
    assert placed == {
        "start_compute": ("cloud", "large"),
        "stop_compute": ("cloud", "large"),
        "only": ("cloud", "large"),
        "other": ("own", "small"),
    }
    connections = [dag.get_task(f"etl.{name}_compute").conn_id for name in ("start", "stop")]
    assert connections == ["polars_eu", "polars_eu"]


def connections_of(dag: DAG) -> dict[str, str | None]:
    """Return the connection of each task that has one."""
    tasks = [instance_of(task) if isinstance(task, MappedOperator) else task for task in dag.tasks]
    return {task.task_id.removeprefix("etl."): task.conn_id for task in tasks if hasattr(task, "conn_id")}


def instance_of(task: MappedOperator) -> Any:
    """Return an instance of a mapped task, as a worker makes it."""
    return task.unmap({"query_kwargs" if task.operator_class is PolarsRemoteOperator else "op_kwargs": {}})


def test_the_connection_of_a_group_comes_before_that_of_the_dag_and_after_that_of_a_task() -> None:
    given = {"conn_id": "polars_default"}
    with DAG("group", schedule=None, default_args=given) as dag, polars_compute("etl", SMALL, conn_id="polars_us"):
        query("only")
        query("other", conn_id="own")
        PolarsRemoteOperator(task_id="classic", query=numbers.function)
        PolarsRemoteOperator(task_id="named", query=numbers.function, conn_id="own")
        numbers.override(task_id="mapped").expand(start=[1, 2])
        PolarsRemoteOperator.partial(task_id="each", query=numbers.function).expand(query_kwargs=[{}])
        PolarsRemoteOperator.partial(task_id="mine", query=numbers.function, conn_id="own").expand(query_kwargs=[{}])
    assert connections_of(dag) == {
        **dict.fromkeys(("start_compute", "stop_compute", "only", "classic", "mapped", "each"), "polars_us"),
        **dict.fromkeys(("other", "named", "mine"), "own"),
    }


def test_the_connection_of_a_group_is_that_of_groups_within_that_name_none() -> None:
    with DAG("group", schedule=None) as dag, polars_compute("etl", SMALL, conn_id="polars_us"):
        query("only")
        with polars_compute("large", LARGE):
            query("joined")
        with TaskGroup("plain"), polars_compute("eu", LARGE, conn_id="polars_eu"):
            query("joined")
    found = connections_of(dag)
    assert {name for name, conn_id in found.items() if conn_id == "polars_eu"} == {
        f"plain.eu.{name}" for name in ("start_compute", "joined", "stop_compute")
    }
    assert {conn_id for name, conn_id in found.items() if not name.startswith("plain.eu.")} == {"polars_us"}


def test_start_and_stop_take_arguments_of_their_own() -> None:
    start = {"start_timeout": "{{ params.seconds }}", "pool": "starts", "retries": 0}
    stop = {"stop_timeout": 60.0, "queue": "stops", "retries": 9, "retry_delay": HOUR}
    with DAG("kwargs", schedule=None), polars_compute("etl", SMALL, start_kwargs=start, stop_kwargs=stop) as group:
        query("only")
    assert group.start is not None
    assert group.stop is not None
    assert (group.start.task_id, group.start.start_timeout) == ("etl.start_compute", "{{ params.seconds }}")
    assert (group.start.pool, group.start.retries) == ("starts", 0)
    assert (group.stop.stop_timeout, group.stop.queue) == (60.0, "stops")
    assert (group.stop.retries, group.stop.retry_delay) == (9, HOUR)


@pytest.mark.parametrize("level", ["dag", "group"])
def test_what_is_about_queries_is_not_inherited(level: str) -> None:
    """Or a compute would run on because of an earlier run, and a stop would be cut off or not know what to stop."""
    given = {
        "depends_on_past": True,
        "wait_for_downstream": True,
        "execution_timeout": timedelta(minutes=5),
        "do_xcom_push": False,
        "retries": 0,
        "owner": "finance",
    }
    of_dag, of_group = (given, {}) if level == "dag" else ({}, given)
    with DAG("defaults", schedule=None, default_args=of_dag), polars_compute("etl", SMALL, default_args=of_group) as g:
        only = query("only").operator
    assert (only.depends_on_past, only.execution_timeout, only.retries) == (True, timedelta(minutes=5), 0)
    assert only.do_xcom_push is False
    for one, retries in ((g.start, 2), (g.done, 0), (g.stop, 3)):
        assert one is not None
        assert (one.depends_on_past, one.wait_for_downstream, one.execution_timeout) == (False, False, None)
        assert (one.do_xcom_push, one.retries, one.owner) == (True, retries, "finance")


def test_a_trigger_rule_for_all_tasks_does_not_reach_start_and_stop() -> None:
    with DAG("rules", schedule=None, default_args={"trigger_rule": "none_failed"}), polars_compute("etl", SMALL) as g:
        query("only", trigger_rule="all_success")
    assert g.start is not None
    assert g.stop is not None
    assert g.start.trigger_rule == TriggerRule.ALL_SUCCESS
    assert g.stop.trigger_rule == TriggerRule.ALL_DONE_SETUP_SUCCESS


def test_stop_is_tried_again_soon_whatever_the_delay_of_queries() -> None:
    with DAG("delay", schedule=None, default_args={"retry_delay": HOUR}), polars_compute("etl", SMALL) as group:
        query("only")
    assert group.stop is not None
    assert group.stop.retry_delay == timedelta(seconds=30)


# ---- what Airflow stores


def build() -> DAG:
    """Return a DAG with groups in groups, plain and mapped tasks."""
    compute = CloudCompute(cpus=2, memory=4, labels=("etl",), env_vars={"RUST_LOG": "{{ params.level }}"})
    with DAG("stored", schedule=None) as dag, polars_compute("etl", compute, conn_id="polars_eu"):
        first = query("first")
        numbers.override(task_id="mapped").expand(start=[1, 2])
        with polars_compute("large", LARGE, stop_kwargs={"stop_timeout": 60.0}):
            query("joined", first)
        plain("plain", first)
    return dag


def test_a_dag_with_groups_is_stored_the_same_at_each_parse() -> None:
    first, second = DagSerialization.to_dict(build()), DagSerialization.to_dict(build())
    assert SerializedDagModel.hash(first) == SerializedDagModel.hash(second)
    text = json.dumps(first)
    assert " at 0x" not in text
    assert "object at" not in text


def test_what_is_stored_of_start_and_stop_can_be_read_back() -> None:
    stored = json.loads(json.dumps(DagSerialization.to_dict(build())))
    tasks = {task["__var"]["task_id"]: task["__var"] for task in stored["dag"]["tasks"]}
    start, stop = tasks["etl.start_compute"], tasks["etl.stop_compute"]
    assert start["compute"]["cpus"] == 2
    assert start["compute"]["env_vars"] == {"RUST_LOG": "{{ params.level }}"}
    assert (start["is_setup"], stop["is_teardown"]) == (True, True)
    read = DagSerialization.from_dict(stored)
    assert edges(read) == edges(build())
    assert read.get_task("etl.stop_compute").on_failure_fail_dagrun is True
    assert list(read.get_task("etl.start_compute").operator_extra_link_dict) == ["Polars compute"]
