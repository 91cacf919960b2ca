"""Tables of TPC-H as Parquet files."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass, fields
from pathlib import Path

import polars as pl


@dataclass(frozen=True)
class Tables:
    """The eight tables."""

    customer: pl.LazyFrame
    lineitem: pl.LazyFrame
    nation: pl.LazyFrame
    orders: pl.LazyFrame
    part: pl.LazyFrame
    partsupp: pl.LazyFrame
    region: pl.LazyFrame
    supplier: pl.LazyFrame


def generate(folder: Path, scale: float) -> None:
    """Write a Parquet file for each table to ``folder``, unless the folder is there.

    It appears when all its files are complete.
    """
    if folder.is_dir():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{folder.name}-", dir=folder.parent) as unfinished:
        made = Path(unfinished) / "made"
        command = Path(sys.executable).with_name("tpchgen-cli")
        subprocess.run([command, "parquet", f"--scale-factor={scale}", f"--output-dir={made}", "--quiet"], check=True)
        _appear(made, folder)


def _appear(made: Path, folder: Path) -> None:
    try:
        made.rename(folder)
    except OSError:
        if not folder.is_dir():  # else another process was faster
            raise


def scan(folder: Path) -> Tables:
    """Return the tables that :func:`generate` wrote to ``folder``."""
    return Tables(**{table.name: pl.scan_parquet(folder / f"{table.name}.parquet") for table in fields(Tables)})
