"""Mapped tasks: over results, into results, and through Airflow's lazy sequences; scheduled by ``dag.test()``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from airflow.models.dagrun import DagRun
from airflow.sdk import DAG, task, task_group

from airflow_provider_polars import CsvSink, LocalCompute, ParquetSink, PolarsRemoteOperator, polars_task
from airflow_provider_polars.exceptions import UnknownArgumentError
from tests.harness.dag_run import task_states, xcom
from tests.unit.outcomes import failure, rows

if TYPE_CHECKING:
    from tests.harness.in_memory import InMemoryAirflow

pytestmark = pytest.mark.usefixtures("results_path")
RunDag = Callable[..., DagRun]


@polars_task
def numbers(start: int = 0) -> pl.LazyFrame:
    """Return two numbers."""
    return pl.LazyFrame({"a": [start, start + 1]})


@polars_task
def plus(frame: pl.LazyFrame, amount: int) -> pl.LazyFrame:
    """Add ``amount``."""
    return frame.with_columns(pl.col("a") + amount)


@polars_task
def together(frames: Any) -> Any:
    """Put all rows into one result."""
    return pl.concat(frames)


def values(run: DagRun, task_id: str, map_index: int = -1) -> list[int]:
    """Return the column of a task's result."""
    return [row["a"] for row in rows(xcom(run, task_id, map_index=map_index))]


def test_results_are_mapped_and_gathered(dag_test: RunDag) -> None:
    """``expand``, ``partial().expand``, over mapped results, and all of them in one parameter."""
    with DAG("mapping", schedule=None) as dag:
        mapped = numbers.override(task_id="mapped").expand(start=[10, 20])
        again = plus.override(task_id="again").partial(amount=1).expand(frame=mapped)
        more = plus.override(task_id="more").partial(frame=numbers()).expand(amount=[100, 200])
        listed = plus.override(task_id="listed").expand(frame=[numbers()], amount=[5, 6])
        for gathered in (mapped, again, more, listed):
            together.override(task_id=f"all_{gathered.operator.task_id}")(gathered)
    run = dag_test(dag)
    assert set(task_states(run).values()) == {"success"}
    assert values(run, "all_mapped") == [10, 11, 20, 21]
    assert values(run, "all_again") == [11, 12, 21, 22]
    assert values(run, "all_more") == [100, 101, 200, 201]
    assert values(run, "all_listed") == [5, 6, 6, 7]


def test_lazy_sequences_of_results_are_converted(dag_test: RunDag) -> None:
    """``map``, ``zip`` and ``concat`` of XComArgs, as one parameter and as what is mapped over."""
    with DAG("lazy", schedule=None) as dag:
        left = numbers.override(task_id="left").expand(start=[1, 3])
        right = numbers.override(task_id="right").expand(start=[10, 30])

        @polars_task
        def sums(pairs: Any) -> Any:
            return pl.concat(
                [pl.concat([one.select("a"), two.select(b="a")], how="horizontal") for one, two in pairs]
            ).select(pl.col("a") + pl.col("b"))

        @polars_task
        def sum_of(pair: Any) -> Any:
            return sums.function([pair])

        @polars_task
        def of(frame: Any) -> Any:
            return frame

        sums(left.zip(right))
        sum_of.expand(pair=left.zip(right))
        together.override(task_id="concatenated")(left.concat(right))
        of.override(task_id="each").expand(frame=left.concat(right))
        together.override(task_id="changed")(left.map(lambda ref: ref))
        of.override(task_id="each_changed").expand(frame=left.map(lambda ref: ref))
    run = dag_test(dag)
    assert set(task_states(run).values()) == {"success"}
    assert values(run, "sums") == [11, 13, 33, 35]
    assert [values(run, "sum_of", index) for index in (0, 1)] == [[11, 13], [33, 35]]
    assert values(run, "concatenated") == [1, 2, 3, 4, 10, 11, 30, 31]
    assert [values(run, "each", index)[0] for index in range(4)] == [1, 3, 10, 30]
    assert values(run, "changed") == [1, 2, 3, 4]
    assert values(run, "each_changed", 1) == [3, 4]


