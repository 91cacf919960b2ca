"""Every file format in every shape, in process and in a child: what is written and what is read back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from airflow_provider_polars.query.result import ResultRef
from airflow_provider_polars.query.sinks import CsvSink, FileSink, IpcSink, NdjsonSink, ParquetSink
from tests.unit.backends.local_runs import IN_CHILD, IN_PROCESS, read, run_all

FORMATS: dict[str, type[FileSink]] = {
    "parquet": ParquetSink,
    "csv": CsvSink,
    "ipc": IpcSink,
    "ndjson": NdjsonSink,
}
SHAPES = ("single file", "trailing slash", "partition_by", "max_rows_per_file")
OUTPUTS = [f"{kind}, {shape}" for kind in FORMATS for shape in SHAPES]
COMPUTES = {"in process": IN_PROCESS, "in a child": IN_CHILD}
Results = tuple[dict[str, ResultRef], Path]


def every_output(rows: int = 7) -> dict[str, pl.LazyFrame]:
    """Return a frame for each output, with the data types that its format can hold."""
    from datetime import date, datetime, time, timedelta
    from decimal import Decimal

    import polars as pl

    moment = datetime(2024, 2, 29, 13, 14, 15, 678000)
    text = pl.LazyFrame(
        {
            "id": range(7),
            "key": ["x", "y", "x", "y", "x", "y", "z"],
            "small": pl.Series([-128, 127, None, 0, 1, 2, 3], dtype=pl.Int8),
            "large": pl.Series([2**63, None, 0, 1, 2, 3, 4], dtype=pl.UInt64),
            "half": pl.Series([0.5, None, -0.25, 1e30, 0, 1, 2], dtype=pl.Float32),
            "float": [0.1, 1e300, None, -2.0, 0.0, 1.0, 2.0],
            "flag": [True, None, False, True, False, True, False],
            "text": ["a,b", 'q"uo', "line\nbreak", None, "ünï", " ", "'"],
            "day": [date(2024, 1, 3), None, date(1969, 12, 31), date(2400, 2, 29)] + [date(2024, 3, 1)] * 3,
            "moment": pl.Series([moment, None] * 3 + [moment], dtype=pl.Datetime("ms")),
            "there": pl.Series([moment, None] * 3 + [moment], dtype=pl.Datetime("us", "Europe/Berlin")),
            "clock": [time(13, 14, 15, 678), None] * 3 + [time(0, 0)],
            "price": pl.Series([Decimal("1.25"), None] * 3 + [Decimal("-3.00")], dtype=pl.Decimal(10, 2)),
        }
    ).head(rows)
    lists = text.with_columns(pl.concat_list("id", "id").alias("list"), pl.struct("id", "key").alias("struct"))
    binary = lists.with_columns(
        pl.col("key").cast(pl.Categorical).alias("category"),
        pl.col("key").cast(pl.Enum(["x", "y", "z"])).alias("enum"),
        pl.col("text").cast(pl.Binary).alias("binary"),
        pl.lit(timedelta(seconds=3), dtype=pl.Duration("ms")).alias("duration"),
    )
    frames = {"parquet": binary, "csv": text, "ipc": binary, "ndjson": lists}
    shapes = ("single file", "trailing slash", "partition_by", "max_rows_per_file")
    return {f"{kind}, {shape}": frame for kind, frame in frames.items() for shape in shapes}


def sink_for(output: str, folder: Path) -> FileSink:
    kind, shape = output.split(", ")
    path = str(folder / output.replace(", ", "-").replace(" ", "-"))
    if shape == "partition_by":
        return FORMATS[kind](path, partition_by=("key",))
    if shape == "max_rows_per_file":
        return FORMATS[kind](path, max_rows_per_file=3)
    return FORMATS[kind](path + "/" if shape == "trailing slash" else path)


def write_plainly(output: str, frame: pl.LazyFrame, target: Path) -> None:
    kind, shape = output.split(", ")
    path: Any = {
        "single file": target,
        "trailing slash": target / f"00000000.{FORMATS[kind].extension}",
        "partition_by": pl.PartitionBy(target, key=["key"]),
        "max_rows_per_file": pl.PartitionBy(target, max_rows_per_file=3),
    }[shape]
    getattr(frame, f"sink_{kind}")(path, mkdir=True)


def contents(path: Path) -> dict[str, bytes]:
    """Return the bytes of a file, or of every file below a directory, hidden ones too."""
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


@pytest.fixture(scope="module", params=COMPUTES)
def results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Write all outputs by one query."""
    folder = tmp_path_factory.mktemp("results")
    sinks = {output: sink_for(output, folder) for output in OUTPUTS}
    return run_all(every_output, sinks, COMPUTES[request.param]), folder


@pytest.fixture(scope="module", params=COMPUTES)
def empty_results(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Results:
    """Write all outputs by one query that has no rows."""
    folder = tmp_path_factory.mktemp("empty")
    sinks = {output: sink_for(output, folder) for output in OUTPUTS}
    return run_all(every_output, sinks, COMPUTES[request.param], kwargs={"rows": 0}), folder


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_file_sink_writes_byte_for_byte_what_polars_writes(results: Results, output: str, tmp_path: Path) -> None:
    write_plainly(output, every_output()[output], tmp_path / "plain")

    written, plain = contents(Path(sink_for(output, results[1]).path)), contents(tmp_path / "plain")

    assert sum(map(len, written.values())) == results[0][output].bytes
    assert written.keys() == plain.keys()
    for name in written:
        if not output.startswith("ipc"):
            assert written[name] == plain[name]
        else:  # Polars 1.39 orders the blocks of an IPC file as its threads end
            assert pl.read_ipc(written[name]).equals(pl.read_ipc(plain[name]))


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_result_reads_back_equal_with_its_data_types(results: Results, output: str) -> None:
    expected = every_output()[output].collect()

    found = read(results[0][output])

    assert found.schema == expected.schema
    assert found.sort("id").equals(expected)
    assert results[0][output].rows == expected.height
    assert results[0][output].schema == [(name, str(dtype)) for name, dtype in expected.schema.items()]


@pytest.mark.parametrize("output", OUTPUTS)
def test_a_result_without_rows_is_written_and_keeps_its_columns(empty_results: Results, output: str) -> None:
    expected = every_output(rows=0)[output].collect()
    result = empty_results[0][output]

    assert result.rows == 0
    assert len(result.locations) == 1
    assert read(result).equals(expected)
    assert read(result).schema == expected.schema
