"""Sinks of file formats: what they accept, and that they say what Polars understands."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any, Literal, get_args, get_origin, get_type_hints

import polars as pl
import pytest
from airflow.sdk import Asset

from airflow_provider_polars import CsvSink, IpcSink, NdjsonSink, ParquetSink
from airflow_provider_polars.exceptions import ConfigurationError, UnknownArgumentError, UnsupportedSinkError
from airflow_provider_polars.query.result import SCAN_OPTIONS
from airflow_provider_polars.query.sinks import FileSink, Sink
from airflow_provider_polars.runner import EXTENSIONS
from tests.unit.specs import SINKS, minimal

FILE_SINKS: list[type[FileSink]] = [sink for sink in SINKS if issubclass(sink, FileSink)]
COMPUTE_KINDS = {"local", "cloud", "cluster", "slurm", "dask", "polarway"}
CANNOT = [
    (NdjsonSink, "cloud"),
    (NdjsonSink, "cluster"),
    (NdjsonSink, "slurm"),
    (IpcSink, "dask"),
    (CsvSink, "polarway"),
]
files = pytest.mark.parametrize("sink", FILE_SINKS, ids=lambda sink: sink.kind)
every = pytest.mark.parametrize("sink", SINKS, ids=lambda sink: sink.kind)


def signature(sink: type[FileSink]) -> Any:
    """Return the parameters of the Polars method that writes this format."""
    return inspect.signature(getattr(pl.LazyFrame, f"sink_{sink.kind}")).parameters


# ---- against Polars


@files
def test_every_write_option_is_one_of_polars_and_a_field(sink: type[FileSink]) -> None:
    assert set(sink.write_options) <= set(signature(sink))
    assert set(sink.write_options) <= {field.name for field in dataclasses.fields(sink)}


@files
def test_every_option_of_polars_for_the_file_itself_can_be_given(sink: type[FileSink]) -> None:
    ours_to_decide = {"self", "path", "storage_options", "credential_provider", "retries", "engine", "optimizations"}
    ours_to_decide |= {
        "sync_on_close",
        "mkdir",
        "lazy",
        "check_extension",
        "metadata",
        "arrow_schema",
        "compat_level",
        "sinked_paths_callback",
    }
    ours_to_decide |= {name for name in signature(sink) if name.startswith("_")}
    assert set(signature(sink)) - ours_to_decide - set(sink.write_options) == set()


@files
def test_a_default_is_that_of_polars(sink: type[FileSink]) -> None:
    defaults = {field.name: field.default for field in dataclasses.fields(sink)}
    for name in sink.write_options:
        assert defaults[name] == signature(sink)[name].default, name


@files
def test_every_choice_of_a_sink_is_one_that_polars_writes(sink: type[FileSink], tmp_path: Any) -> None:
    for name in sink.write_options:
        hint = get_type_hints(sink)[name]
        choices = [hint, *get_args(hint)]
        for choice in (item for option in choices if get_origin(option) is Literal for item in get_args(option)):
            path = tmp_path / f"{name}-{choice}.{sink.extension}"
            options = {name: choice} | ({"check_extension": False} if "check_extension" in signature(sink) else {})
            getattr(pl.LazyFrame({"a": [1, 2]}), f"sink_{sink.kind}")(path, **options)
            assert path.stat().st_size > 0


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"separator": "|", "quote_char": "'", "null_value": "NA"},
        {"include_header": False},
        {"line_terminator": "\r\n"},
        {"line_terminator": ";"},
        {"decimal_comma": True, "separator": ";"},
    ],
)
def test_csv_is_read_back_with_what_the_sink_says(fields: dict[str, Any], tmp_path: Any) -> None:
    frame = pl.DataFrame({"column_1": ["a", None, "it's", 'say "x"'], "column_2": [1.5, 2.5, None, -1.0]})
    sink = CsvSink(str(tmp_path / "a.csv"), **fields)
    options = {name: value for name, value in sink.to_dict().items() if name in sink.write_options}
    frame.lazy().sink_csv(sink.path, **options)
    read = {"eol_char": "\n", **sink.scan_options()}
    assert pl.read_csv(sink.path, **read, schema=frame.schema).rows() == frame.rows()


@every
def test_a_reference_may_carry_the_reader_options_of_every_sink(sink: type[Sink]) -> None:
    fields = {"csv": {"separator": ";", "include_header": False, "null_value": "NA", "date_format": "%Y"}}
    options = minimal(sink, **fields.get(sink.kind, {})).scan_options()
    assert set(options) <= set(SCAN_OPTIONS.get(sink.kind, {}))


@files
def test_the_extension_of_a_format_is_the_one_the_reader_looks_for(sink: type[FileSink]) -> None:
    assert EXTENSIONS[sink.kind] == sink.extension


# ---- targets


@files
@pytest.mark.parametrize(
    ("fields", "directory"),
    [
        ({"path": "/lake/x"}, False),
        ({"path": "/lake/x/"}, True),
        ({"path": "/lake/x", "partition_by": ["a"]}, True),
        ({"path": "/lake/x", "partition_by": []}, False),
        ({"path": "/lake/x", "max_rows_per_file": 10}, True),
        ({"path": "/lake/{{ run_id }}/"}, True),
    ],
)
def test_a_directory_is_asked_for_by_slash_partitions_or_rows(
    sink: type[FileSink], fields: dict[str, Any], directory: bool
) -> None:
    assert sink(**fields).is_directory is directory


@files
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"path": ""}, "(path=) is empty"),
        ({"path": "lake/x"}, "(path=) is the relative path 'lake/x'"),
        ({"path": "ftp://lake/x"}, "(path=) has the scheme 'ftp'"),
        ({"path": None}, "(path=) must be str, got NoneType: None."),
        ({"path": 3}, "(path=) must be str, got int: 3."),
        ({"max_rows_per_file": 0}, "(max_rows_per_file=) must be at least 1, got 0."),
        ({"compression": "rar"}, "(compression=) must be one of"),
        ({"path": "/lake/x", "aws_conn_id": "aws"}, "(aws_conn_id='aws') is for s3:// targets, the path is local"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_the_sink_and_the_field(
    sink: type[FileSink], fields: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        minimal(sink, **fields)
    assert f"{sink.__name__}{message}" in str(caught.value)


@pytest.mark.parametrize("end", ["", "\n\n", "ä", "\r\n\n"])
def test_a_line_end_that_cannot_be_read_back_is_refused(end: str) -> None:
    with pytest.raises(ConfigurationError, match=r"CsvSink\(line_terminator=\) must be one ASCII character"):
        CsvSink("/lake/x.csv", line_terminator=end)


def test_a_misspelt_compression_names_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="got 'ztsd'; did you mean 'zstd'"):
        ParquetSink("/lake/x", compression="ztsd")  # type: ignore[arg-type]


def test_the_path_is_checked_again_once_it_is_rendered() -> None:
    sink = ParquetSink("{{ params.path }}")
    assert sink.map_templates(lambda _: "/lake/x").path == "/lake/x"
    with pytest.raises(ConfigurationError, match="relative path 'x'"):
        sink.map_templates(lambda _: "x")


def test_the_path_is_the_one_argument_without_a_name() -> None:
    assert ParquetSink("/lake/x") == ParquetSink(path="/lake/x")
    with pytest.raises(TypeError, match="positional"):
        ParquetSink("/lake/x", "zstd")  # type: ignore[misc]


def test_a_misspelt_keyword_names_the_nearest() -> None:
    with pytest.raises(
        UnknownArgumentError, match="ParquetSink has no argument 'partitionby'; did you mean 'partition_by'"
    ):
        ParquetSink("/lake/x", partitionby=["a"])  # type: ignore[call-arg]


def test_lists_become_tuples_so_that_a_sink_can_be_a_key() -> None:
    sink = ParquetSink("/lake/x", partition_by=["a", "b"])  # type: ignore[arg-type]
    assert sink.partition_by == ("a", "b")
    assert {sink: 1}[ParquetSink("/lake/x", partition_by=("a", "b"))] == 1


# ---- computes


@every
@pytest.mark.parametrize("kind", sorted(COMPUTE_KINDS))
def test_a_sink_is_written_by_a_compute_or_the_pair_is_refused_with_an_alternative(sink: type[Sink], kind: str) -> None:
    made = minimal(sink)
    if kind in sink.computes:
        assert made.check_compute(kind) is None
        return
    with pytest.raises(UnsupportedSinkError) as caught:
        made.check_compute(kind)
    assert f"{sink.__name__} cannot be written by {kind!r} compute" in str(caught.value)
    assert "Use ParquetSink there instead" in str(caught.value)


@pytest.mark.parametrize(("sink", "kind"), CANNOT)
def test_formats_that_a_compute_does_not_have_are_refused_there(sink: type[Sink], kind: str) -> None:
    with pytest.raises(UnsupportedSinkError):
        minimal(sink).check_compute(kind)


def test_parquet_is_written_everywhere_and_every_sink_by_the_embedded_compute() -> None:
    assert ParquetSink.computes == COMPUTE_KINDS
    assert all("local" in sink.computes for sink in SINKS)


# ---- assets


@pytest.mark.parametrize(
    ("sink", "uri"),
    [
        (ParquetSink("/lake/x.parquet"), "file:///lake/x.parquet"),
        (ParquetSink("s3://lake/orders/{{ run_id }}/"), "s3://lake/orders"),
        (CsvSink("/lake/{{ run_id }}.csv"), "file:///lake"),
        (CsvSink("s3://lake/{{ run_id }}.csv"), "s3://lake/"),
    ],
)
def test_the_asset_of_a_sink_is_the_data_set_and_not_one_write_of_it(sink: Sink, uri: str) -> None:
    asset = sink.asset()
    assert isinstance(asset, Asset)
    assert (asset.uri, asset.name) == (uri, uri)
    assert sink.asset(name="orders").name == "orders"
    assert asset == Asset(uri)


def test_a_sink_without_a_fixed_beginning_has_no_asset() -> None:
    with pytest.raises(ConfigurationError, match=r"ParquetSink.asset\(\) needs a target with a fixed beginning"):
        ParquetSink("{{ params.path }}").asset()
