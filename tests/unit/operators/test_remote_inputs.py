"""What a task hands to a cluster is not looked for on the worker, unless the worker reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from airflow_provider_polars.exceptions import ConfigurationError, InvalidResultError, ResultNotFoundError
from airflow_provider_polars.operators.inputs import InputResolver
from airflow_provider_polars.query.result import ResultRef
from airflow_provider_polars.query.source import Input

pytestmark = pytest.mark.usefixtures("results_path")

SHARED = "/only/the/cluster/sees/this"


@pytest.fixture
def on_cluster() -> InputResolver:
    """Return what resolves the inputs of a task whose query runs on a cluster."""
    return InputResolver(here=False)


@pytest.fixture
def on_worker() -> InputResolver:
    """Return what resolves the inputs of a task whose query runs on the worker."""
    return InputResolver()


def reference(*locations: str, **fields: Any) -> dict[str, Any]:
    """Return an upstream result as XCom brings it."""
    described = {"format": "parquet", "rows": 1, "bytes": None, "schema": [("a", "Int64")], "query_id": "q1"}
    return dict(ResultRef.build(locations=locations, root="/", timings={}, **{**described, **fields}))


def resolve(resolver: InputResolver, value: Any, form: str = "lazy") -> Any:
    """Resolve an argument whose parameter wants ``form``."""
    return resolver.convert(value, lambda: form)


def test_an_upstream_result_that_the_worker_does_not_see_is_handed_on(
    on_cluster: InputResolver, on_worker: InputResolver
) -> None:
    result = reference(f"{SHARED}/a.parquet", f"{SHARED}/b.parquet")

    found = resolve(on_cluster, {"nested": [result]})["nested"][0]

    assert isinstance(found, Input)
    assert (found.form, found.scan["locations"]) == ("lazy", [f"{SHARED}/a.parquet", f"{SHARED}/b.parquet"])
    with pytest.raises(ResultNotFoundError, match=f"The upstream result {SHARED}/a.parquet is not on this worker"):
        resolve(on_worker, result)


def test_a_pattern_becomes_the_names_of_its_files_where_the_worker_sees_them(
    on_cluster: InputResolver, on_worker: InputResolver, tmp_path: Path
) -> None:
    for name in ("0.parquet", "1.parquet", "other"):
        (tmp_path / name).touch()
    seen, unseen = reference(f"{tmp_path}/*.parquet"), reference(f"{SHARED}/*.parquet")

    for resolver in (on_cluster, on_worker):
        assert resolve(resolver, seen).scan["locations"] == [f"{tmp_path}/0.parquet", f"{tmp_path}/1.parquet"]
    assert resolve(on_cluster, unseen).scan["locations"] == [f"{SHARED}/*.parquet"]
    with pytest.raises(ResultNotFoundError):
        resolve(on_worker, unseen)


def test_rows_that_the_function_wants_are_looked_for_on_the_worker(on_cluster: InputResolver, tmp_path: Path) -> None:
    """A parameter annotated with DataFrame is collected there before anything is submitted."""
    with pytest.raises(ResultNotFoundError, match="is not on this worker"):
        resolve(on_cluster, reference(f"{SHARED}/a.parquet"), "eager")

    pl.DataFrame({"a": [1]}).write_parquet(tmp_path / "a.parquet")
    assert resolve(on_cluster, reference(f"{tmp_path}/a.parquet"), "eager").form == "eager"


def test_the_reference_itself_is_handed_on_without_a_look(on_cluster: InputResolver) -> None:
    found = resolve(on_cluster, reference(f"{SHARED}/a.parquet"), "ref")
    assert (found.form, found.ref["query_id"]) == ("ref", "q1")


def test_a_table_of_sql_may_be_where_the_cluster_alone_sees_it(
    on_cluster: InputResolver, on_worker: InputResolver
) -> None:
    found = on_cluster.table("orders", f"{SHARED}/orders.csv")
    assert found.scan == {"format": "csv", "locations": [f"{SHARED}/orders.csv"]}
    assert on_cluster.table("orders", f"{SHARED}/orders/").scan["format"] == "parquet"
    with pytest.raises(ResultNotFoundError, match="does not exist on this worker"):
        on_worker.table("orders", f"{SHARED}/orders.csv")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("orders.csv", "is the relative path 'orders.csv'"),
        (f"{SHARED}/orders.xlsx", "has no known extension"),
        (3, "must be a path, a URL or the result of a Polars task, got int"),
    ],
)
def test_a_table_that_no_machine_could_read_is_refused_all_the_same(
    on_cluster: InputResolver, value: Any, message: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        on_cluster.table("orders", value)
    assert message in str(caught.value)


@pytest.mark.parametrize("here", [True, False])
@pytest.mark.parametrize("form", ["lazy", "eager", "ref"])
def test_a_result_that_the_cluster_signs_urls_for_is_refused_with_what_to_do(here: bool, form: str) -> None:
    """The signature is a secret, and so has not been passed on."""
    signed = reference("https://store.example/results/a.parquet", signed=True)

    with pytest.raises(InvalidResultError) as caught:
        resolve(InputResolver(here=here), {"x": [signed]}, form)

    assert str(caught.value) == (
        "The result of the query q1 is kept by its cluster, which hands it out by signed URLs only, and those are "
        "secrets. Give the upstream task a sink."
    )


@pytest.mark.parametrize("here", [True, False])
def test_where_upstream_results_may_lie_counts_for_clusters_too(here: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__POLARS__ALLOWED_PREFIXES", "s3://lake/")
    with pytest.raises(InvalidResultError, match=r"is outside \[polars\] allowed_prefixes"):
        resolve(InputResolver(here=here), reference("s3://elsewhere/a.parquet"))
    assert resolve(InputResolver(here=here), reference("s3://lake/a.parquet")).form == "lazy"
