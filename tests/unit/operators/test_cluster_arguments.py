"""What an author writes for a query on a cluster: refused when the DAG is parsed, or first thing in the task."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from airflow.sdk import DAG, TaskGroup

from airflow_provider_polars import (
    ClusterCompute,
    LocalCompute,
    ParquetSink,
    PolarsRemoteOperator,
    polars_compute,
    polars_task,
)
from airflow_provider_polars.exceptions import ConfigurationError, RefusedOptionError
from tests.unit.outcomes import failure

if TYPE_CHECKING:
    from tests.harness.in_memory import InMemoryAirflow

pytestmark = pytest.mark.usefixtures("results_path")

NOWHERE = ClusterCompute(uri="http://127.0.0.1:0")
"""Nothing is looked for there: the port is none."""

NO_PLACE = (
    "wait=False has no place in the compute group 'etl', which would stop its compute under the query. Move the task "
    "out of the group, or let it wait."
)
ON_S3 = ParquetSink("s3://lake/a.parquet", aws_conn_id="lake")
NOT_SENT = (
    "ParquetSink(aws_conn_id='lake'): its secrets would travel to the cluster inside of the plan. Remove "
    "aws_conn_id=, so that the cluster writes with a role of its own, or allow it with "
    "ClusterCompute(send_credentials=True)."
)


def numbers(start: int = 0) -> pl.LazyFrame:
    return pl.LazyFrame({"a": [start]})


FORMS: dict[str, Callable[..., Any]] = {
    "decorated": lambda **arguments: polars_task(task_id="t", **arguments)(numbers)(),
    "decorated mapped": lambda **arguments: polars_task(task_id="t", **arguments)(numbers).expand(start=[1]),
    "classic": lambda **arguments: PolarsRemoteOperator(task_id="t", query=numbers, **arguments),
    "classic mapped": lambda **arguments: PolarsRemoteOperator.partial(task_id="t", query=numbers, **arguments).expand(
        query_kwargs=[{}]
    ),
}
every_form = pytest.mark.parametrize("form", FORMS)


def error_of(airflow: InMemoryAirflow, made: Any, form: str) -> str:
    """Return the error of a task that must not be retried."""
    return failure(airflow.run_task(made, max_tries=2, map_index=0 if "mapped" in form else -1))


# ---- wait=False


@every_form
def test_not_to_wait_is_refused_in_a_compute_group_at_parse(form: str) -> None:
    with DAG("refused", schedule=None), pytest.raises(ConfigurationError) as caught, polars_compute("etl", NOWHERE):
        FORMS[form](wait=False)
    assert str(caught.value) == NO_PLACE


@every_form
def test_not_to_wait_is_refused_there_for_a_task_with_a_compute_of_its_own_too(form: str) -> None:
    refused = pytest.raises(ConfigurationError, match="in the compute group 'etl'")
    with DAG("refused", schedule=None), refused, polars_compute("etl", LocalCompute()):
        FORMS[form](wait=False, compute=NOWHERE)


def test_not_to_wait_is_refused_in_a_plain_group_inside_a_compute_group() -> None:
    refused = pytest.raises(ConfigurationError, match="in the compute group 'etl'")
    with DAG("refused", schedule=None), refused, polars_compute("etl", NOWHERE), TaskGroup("plain"):
        FORMS["decorated"](wait=False)


@every_form
def test_not_to_wait_is_refused_there_in_the_task_if_it_is_known_only_then(
    form: str, in_memory_airflow: InMemoryAirflow
) -> None:
    with DAG("refused", schedule=None), polars_compute("etl", NOWHERE):
        made = FORMS[form](wait="{{ params.wait }}", params={"wait": False})
    assert error_of(in_memory_airflow, made, form) == f"ConfigurationError: {NO_PLACE}"


def test_not_to_wait_is_refused_there_in_a_task_that_is_mapped_over_computes(
    in_memory_airflow: InMemoryAirflow,
) -> None:
    with DAG("refused", schedule=None), polars_compute("etl", NOWHERE):
        made = PolarsRemoteOperator.partial(task_id="t", query=numbers, wait=False).expand(compute=[NOWHERE])
    assert error_of(in_memory_airflow, made, "mapped") == f"ConfigurationError: {NO_PLACE}"


@every_form
@pytest.mark.parametrize("wait", [False, True, None, "{{ params.wait }}"])
def test_outside_of_a_compute_group_a_cluster_may_be_left_to_itself(form: str, wait: Any) -> None:
    with DAG("accepted", schedule=None) as dag, TaskGroup("plain"):
        FORMS[form](wait=wait, compute=NOWHERE)
    assert list(dag.task_ids) == ["plain.t"]


@every_form
def test_a_worker_cannot_be_left_to_itself(form: str, in_memory_airflow: InMemoryAirflow) -> None:
    """At parse, or in the task where the compute is known only there."""
    with pytest.raises(RefusedOptionError, match="wait=False is an option that LocalCompute cannot honour"):
        FORMS[form](wait=False, compute=LocalCompute())
    with DAG("refused", schedule=None):
        made = FORMS[form](wait=False)
    assert error_of(in_memory_airflow, made, form).startswith(
        "RefusedOptionError: wait=False is an option that LocalCompute cannot honour (it knows: engine, head_rows, "
        "labels, timeout)."
    )


# ---- credentials of a sink


@every_form
@pytest.mark.parametrize("sink", [ON_S3, {"a": ON_S3, "b": None}, ON_S3.to_dict()], ids=["one", "several", "dict"])
def test_secrets_of_a_sink_are_not_sent_to_a_cluster_unasked(form: str, sink: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        FORMS[form](sink=sink, compute=NOWHERE)
    assert str(caught.value) == NOT_SENT


@every_form
def test_they_are_not_sent_to_the_cluster_of_a_group_either(form: str) -> None:
    with DAG("refused", schedule=None), pytest.raises(ConfigurationError) as caught, polars_compute("etl", NOWHERE):
        FORMS[form](sink=ON_S3)
    assert str(caught.value) == NOT_SENT


@every_form
def test_they_are_not_sent_where_the_cluster_is_known_in_the_task_alone(
    form: str, in_memory_airflow: InMemoryAirflow
) -> None:
    """The connection of the sink is not even looked for."""
    in_memory_airflow.add_connection("somewhere", "polars_cluster", host="127.0.0.1")
    with DAG("refused", schedule=None):
        made = FORMS[form](sink=ON_S3, conn_id="somewhere")
    outcome = in_memory_airflow.run_task(made, max_tries=2, map_index=0 if "mapped" in form else -1)
    assert failure(outcome) == f"ConfigurationError: {NOT_SENT}"
    assert "connections/lake" not in [request.path for request in outcome.requests]


@every_form
@pytest.mark.parametrize("allowed", [True, "{{ params.allowed }}"])
def test_they_may_be_sent_where_the_compute_says_so(form: str, allowed: Any) -> None:
    with DAG("accepted", schedule=None) as dag:
        FORMS[form](sink=ON_S3, compute=ClusterCompute(uri="https://node", send_credentials=allowed))
    assert list(dag.task_ids) == ["t"]


def test_a_permission_that_renders_to_no_is_none(in_memory_airflow: InMemoryAirflow) -> None:
    compute = ClusterCompute(uri="https://node", send_credentials="{{ params.allowed }}")  # type: ignore[arg-type]
    made = PolarsRemoteOperator(task_id="t", query=numbers, sink=ON_S3, compute=compute, params={"allowed": False})
    assert error_of(in_memory_airflow, made, "classic") == f"ConfigurationError: {NOT_SENT}"


# ---- other options


@every_form
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": "x" * 33}, "of 33 bytes, at most 32 are possible"),
        ({"labels": ["a", "b\n"]}, "a label is not empty, has no space around it and no control character in it"),
        ({"labels": [str(number) for number in range(61)]}, "labels= has 61 labels, at most 60 are possible besides"),
        ({"engine": "in-memory", "distributed": {"max_workers": 2}}, 'engine="in-memory" cannot run distributed'),
        ({"distributed": {"token": "x"}}, "distributed= holds 'token', which looks like a secret"),
        ({"n_retries": -1}, "n_retries= must not be negative, got -1"),
    ],
)
def test_an_option_that_no_cluster_takes_is_refused_at_parse(form: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        FORMS[form](compute=NOWHERE, **options)
    assert message in str(caught.value)


@every_form
def test_labels_of_a_template_are_checked_in_the_task(form: str, in_memory_airflow: InMemoryAirflow) -> None:
    with DAG("refused", schedule=None):
        made = FORMS[form](compute=NOWHERE, labels="{{ params.label }}", params={"label": "x" * 33})
    assert error_of(in_memory_airflow, made, form) == (
        f"ConfigurationError: labels= has {'x' * 33!r} of 33 bytes, at most 32 are possible."
    )


@every_form
def test_all_options_of_a_cluster_are_accepted_at_parse(form: str) -> None:
    with DAG("accepted", schedule=None) as dag:
        FORMS[form](
            compute=NOWHERE,
            engine="streaming",
            distributed={"max_workers": 2, "shuffle_compression": "zstd"},
            labels=["finance", "{{ run_id }}"],
            priority=-1,
            n_retries=0,
            head_rows=2,
            timeout=60,
            wait=False,
        )
    assert list(dag.task_ids) == ["t"]
