"""What people are told of the worker that a query runs on."""

from __future__ import annotations

import importlib.metadata
import socket
import sys

import polars as pl
import pytest

from airflow_provider_polars import LocalCompute
from airflow_provider_polars.backends.local import LocalBackend


@pytest.mark.parametrize(
    ("compute", "words"),
    [
        (LocalCompute(), f"Polars {pl.__version__}, engine auto"),
        (LocalCompute(engine="streaming", threads=4), f"Polars {pl.__version__}, engine streaming, 4 threads"),
        (LocalCompute(python="/opt/py/bin/python"), "the Polars of /opt/py/bin/python, engine auto"),
    ],
)
def test_a_worker_is_told_with_its_polars_and_engine(compute: LocalCompute, words: str) -> None:
    assert LocalBackend(compute).where() == f"worker {socket.gethostname()}, {words}"


def test_a_polars_of_another_distribution_that_is_not_loaded_is_of_an_unknown_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    monkeypatch.delitem(sys.modules, "polars")
    assert LocalBackend(LocalCompute()).where().endswith("Polars of an unknown version, engine auto")
