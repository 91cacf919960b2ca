"""Plans that cannot be sent, or cannot run there: each is an error that names what is wrong."""

from __future__ import annotations

import dataclasses
import importlib
import io
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from airflow_provider_polars import ClusterCompute
from airflow_provider_polars.exceptions import PolarsProviderError
from tests.unit.outcomes import failure, succeeded

if TYPE_CHECKING:
    from airflow_provider_polars.testing import DevCluster
    from tests.wire.cluster.conftest import Run

FRAME = pl.LazyFrame({"a": [1, 2, 3], "s": ["1", "x", "3"]})
HERE = "tests.wire.cluster.test_plans"


class Thing:
    """What no data type of Polars holds."""


def parquet_in_memory() -> io.BytesIO:
    buffer = io.BytesIO()
    FRAME.collect().write_parquet(buffer)
    buffer.seek(0)
    return buffer


def with_lock() -> pl.LazyFrame:
    lock = threading.Lock()

    def locked(column: pl.Series) -> pl.Series:
        with lock:
            return column

    return FRAME.filter(pl.col("a") > 1).with_columns(pl.col("a").map_batches(locked, return_dtype=pl.Int64))


UNSENDABLE: dict[Callable[[], pl.LazyFrame], str] = {
    lambda: pl.LazyFrame({"x": [1], "thing": [Thing()]}): (
        "serializing data of type Object is not supported. In its plan: "
        'DF ["x", "thing"]; PROJECT */2 COLUMNS. Give the column a data type of Polars.'
    ),
    lambda: FRAME.join(pl.scan_parquet(parquet_in_memory()).select("a"), on="a"): (
        "logical plan ineligible for execution on Polars Cloud: contains scan of in-memory buffer. In its plan: "
        "Parquet SCAN [{size} in-mem bytes]. Scan a path or URL that the cluster can read."
    ),
    with_lock: (
        "python: TypeError: cannot pickle '_thread.lock' object. In its plan: "
        '[col("a").python_udf()]. Make what the function needs inside of it.'
    ),
}


@pytest.mark.parametrize("make", UNSENDABLE)
def test_a_plan_that_cannot_be_sent_is_refused_and_the_node_named(
    run: Run, polars_dev_cluster: DevCluster, make: Callable[[], pl.LazyFrame]
) -> None:
    outcome = run(make)

    name = make.__qualname__
    reason = UNSENDABLE[make].replace("{size}", str(len(parquet_in_memory().getvalue())))
    assert failure(outcome) == f"PlanError: The plan of the query {HERE}.{name} cannot be sent to a cluster: {reason}"
    assert polars_dev_cluster.recorder.submissions == []


def test_a_plan_above_the_limit_is_not_sent(run: Run, cluster: ClusterCompute, polars_dev_cluster: DevCluster) -> None:
    compute = dataclasses.replace(cluster, max_plan_mb=0.5)
    megabyte = os.urandom(500_000).hex()

    outcome = run(lambda: pl.LazyFrame({"a": megabyte}), compute=compute)

    assert failure(outcome) == (
        f"PlanError: The plan of the query {HERE}.test_a_plan_above_the_limit_is_not_sent.<lambda> is 1.0 MB, more "
        "than max_plan_mb=0.5 of its compute. Rows of frames in memory are part of the plan: write them to a file or "
        "an object store and scan them there."
    )
    assert polars_dev_cluster.recorder.submissions == []
    assert succeeded(run(lambda: pl.LazyFrame({"a": megabyte})))["rows"] == 1


def test_one_plan_above_the_limit_among_several_ends_the_others(
    run: Run, cluster: ClusterCompute, polars_dev_cluster: DevCluster
) -> None:
    compute = dataclasses.replace(cluster, max_plan_mb=0.5)
    large = pl.LazyFrame({"a": os.urandom(500_000).hex()})

    outcome = run(lambda: {"small": FRAME, "large": large}, sink={"small": None, "large": None}, compute=compute)

    assert "PlanError" in failure(outcome)
    (submitted,) = polars_dev_cluster.recorder.submissions
    assert submitted["query_id"] in [call["query_id"] for call in polars_dev_cluster.recorder.cancels]


SCHEMA_ERRORS: dict[str, Callable[[], pl.LazyFrame]] = {
    'unable to find column "missing"': lambda: FRAME.select("missing"),
    "projections contained duplicate output name 'a'": lambda: FRAME.select("a", pl.col("s").alias("a")),
    "datatypes of join keys don't match": lambda: FRAME.join(FRAME, left_on="a", right_on="s"),
    "conversion from `str` to `i64` failed in column 's'": lambda: FRAME.select(pl.col("s").cast(pl.Int64)),
}


@pytest.mark.parametrize("words", SCHEMA_ERRORS)
def test_a_query_that_does_not_fit_its_input_is_a_schema_error(run: Run, words: str) -> None:
    outcome = run(SCHEMA_ERRORS[words])

    assert failure(outcome).startswith(f"SchemaError: The query {HERE}.<lambda> does not fit its input: {words}")


