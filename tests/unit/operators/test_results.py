"""What a task hands on: a small plain object, its assets' events, and results under ``[polars] results_path``."""

from __future__ import annotations

import json
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from airflow.sdk import DAG, Asset, task

from airflow_provider_polars import CsvSink, ParquetSink, PolarsRemoteOperator, polars_task
from tests.harness.execution_api import XComKey
from tests.unit.outcomes import failure, rows, succeeded

if TYPE_CHECKING:
    from tests.harness.in_memory import InMemoryAirflow


def numbers(count: int = 3) -> pl.LazyFrame:
    """Return 0, 1, 2 ... with a text beside each."""
    return pl.LazyFrame({"a": range(count)}).with_columns(text=pl.lit("x") + pl.col("a").cast(pl.String))


def gone(ref: dict[str, Any]) -> None:
    """Remove the files of a result."""
    for location in ref["locations"]:
        Path(location).unlink()


def test_size_in_xcom_does_not_depend_on_the_data(in_memory_airflow: InMemoryAirflow, results_path: Path) -> None:
    """Ten rows and a million rows take the same space within a few bytes, and at most 4 KB."""
    sizes = []
    for count in (10, 1_000_000):
        work = PolarsRemoteOperator(task_id="t", query=numbers, query_kwargs={"count": count})
        result = succeeded(in_memory_airflow.run_task(work, run_id="r"))
        assert (type(result), result["rows"]) == (dict, count)
        sizes.append(len(json.dumps(in_memory_airflow.xcoms[XComKey("in_memory", "r", "t")])))
    assert abs(sizes[0] - sizes[1]) <= 20
    assert max(sizes) <= 4096


def test_wide_result_with_many_files_and_a_head_stays_small(
    in_memory_airflow: InMemoryAirflow, tmp_path: Path, results_path: Path
) -> None:
    """Schema, locations and head are cut, and say so."""
    names = [f"a_rather_long_name_of_a_column_{number}" for number in range(500)]
    work = PolarsRemoteOperator(
        task_id="t",
        query=lambda: pl.LazyFrame(dict.fromkeys(names, range(60))),
        sink=ParquetSink(f"{tmp_path}/many/", max_rows_per_file=2),
        head_rows=50,
    )
    result = succeeded(in_memory_airflow.run_task(work))
    assert len(json.dumps(result)) <= 4096
    assert (result["files"], result["locations"]) == (30, [f"{tmp_path}/many/"])
    assert result["schema_omitted"] + len(result["schema"]) == 500
    assert rows_in(result["locations"][0]) == 60


def rows_in(folder: str) -> int:
    """Return the number of rows in a folder of Parquet files."""
    return pl.scan_parquet(folder).select(pl.len()).collect().item()  # type: ignore[no-any-return]


def test_plain_task_gets_the_dict(in_memory_airflow: InMemoryAirflow, results_path: Path) -> None:
    """Nothing of this package is needed to read it."""
    with DAG("plain", schedule=None):

        @task
        def look(result: Any) -> list[Any]:
            return [type(result).__name__, result["rows"], result["format"], result["schema"]]

        upstream = PolarsRemoteOperator(task_id="upstream", query=numbers)
        looking = look(upstream.output)
    succeeded(in_memory_airflow.run_task(upstream))
    assert in_memory_airflow.run_task(looking).result == ["dict", 3, "parquet", [["a", "Int64"], ["text", "String"]]]


@pytest.mark.parametrize("form", ["classic", "decorated"])
def test_dict_of_sinks_gives_outputs_that_are_handed_on_by_name(
    in_memory_airflow: InMemoryAirflow, tmp_path: Path, results_path: Path, form: str
) -> None:
    """Each is an XCom of its own; None is a managed location."""
    sinks = {"small": CsvSink(f"{tmp_path}/small.csv"), "whole": None}

    def split() -> dict[str, pl.LazyFrame]:
        return {"small": numbers().head(1), "whole": numbers()}

    with DAG("several", schedule=None):
        if form == "classic":
            upstream = PolarsRemoteOperator(task_id="split", query=split, sink=sinks)
            small, whole = upstream.output["small"], upstream.output["whole"]
        else:
            outputs = polars_task(sink=sinks)(split)()
            small, whole, upstream = outputs["small"], outputs["whole"], outputs.operator

        @polars_task
        def both(small: pl.LazyFrame, others: dict[str, pl.LazyFrame]) -> pl.LazyFrame:
            return small.select("a").with_columns(others=others["whole"].collect().height)

        joined = both(small, others={"whole": whole})
    outcome = in_memory_airflow.run_task(upstream)
    result = succeeded(outcome)
    outcome.xcoms.pop("polars_run")
    assert outcome.xcoms == {"return_value": result, "small": result["small"], "whole": result["whole"]}
    assert result["small"]["locations"] == [f"{tmp_path}/small.csv"]
    assert result["whole"]["locations"] == [f"{results_path}/several/manual/split/whole.parquet"]
    assert rows(succeeded(in_memory_airflow.run_task(joined))) == [{"a": 0, "others": 3}]


