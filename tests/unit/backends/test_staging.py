"""Local writes are all or nothing."""

from __future__ import annotations

import ctypes
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_mock import MockerFixture

from airflow_provider_polars.backends import staging
from airflow_provider_polars.backends.staging import MANIFEST, Staging
from airflow_provider_polars.exceptions import SinkWriteError
from airflow_provider_polars.runner import list_files, scan

Tree = Callable[[Path], dict[str, bytes]]
MARK = "0123456789abcdef"


def stage(target: Path, files: dict[str, str] | str, *, mark: str = MARK) -> Staging:
    """Stage a file of this text, or a directory of these files."""
    staged = Staging(str(target), directory=isinstance(files, dict), extension="csv", mark=mark)
    if isinstance(files, str):
        Path(staged.path).write_text(files)
    else:
        for name, text in files.items():
            path = Path(staged.path) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return staged


def scanned(target: Path) -> list[str]:
    """Return the values that a downstream task reads from a directory."""
    return sorted(scan({"format": "csv", "locations": [str(target)]}).collect()["a"].cast(str).to_list())


@pytest.fixture
def no_exchange(mocker: MockerFixture) -> None:
    """Answer every exchange as a file system without one does."""
    library = mocker.patch.object(ctypes, "CDLL").return_value
    library.renameat2.return_value = -1
    mocker.patch.object(ctypes, "get_errno", return_value=errno.EINVAL)


def test_a_file_appears_at_its_commit_and_not_before(tmp_path: Path, tree: Tree) -> None:
    target = tmp_path / "new" / "folder" / "a.csv"
    staged = stage(target, "a\n1\n")
    assert not target.exists()

    assert staged.commit() == [str(target)]

    assert tree(tmp_path) == {"new/folder/a.csv": b"a\n1\n"}


def test_a_discarded_write_leaves_the_earlier_file(tmp_path: Path, tree: Tree) -> None:
    stage(tmp_path / "a.csv", "a\n1\n").commit()

    stage(tmp_path / "a.csv", "a\n2\n").discard()

    assert tree(tmp_path) == {"a.csv": b"a\n1\n"}


def test_a_directory_is_replaced_as_a_whole(tmp_path: Path, tree: Tree) -> None:
    target = tmp_path / "d"
    stage(target, {"0.csv": "a\n1\n", "k=x/0.csv": "a\n2\n"}).commit()

    files = stage(target, {"1.csv": "a\n3\n"}).commit()

    assert files == [str(target / "1.csv")]
    assert tree(tmp_path) == {"d/1.csv": b"a\n3\n"}


def test_the_exchange_of_a_directory_is_one_step_of_the_system(tmp_path: Path, mocker: MockerFixture) -> None:
    exchange = mocker.spy(staging, "_exchange")
    earlier = stage(tmp_path / "d", {"0.csv": "a\n1\n"})
    earlier.commit()
    inode = (tmp_path / "d").stat().st_ino

    stage(tmp_path / "d", {"0.csv": "a\n2\n"}).commit()

    assert exchange.call_count == 1
    assert exchange.spy_exception is None
    assert (tmp_path / "d").stat().st_ino != inode


@pytest.mark.usefixtures("no_exchange")
def test_without_exchange_a_manifest_decides_which_files_count(tmp_path: Path) -> None:
    target = tmp_path / "d"
    stage(target, {"0.csv": "a\n1\n", "k=x/0.csv": "a\n2\n"}).commit()

    files = stage(target, {"0.csv": "a\n3\n", "k=y/0.csv": "a\n4\n"}).commit()

    assert scanned(target) == ["3", "4"]
    assert sorted(list_files(str(target))) == sorted(files)
    assert os.listdir(tmp_path) == ["d"]
    assert sorted(str(target / name) for name in json.loads((target / MANIFEST).read_text())["files"]) == files


@pytest.mark.usefixtures("no_exchange")
@pytest.mark.parametrize("failing", [1, 2, 3, 4])
def test_without_exchange_a_commit_that_fails_midway_leaves_the_earlier_rows(
    tmp_path: Path, mocker: MockerFixture, failing: int
) -> None:
    target = tmp_path / "d"
    stage(target, {"0.csv": "a\n1\n", "1.csv": "a\n2\n"}).commit()
    new = stage(target, {"0.csv": "a\n3\n", "1.csv": "a\n4\n"})
    fail_at_rename(mocker, failing)

    with pytest.raises(SinkWriteError, match=r"Cannot write .*Input/output error"):
        new.commit()

    assert scanned(target) == ["1", "2"]
    mocker.stopall()
    stage(target, {"0.csv": "a\n5\n"}).commit()
    assert scanned(target) == ["5"]


