"""Tables appear complete or not at all."""

from __future__ import annotations

import subprocess
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pytest_mock import MockerFixture

from tests.wire.pdsh.data import generate, scan

SMALL = 0.001


def test_every_table_has_the_rows_of_its_scale(tmp_path: Path) -> None:
    generate(tmp_path / "pdsh", SMALL)

    rows = {name: table.select(pl.len()).collect().item() for name, table in asdict(scan(tmp_path / "pdsh")).items()}
    assert rows == {
        "customer": 150,
        "lineitem": 6005,
        "nation": 25,
        "orders": 1500,
        "part": 200,
        "partsupp": 800,
        "region": 5,
        "supplier": 10,
    }


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    (tmp_path / "pdsh").mkdir()

    generate(tmp_path / "pdsh", SMALL)

    assert list((tmp_path / "pdsh").iterdir()) == []


def test_nothing_is_left_of_a_generation_that_failed(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        generate(tmp_path / "pdsh", scale=-1)

    assert list(tmp_path.iterdir()) == []


def test_tables_of_a_faster_process_are_kept(tmp_path: Path, mocker: MockerFixture) -> None:
    real_run = subprocess.run
    of_other_process = tmp_path / "pdsh" / "region.parquet"

    def run_beside_other_process(command: list[str], **kwargs: Any) -> None:
        real_run(command, **kwargs)
        of_other_process.parent.mkdir()
        of_other_process.touch()

    mocker.patch("subprocess.run", run_beside_other_process)
    generate(tmp_path / "pdsh", SMALL)

    assert list(tmp_path.iterdir()) == [of_other_process.parent]
    assert list(of_other_process.parent.iterdir()) == [of_other_process]
