"""What Airflow stores of a DAG: the same for every parse, and no secret."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization

from airflow_provider_polars import LocalCompute, ParquetSink, PolarsRemoteOperator, polars_compute, polars_task
from airflow_provider_polars.exceptions import ConfigurationError
from tests.conftest import REPOSITORY

HASHES = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
from airflow.models.serialized_dag import SerializedDagModel
from airflow.serialization.serialized_objects import DagSerialization
bag = DagBag(dag_folder={folder!r})
assert not bag.import_errors, bag.import_errors
print(json.dumps({{i: SerializedDagModel.hash(DagSerialization.to_dict(d)) for i, d in sorted(bag.dags.items())}}))
print(json.dumps(sorted({{'polars', 'polars_cloud', 'grpc', 'boto3', 'pyarrow'}} & set(sys.modules))))
"""
SECRET = "hunter2hunter2"


def query(rows: int = 3) -> Any:
    """Return numbers."""
    import polars as pl

    return pl.select(n=pl.int_range(rows)).lazy()


def serialized(dag: DAG) -> str:
    """Return what Airflow stores of ``dag``, read back once to show that it can be."""
    stored = DagSerialization.to_dict(dag)
    assert DagSerialization.from_dict(json.loads(json.dumps(stored))).dag_id == dag.dag_id
    return json.dumps(stored)


@pytest.fixture(scope="module")
def parsed_twice(tmp_path_factory: pytest.TempPathFactory) -> list[list[Any]]:
    """Return the hashes of the example DAGs, and the heavy modules loaded, of two parses with other hash seeds."""
    from tests.unit.conftest import run_in_fresh_python

    code, folder = HASHES.format(folder=str(REPOSITORY / "dags")), tmp_path_factory.mktemp("parse")
    outputs = [run_in_fresh_python(code, folder, PYTHONHASHSEED=seed) for seed in ("1", "2")]
    return [[json.loads(line) for line in output.splitlines()[-2:]] for output in outputs]


def test_the_example_dags_are_stored_the_same_whatever_the_hash_seed(parsed_twice: list[list[Any]]) -> None:
    (first, _), (second, _) = parsed_twice
    assert first == second
    assert len(first) >= len(list((REPOSITORY / "dags").glob("*.py")))


def test_parsing_the_example_dags_imports_nothing_heavy(parsed_twice: list[list[Any]]) -> None:
    assert [heavy for _, heavy in parsed_twice] == [[], []]


@pytest.fixture
def dag_with_everything() -> DAG:
    """Return a DAG with plain, decorated, mapped and grouped tasks."""
    sink = ParquetSink("s3://lake/{{ run_id }}/", storage_options={"aws_region": "eu-west-1"}, aws_conn_id="lake")
    with DAG("everything", schedule=None) as dag:
        PolarsRemoteOperator(task_id="plain", query=query, sink=sink, compute=LocalCompute(threads=2))
        PolarsRemoteOperator.partial(task_id="mapped", query=query, compute=LocalCompute(threads=2)).expand(
            sink=[sink, ParquetSink("/lake/x")]
        )
        PolarsRemoteOperator.partial(task_id="mapped_kwargs", query=query, sink=sink).expand(
            query_kwargs=[{"rows": 1}, {"rows": 2}]
        )
        polars_task(task_id="decorated", sink={"a": sink, "b": None})(query)()
        polars_task(task_id="expanded", sink=sink)(query).expand(rows=[1, 2])
        with polars_compute("group", LocalCompute(threads=3)):
            polars_task(task_id="grouped")(query)()
    return dag


def test_nothing_that_is_stored_holds_an_address_or_the_source_of_a_query(dag_with_everything: DAG) -> None:
    stored = serialized(dag_with_everything)
    assert " at 0x" not in stored
    assert "object at" not in stored
    assert "int_range" not in stored
    assert "test_serialized_dags.query" in stored


def test_computes_and_sinks_are_stored_as_people_wrote_them(dag_with_everything: DAG) -> None:
    stored = json.loads(serialized(dag_with_everything))
    tasks = {task["__var"]["task_id"]: task["__var"] for task in stored["dag"]["tasks"]}
    assert tasks["plain"]["compute"] == {"kind": "local", "threads": 2}
    assert "s3://lake/{{ run_id }}/" in json.dumps(tasks["plain"]["sink"])
    assert "ParquetSink" in json.dumps(tasks["mapped"])
    assert "LocalCompute(threads=2)" in json.dumps(tasks["mapped"]["partial_kwargs"])


def test_a_secret_is_refused_before_there_is_a_dag_that_could_hold_it() -> None:
    with DAG("secret", schedule=None), pytest.raises(ConfigurationError) as caught:
        PolarsRemoteOperator(
            task_id="t",
            query=query,
            sink={"kind": "parquet", "path": "s3://lake/x", "storage_options": {"aws_secret_access_key": SECRET}},
        )
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("make", [polars_task, lambda **kwargs: PolarsRemoteOperator.partial(task_id="t", **kwargs)])
def test_a_secret_is_refused_in_mapped_tasks_too(make: Callable[..., Any]) -> None:
    sink = {"kind": "parquet", "path": "s3://lake/x", "storage_options": {"aws_secret_access_key": SECRET}}
    with DAG("secret", schedule=None), pytest.raises(ConfigurationError) as caught:
        make(sink=sink)
    assert SECRET not in str(caught.value)
