"""Events of queries on the worker, from the provider's real listener."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from airflow_provider_polars import (
    DeltaSink,
    IcebergSink,
    LocalCompute,
    ParquetSink,
    PolarsRemoteOperator,
    polars_task,
)
from tests.harness.in_memory import InMemoryAirflow, TaskOutcome
from tests.harness.lineage import Events, names
from tests.unit.outcomes import failure, succeeded

pytestmark = pytest.mark.usefixtures("results_path")

each_process = pytest.mark.parametrize("compute", [LocalCompute(), LocalCompute(threads=1)], ids=["own", "child"])


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    """Return a folder with two CSV files."""
    folder = tmp_path / "raw"
    folder.mkdir()
    for month in (1, 2):
        pl.DataFrame({"key": ["a", "b"], "amount": [month, 2]}).write_csv(folder / f"{month}.csv")
    return folder


@pytest.fixture
def empty_site() -> Iterator[str]:
    """Serve nothing by HTTP, and return where."""

    class Nothing(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.send_error(404)

        do_GET = do_HEAD

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Nothing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def totals(folder: str) -> Any:
    import polars as pl

    return pl.scan_csv(f"{folder}/*.csv").group_by("key").agg(pl.col("amount").sum())


def both(folder: str) -> Any:
    import polars as pl

    return pl.scan_csv(f"{folder}/1.csv").join(pl.scan_csv(f"{folder}/2.csv"), on="key")


def divided(folder: str) -> Any:
    import polars as pl

    def fail(column: pl.Series) -> pl.Series:
        raise ZeroDivisionError("by design")

    return pl.scan_csv(f"{folder}/*.csv").select(pl.col("amount").map_batches(fail, return_dtype=pl.Int64))


@each_process
def test_a_query_tells_what_it_reads_and_writes(
    in_memory_airflow: InMemoryAirflow, events: Events, raw: Path, tmp_path: Path, compute: LocalCompute
) -> None:
    target = tmp_path / "lake" / "totals.parquet"
    arguments: dict[str, Any] = {"query": totals, "query_kwargs": {"folder": str(raw)}, "compute": compute}
    task = PolarsRemoteOperator(task_id="totals", sink=ParquetSink(str(target)), **arguments)

    result = succeeded(in_memory_airflow.run_task(task))

    started, completed = events.of("in_memory.totals")
    assert [started["eventType"], completed["eventType"]] == ["START", "COMPLETE"]
    assert started["run"]["runId"] == completed["run"]["runId"]
    assert (names(started["inputs"]), names(started["outputs"])) == ([], [("file", str(target))])
    assert names(completed["inputs"]) == [("file", str(raw))]
    (output,) = completed["outputs"]
    assert (output["namespace"], output["name"]) == ("file", str(target))
    fields = output["facets"]["schema"]["fields"]
    assert [(field["name"], field["type"]) for field in fields] == [("key", "String"), ("amount", "Int64")]
    counts = output["outputFacets"]["outputStatistics"]
    assert (counts["rowCount"], counts["size"], counts["fileCount"]) == (2, target.stat().st_size, 1)
    facet = completed["run"]["facets"]["polars"]
    assert (facet["compute"], facet["engine"]) == ("local", "auto")
    assert facet["queries"] == [{"queryId": result["query_id"], "output": "return_value", "state": "succeeded"}]


@each_process
def test_a_query_that_fails_tells_what_it_was_to_read_and_why(
    in_memory_airflow: InMemoryAirflow, events: Events, raw: Path, tmp_path: Path, compute: LocalCompute
) -> None:
    arguments: dict[str, Any] = {"query": divided, "query_kwargs": {"folder": str(raw)}, "compute": compute}
    task = PolarsRemoteOperator(task_id="divided", sink=ParquetSink(f"{tmp_path}/never.parquet"), **arguments)

    reason = failure(in_memory_airflow.run_task(task))

    failed = events.one("in_memory.divided", "FAIL")
    assert names(failed["inputs"]) == [("file", str(raw))]
    assert names(failed["outputs"]) == [("file", f"{tmp_path}/never.parquet")]
    assert "by design" in reason
    assert failed["run"]["facets"]["errorMessage"]["message"] in reason
    assert failed["run"]["facets"]["polars"]["queries"][0]["state"] == "failed"


def test_the_error_of_a_query_is_told_without_the_secrets_of_addresses(
    in_memory_airflow: InMemoryAirflow, events: Events, empty_site: str
) -> None:
    secret = "correct-horse-battery-staple"
    place = f"http://user:{secret}@{empty_site}/orders.csv?signature={secret}"
    task = polars_task(task_id="secretive")(lambda: pl.scan_csv(place))()

    failure(in_memory_airflow.run_task(task))

    told = events.one("in_memory.secretive", "FAIL")["run"]["facets"]["errorMessage"]
    for text in (told["message"], told["stackTrace"]):
        assert f"http://{empty_site}/orders.csv" in text
    assert secret not in events.text


def test_sql_is_told_without_the_secrets_of_addresses(in_memory_airflow: InMemoryAirflow, events: Events) -> None:
    secret = "correct-horse-battery-staple"
    sql = f"SELECT 1 AS a -- as https://user:{secret}@lake.invalid/orders.csv?signature={secret}"

    succeeded(in_memory_airflow.run_task(PolarsRemoteOperator(task_id="secretive", sql=sql)))

    told = events.one("in_memory.secretive", "COMPLETE")["job"]["facets"]["sql"]["query"]
    assert told == "SELECT 1 AS a -- as https://lake.invalid/orders.csv"
    assert secret not in events.text


def test_a_task_that_fails_before_it_submits_tells_what_its_arguments_name(
    in_memory_airflow: InMemoryAirflow, events: Events, tmp_path: Path
) -> None:
    task = PolarsRemoteOperator(
        task_id="broken",
        sql="SELECT * FROM",
        tables={"orders": "s3://raw/orders/*.parquet"},
        sink=ParquetSink(f"{tmp_path}/never.parquet"),
    )

    failure(in_memory_airflow.run_task(task))

    failed = events.one("in_memory.broken", "FAIL")
    assert names(failed["inputs"]) == [("s3://raw", "orders")]
    assert names(failed["outputs"]) == [("file", f"{tmp_path}/never.parquet")]


def test_sql_tells_its_text_and_its_tables_from_the_start(
    in_memory_airflow: InMemoryAirflow, events: Events, raw: Path
) -> None:
    sql = "SELECT key FROM january"
    task = PolarsRemoteOperator(task_id="keys", sql=sql, tables={"january": f"{raw}/1.csv"})

    succeeded(in_memory_airflow.run_task(task))

    for event in events.of("in_memory.keys"):
        assert names(event["inputs"]) == [("file", f"{raw}/1.csv")]
        assert event["job"]["facets"]["sql"]["query"] == sql


@each_process
def test_two_tables_of_one_folder_are_two_inputs(
    in_memory_airflow: InMemoryAirflow, events: Events, raw: Path, compute: LocalCompute
) -> None:
    task = PolarsRemoteOperator(
        task_id="months",
        sql="SELECT january.key FROM january JOIN february ON january.key = february.key",
        tables={"january": f"{raw}/1.csv", "february": f"{raw}/2.csv"},
        compute=compute,
    )

    succeeded(in_memory_airflow.run_task(task))

    for event in events.of("in_memory.months"):
        assert names(event["inputs"]) == [("file", f"{raw}/1.csv"), ("file", f"{raw}/2.csv")]


@each_process
def test_two_files_of_one_folder_that_a_query_joins_are_two_inputs(
    in_memory_airflow: InMemoryAirflow, events: Events, raw: Path, compute: LocalCompute
) -> None:
    arguments: dict[str, Any] = {"query": both, "query_kwargs": {"folder": str(raw)}, "compute": compute}

    succeeded(in_memory_airflow.run_task(PolarsRemoteOperator(task_id="both", **arguments)))

    told = events.one("in_memory.both", "COMPLETE")["inputs"]
    assert names(told) == [("file", f"{raw}/1.csv"), ("file", f"{raw}/2.csv")]


@pytest.mark.parametrize("with_rows", [False, True], ids=["", "with rows in memory"])
def test_two_results_in_one_folder_are_two_inputs(
    in_memory_airflow: InMemoryAirflow, events: Events, raw: Path, tmp_path: Path, with_rows: bool
) -> None:
    sinks = [ParquetSink(f"{tmp_path}/lake/{name}") for name in ("paid.parquet", "customers.parquet", "by_key/")]
    tasks = [polars_task(task_id=f"task_{n}", sink=sink)(totals)(str(raw)) for n, sink in enumerate(sinks)]
    results = [succeeded(in_memory_airflow.run_task(task)) for task in tasks]

    def report(paid, customers, by_key, with_rows):  # type: ignore[no-untyped-def]
        joined = paid.join(customers, on="key", how="semi").join(by_key, on="key", how="semi")
        return joined.join(pl.LazyFrame({"key": ["a"]}), on="key") if with_rows else joined

    succeeded(in_memory_airflow.run_task(polars_task(task_id="report")(report)(*results, with_rows)))

    for event in events.of("in_memory.report"):
        assert names(event["inputs"]) == [
            ("file", f"{tmp_path}/lake/{name}") for name in ("paid.parquet", "customers.parquet", "by_key")
        ]


def test_a_folder_with_partitions_is_one_input(
    in_memory_airflow: InMemoryAirflow, events: Events, raw: Path, tmp_path: Path
) -> None:
    sink = ParquetSink(f"{tmp_path}/lake/totals/", partition_by=["key"])
    result = succeeded(in_memory_airflow.run_task(polars_task(task_id="first", sink=sink)(totals)(str(raw))))

    def both(upstream, folder):  # type: ignore[no-untyped-def]
        scanned = pl.scan_parquet(f"{folder}/lake/totals/**/*.parquet", hive_partitioning=True)
        return pl.concat([upstream, scanned], how="diagonal")

    succeeded(in_memory_airflow.run_task(polars_task(task_id="second")(both)(result, str(tmp_path))))

    for event in events.of("in_memory.second"):
        assert names(event["inputs"]) == [("file", f"{tmp_path}/lake/totals")]


@pytest.mark.parametrize("form", ["lazy", "eager", "reference"])
def test_an_upstream_result_is_an_input_by_the_name_that_it_had_as_output(
    in_memory_airflow: InMemoryAirflow, events: Events, raw: Path, tmp_path: Path, form: str
) -> None:
    first = PolarsRemoteOperator(
        task_id="first", query=totals, query_kwargs={"folder": str(raw)}, sink=ParquetSink(f"{tmp_path}/lake/totals/")
    )
    result = succeeded(in_memory_airflow.run_task(first))

    in_memory_airflow.run_task(_second(form)(result))

    (written,) = events.one("in_memory.first", "COMPLETE")["outputs"]
    assert written["name"] == f"{tmp_path}/lake/totals"
    for event in events.of("in_memory.second"):
        assert names(event["inputs"]) == [("file", f"{tmp_path}/lake/totals")]


def _second(form: str) -> Any:
    from airflow_provider_polars.query.result import ResultRef

    def lazy(upstream):  # type: ignore[no-untyped-def]
        return upstream.filter(pl.col("amount") > 0)

    def eager(upstream: pl.DataFrame) -> pl.LazyFrame:
        return upstream.lazy()

    def reference(upstream: ResultRef) -> pl.LazyFrame:
        return pl.LazyFrame({"rows": [upstream.rows]})

    return polars_task(task_id="second")({"lazy": lazy, "eager": eager, "reference": reference}[form])


def test_every_instance_of_a_mapped_task_tells_its_own(dag_test: Any, events: Events, raw: Path) -> None:
    from airflow.sdk import DAG

    with DAG("mapped", schedule=None) as dag:
        monthly = polars_task(task_id="monthly")(_month)
        monthly.partial(folder=str(raw)).expand(month=[1, 2])

    dag_test(dag)

    completed = [event for event in events.of("mapped.monthly") if event["eventType"] == "COMPLETE"]
    assert sorted(names(event["inputs"])[0] for event in completed) == [
        ("file", f"{raw}/1.csv"),
        ("file", f"{raw}/2.csv"),
    ]
    assert len({event["run"]["runId"] for event in completed}) == 2
    assert len({event["outputs"][0]["name"] for event in completed}) == 2


def _month(folder: str, month: int) -> Any:
    import polars as pl

    return pl.scan_csv(f"{folder}/{month}.csv")


def test_delta_tables_are_told_by_their_folder(
    in_memory_airflow: InMemoryAirflow, events: Events, tmp_path: Path
) -> None:
    orders, copy = tmp_path / "orders", tmp_path / "copy"
    pl.DataFrame({"a": [1, 2]}).write_delta(orders)
    options: dict[str, Any] = {"query": _delta, "query_kwargs": {"table": str(orders)}}
    for mode in ("overwrite", "append"):
        task = PolarsRemoteOperator(task_id=mode, sink=DeltaSink(str(copy), mode=mode), **options)
        succeeded(in_memory_airflow.run_task(task))

        completed = events.one(f"in_memory.{mode}", "COMPLETE")
        assert names(completed["inputs"]) == [("file", str(orders))]
        assert names(completed["outputs"]) == [("file", str(copy))]
        assert ("outputStatistics" in completed["outputs"][0].get("outputFacets", {})) == (mode == "overwrite")


def _delta(table: str) -> Any:
    import polars as pl

    return pl.scan_delta(table)


def test_iceberg_tables_are_told_by_catalog_and_name_or_by_their_folder(
    in_memory_airflow: InMemoryAirflow, events: Events, tmp_path: Path
) -> None:
    from pyiceberg.catalog import load_catalog

    properties = {"type": "sql", "uri": f"sqlite:///{tmp_path}/catalog.db", "warehouse": f"file://{tmp_path}/lake"}
    catalog = load_catalog("lake", **properties)
    catalog.create_namespace("sales")
    rows = pl.DataFrame({"a": [1, 2]})
    catalog.create_table("sales.orders", schema=rows.to_arrow(compat_level=pl.CompatLevel.oldest()).schema)
    sink = IcebergSink("sales.orders", mode="append", catalog="lake", catalog_properties=properties)

    def run(task_id: str, function: Any, *inputs: Any, **options: Any) -> Any:
        return succeeded(in_memory_airflow.run_task(polars_task(task_id=task_id, **options)(function)(*inputs)))

    written = run("written", lambda: rows.lazy(), sink=sink)
    run("handed_on", lambda upstream: upstream, written)
    run("scanned", lambda: pl.scan_iceberg(catalog.load_table("sales.orders")))

    known = [("iceberg://lake", "sales.orders")]
    assert names(events.one("in_memory.written", "COMPLETE")["outputs"]) == known
    assert names(events.one("in_memory.handed_on", "COMPLETE")["inputs"]) == known
    folder = catalog.load_table("sales.orders").location().removeprefix("file://")
    assert names(events.one("in_memory.scanned", "COMPLETE")["inputs"]) == [("file", folder)]


@pytest.mark.parametrize("count", [2, 3, 5])
def test_rows_in_memory_do_not_hide_the_files_beside_them(
    in_memory_airflow: InMemoryAirflow, events: Events, raw: Path, count: int
) -> None:
    for number in range(3, count + 1):
        pl.DataFrame({"key": ["a"], "amount": [1]}).write_csv(raw / f"{number}.csv")

    def joined(folder: str) -> Any:
        labels = pl.LazyFrame({"key": ["a"], "label": ["first"]})
        return pl.scan_csv(f"{folder}/*.csv").join(labels, on="key")

    task = polars_task(task_id="joined")(joined)(str(raw))

    succeeded(in_memory_airflow.run_task(task))

    assert names(events.one("in_memory.joined", "COMPLETE")["inputs"]) == [("file", str(raw))]


def test_several_outputs_are_told_each(
    in_memory_airflow: InMemoryAirflow, events: Events, raw: Path, tmp_path: Path
) -> None:
    def split(folder: str) -> Any:
        rows = pl.scan_csv(f"{folder}/*.csv")
        return {"a": rows.filter(pl.col("key") == "a"), "b": rows.filter(pl.col("key") == "b")}

    sinks = {name: ParquetSink(f"{tmp_path}/{name}.parquet") for name in ("a", "b")}
    task = polars_task(task_id="split", sink=sinks)(split)(str(raw))

    succeeded(in_memory_airflow.run_task(task))

    completed = events.one("in_memory.split", "COMPLETE")
    assert names(completed["outputs"]) == [("file", f"{tmp_path}/{name}.parquet") for name in ("a", "b")]
    assert [each["outputFacets"]["outputStatistics"]["rowCount"] for each in completed["outputs"]] == [2, 2]
    assert [query["output"] for query in completed["run"]["facets"]["polars"]["queries"]] == ["a", "b"]


def test_no_secret_of_a_scan_or_a_sink_is_in_an_event(
    in_memory_airflow: InMemoryAirflow, events: Events, tmp_path: Path
) -> None:
    secret = "correct-horse-battery-staple"
    in_memory_airflow.add_connection("lake", "aws", login="AKIAIOSFODNN7EXAMPLE", password=secret)

    def function() -> Any:
        options = {"aws_secret_access_key": secret, "aws_endpoint_url": "http://127.0.0.1:1", "max_retries": "0"}
        return pl.concat(
            [
                pl.scan_parquet("s3://raw/orders/*.parquet", storage_options=options),
                pl.scan_csv(f"https://user:{secret}@lake.invalid/orders.csv?signature={secret}"),
            ]
        )

    outcome: TaskOutcome = in_memory_airflow.run_task(
        polars_task(task_id="secretive", sink=ParquetSink("s3://lake/a.parquet", aws_conn_id="lake"))(function)()
    )

    assert outcome.state == "failed"
    failed = events.one("in_memory.secretive", "FAIL")
    assert names(failed["outputs"]) == [("s3://lake", "a.parquet")]
    assert secret not in events.text
