"""The options of each file sink reach the file."""

from __future__ import annotations

import gzip
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_polars.exceptions import ConfigurationError, QueryFailedError
from airflow_provider_polars.query.sinks import CsvSink, FileSink, IpcSink, NdjsonSink, ParquetSink
from tests.unit.backends.local_runs import read, run_one

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


def letters() -> pl.LazyFrame:
    return pl.LazyFrame({"id": range(1000), "text": ["some text that compresses well"] * 1000})


def values() -> pl.LazyFrame:
    return pl.LazyFrame(
        {
            "id": [1, 2, None],
            "text": ["a;b", "'c'", None],
            "half": [1.5, -0.25, None],
            "day": [date(2024, 1, 3)] * 3,
            "moment": [datetime(2024, 1, 3, 14, 5)] * 3,
            "clock": [time(14, 5)] * 3,
        }
    )


def written(sink: FileSink) -> bytes:
    return Path(sink.path).read_bytes()


def test_parquet_options_are_in_the_metadata_of_the_file(tmp_path: Path) -> None:
    sink = ParquetSink(
        str(tmp_path / "a.parquet"),
        compression="gzip",
        statistics=False,
        row_group_size=300,
        data_page_size=1000,
    )

    run_one(letters, sink)

    metadata = pq.read_metadata(sink.path)
    column = metadata.row_group(0).column(0)
    assert metadata.num_row_groups == 4
    assert column.compression == "GZIP"
    assert column.statistics is None


def test_parquet_is_compressed_by_zstd_with_statistics_unless_told_otherwise(tmp_path: Path) -> None:
    sink = ParquetSink(str(tmp_path / "a.parquet"))

    run_one(letters, sink)

    column = pq.read_metadata(sink.path).row_group(0).column(0)
    assert (column.compression, column.statistics.min, column.statistics.max) == ("ZSTD", 0, 999)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (ParquetSink, {"compression": "zstd", "compression_level": 19, "data_page_size": 100}),
        (CsvSink, {"compression": "gzip", "compression_level": 9}),
        (IpcSink, {"compression": "zstd", "record_batch_size": 10}),
        (NdjsonSink, {"compression": "zstd", "compression_level": 1}),
    ],
)
def test_compressed_files_are_those_that_polars_writes_with_the_same_options(
    kind: type[FileSink], options: dict[str, Any], tmp_path: Path
) -> None:
    sink = kind(str(tmp_path / "file"), **options)
    no_check: Any = {} if kind in (ParquetSink, IpcSink) else {"check_extension": False}

    result = run_one(letters, sink)
    getattr(letters(), f"sink_{sink.kind}")(tmp_path / "plain", **options, **no_check)

    assert written(sink) == (tmp_path / "plain").read_bytes()
    assert read(result).equals(letters().collect())


def test_ipc_is_cut_into_record_batches_and_compressed(tmp_path: Path) -> None:
    plain = IpcSink(str(tmp_path / "plain.ipc"))
    sink = IpcSink(str(tmp_path / "a.ipc"), compression="lz4", record_batch_size=250)

    run_one(letters, plain)
    run_one(letters, sink)

    with pa.memory_map(sink.path) as source:
        assert pa.ipc.open_file(source).num_record_batches == 4
    assert len(written(sink)) < len(written(plain)) / 3


def test_ndjson_and_csv_can_be_gzipped_whatever_the_extension(tmp_path: Path) -> None:
    for sink in (
        NdjsonSink(str(tmp_path / "a.jsonl"), compression="gzip"),
        CsvSink(str(tmp_path / "a.csv"), compression="gzip"),
    ):
        assert run_one(letters, sink).rows == 1000
        assert len(gzip.decompress(written(sink)).splitlines()) >= 1000
    run_one(letters, NdjsonSink(str(tmp_path / "b.jsonl"), compression="zstd"))
    assert (tmp_path / "b.jsonl").read_bytes().startswith(ZSTD_MAGIC)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"separator": "\t"}, b"1\ta;b\t1.5\t2024-01-03\t2024-01-03T14:05:00.000000\t14:05:00.000000000\n"),
        ({"separator": ";", "decimal_comma": True}, b'1;"a;b";1,5;2024-01-03;'),
        ({"null_value": "NA"}, b"\nNA,NA,NA,"),
        ({"include_header": False}, b"1,a;b,1.5,"),
        ({"include_bom": True}, b"\xef\xbb\xbfid,text,"),
        ({"quote_style": "non_numeric"}, b'\n1,"a;b",1.5,'),
        ({"quote_char": "'"}, b"\n2,'''c''',-0.25,"),
        ({"line_terminator": "\r\n"}, b"id,text,half,day,moment,clock\r\n1,"),
        ({"line_terminator": "|"}, b"id,text,half,day,moment,clock|1,"),
        ({"float_precision": 3}, b"\n1,a;b,1.500,"),
        ({"float_scientific": True}, b"\n1,a;b,1.5e0,"),
        ({"date_format": "%m/%d/%Y"}, b",01/03/2024,"),
        ({"date_format": "%d %B %Y"}, b",03 January 2024,"),
        ({"datetime_format": "%m/%d/%Y %H.%M"}, b",01/03/2024 14.05,"),
        ({"time_format": "%I %M %p"}, b",02 05 PM\n"),
    ],
    ids=str,
)
def test_csv_options_shape_the_text_and_the_result_still_reads_back_equal(
    options: dict[str, Any], line: bytes, tmp_path: Path
) -> None:
    sink = CsvSink(str(tmp_path / "a.csv"), **options)

    result = run_one(values, sink)

    assert line in written(sink)
    assert read(result).equals(values().collect())
    assert read(result).schema == values().collect_schema()


def test_csv_without_header_keeps_names_and_types_that_the_reader_would_not_guess(tmp_path: Path) -> None:
    def prices() -> pl.LazyFrame:
        return pl.LazyFrame({"price": pl.Series(["1.25", None]).cast(pl.Decimal(9, 2)), "none": [None, None]})

    result = run_one(prices, CsvSink(str(tmp_path / "a.csv"), include_header=False))

    assert read(result).equals(prices().collect())


def test_csv_lines_that_polars_could_not_read_back_are_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"line_terminator=\) must be one ASCII character .* got '<>'"):
        CsvSink("/data/a.csv", line_terminator="<>")


def test_rows_stay_in_order_unless_told_otherwise(tmp_path: Path) -> None:
    def million() -> pl.LazyFrame:
        return pl.LazyFrame({"id": pl.int_range(1_000_000, eager=True)})

    result = run_one(million, ParquetSink(str(tmp_path / "a.parquet"), row_group_size=10_000))

    assert read(result)["id"].is_sorted()
    unordered = run_one(million, ParquetSink(str(tmp_path / "b.parquet"), maintain_order=False))
    assert read(unordered).sort("id").equals(million().collect())


def test_a_type_that_the_format_cannot_hold_fails_with_the_reason_of_polars(tmp_path: Path) -> None:
    def nested() -> pl.LazyFrame:
        return pl.LazyFrame({"list": [[1]]})

    with pytest.raises(QueryFailedError, match="CSV format does not support nested data"):
        run_one(nested, CsvSink(str(tmp_path / "a.csv")))
    assert not list(tmp_path.iterdir())