def test_dict_of_sinks_may_come_from_another_task(
    in_memory_airflow: InMemoryAirflow, tmp_path: Path, results_path: Path
) -> None:
    """The return annotation tells that there are several outputs."""
    with DAG("several", schedule=None):

        @task
        def choose() -> None:
            pass

        @polars_task(sink=choose())
        def one() -> dict[str, pl.LazyFrame]:
            return {"a": numbers()}

        made = one()
    sink = {"kind": "csv", "path": f"{tmp_path}/a.csv"}
    outcome = in_memory_airflow.run_task(made, xcoms={"choose": {"a": sink}})
    assert succeeded(outcome) == {"a": outcome.xcoms["a"]}
    assert outcome.xcoms["a"]["locations"] == [f"{tmp_path}/a.csv"]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": 1, "b": 2}, "must return a LazyFrame for 'a', got int"),
        ({"a": numbers()}, "must return a dict with the keys ['a', 'b'], got the keys ['a']"),
        (numbers(), "must return a dict of LazyFrames with the keys ['a', 'b'], got polars.lazyframe.frame.LazyFrame"),
    ],
)
def test_function_of_several_outputs_returns_them_all(
    in_memory_airflow: InMemoryAirflow, results_path: Path, value: Any, message: str
) -> None:
    """Which keys are expected, and which came, is told."""
    work = PolarsRemoteOperator(task_id="t", query=lambda: value, sink={"a": None, "b": None})
    text = failure(in_memory_airflow.run_task(work, max_tries=2))
    assert text.startswith("QueryDefinitionError: ")
    assert message in text


def test_managed_location_is_named_by_run_task_and_index(
    in_memory_airflow: InMemoryAirflow, results_path: Path
) -> None:
    """Unlike names never meet; signs that a path cannot hold are replaced and told apart by a hash."""
    with DAG("managed", schedule=None):
        work = PolarsRemoteOperator.partial(task_id="t", query=numbers).expand(query_kwargs=[{}, {}])
    runs = ["manual__2026-01-01T00:00:00+00:00", "manual__2026-01-01T00_00_00_00_00"]
    found = {
        succeeded(in_memory_airflow.run_task(work, run_id=run, map_index=index))["locations"][0]
        for run in runs
        for index in (0, 1)
    }
    assert len(found) == 4
    names = [Path(path).relative_to(results_path).parts for path in found]
    assert {(dag, task_id, name) for dag, _, task_id, name in names} == {
        ("managed", "t", "0-return_value.parquet"),
        ("managed", "t", "1-return_value.parquet"),
    }
    assert all(set(run) <= set("abcdefghijklmnopqrstuvwxyzT0123456789_.-") for _, run, _, _ in names)


def test_cleared_task_replaces_the_managed_result(in_memory_airflow: InMemoryAirflow, results_path: Path) -> None:
    """A cleared task writes to the same place; nothing of the one before is left."""
    results = [
        succeeded(
            in_memory_airflow.run_task(
                PolarsRemoteOperator(task_id="t", query=numbers, query_kwargs={"count": count}),
                try_number=number,
                max_tries=number - 1,
            )
        )
        for number, count in ((1, 2), (2, 5))
    ]
    assert results[0]["locations"] == results[1]["locations"]
    assert len(rows(results[1])) == 5
    assert [path for path in results_path.rglob("*") if path.is_file()] == [Path(results[1]["locations"][0])]


