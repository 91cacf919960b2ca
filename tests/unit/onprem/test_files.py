"""TOML files: written for their owner alone, read with messages, the same after a round trip."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from airflow_provider_polars.exceptions import ConfigurationError
from airflow_provider_polars.onprem import files
from tests.unit.onprem.tables import tables


@settings(max_examples=60, deadline=None)
@given(tables())
def test_what_is_written_is_read_as_the_same_values(data: dict[str, Any]) -> None:
    assert files.loads(files.dumps(data), "x") == data


def test_files_and_their_folder_are_private_and_replaced_whole(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    before = os.umask(0)
    try:
        files.write_all(folder, {"x.toml": "a = 1\n"})
        (written,) = files.write_all(folder, {"x.toml": "a = 2\n"})
    finally:
        os.umask(before)
    assert written.read_text() == "a = 2\n"
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [path.name for path in folder.iterdir()] == ["x.toml"]


def test_a_link_in_place_of_a_file_is_replaced_and_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("mine")
    (tmp_path / "x.toml").symlink_to(target)
    (tmp_path / ".x.toml.part").symlink_to(target)
    files.write_all(tmp_path, {"x.toml": "a = 1\n"})
    assert target.read_text() == "mine"
    assert not (tmp_path / "x.toml").is_symlink()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a = $HOME", "is not TOML: Invalid value (at line 1, column 5)"),
        (b"a = 1\na = 2", "is not TOML: Cannot overwrite a value"),
        (b"a = '\xff'", "is not TOML: byte 5 is not UTF-8"),
        (b"#" * (files.LARGEST + 1), "is no configuration: it is larger than 1048576 bytes"),
        (b"a = " + b"[" * 100_000, "is not read: it is nested too deeply"),
    ],
)
def test_what_is_no_configuration_is_told_with_its_file(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "x.toml"
    file.write_bytes(content)
    with pytest.raises(ConfigurationError) as raised:
        files.read(file)
    assert str(raised.value).startswith(f"{file} ")
    assert message in str(raised.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"x\.toml cannot be read: No such file or directory\."):
        files.read(tmp_path / "x.toml")
    with pytest.raises(ConfigurationError, match=r"cannot be read: Is a directory\."):
        files.read(tmp_path)


def test_a_folder_that_cannot_be_written_to_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"file.* cannot be written"):
        files.write_all(tmp_path / "file", {"x.toml": ""})
