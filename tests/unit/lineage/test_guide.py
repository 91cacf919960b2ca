"""The page on lineage is true: its example emits what it says, and its tables agree with the code."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import polars as pl

from airflow_provider_polars.lineage.naming import name_of
from airflow_provider_polars.operators.query_waiting import QueryWaitingOperator
from airflow_provider_polars.query.datasets import MAX_BYTES, datasets
from tests.harness.lineage import Events
from tests.unit.guide import DOCS, blocks, code, section, table

PAGE = DOCS / "lineage.md"


def _agrees(found: Any, told: Any) -> bool:
    """Return whether ``found`` says all that ``told`` says, and lists nothing more."""
    if isinstance(told, dict):
        return all(name in found and _agrees(found[name], value) for name, value in told.items())
    if isinstance(told, list):
        return len(found) == len(told) and all(map(_agrees, found, told))
    return bool(found == told)


def test_the_example_emits_what_the_page_says(dag_test: Any, events: Events, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    (raw / "orders").mkdir(parents=True)
    pl.DataFrame({"status": ["paid", "paid", "open"], "customer_id": [1, 2, 1], "amount": [5, 6, 7]}).write_csv(
        raw / "orders" / "1.csv"
    )
    pl.DataFrame({"customer_id": [1, 2], "country": ["NL", "DE"]}).write_parquet(raw / "customers.parquet")

    def here(text: str) -> str:
        return text.replace("/raw/", f"{raw}/").replace("/lake/", f"{tmp_path}/lake/")

    example, _ = blocks("python", [PAGE])
    (told,) = blocks("text", [PAGE])
    names: dict[str, Any] = {}
    exec(compile(here(example.text).replace("\nsales()\n", "\nsales_dag = sales()\n"), str(example), "exec"), names)

    run = dag_test(names["sales_dag"])

    assert run.state == "success"
    assert _agrees(events.one("sales.by_customer", "COMPLETE"), json.loads(here(told.text)))


def test_names_of_the_page_are_those_of_events() -> None:
    rows = table(section(PAGE.name, "Names of data sets"))
    assert len(rows) >= 7
    for location, namespace, name in rows:
        if location.startswith("`"):
            (dataset,) = datasets("files", [code(location)])
            assert name_of(dataset) == (code(namespace), code(name))


def test_the_switch_and_the_limit_of_the_page_are_those_of_the_code() -> None:
    assert f"up to {MAX_BYTES // 1024} KB" in PAGE.read_text()
    parameter = inspect.signature(QueryWaitingOperator).parameters["openlineage_inject_parent_job_info"]
    assert parameter.default is False
