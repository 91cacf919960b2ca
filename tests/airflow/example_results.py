"""What each example DAG must have written, computed by plain Polars from the CSV files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import polars as pl
from polars.testing import assert_frame_equal


class Results(Protocol):
    """Reads what the tasks of one run handed on."""

    def __call__(self, task_id: str, key: str = "return_value", *, map_index: int = -1) -> Any:
        """Return the XCom of a task."""


def check_first(results: Results, data: Path) -> None:
    """The numbers below a million, and their sum."""
    assert results("numbers")["rows"] == 1_000_000
    assert_frame_equal(parquet(results("total")), pl.DataFrame({"number": [sum(range(1_000_000))]}))
    assert results("total")["head"] == [{"number": sum(range(1_000_000))}]


def check_flights(results: Results, data: Path) -> None:
    """Flights, weather, the two joined, and two summaries."""
    flights, weather = flights_of(data), weather_of(data)
    assert_frame_equal(parquet(results("flights")), flights)
    assert_frame_equal(parquet(results("weather")), weather)
    joined = flights.join(weather, on=["origin", "time_hour"], how="left")
    written = results("flights_with_weather")
    assert (written["rows"], written["files"]) == (joined.height, 3)
    found = pl.concat([pl.read_parquet(file, hive_partitioning=True) for file in written["locations"]])
    assert_frame_equal(found.select(joined.columns), joined, check_row_order=False)
    by_visibility = (
        joined.drop_nulls(["dep_delay", "visib"])
        .group_by(visibility=pl.col("visib").floor().cast(pl.Int64))
        .agg(flights=pl.len(), mean_delay=pl.col("dep_delay").mean().round(1))
        .sort("visibility")
    )
    assert_frame_equal(parquet(results("delay_by_visibility")), by_visibility)
    assert results("delay_by_visibility")["head"] == by_visibility.head(5).to_dicts()
    late = flights.group_by("carrier").agg(flights=pl.len(), late=(pl.col("arr_delay") > 15).mean().round(3))
    assert_frame_equal(parquet(results("carriers")), late.sort("flights", descending=True))


def check_sql(results: Results, data: Path) -> None:
    """Routes that were late in July, and the ten latest with the names of their airports, as CSV."""
    july = flights_of(data).filter(pl.col("month") == 7, pl.col("arr_delay").is_not_null())
    late = july.group_by("origin", "dest").agg(flights=pl.len(), mean_delay=pl.col("arr_delay").mean())
    late = late.filter(pl.col("flights") >= 10).sort("mean_delay", descending=True)
    assert_frame_equal(parquet(results("late")), late, check_row_order=False, check_dtypes=False)
    airports = pl.read_csv(data / "airports.csv").select(dest="faa", name="name")
    named = late.join(airports, on="dest").sort("mean_delay", descending=True).head(10)
    (path,) = results("named")["locations"]
    written = pl.read_csv(path)
    expected = named.select(written.columns).with_columns(pl.col("mean_delay").round(1))
    assert_frame_equal(written, expected, check_dtypes=False)


def check_months(results: Results, data: Path) -> None:
    """Four mapped months, and one table of all their days."""
    days = flights_of(data).filter(pl.col("month") <= 4).group_by("month", "day")
    expected = days.agg(flights=pl.len(), cancelled=pl.col("dep_time").is_null().sum()).sort("month", "day")
    assert_frame_equal(parquet(results("year")), expected)
    of_march = expected.filter(pl.col("month") == 3)
    assert_frame_equal(parquet(results("one_month", map_index=2)).sort("day"), of_march)


def check_fan_out(results: Results, data: Path) -> None:
    """Four outputs in three formats, each also an XCom of its own, and a table of two of them."""
    flights = flights_of(data)
    outputs = results("two_threads.split")
    assert {name: results("two_threads.split", name) for name in outputs} == outputs
    by_carrier = outputs["by_carrier"]
    assert by_carrier["files"] == flights["carrier"].n_unique()
    assert_frame_equal(
        pl.concat([pl.read_parquet(file, hive_partitioning=True) for file in by_carrier["locations"]]),
        flights.group_by("origin", "carrier").agg(pl.len()),
        check_row_order=False,
        check_column_order=False,
    )
    by_route = flights.group_by("origin", "dest").agg(pl.len())
    routes = pl.read_csv(outputs["by_route"]["locations"][0])
    assert_frame_equal(routes, by_route, check_row_order=False, check_dtypes=False)
    assert routes["len"].is_sorted(descending=True)
    by_day = flights.group_by("month", "day").agg(pl.col("distance").sum())
    assert_frame_equal(pl.read_ipc(outputs["by_day"]["locations"][0]), by_day, check_row_order=False)
    sample = parquet(outputs["sample"])
    assert_frame_equal(sample.drop("time_hour"), flights.head(100).drop("time_hour"))
    assert parquet(results("busiest"))["len"].to_list() == [by_route["len"].max(), by_day.height]


def check_asset_writer(results: Results, data: Path) -> None:
    """All planes."""
    assert_frame_equal(parquet(results("planes")), planes_of(data))


def check_asset_reader(results: Results, data: Path) -> None:
    """The seats of each manufacturer."""
    check_seats(results, planes_of(data))


def check_seats(results: Results, planes: pl.DataFrame) -> None:
    """The reader of the asset has summed up ``planes``."""
    found = parquet(results("seats"))
    assert_frame_equal(found, planes.group_by("manufacturer").agg(pl.col("seats").sum()), check_row_order=False)
    assert found["seats"].is_sorted(descending=True)


CHECKS: dict[str, Callable[[Results, Path], None]] = {
    "example_first": check_first,
    "example_flights": check_flights,
    "example_sql": check_sql,
    "example_months": check_months,
    "example_fan_out": check_fan_out,
    "example_asset_writer": check_asset_writer,
    "example_asset_reader": check_asset_reader,
}


def parquet(ref: Mapping[str, Any]) -> pl.DataFrame:
    """Return the rows of a Parquet result that is one file."""
    (path,) = ref["locations"]
    return pl.read_parquet(path)


def flights_of(data: Path) -> pl.DataFrame:
    """Return the flights."""
    return _csv(data / "flights.csv").with_columns(_time_hour())


def weather_of(data: Path) -> pl.DataFrame:
    """Return the weather, as far as the example takes it."""
    return _csv(data / "weather.csv").select("origin", _time_hour(), "temp", "wind_speed", "precip", "visib")


def planes_of(data: Path) -> pl.DataFrame:
    """Return the planes."""
    return _csv(data / "planes.csv")


def _csv(path: Path) -> pl.DataFrame:
    return pl.read_csv(path, null_values="NA", infer_schema_length=10_000)


def _time_hour() -> pl.Expr:
    return pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ")
