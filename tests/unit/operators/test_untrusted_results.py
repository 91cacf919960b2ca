"""References that somebody else may have written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from airflow_provider_polars import PolarsRemoteOperator
from airflow_provider_polars.exceptions import InvalidResultError, ResultNotFoundError
from tests.unit.outcomes import rows, succeeded

if TYPE_CHECKING:
    from tests.harness.in_memory import InMemoryAirflow, TaskOutcome


@pytest.fixture
def lake(tmp_path: Path, results_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that may be read, with a link out of it to one that may not."""
    lake, secret = tmp_path / "lake", tmp_path / "secret"
    for folder in (lake, secret):
        folder.mkdir()
        pl.DataFrame({"n": [1]}).write_parquet(folder / "a.parquet")
    (lake / "link").symlink_to(secret)
    monkeypatch.setenv("AIRFLOW__POLARS__ALLOWED_PREFIXES", str(lake))
    return lake


def error_of(airflow: InMemoryAirflow, location: str) -> BaseException | None:
    """Return the error of a task that is handed a reference to ``location``."""
    return outcome_of(airflow, location).error


def rows_of(airflow: InMemoryAirflow, location: str) -> list[dict[str, Any]]:
    """Return the rows that such a task reads."""
    return rows(succeeded(outcome_of(airflow, location)))


def outcome_of(airflow: InMemoryAirflow, location: str) -> TaskOutcome:
    """Run such a task."""

    def query(upstream: Any) -> Any:
        return upstream

    reference = {"polars_result": 1, "format": "parquet", "locations": [location], "schema": [["n", "Int64"]]}
    task = PolarsRemoteOperator(task_id="t", query=query, query_kwargs={"upstream": reference})
    return airflow.run_task(task)


def test_what_lies_below_an_allowed_prefix_is_read(lake: Path, in_memory_airflow: InMemoryAirflow) -> None:
    assert error_of(in_memory_airflow, str(lake / "a.parquet")) is None


@pytest.mark.parametrize("name", ["link/a.parquet", "../secret/a.parquet", "link/../../secret/a.parquet"])
def test_neither_links_nor_dots_lead_out(lake: Path, name: str, in_memory_airflow: InMemoryAirflow) -> None:
    error = error_of(in_memory_airflow, f"{lake}/{name}")
    assert isinstance(error, InvalidResultError)
    assert "is outside [polars] allowed_prefixes" in str(error)


@pytest.mark.parametrize("name", ["lin*/a.parquet", "lin?/a.parquet", "[l]ink/a.parquet", "**/*.parquet"])
def test_wildcards_are_not_expanded_to_what_a_link_leads_to(
    lake: Path, name: str, in_memory_airflow: InMemoryAirflow
) -> None:
    """A cluster stands for many files by a pattern; with a link to elsewhere among them none is read."""
    error = error_of(in_memory_airflow, f"{lake}/{name}")
    assert isinstance(error, InvalidResultError)
    assert "link/a.parquet' is outside [polars] allowed_prefixes" in str(error)


@pytest.mark.parametrize("name", ["a*.parquet", "*.parquet", "[a]?parquet"])
def test_files_of_a_pattern_are_read_if_they_are_allowed(
    lake: Path, name: str, in_memory_airflow: InMemoryAirflow
) -> None:
    assert error_of(in_memory_airflow, f"{lake}/{name}") is None


@pytest.mark.parametrize("name", ["b*.parquet", "gone/**/*.parquet"])
def test_a_pattern_that_fits_nothing_is_a_result_that_is_not_there(
    lake: Path, name: str, in_memory_airflow: InMemoryAirflow
) -> None:
    assert isinstance(error_of(in_memory_airflow, f"{lake}/{name}"), ResultNotFoundError)


def test_hidden_links_are_no_part_of_a_pattern(lake: Path, in_memory_airflow: InMemoryAirflow) -> None:
    """Polars would take them for one; it is given names."""
    (lake / "link").rename(lake / ".link")
    (lake / "deeper").mkdir()
    pl.DataFrame({"n": [2]}).write_parquet(lake / "deeper" / "a.parquet")
    assert rows_of(in_memory_airflow, f"{lake}/*/a.parquet") == [{"n": 2}]


def test_what_another_process_wrote_is_never_unpickled(lake: Path, in_memory_airflow: InMemoryAirflow) -> None:
    def query(upstream: Any) -> Any:
        return upstream

    reference = {"polars_result": 1, "format": "pickle", "locations": [str(lake / "a.parquet")], "plan": "gASVAAAA"}
    error = in_memory_airflow.run_task(
        PolarsRemoteOperator(task_id="t", query=query, query_kwargs={"upstream": reference})
    ).error
    assert isinstance(error, InvalidResultError)
    assert "field 'plan'" in str(error)
