"""How a query is run is what the cluster hears."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import polars as pl
import polars_cloud as pc
import pytest

from airflow_provider_polars import ClusterCompute
from airflow_provider_polars.exceptions import ConfigurationError, RefusedOptionError, UnknownArgumentError
from tests.unit.outcomes import failure, succeeded

if TYPE_CHECKING:
    from airflow_provider_polars.testing import DevCluster
    from tests.harness.in_memory import InMemoryAirflow
    from tests.wire.cluster.conftest import Run

FRAME = pl.LazyFrame({"a": [1, 2, 3]})
DEFAULTS = {
    "shuffle_options": {"format": 1, "compression": 1},
    "pre_aggregation": True,
    "sort_partitioned": True,
    "equi_join_broadcast_limit": 268435456,
    "single_worker_ops": 1,
    "planner": 1,
}


def submitted(cluster: DevCluster, **expected: Any) -> dict[str, Any]:
    """Return what the one query was submitted with, by the names of ``expected``."""
    (call,) = cluster.recorder.submissions
    return {name: call[name] for name in expected}


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {"distributed": True, "engine": "auto", "priority": 0, "n_retries": 0, "settings": DEFAULTS}),
        ({"distributed": True}, {"distributed": True, "settings": DEFAULTS}),
        ({"distributed": {}}, {"distributed": True, "settings": DEFAULTS}),
        ({"distributed": False}, {"distributed": False, "settings": {}}),
        ({"priority": 7}, {"priority": 7}),
        ({"priority": -5}, {"priority": -5}),
        ({"n_retries": 3}, {"n_retries": 3}),
        ({"engine": "streaming"}, {"engine": "streaming", "distributed": True}),
        ({"engine": "in-memory", "distributed": False}, {"engine": "in-memory", "distributed": False}),
        ({"distributed": {"min_workers": 1, "max_workers": 2}}, {"min_workers": 1, "max_workers": 2}),
        ({"distributed": {"max_workers": 2}}, {"min_workers": 0, "max_workers": 2}),
        ({"labels": ["a", "b"]}, {"labels": ["airflow", "dag:in_memory", "task:query", "run:manual", "a", "b"]}),
    ],
)
def test_an_option_of_the_query_arrives(
    run: Run, polars_dev_cluster: DevCluster, options: dict[str, Any], expected: dict[str, Any]
) -> None:
    succeeded(run(FRAME, **options))

    assert submitted(polars_dev_cluster, **expected) == expected


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("shuffle_compression", "zstd", {"shuffle_options": {"format": 1, "compression": 3}}),
        ("shuffle_compression", "uncompressed", {"shuffle_options": {"format": 1, "compression": 4}}),
        ("shuffle_format", "parquet", {"shuffle_options": {"format": 3, "compression": 1}}),
        ("shuffle_compression_level", 5, {"shuffle_options": {"format": 1, "compression": 1, "level": 5}}),
        ("equi_join_broadcast_limit", 1000, {"equi_join_broadcast_limit": 1000}),
        ("partitions_per_worker", 4, {"partitions_per_worker": 4}),
        ("single_worker_ops", "forbid", {"single_worker_ops": 3}),
        ("expression_lowering", True, {"expression_lowering": True}),
        ("planner", "miso", {"planner": 3}),
        ("sink_to_single_file", False, {}),
    ],
)
def test_a_setting_of_a_distributed_query_arrives(
    run: Run, polars_dev_cluster: DevCluster, setting: str, value: Any, expected: dict[str, Any]
) -> None:
    succeeded(run(FRAME, distributed={setting: value}))

    (call,) = polars_dev_cluster.recorder.submissions
    assert call["settings"] == {**DEFAULTS, **expected}


@pytest.mark.parametrize(("setting", "absent"), [("pre_aggregation", True), ("sort_partitioned", True)])
def test_an_unstable_setting_arrives(run: Run, polars_dev_cluster: DevCluster, setting: str, absent: bool) -> None:
    succeeded(run(FRAME, distributed={setting: False}))

    (call,) = polars_dev_cluster.recorder.submissions
    assert call["settings"] == {name: value for name, value in DEFAULTS.items() if name != setting}


@pytest.mark.parametrize(
    ("scaling", "single_node_variable", "distributed", "expected"),
    [
        ("auto", None, None, True),
        ("auto", "1", None, False),
        ("auto", "0", None, True),
        ("auto", "1", True, True),
        ("distributed", None, None, True),
        ("distributed", "1", None, True),
        ("distributed", None, False, False),
        ("single-node", None, None, False),
        ("single-node", None, True, True),
        ("single-node", None, {"max_workers": 2}, True),
    ],
)
def test_a_task_wins_over_its_compute_and_that_over_the_environment(
    run: Run,
    cluster: ClusterCompute,
    polars_dev_cluster: DevCluster,
    monkeypatch: pytest.MonkeyPatch,
    scaling: Any,
    single_node_variable: str | None,
    distributed: Any,
    expected: bool,
) -> None:
    if single_node_variable is not None:
        monkeypatch.setenv("POLARS_CLOUD_SINGLE_NODE", single_node_variable)
    compute = dataclasses.replace(cluster, scaling=scaling)

    succeeded(run(FRAME, compute=compute, distributed=distributed))

    assert submitted(polars_dev_cluster, distributed=expected) == {"distributed": expected}


def test_the_engine_of_the_compute_is_used_unless_the_task_has_one(
    run: Run, cluster: ClusterCompute, polars_dev_cluster: DevCluster
) -> None:
    compute = dataclasses.replace(cluster, engine="in-memory", scaling="single-node")

    succeeded(run(FRAME, compute=compute))
    succeeded(run(FRAME, compute=compute, engine="streaming"))

    assert [call["engine"] for call in polars_dev_cluster.recorder.submissions] == ["in-memory", "streaming"]


def test_user_name_and_headers_arrive(run: Run, cluster: ClusterCompute, polars_dev_cluster: DevCluster) -> None:
    compute = dataclasses.replace(cluster, user_name="ada", headers={"X-Team": "reporting"})

    succeeded(run(FRAME, compute=compute))

    calls = polars_dev_cluster.recorder.calls()
    assert {call["call"] for call in calls} >= {"GetComputeVersions", "SubmitQuery", "GetQueryResult", "GET query"}
    assert {call["headers"]["x-team"] for call in calls} == {"reporting"}
    assert {call["headers"]["x-polars-user"] for call in calls if call["call"] != "GET query"} == {"ada"}
    assert submitted(polars_dev_cluster, user="ada") == {"user": "ada"}


def test_a_user_name_is_that_of_the_task_alone(
    run: Run, cluster: ClusterCompute, polars_dev_cluster: DevCluster
) -> None:
    named = dataclasses.replace(cluster, user_name="ada")

    succeeded(run(FRAME, compute=named))
    succeeded(run(FRAME))

    assert [call["user"] for call in polars_dev_cluster.recorder.submissions] == ["ada", ""]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"distributed": {"max_worker": 2}},
            f"distributed= has 'max_worker', which polars_cloud {pc.__version__} does not know; did you mean "
            "'max_workers'? It knows: equi_join_broadcast_limit, expression_lowering, max_workers, min_workers, "
            "partitions_per_worker, planner, pre_aggregation, shuffle_compression, shuffle_compression_level, "
            "shuffle_format, single_worker_ops, sink_to_single_file, sort_partitioned.",
        ),
        (
            {"engine": "in-memory"},
            'engine="in-memory" cannot run distributed. Use engine="streaming" or "auto", or distributed=False.',
        ),
    ],
)
def test_what_the_client_does_not_know_is_refused_first_thing(
    run: Run, polars_dev_cluster: DevCluster, options: dict[str, Any], message: str
) -> None:
    called: list[None] = []

    outcome = run(lambda: called.append(None), **options)

    assert failure(outcome) == f"RefusedOptionError: {message}"
    assert called == []
    assert polars_dev_cluster.recorder.calls() == []


@pytest.mark.parametrize(
    ("distributed", "words"),
    [
        ({"min_workers": 3, "max_workers": 2}, "min_workers > max_workers"),
        ({"planner": "magic"}, "planner"),
        ({"shuffle_format": "orc"}, "orc"),
        ({"single_worker_ops": "perhaps"}, "perhaps"),
        ({"partitions_per_worker": "many"}, "partitions_per_worker"),
    ],
)
def test_a_value_that_the_client_refuses_is_an_error_of_ours(
    run: Run, polars_dev_cluster: DevCluster, distributed: dict[str, Any], words: str
) -> None:
    outcome = run(FRAME, distributed=distributed)

    assert failure(outcome).startswith("RefusedOptionError: The query tests.wire.cluster.conftest.run.run.<lambda> is ")
    assert words in failure(outcome)
    assert polars_dev_cluster.recorder.submissions == []


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"engine": "fast"}, ConfigurationError, "engine= must be one of auto, streaming, in-memory, gpu, got 'fast'"),
        ({"n_retries": -1}, ConfigurationError, "n_retries= must not be negative, got -1"),
        ({"prioritiy": 1}, UnknownArgumentError, "has no argument 'prioritiy'; did you mean 'priority'?"),
        ({"labels": ["x" * 33]}, ConfigurationError, "of 33 bytes, at most 32 are possible"),
        ({"labels": ["ä" * 17]}, ConfigurationError, "of 34 bytes, at most 32 are possible"),
        ({"labels": [""]}, ConfigurationError, "a label is not empty, has no space around it"),
        ({"labels": [" a"]}, ConfigurationError, "a label is not empty, has no space around it"),
        ({"labels": ["a\tb"]}, ConfigurationError, "and no control character in it"),
        (
            {"labels": [f"l{number}" for number in range(61)]},
            ConfigurationError,
            "labels= has 61 labels, at most 60 are possible besides the 4 that name DAG, task and run.",
        ),
        ({"engine": "in-memory", "distributed": True}, ConfigurationError, "cannot run distributed"),
    ],
)
def test_what_can_never_be_is_refused_when_the_dag_is_parsed(
    run: Run, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error) as refusal:
        run(FRAME, **options)

    assert message in str(refusal.value)


def test_the_cluster_tries_a_query_again_as_often_as_it_is_told(
    run: Run, polars_dev_cluster: DevCluster, tmp_path: Any
) -> None:
    marker = tmp_path / "ended"

    def once(column: pl.Series) -> pl.Series:
        import os
        import pathlib

        if not pathlib.Path(marker).exists():
            pathlib.Path(marker).touch()
            os._exit(1)
        return column

    frame = FRAME.select(pl.col("a").map_batches(once, return_dtype=pl.Int64))

    assert succeeded(run(frame, n_retries=1))["rows"] == 3
    marker.unlink()
    assert "ended while it ran the query" in failure(run(frame))


class TestLabels:
    """Labels name the DAG, the task and the run."""

    def test_they_are_the_same_for_each_try_and_differ_between_tasks(
        self, run: Run, in_memory_airflow: InMemoryAirflow, polars_dev_cluster: DevCluster
    ) -> None:
        for _ in range(2):
            succeeded(run(FRAME))
        succeeded(run(FRAME, task_id="a_task_whose_name_is_longer_than_a_label_may_be_1"))
        succeeded(run(FRAME, task_id="a_task_whose_name_is_longer_than_a_label_may_be_2"))

        first, again, one, two = (call["labels"] for call in polars_dev_cluster.recorder.submissions)
        assert first == again == ["airflow", "dag:in_memory", "task:query", "run:manual"]
        assert one[2].startswith("task:a_task_whose_nam")
        assert one[2] != two[2]
        assert all(len(label.encode()) <= 32 for label in [*one, *two])

    def test_they_are_left_out_if_the_compute_says_so(
        self, run: Run, cluster: ClusterCompute, polars_dev_cluster: DevCluster
    ) -> None:
        compute = dataclasses.replace(cluster, airflow_labels=False)

        succeeded(run(FRAME, compute=compute))
        succeeded(run(FRAME, compute=compute, labels=[f"label {number}" for number in range(64)]))

        without, own = (call["labels"] for call in polars_dev_cluster.recorder.submissions)
        assert without == []
        assert own == [f"label {number}" for number in range(64)]

    def test_a_label_given_twice_is_sent_once(self, run: Run, polars_dev_cluster: DevCluster) -> None:
        succeeded(run(FRAME, labels=["airflow", "x", "x"]))

        assert polars_dev_cluster.recorder.submissions[0]["labels"][-2:] == ["run:manual", "x"]

    def test_one_that_a_template_makes_too_long_is_refused_in_the_task(
        self, run: Run, polars_dev_cluster: DevCluster
    ) -> None:
        outcome = run(FRAME, labels=["{{ 'x' * 33 }}"])

        assert failure(outcome).startswith("ConfigurationError: labels= has")
        assert polars_dev_cluster.recorder.calls() == []


def test_an_option_of_another_compute_is_refused_by_name(run: Run) -> None:
    from airflow_provider_polars import LocalCompute

    with pytest.raises(RefusedOptionError, match="priority=1 is an option that LocalCompute cannot honour"):
        run(FRAME, compute=LocalCompute(), priority=1)
