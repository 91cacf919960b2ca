"""The ``[polars]`` section, read in the task."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_polars.exceptions import ConfigurationError
from airflow_provider_polars.hooks import settings


def set_option(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """Set one option of the section."""
    monkeypatch.setenv(f"AIRFLOW__POLARS__{name.upper()}", value)


def test_defaults_need_no_setting() -> None:
    """Results lie below AIRFLOW_HOME, everything may be read, and thirty days are kept."""
    assert settings.results_path() == f"{os.environ['AIRFLOW_HOME']}/polars_results"
    assert settings.results_conn_id() is None
    assert settings.results_retention_days() == 30
    assert settings.allowed_prefixes() == []
    assert settings.unreachable_seconds() == 300


@pytest.mark.parametrize(
    ("given", "used"),
    [("/data/results/", "/data/results"), ("s3://lake/results", "s3://lake/results"), ("file:///d/r", "file:///d/r")],
)
def test_results_path_is_a_folder_or_a_url(monkeypatch: pytest.MonkeyPatch, given: str, used: str) -> None:
    """Without a slash at its end."""
    set_option(monkeypatch, "results_path", given)
    assert settings.results_path() == used


@pytest.mark.parametrize(
    ("name", "value", "read", "message"),
    [
        ("results_path", "results", settings.results_path, "[polars] results_path is the relative path 'results'"),
        ("results_path", "ftp://x/y", settings.results_path, "[polars] results_path has the scheme 'ftp'"),
        ("results_path", "/", settings.results_path, "[polars] results_path is '/', the root of the disk"),
        (
            "results_path",
            "file:///",
            settings.results_path,
            "[polars] results_path is 'file:///', the root of the disk",
        ),
        ("results_retention_days", "0", settings.results_retention_days, "must be at least 1, got 0"),
        ("results_retention_days", "-3", settings.results_retention_days, "must be at least 1, got -3"),
        ("unreachable_seconds", "0", settings.unreachable_seconds, "must be a number of seconds above zero"),
        ("unreachable_seconds", "an hour", settings.unreachable_seconds, "such as 300, got 'an hour'"),
        ("unreachable_seconds", "inf", settings.unreachable_seconds, "got 'inf'"),
    ],
)
def test_setting_that_cannot_be_right_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, read: Callable[[], Any], message: str
) -> None:
    """With its value."""
    set_option(monkeypatch, name, value)
    with pytest.raises(ConfigurationError) as caught:
        read()
    assert f"[polars] {name}" in str(caught.value)
    assert message in str(caught.value)


def test_allowed_prefixes_are_a_list_and_always_hold_our_own_results(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Blanks and empty items do not matter."""
    set_option(monkeypatch, "results_path", f"{tmp_path}/results")
    set_option(monkeypatch, "allowed_prefixes", " /data/lake , ,s3://lake/,")
    assert settings.allowed_prefixes() == ["/data/lake", "s3://lake/", f"{tmp_path}/results"]