def fail_at_rename(mocker: MockerFixture, failing: int) -> None:
    """Make the n-th rename or replace fail, whichever of the two it is."""
    done = {"rename": os.rename, "replace": os.replace}
    calls: list[str] = []

    def patched(name: str) -> Callable[..., Any]:
        def move(*arguments: Any) -> Any:
            calls.append(name)
            if len(calls) == failing:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return done[name](*arguments)

        return move

    for name in done:
        mocker.patch.object(os, name, patched(name))


@pytest.mark.usefixtures("no_exchange")
def test_files_beside_a_manifest_are_not_read_and_go_with_the_next_commit(tmp_path: Path) -> None:
    target = tmp_path / "d"
    stage(target, {"0.csv": "a\n1\n"}).commit()
    stage(target, {"0.csv": "a\n2\n"}).commit()
    (target / "orphan.csv").write_text("a\n9\n")
    assert scanned(target) == ["2"]

    stage(target, {"0.csv": "a\n3\n"}).commit()

    assert scanned(target) == ["3"]
    assert not (target / "orphan.csv").exists()


def test_a_directory_with_a_manifest_is_exchanged_again_where_the_file_system_can(tmp_path: Path, tree: Tree) -> None:
    stage(tmp_path / "d", {"0.csv": "a\n1\n"}).commit()
    (tmp_path / "d" / MANIFEST).write_text(json.dumps({"files": ["0.csv"]}))

    stage(tmp_path / "d", {"1.csv": "a\n2\n"}).commit()

    assert tree(tmp_path) == {"d/1.csv": b"a\n2\n"}


def test_a_directory_that_holds_foreign_files_is_refused_before_the_query_runs(tmp_path: Path, tree: Tree) -> None:
    (tmp_path / "d" / "deep").mkdir(parents=True)
    (tmp_path / "d" / "deep" / "thesis.odt").write_text("years of work")

    with pytest.raises(SinkWriteError, match=r"holds '.*thesis\.odt', which is no \.csv file.*one of its own"):
        stage(tmp_path / "d", {"0.csv": "a\n1\n"})

    assert tree(tmp_path) == {"d/deep/thesis.odt": b"years of work"}


def test_a_directory_that_got_foreign_files_while_the_query_ran_is_not_replaced(tmp_path: Path, tree: Tree) -> None:
    stage(tmp_path / "d", {"0.csv": "a\n1\n"}).commit()
    staged = stage(tmp_path / "d", {"0.csv": "a\n2\n"})
    (tmp_path / "d" / "thesis.odt").write_text("years of work")

    with pytest.raises(SinkWriteError, match="thesis"):
        staged.commit()

    assert tree(tmp_path) == {"d/0.csv": b"a\n1\n", "d/thesis.odt": b"years of work"}


def test_marker_files_of_other_tools_do_not_make_a_directory_foreign(tmp_path: Path, tree: Tree) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "_SUCCESS").touch()

    stage(tmp_path / "d", {"0.csv": "a\n1\n"}).commit()

    assert tree(tmp_path) == {"d/0.csv": b"a\n1\n"}


def test_a_file_is_not_replaced_by_a_directory_nor_a_directory_by_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("a\n1\n")
    (tmp_path / "folder").mkdir()

    with pytest.raises(SinkWriteError, match="file is a file already and the sink writes a directory"):
        stage(tmp_path / "file", {})
    with pytest.raises(SinkWriteError, match="folder is a directory already and the sink writes a file"):
        stage(tmp_path / "folder", "")


def test_the_next_try_removes_what_a_killed_one_left_and_nothing_else(tmp_path: Path, tree: Tree) -> None:
    stage(tmp_path / "a[1]*.csv", "killed")
    stage(tmp_path / "a[1]*.csv", "of another run", mark="fedcba9876543210")
    stage(tmp_path / "b.csv", "of another output")

    stage(tmp_path / "a[1]*.csv", "a\n1\n").commit()

    left = tree(tmp_path)
    assert left.pop("a[1]*.csv") == b"a\n1\n"
    assert sorted(left.values()) == [b"of another output", b"of another run"]


@pytest.mark.parametrize("name", ["x" * 255, "ü" * 120 + ".csv", "\N{BEAR FACE}" * 63])
def test_names_of_any_length_and_alphabet_can_be_staged(tmp_path: Path, tree: Tree, name: str) -> None:
    stage(tmp_path / name, "a\n1\n").commit()

    assert tree(tmp_path) == {name: b"a\n1\n"}


def test_a_folder_that_is_a_file_is_said_to_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(SinkWriteError, match=r"Cannot write .*/file/a\.csv: (Not a directory|File exists)"):
        stage(tmp_path / "file" / "a.csv", "")