def test_arguments_and_sinks_come_from_tasks(dag_test: RunDag, tmp_path: Path) -> None:
    """``expand_kwargs`` over dicts, mapped sinks and computes as dicts, of both forms."""
    with DAG("kwargs", schedule=None) as dag:

        @task
        def jobs() -> list[dict[str, Any]]:
            return [{"start": 1, "label": "x"}, {"start": 5, "label": "y"}]

        @task
        def places() -> list[dict[str, Any]]:
            return [{"kind": "csv", "path": f"{tmp_path}/{name}.csv"} for name in ("one", "two")]

        @polars_task
        def labelled(start: int, label: str) -> pl.LazyFrame:
            return pl.LazyFrame({"a": [start], "label": [label]})

        labelled.expand_kwargs(jobs())
        PolarsRemoteOperator.partial(task_id="placed", query=numbers.function).expand(sink=places())
        PolarsRemoteOperator.partial(task_id="options", query=numbers.function).expand_kwargs(
            [
                {"query_kwargs": {"start": 3}, "sink": CsvSink(f"{tmp_path}/three.csv")},
                {"query_kwargs": {"start": 4}, "compute": LocalCompute(engine="streaming"), "head_rows": 1},
            ]
        )
    run = dag_test(dag)
    assert set(task_states(run).values()) == {"success"}
    assert rows(xcom(run, "labelled", map_index=1)) == [{"a": 5, "label": "y"}]
    assert [xcom(run, "placed", map_index=index)["locations"] for index in (0, 1)] == [
        [f"{tmp_path}/one.csv"],
        [f"{tmp_path}/two.csv"],
    ]
    assert (tmp_path / "three.csv").read_text() == "a\n3\n4\n"
    assert xcom(run, "options", map_index=1)["head"] == [{"a": 4}]


def test_outputs_by_name_are_mapped_and_gathered(dag_test: RunDag, tmp_path: Path) -> None:
    """A dict of results maps to pairs of name and result; outputs of mapped tasks are gathered by name."""
    with DAG("outputs", schedule=None) as dag:

        @polars_task(sink={"low": None, "high": ParquetSink(f"{tmp_path}/{{{{ ti.map_index }}}}.parquet")})
        def split(start: int) -> dict[str, pl.LazyFrame]:
            return {"low": pl.LazyFrame({"a": [start]}), "high": pl.LazyFrame({"a": [start * 10]})}

        @polars_task
        def of(pair: Any) -> Any:
            name, frame = pair
            return frame.select(a=pl.lit(name))

        one = split.override(task_id="one", sink={"low": None, "high": ParquetSink(f"{tmp_path}/one.parquet")})(7)
        of.expand(pair=one)
        several = split.expand(start=[1, 2])
        together.override(task_id="highs")(several["high"])
    run = dag_test(dag)
    assert set(task_states(run).values()) == {"success"}
    assert [values(run, "of", index) for index in (0, 1)] == [["low"], ["high"]]
    assert values(run, "highs") == [10, 20]


def test_mapped_task_groups_hand_results_on(dag_test: RunDag) -> None:
    """Each index of a group has its own."""
    with DAG("groups", schedule=None) as dag:

        @task_group
        def both(start: int) -> Any:
            return plus(numbers(start), amount=1)

        together(both.expand(start=[1, 5]))
    run = dag_test(dag)
    assert set(task_states(run).values()) == {"success"}
    assert values(run, "together") == [2, 3, 6, 7]


def consumers() -> dict[str, Callable[[Any], Any]]:
    """Return the ways to map over something."""

    @task_group
    def group(frame: Any) -> None:
        plus(frame, amount=1)

    return {
        "decorated": lambda single: plus.partial(amount=1).expand(frame=single),
        "classic": lambda single: PolarsRemoteOperator.partial(task_id="t", query=len).expand(query_kwargs=single),
        "changed": lambda single: plus.partial(amount=1).expand(frame=single.map(lambda item: item)),
        "group": lambda single: group.expand(frame=single),
    }


@pytest.mark.parametrize("form", list(consumers()))
def test_mapping_over_one_result_is_refused(in_memory_airflow: InMemoryAirflow, form: str) -> None:
    """It would map over the fields of the reference; the task that gives it says so, before its query runs."""
    with DAG("single", schedule=None):
        single = numbers()
        consumers()[form](single)
    text = failure(in_memory_airflow.run_task(single, max_tries=2))
    assert text.startswith("ConfigurationError: A task is expanded over the one result of 'numbers'")
    assert ".expand(name=[numbers_result])" in text


def test_misspelt_keyword_of_a_mapped_task_is_refused_at_parse() -> None:
    """Mapped tasks do not run ``__init__`` there."""
    with pytest.raises(UnknownArgumentError, match="has no argument 'sinc'; did you mean 'sink'"):
        PolarsRemoteOperator.partial(task_id="t", query=len, sinc=None)
    with pytest.raises(UnknownArgumentError, match="has no argument 'tymeout'; did you mean 'timeout'"):
        polars_task(tymeout=1)


def test_misspelt_override_of_a_mapped_task_ends_the_task(in_memory_airflow: InMemoryAirflow) -> None:
    """Airflow shows ``override`` to nobody before the task runs; then the nearest is named."""
    with DAG("override", schedule=None):
        work = numbers.override(sinc=1).expand(start=[1])
    outcome = in_memory_airflow.run_task(work, map_index=0)
    assert outcome.state == "failed"
    assert "polars_task has no argument 'sinc'; did you mean 'sink'?" in str(outcome.error)


def test_misspelt_parameter_of_the_function_is_refused_at_parse() -> None:
    """By Airflow, plain and mapped."""
    with DAG("parameters", schedule=None):
        with pytest.raises(TypeError, match="stert"):
            numbers(stert=1)
        with pytest.raises(TypeError, match="stert"):
            numbers.expand(stert=[1])
