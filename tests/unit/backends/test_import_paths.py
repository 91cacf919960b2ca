"""Which folders a child process may import from."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import pytest

from airflow_provider_polars.backends.execution import import_paths


def test_a_dag_folder_below_the_prefix_of_python_is_handed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "airflow" / "dags"
    folder.mkdir(parents=True)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(sys, "path", ["", str(folder), str(tmp_path / "missing"), *sys.path])
    assert str(folder) in import_paths()
    assert str(tmp_path / "missing") not in import_paths()


def test_folders_of_the_installation_are_left_to_the_interpreter_of_the_child() -> None:
    assert not {sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")} & set(import_paths())