def test_missing_files_of_a_result_are_explained(in_memory_airflow: InMemoryAirflow, results_path: Path) -> None:
    """The message names the setting, its value, and what workers must do; a retry may help."""
    with DAG("gone", schedule=None):
        upstream = PolarsRemoteOperator(task_id="upstream", query=numbers)
        work = PolarsRemoteOperator(task_id="t", query=lambda frame: frame, query_kwargs={"frame": upstream.output})
    ref = succeeded(in_memory_airflow.run_task(upstream))
    gone(ref)
    outcome = in_memory_airflow.run_task(work, max_tries=1)
    assert outcome.state == "up_for_retry"
    text = str(outcome.error)
    assert type(outcome.error).__name__ == "ResultNotFoundError"
    assert text.startswith(f"The upstream result {ref['locations'][0]} is not on this worker.")
    assert f"[polars] results_path ({results_path}): it must be a folder that all workers share" in text


def test_outlet_event_tells_what_was_written(
    in_memory_airflow: InMemoryAirflow, tmp_path: Path, results_path: Path
) -> None:
    """The asset of a templated path is the folder above; the event has the very location."""
    sink = ParquetSink(f"{tmp_path}/orders/{{{{ ds }}}}/part.parquet")
    asset = sink.asset(name="orders")
    assert asset.uri.rstrip("/") == f"file://{tmp_path}/orders"
    work = PolarsRemoteOperator(task_id="t", query=numbers, sink=sink, outlets=[asset], labels=["{{ run_id }}"])
    outcome = in_memory_airflow.run_task(work)
    result = succeeded(outcome)
    assert [profile.name for profile in outcome.msg.task_outlets] == ["orders"]
    (event,) = outcome.msg.outlet_events
    assert event["extra"] == {
        "location": f"{tmp_path}/orders/2026-01-01/part.parquet",
        "rows": 3,
        "bytes": result["bytes"],
        "schema_hash": result["schema_hash"],
        "query_id": result["query_id"],
        "labels": ["manual"],
    }
    assert all(event["extra"].values())


def test_each_outlet_gets_the_event_of_its_own_sink(
    in_memory_airflow: InMemoryAirflow, tmp_path: Path, results_path: Path
) -> None:
    """An asset that is no sink of the task keeps an event without details."""
    sinks = {name: ParquetSink(f"{tmp_path}/{name}/") for name in ("one", "ones")}
    other = Asset("other", uri="file:///elsewhere/other")

    @polars_task(sink=sinks, outlets=[*(sink.asset(name) for name, sink in sinks.items()), other])
    def split() -> dict[str, pl.LazyFrame]:
        return {"one": numbers(1), "ones": numbers(2)}

    outcome = in_memory_airflow.run_task(split())
    succeeded(outcome)
    extras = {event["dest_asset_key"]["name"]: event["extra"] for event in outcome.msg.outlet_events}
    assert {name: (extra["location"], extra["rows"]) for name, extra in extras.items()} == {
        "one": (f"{tmp_path}/one/", 1),
        "ones": (f"{tmp_path}/ones/", 2),
    }


def test_failed_task_announces_nothing(in_memory_airflow: InMemoryAirflow, tmp_path: Path) -> None:
    """An asset's event means that the data is there."""
    sink = ParquetSink(f"{tmp_path}/a.parquet")
    work = PolarsRemoteOperator(
        task_id="t", query=lambda: numbers().select("absent"), sink=sink, outlets=[sink.asset()]
    )
    outcome = in_memory_airflow.run_task(work)
    assert failure(outcome).startswith("SchemaError: ")
    assert getattr(outcome.msg, "outlet_events", None) is None


def test_head_is_off_by_default_and_readable_when_asked_for(
    in_memory_airflow: InMemoryAirflow, results_path: Path
) -> None:
    """Dates and decimals become text, so that the object stays JSON."""
    frame = pl.LazyFrame({"d": [datetime(2026, 1, 1, tzinfo=timezone.utc)], "n": [None]})
    heads = [
        succeeded(in_memory_airflow.run_task(PolarsRemoteOperator(task_id="t", query=lambda: frame, head_rows=count)))
        for count in (None, 1)
    ]
    assert "head" not in heads[0]
    (row,) = heads[1]["head"]
    assert (row["d"][:10], row["n"]) == ("2026-01-01", None)
