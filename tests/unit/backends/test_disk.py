"""Disks that are full, read-only or forbidden: a clear error, and the earlier result as it was."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest

from airflow_provider_polars.compute.local import LocalCompute
from airflow_provider_polars.exceptions import SinkWriteError
from airflow_provider_polars.query.sinks import CsvSink, FileSink, IpcSink, NdjsonSink, ParquetSink
from airflow_provider_polars.query.table_sinks import DeltaSink
from tests.unit.backends.local_runs import IN_CHILD, IN_PROCESS, read, run_one

Tree = Callable[[Path], dict[str, bytes]]
NOBODY = 65534
both = pytest.mark.parametrize("compute", [IN_PROCESS, IN_CHILD], ids=["in process", "in a child"])


def small() -> pl.LazyFrame:
    return pl.LazyFrame({"id": [1, 2, 3]})


def large() -> pl.LazyFrame:
    return pl.LazyFrame({"id": pl.int_range(500_000, eager=True)}).with_columns(
        noise=pl.col("id").hash().cast(pl.Int64, wrap_numerical=True)
    )


@both
@pytest.mark.parametrize("kind", [ParquetSink, CsvSink, IpcSink, NdjsonSink])
def test_a_full_disk_is_named_and_the_earlier_file_and_directory_stay(
    small_disk: Path, tree: Tree, kind: type[FileSink], compute: LocalCompute
) -> None:
    for sink in (kind(str(small_disk / "file")), kind(str(small_disk / "folder"), max_rows_per_file=100_000)):
        run_one(small, sink)
    before = tree(small_disk)

    for sink in (kind(str(small_disk / "file")), kind(str(small_disk / "folder"), max_rows_per_file=100_000)):
        with pytest.raises(SinkWriteError, match=r"Cannot write .*No space left on device.*free space") as caught:
            run_one(large, sink, compute)
        assert sink.path in str(caught.value)
        assert caught.value.__cause__ is not None

        assert {name: data for name, data in tree(small_disk).items() if not name.startswith(".")} == before
        run_one(small, sink, compute)

    assert sorted(os.listdir(small_disk)) == ["file", "folder"]


@pytest.mark.parametrize("kind", [ParquetSink, CsvSink, IpcSink, NdjsonSink])
def test_a_failure_is_reported_once_the_writers_of_the_other_files_have_ended(
    small_disk: Path, kind: type[FileSink]
) -> None:
    def many_files() -> pl.LazyFrame:
        return large().with_columns(part=pl.col("id") % 20)

    for _ in range(5):
        with pytest.raises(SinkWriteError, match="The disk is full"):
            run_one(many_files, kind(str(small_disk / "folder"), partition_by=["part"]))
        assert [path for path in open_files() if path.startswith(str(small_disk))] == []
        assert os.listdir(small_disk) == []


def open_files() -> list[str]:
    folder = Path("/proc/self/fd")
    return [os.readlink(folder / name) for name in os.listdir(folder) if (folder / name).is_symlink()]


def test_a_query_fits_again_once_there_is_space(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(2_000_000))
    sink = CsvSink(str(small_disk / "a.csv"))
    with pytest.raises(SinkWriteError, match="The disk is full"):
        run_one(lambda: large().head(50_000), sink)
    ballast.unlink()

    assert run_one(lambda: large().head(50_000), sink).rows == 50_000


def test_a_full_disk_leaves_a_delta_table_as_it_was(small_disk: Path) -> None:
    sink = DeltaSink(str(small_disk / "table"), mode="append")
    earlier = run_one(small, sink, mark="run 1")

    with pytest.raises(SinkWriteError, match="No space left on device"):
        run_one(lambda: large().select("noise").rename({"noise": "id"}), sink, mark="run 2")

    assert read(earlier).sort("id").equals(small().collect())


@pytest.mark.parametrize("path", ["a.csv", "folder/", "new/deep/a.csv"])
def test_a_read_only_file_system_is_named_before_the_query_runs(
    mounted: Callable[..., Path], tree: Tree, path: str
) -> None:
    disk = mounted("-t", "tmpfs", "tmpfs")
    run_one(small, CsvSink(str(disk / "a.csv")))
    run_one(small, CsvSink(f"{disk}/folder/"))
    before = tree(disk)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)

    with pytest.raises(SinkWriteError, match=r"Read-only file system\. The file system is read-only: choose"):
        run_one(must_not_run, CsvSink(f"{disk}/{path}"))

    assert tree(disk) == before


def must_not_run() -> pl.LazyFrame:
    raise AssertionError("the query was built although its target cannot be written")


@contextmanager
def as_nobody() -> Iterator[int]:
    """Give up the powers of root, if this process has them, for which no permission is an obstacle."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield os.geteuid()
    finally:
        os.seteuid(user)


@pytest.fixture
def locked() -> Iterator[Path]:
    """Make a folder that everybody may read and nobody may write, with an earlier result in it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "locked"
        folder.mkdir()
        Path(name).chmod(0o755)
        run_one(small, CsvSink(str(folder / "a.csv")))
        folder.chmod(0o555)
        yield folder
        folder.chmod(0o755)


@pytest.mark.parametrize("path", ["a.csv", "folder/", "new/deep/a.csv"])
def test_a_folder_without_write_permission_is_named_with_the_user_who_needs_it(
    locked: Path, tree: Tree, path: str
) -> None:
    before = tree(locked)

    with as_nobody() as user, pytest.raises(SinkWriteError) as caught:
        run_one(must_not_run, CsvSink(f"{locked}/{path}"))

    assert f"Cannot write {locked}" in str(caught.value)
    assert f"Permission denied. Give the user {user} of the worker write permission" in str(caught.value)
    assert tree(locked) == before
