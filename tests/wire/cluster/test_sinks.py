"""What a sink says is how the cluster writes."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from airflow_provider_polars import CsvSink, IpcSink, LocalCompute, NdjsonSink, ParquetSink
from airflow_provider_polars.exceptions import UnsupportedSinkError
from airflow_provider_polars.query.sinks import FileSink
from tests.unit.outcomes import failure, succeeded

if TYPE_CHECKING:
    from airflow_provider_polars.testing import DevCluster
    from tests.wire.cluster.conftest import Plans, Run

ROWS = pl.DataFrame(
    {
        "id": range(1000),
        "text": ["some text; that compresses well", None] * 500,
        "half": [0.5, 1e-9] * 500,
        "day": [dt.date(2026, 1, 3)] * 1000,
        "moment": [dt.datetime(2026, 1, 3, 14, 5)] * 1000,
        "clock": [dt.time(14, 5)] * 1000,
    }
)
OPTIONS: list[tuple[type[FileSink], dict[str, Any]]] = [
    (ParquetSink, {"compression": "gzip"}),
    (ParquetSink, {"compression_level": 19}),
    (ParquetSink, {"statistics": False}),
    (ParquetSink, {"row_group_size": 300}),
    (ParquetSink, {"data_page_size": 100}),
    (CsvSink, {"include_header": False}),
    (CsvSink, {"include_bom": True}),
    (CsvSink, {"separator": ";"}),
    (CsvSink, {"line_terminator": "\r\n"}),
    (CsvSink, {"quote_char": "'", "quote_style": "always"}),
    (CsvSink, {"quote_style": "non_numeric"}),
    (CsvSink, {"null_value": "NA"}),
    (CsvSink, {"datetime_format": "%d.%m.%Y %H:%M"}),
    (CsvSink, {"date_format": "%d.%m.%Y"}),
    (CsvSink, {"time_format": "%H:%M"}),
    (CsvSink, {"float_scientific": True}),
    (CsvSink, {"float_precision": 3}),
    (CsvSink, {"decimal_comma": True, "separator": ";"}),
    (IpcSink, {"compression": "lz4"}),
]
OF_THE_WRITER_ALONE: list[tuple[type[FileSink], dict[str, Any]]] = [
    (ParquetSink, {"maintain_order": False}),
    (CsvSink, {"maintain_order": False}),
    (CsvSink, {"batch_size": 7}),
    (IpcSink, {"maintain_order": False}),
]
REFUSED: list[tuple[type[FileSink], dict[str, Any]]] = [
    (CsvSink, {"compression": "gzip"}),
    (CsvSink, {"compression_level": 9}),
    (IpcSink, {"record_batch_size": 10}),
]


def written_here(sink: FileSink, path: Path) -> bytes:
    """Return the bytes of the file that Polars writes by itself with the options of a sink."""
    lacking = {name for kind, options in REFUSED if isinstance(sink, kind) for name in options}
    options = {name: getattr(sink, name) for name in sink.write_options if name not in lacking}
    getattr(ROWS.lazy(), f"sink_{sink.kind}")(path, **options)
    return path.read_bytes()


@pytest.mark.parametrize("distributed", [False, {"sink_to_single_file": True}])
@pytest.mark.parametrize("kind", [ParquetSink, CsvSink, IpcSink])
def test_a_file_is_what_polars_writes_here_and_reads_back(
    run: Run, tmp_path: Path, kind: type[FileSink], distributed: Any
) -> None:
    sink = kind(f"{tmp_path}/rows.{kind.extension}")

    result = succeeded(run(ROWS.lazy(), sink=sink, distributed=distributed))

    assert (result["locations"], result["format"], result["rows"]) == ([sink.path], sink.kind, 1000)
    assert Path(sink.path).read_bytes() == written_here(sink, tmp_path / "here")
    read = succeeded(run(lambda rows: rows.select("id", "text", "half"), result, compute=LocalCompute()))
    assert_frame_equal(pl.read_parquet(read["locations"][0]), ROWS.select("id", "text", "half"))


@pytest.mark.parametrize(("kind", "options"), OPTIONS)
def test_an_option_of_the_writer_reaches_the_file(
    run: Run, tmp_path: Path, kind: type[FileSink], options: dict[str, Any]
) -> None:
    sink = kind(f"{tmp_path}/there", **options)

    succeeded(run(ROWS.lazy(), sink=sink, distributed=False))

    there = Path(sink.path).read_bytes()
    assert there == written_here(sink, tmp_path / "here")
    assert there != written_here(kind(sink.path), tmp_path / "default")


@pytest.mark.parametrize(("kind", "options"), OF_THE_WRITER_ALONE)
def test_an_option_that_no_file_shows_is_in_the_plan(
    run: Run, plans: Plans, tmp_path: Path, kind: type[FileSink], options: dict[str, Any]
) -> None:
    sink = kind(f"{tmp_path}/there", **options)

    succeeded(run(ROWS.lazy(), sink=sink, distributed=False))

    ((name, value),) = options.items()
    assert f'"{name}":{str(value).lower()}' in plans.sink()


def test_every_option_of_a_writer_is_tried() -> None:
    for kind in (ParquetSink, CsvSink, IpcSink):
        tried = {name for cls, options in [*OPTIONS, *OF_THE_WRITER_ALONE, *REFUSED] if cls is kind for name in options}
        assert set(kind.write_options) == tried


@pytest.mark.parametrize(("kind", "options"), REFUSED)
def test_an_option_that_the_client_lacks_is_refused_by_name_first_thing(
    run: Run, polars_dev_cluster: DevCluster, tmp_path: Path, kind: type[FileSink], options: dict[str, Any]
) -> None:
    called: list[None] = []

    outcome = run(lambda: called.append(None), sink=kind(f"{tmp_path}/there.x", **options))

    ((name, _),) = options.items()
    assert f"RefusedOptionError: {kind.__name__}({name}=) is no option of the clusters" in failure(outcome)
    assert called == []
    assert polars_dev_cluster.recorder.calls() == []


def test_json_lines_are_refused_before_the_task_runs(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedSinkError, match="NdjsonSink cannot be written by 'cluster' compute; it can by"):
        run(ROWS.lazy(), sink=NdjsonSink(f"{tmp_path}/rows.jsonl"))


def test_several_outputs_are_written_each_with_its_own_sink(run: Run, tmp_path: Path) -> None:
    sinks = {"odd": ParquetSink(f"{tmp_path}/odd.parquet"), "even": CsvSink(f"{tmp_path}/even.csv"), "all": None}

    def query() -> dict[str, pl.LazyFrame]:
        odd = pl.col("id") % 2 == 1
        return {"odd": ROWS.lazy().filter(odd), "even": ROWS.lazy().filter(~odd), "all": ROWS.lazy()}

    results = succeeded(run(query, sink=sinks))

    assert {name: (result["format"], result["rows"]) for name, result in results.items()} == {
        "odd": ("parquet", 500),
        "even": ("csv", 500),
        "all": ("parquet", 1000),
    }
    assert pl.read_csv(tmp_path / "even.csv")["id"].to_list() == list(range(0, 1000, 2))
