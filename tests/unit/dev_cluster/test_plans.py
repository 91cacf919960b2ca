"""Plans as clients send them: read, cut and changed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from airflow_provider_polars.dev_cluster.worker import plans
from airflow_provider_polars.dev_cluster.worker.plans import FLIGHT, IN_MEMORY, Sink
from tests.harness.cloud_plans import plan_of

FRAME = pl.LazyFrame({"a": [1, 2, 3], "k": ["x", "y", "x"]})
GROUPED = FRAME.join(FRAME, on="k").group_by("k").agg(pl.col("a").sum()).sort("k")
DEFAULTS = {"has_header": True, "separator": ",", "quote_char": '"', "eol_char": "\n", "decimal_comma": False}


def parquet(target: Any, frame: pl.LazyFrame = GROUPED, **options: Any) -> bytes:
    return plan_of(frame.sink_parquet(target, lazy=True, **options))


def test_plans_begin_with_the_header_of_this_polars() -> None:
    assert parquet("/out").startswith(plans.header())
    assert len(plans.header()) == plans.HEADER_BYTES


@pytest.mark.parametrize(
    ("sink", "expected"),
    [
        (lambda frame: frame.sink_parquet("/out.parquet", lazy=True), Sink("File", "/out.parquet", "parquet")),
        (lambda frame: frame.sink_parquet("é" * 40, lazy=True), Sink("File", "é" * 40, "parquet")),
        (lambda frame: frame.sink_ipc("out.arrow", lazy=True), Sink("File", "out.arrow", "ipc")),
        (lambda frame: frame.sink_ndjson("/out.jsonl", lazy=True), Sink("File", "/out.jsonl", "ndjson")),
        (
            lambda frame: frame.sink_csv("/out.csv", lazy=True),
            Sink("File", "/out.csv", "csv", scan_options=DEFAULTS),
        ),
        (
            lambda frame: frame.sink_csv(
                "/o", lazy=True, include_header=False, separator=";", quote_char="'", line_terminator="\r\n"
            ),
            Sink(
                *("File", "/o", "csv"),
                scan_options=DEFAULTS | {"has_header": False, "separator": ";", "quote_char": "'"},
            ),
        ),
        (lambda frame: frame.sink_parquet(IN_MEMORY, lazy=True), Sink("File", IN_MEMORY, "parquet")),
        (lambda frame: frame.sink_parquet(FLIGHT, lazy=True), Sink("File", FLIGHT, "parquet")),
        (
            lambda frame: frame.sink_parquet(pl.PartitionBy("/out/", key="k"), lazy=True, mkdir=True),
            Sink("Partitioned", "/out/", "parquet"),
        ),
        (
            lambda frame: frame.sink_csv(pl.PartitionBy("/out", max_rows_per_file=1), lazy=True, mkdir=True),
            Sink("Partitioned", "/out", "csv", scan_options=DEFAULTS),
        ),
    ],
)
def test_the_sink_of_a_plan_is_read(sink: Callable[[pl.LazyFrame], pl.LazyFrame], expected: Sink) -> None:
    assert plans.sink_of(plan_of(sink(GROUPED))) == expected


def test_the_storage_options_of_a_sink_are_those_that_a_scan_takes() -> None:
    options = {"aws_access_key_id": "id", "aws_secret_access_key": "key", "aws_endpoint_url": "http://127.0.0.1:1"}

    sink = plans.sink_of(parquet("s3://lake/out", storage_options=options, credential_provider=None))

    assert sink is not None
    assert sink.target == "s3://lake/out"
    assert sink.storage_options.items() >= {"aws_access_key_id": "id", "aws_secret_access_key": "key"}.items()
    assert "http://127.0.0.1:1" in sink.storage_options.values()


def test_several_sinks_are_not_looked_into() -> None:
    both = pl.collect_all([FRAME.sink_parquet("/a", lazy=True), FRAME.sink_parquet("/b", lazy=True)], lazy=True)

    assert plans.sink_of(plan_of(both)) == Sink("Multiple")


def test_a_function_that_takes_batches_is_a_sink() -> None:
    # Polars before 1.43 does not give it to clients.
    assert plans.sink_of(GROUPED.sink_batches(print, lazy=True).serialize()) == Sink("Callback")


def test_a_plan_without_a_sink_has_none() -> None:
    assert plans.sink_of(FRAME.serialize()) is None


@pytest.mark.parametrize("old_length", [1, 31, 32, 255, 256, 65_535, 65_536])
@pytest.mark.parametrize("new_length", [1, 31, 32, 255, 256, 65_535, 65_536])
def test_a_target_is_replaced_by_one_of_any_length(old_length: int, new_length: int) -> None:
    old, new = "o" * old_length, "n" * new_length

    changed = plans.with_target(parquet(old), old, new)

    assert plans.sink_of(changed) == Sink("File", new, "parquet")
    assert changed == parquet(new)


def test_the_sink_alone_is_changed_where_the_rows_hold_the_same_text(tmp_path: Path) -> None:
    rows = pl.LazyFrame({"a": [IN_MEMORY, "x"]}).with_columns(b=pl.lit(IN_MEMORY))
    file = tmp_path / "out.parquet"

    plans.load(plans.with_target(parquet(IN_MEMORY, rows), IN_MEMORY, str(file))).collect()

    assert pl.read_parquet(file).equals(rows.collect())


def test_a_target_that_the_plan_does_not_name_cannot_be_replaced() -> None:
    with pytest.raises(ValueError, match="does not name '/other'"):
        plans.with_target(parquet("/out"), "/other", "/new")


@pytest.mark.parametrize("nodes", [1, 130, 300])
def test_the_rows_that_a_sink_reads_are_those_of_the_query(nodes: int) -> None:
    frame = FRAME
    for number in range(nodes):
        frame = frame.with_columns(pl.lit(number).alias("b")).filter(pl.col("a") != number + 3)

    assert plans.load(plans.without_sink(parquet("/out", frame))).collect().equals(frame.collect())


def test_a_plan_without_a_sink_cannot_be_cut() -> None:
    with pytest.raises(ValueError, match="no sink at its root"):
        plans.without_sink(FRAME.serialize())


@pytest.mark.parametrize("end", [0, 40, plans.HEADER_BYTES, plans.HEADER_BYTES + 30, -1])
def test_a_plan_that_is_cut_off_is_refused(end: int) -> None:
    with pytest.raises((pl.exceptions.ComputeError, ValueError)):
        plans.load(parquet("/out")[:end])


def test_the_bits_of_optimizations_are_those_of_their_names() -> None:
    names = {bit: name for bit, name in plans._OPTIMIZATIONS.items() if hasattr(pl.QueryOptFlags()._pyoptflags, name)}

    def switched_on(bits: int) -> set[str]:
        flags = plans.optimizations(bits)._pyoptflags
        return {name for name in names.values() if getattr(flags, name)}

    assert switched_on(0) == set()
    assert switched_on(2**64 - 1) == set(names.values())
    for bit, name in names.items():
        assert switched_on(1 << bit) == {name}


def test_without_bits_the_optimizations_are_those_of_polars() -> None:
    names = [name for name in plans._OPTIMIZATIONS.values() if hasattr(pl.QueryOptFlags()._pyoptflags, name)]

    chosen, default = plans.optimizations(None)._pyoptflags, pl.QueryOptFlags()._pyoptflags

    assert [getattr(chosen, name) for name in names] == [getattr(default, name) for name in names]