@pytest.mark.parametrize(
    "make", [lambda: pl.scan_parquet("/nowhere/rows.parquet"), lambda: pl.scan_csv("/nowhere/*.csv")]
)
def test_a_path_that_the_cluster_does_not_see_is_named(
    run: Run, polars_dev_cluster: DevCluster, make: Callable[[], pl.LazyFrame]
) -> None:
    message = failure(run(make))

    assert message.startswith(
        f"ResultNotFoundError: The query {HERE}.<lambda> reads a file that the cluster at {polars_dev_cluster.uri} "
        "does not see: "
    )
    assert "/nowhere/" in message
    assert message.endswith("Paths are those of its machines: use a folder that they share with the workers, or a URL.")


def test_an_upstream_result_that_is_gone_is_named(run: Run, tmp_path: Path) -> None:
    kept = succeeded(run(FRAME))
    Path(kept["locations"][0]).unlink()

    message = failure(run(lambda frame: frame, kept))

    assert message.startswith("ResultNotFoundError: ")
    assert kept["locations"][0][-50:] in message


def test_a_package_that_the_cluster_lacks_is_named(
    run: Run, polars_dev_cluster: DevCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_here.py").write_text("def same(column):\n    return column\n")
    monkeypatch.syspath_prepend(tmp_path)
    function = importlib.import_module("only_here").same

    def imports(column: pl.Series) -> pl.Series:
        import only_on_the_moon

        return only_on_the_moon.same(column)  # type: ignore[no-any-return]

    for used, package in ((function, "only_here"), (imports, "only_on_the_moon")):
        outcome = run(FRAME.select(pl.col("a").map_batches(used, return_dtype=pl.Int64)))
        assert failure(outcome) == (
            "QueryDefinitionError: The query tests.wire.cluster.conftest.run.run.<lambda> needs a "
            f"package that the cluster at {polars_dev_cluster.uri} lacks: No module named '{package}'. Install it "
            "there, or do without."
        )


@pytest.mark.parametrize("other", [(1, 14, 1), (1, 11, 200)])
def test_a_function_of_another_python_is_refused_with_both_versions(
    run: Run, polars_dev_cluster: DevCluster, monkeypatch: pytest.MonkeyPatch, other: tuple[int, ...]
) -> None:
    """The plan is changed on its way to say another version: that of a worker with another Python."""
    from polars_cloud.query import query

    prepare, (_, minor, micro) = query.prepare_query, sys.version_info[:3]

    def from_another_python(*args: Any, **options: Any) -> Any:
        plan, settings = prepare(*args, **options)
        changed = plan.replace(bytes([1, minor, micro]) + b"\x80\x05", bytes(other) + b"\x80\x05")
        assert changed != plan
        return changed, settings

    monkeypatch.setattr(query, "prepare_query", from_another_python)

    outcome = run(FRAME.select(pl.col("a").map_batches(lambda column: column, return_dtype=pl.Int64)))

    here = f"3.{other[1]}.{other[2]}"
    there = f"3.{minor}.{micro}"
    assert failure(outcome) == (
        "VersionMismatchError: A Python function of the query tests.wire.cluster.conftest.run.run.<lambda> cannot be "
        f"read by the cluster at {polars_dev_cluster.uri}: that has Python {there}, this worker {here}. Functions "
        f"travel between equal versions only: install Python {there} on the workers, or write the query with "
        "expressions."
    )


def test_what_a_function_raises_on_the_cluster_is_told_with_its_class(run: Run) -> None:
    def fail(value: int) -> int:
        raise KeyError("no such customer")

    outcome = run(FRAME.select(pl.col("a").map_elements(fail, return_dtype=pl.Int64)))

    assert "failed with KeyError: " in failure(outcome)
    assert "no such customer" in failure(outcome)
    assert isinstance(outcome.error, PolarsProviderError)


def test_a_panic_on_the_cluster_is_told(run: Run) -> None:
    def panic(column: pl.Series) -> pl.Series:
        raise pl.exceptions.PanicException("index out of range")

    outcome = run(FRAME.select(pl.col("a").map_batches(panic, return_dtype=pl.Int64)))

    assert failure(outcome).startswith("QueryFailedError: Polars panicked while it ran the query")
    assert "index out of range" in failure(outcome)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "must return a LazyFrame, got None (is a return missing?)"),
        ({"a": FRAME}, "must return a LazyFrame, got dict"),
        (7, "must return a LazyFrame, got int"),
    ],
)
def test_what_is_no_query_is_refused_and_nothing_submitted(
    run: Run, polars_dev_cluster: DevCluster, value: Any, words: str
) -> None:
    outcome = run(lambda: value)

    assert failure(outcome).startswith("QueryDefinitionError: ")
    assert words in failure(outcome)
    assert polars_dev_cluster.recorder.submissions == []


def test_an_error_of_the_function_itself_stays_what_it_is(run: Run, polars_dev_cluster: DevCluster) -> None:
    outcome = run(lambda: 1 / 0)

    assert failure(outcome) == "ZeroDivisionError: division by zero"
    assert polars_dev_cluster.recorder.submissions == []
