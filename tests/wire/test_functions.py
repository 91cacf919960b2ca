"""Python functions inside queries."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.io.plugins import register_io_source

FRAME = pl.LazyFrame({"a": [1, 2, 3], "k": ["x", "x", "y"]})


def test_elements_and_batches_are_mapped_on_the_worker(context: Any) -> None:
    offset = 10
    frame = FRAME.select(
        pl.col("a").map_elements(lambda value: value + offset, return_dtype=pl.Int64),
        pid=pl.col("a").map_batches(lambda column: pl.Series([os.getpid()] * len(column)), return_dtype=pl.Int64),
    )

    collected = frame.remote(context).single_node().collect()

    assert collected["a"].to_list() == [11, 12, 13]
    assert os.getpid() not in collected["pid"]


def test_groups_are_mapped(context: Any) -> None:
    grouped = FRAME.group_by("k").map_groups(
        lambda group: group.select("k", pl.col("a").sum()).head(1), schema={"k": pl.String, "a": pl.Int64}
    )

    assert sorted(grouped.remote(context).single_node().collect().rows()) == [("x", 3), ("y", 3)]


def test_a_python_source_is_read_on_the_worker(context: Any) -> None:
    def read(
        with_columns: list[str] | None, predicate: pl.Expr | None, n_rows: int | None, batch_size: int | None
    ) -> Iterator[pl.DataFrame]:
        yield pl.DataFrame({"pid": [os.getpid()]})

    frame = register_io_source(read, schema={"pid": pl.Int64})

    assert frame.remote(context).single_node().collect()["pid"].item() != os.getpid()


def test_a_function_of_a_module_that_workers_lack_is_named(
    context: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_here.py").write_text("def same(column):\n    return column\n")
    monkeypatch.syspath_prepend(tmp_path)
    function = importlib.import_module("only_here").same

    frame = FRAME.select(pl.col("a").map_batches(function, return_dtype=pl.Int64))

    with pytest.raises(ModuleNotFoundError, match="only_here"):
        frame.remote(context).single_node().execute()
