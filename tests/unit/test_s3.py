"""Sinks and managed results on S3, against an S3 server on loopback, with credentials of an ``aws`` connection."""

from __future__ import annotations

import json
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import polars as pl
import pytest
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization

from airflow_provider_polars import LocalCompute, ParquetSink, PolarsRemoteOperator, polars_task
from tests.harness.in_memory import InMemoryAirflow, TaskOutcome
from tests.harness.lineage import listening, names
from tests.harness.s3 import s3_server
from tests.unit.outcomes import failure, succeeded

KEY_ID = "AKIALOOPBACK"
SECRET = "correct-horse-battery-staple"
REGION = "eu-west-1"
BUCKET = "lake"
each_compute = pytest.mark.parametrize(
    "compute", [LocalCompute(), LocalCompute(threads=1)], ids=["in process", "in runner"]
)


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Start an S3 server and return its address."""
    with s3_server(tmp_path_factory.mktemp("s3")) as url:
        yield url


@pytest.fixture
def bucket(endpoint: str) -> Any:
    """Return the empty bucket, as an outsider sees it."""
    store = boto3.resource(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=KEY_ID,
        aws_secret_access_key=SECRET,
        region_name=REGION,
    )
    found = store.Bucket(BUCKET)
    if found.creation_date is None:
        found.create(CreateBucketConfiguration={"LocationConstraint": REGION})
    found.objects.all().delete()
    return found


@pytest.fixture
def airflow(
    in_memory_airflow: InMemoryAirflow, bucket: Any, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> InMemoryAirflow:
    """Return an Airflow whose connection ``lake`` leads to the server; nothing else has credentials."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    extra = {"endpoint_url": endpoint, "region_name": REGION}
    in_memory_airflow.add_connection("lake", "aws", login=KEY_ID, password=SECRET, extra=extra)
    in_memory_airflow.add_connection("empty", "aws", extra=extra)
    return in_memory_airflow


def keys(bucket: Any) -> list[str]:
    """Return the names of the objects in the bucket."""
    return sorted(item.key for item in bucket.objects.all())


def frame_at(bucket: Any, key: str) -> pl.DataFrame:
    """Return the rows of one Parquet object, read by another client."""
    return pl.read_parquet(bucket.Object(key).get()["Body"].read())


def letters(rows: int, seen: str = "") -> Any:
    """Return numbers with a letter each; tell in the file ``seen`` what others see of this process."""
    from pathlib import Path

    import polars as pl

    if seen:
        process = Path("/proc/self")
        Path(seen).write_bytes((process / "cmdline").read_bytes() + (process / "environ").read_bytes())
    return pl.LazyFrame({"number": range(rows)}).with_columns(letter=pl.lit("ab").str.slice(pl.col("number") % 2, 1))


def write_and_sum(
    airflow: InMemoryAirflow, compute: LocalCompute, rows: int = 4, **arguments: Any
) -> tuple[TaskOutcome, TaskOutcome]:
    """Run a task that writes rows as ``arguments`` say, and one that reads them and sums them up."""
    with DAG("s3", schedule=None):
        write = PolarsRemoteOperator(
            task_id="write", query=letters, query_kwargs={"rows": rows}, compute=compute, **arguments
        )

        @polars_task(compute=compute, head_rows=1)
        def total(written: Any) -> Any:
            return written.select("number").sum()

        summed_up = total(write.output)
    return airflow.run_task(write), airflow.run_task(summed_up)


@each_compute
@pytest.mark.usefixtures("results_path")
def test_object_is_written_and_read_back_with_the_connection_of_the_sink(
    airflow: InMemoryAirflow, bucket: Any, compute: LocalCompute
) -> None:
    """The reference names the connection, and a downstream task needs nothing else to read the object."""
    written, summed = write_and_sum(airflow, compute, sink=ParquetSink("s3://lake/letters.parquet", aws_conn_id="lake"))
    ref = succeeded(written)
    assert (ref["locations"], ref["rows"], ref["conn_id"]) == (["s3://lake/letters.parquet"], 4, "lake")
    assert frame_at(bucket, "letters.parquet")["letter"].to_list() == ["a", "b", "a", "b"]
    assert succeeded(summed)["head"] == [{"number": 6}]


@each_compute
@pytest.mark.usefixtures("results_path")
@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, ["00000000.parquet"]),
        ({"partition_by": ["letter"]}, ["letter=a/00000000.parquet", "letter=b/00000000.parquet"]),
        ({"max_rows_per_file": 3}, ["00000000.parquet", "00000001.parquet"]),
    ],
    ids=["one file", "partitioned", "rows per file"],
)
def test_folder_is_written_and_read_back(
    airflow: InMemoryAirflow, bucket: Any, compute: LocalCompute, options: dict[str, Any], names: list[str]
) -> None:
    """The reference lists its objects, and a downstream task reads all of them."""
    sink = ParquetSink("s3://lake/letters/", aws_conn_id="lake", **options)
    written, summed = write_and_sum(airflow, compute, sink=sink)
    ref = succeeded(written)
    assert (ref["locations"], ref["rows"]) == ([f"s3://lake/letters/{name}" for name in names], 4)
    assert keys(bucket) == sorted(f"letters/{name}" for name in [*names, "_manifest.json"])
    assert succeeded(summed)["head"] == [{"number": 6}]


@each_compute
@pytest.mark.usefixtures("results_path")
def test_folder_written_again_is_read_without_the_objects_of_before(
    airflow: InMemoryAirflow, bucket: Any, compute: LocalCompute
) -> None:
    """Objects that the new run does not write again may stay, and do not count."""
    sink = ParquetSink("s3://lake/letters/", aws_conn_id="lake", partition_by=("letter",))
    write_and_sum(airflow, compute, sink=sink)
    written, summed = write_and_sum(airflow, compute, rows=1, sink=sink)
    assert succeeded(written)["rows"] == 1
    assert succeeded(summed)["head"] == [{"number": 0}]


@each_compute
def test_results_without_a_sink_go_to_the_results_path(
    airflow: InMemoryAirflow, bucket: Any, compute: LocalCompute, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With ``results_conn_id`` for its credentials, on both sides."""
    monkeypatch.setenv("AIRFLOW__POLARS__RESULTS_PATH", "s3://lake/results/")
    monkeypatch.setenv("AIRFLOW__POLARS__RESULTS_CONN_ID", "lake")
    written, summed = write_and_sum(airflow, compute)
    assert succeeded(written)["conn_id"] == "lake"
    assert succeeded(summed)["head"] == [{"number": 6}]
    assert keys(bucket) == [f"results/s3/manual/{task}/return_value.parquet" for task in ("total", "write")]
    assert frame_at(bucket, "results/s3/manual/total/return_value.parquet")["number"].to_list() == [6]


@each_compute
def test_tables_of_sql_are_read_with_the_connection_of_the_result(
    airflow: InMemoryAirflow, bucket: Any, compute: LocalCompute
) -> None:
    """An upstream result on S3 is a table like any other."""
    sink = ParquetSink("s3://lake/letters.parquet", aws_conn_id="lake")
    with DAG("s3", schedule=None):
        write = PolarsRemoteOperator(task_id="write", query=letters, query_kwargs={"rows": 4}, sink=sink)
        count = PolarsRemoteOperator(
            task_id="count",
            sql="SELECT letter, COUNT(*) AS rows FROM letters GROUP BY letter",
            tables={"letters": write.output},
            sink=ParquetSink("s3://lake/counted.parquet", aws_conn_id="lake"),
            compute=compute,
        )
    succeeded(airflow.run_task(write))
    succeeded(airflow.run_task(count))
    assert sorted(frame_at(bucket, "counted.parquet").rows()) == [("a", 2), ("b", 2)]


@each_compute
@pytest.mark.parametrize("target", ["s3://lake/letters.parquet", "s3://absent/letters.parquet"], ids=["works", "fails"])
def test_secret_is_seen_nowhere(
    airflow: InMemoryAirflow, compute: LocalCompute, target: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither what a task stores, shows and logs, nor its error, nor its process holds the secret key."""
    seen = tmp_path / "seen"
    with DAG("s3", schedule=None) as dag:
        write = PolarsRemoteOperator(
            task_id="write",
            query=letters,
            query_kwargs={"rows": 4, "seen": str(seen)},
            compute=compute,
            sink=ParquetSink(target, aws_conn_id="lake"),
        )
    outcome = airflow.run_task(write)
    assert (outcome.error is None) == ("lake/" in target)
    output = capfd.readouterr()
    texts = {
        "process": seen.read_bytes().decode(errors="replace"),
        "log": output.out + output.err,
        "error": "".join(traceback.format_exception(outcome.error)) if outcome.error else "",
        "serialized DAG": json.dumps(DagSerialization.to_dict(dag)),
        "rendered fields": json.dumps(outcome.rendered_fields),
        "XComs": json.dumps(outcome.xcoms),
        "state store": json.dumps(outcome.state_store),
        "requests": json.dumps([request.body for request in outcome.requests], default=str),
    }
    assert "Submitted query" in texts["log"]
    assert [name for name, text in texts.items() if SECRET in text] == []


@each_compute
def test_failed_write_names_target_and_reason(airflow: InMemoryAirflow, compute: LocalCompute) -> None:
    """A bucket that does not exist."""
    sink = ParquetSink("s3://absent/letters.parquet", aws_conn_id="lake")
    write = PolarsRemoteOperator(
        task_id="write", query=letters, query_kwargs={"rows": 4}, compute=compute, sink=sink, retries=0
    )
    message = failure(airflow.run_task(write))
    assert message.startswith("SinkWriteError: The object store refused the result of the query ")
    assert "NoSuchBucket" in message
    assert "Target: s3://absent/letters.parquet." in message


def test_connection_without_credentials_is_named(airflow: InMemoryAirflow) -> None:
    """Where the worker has none of its own either; the task is not tried again."""
    sink = ParquetSink("s3://lake/letters.parquet", aws_conn_id="empty")
    write = PolarsRemoteOperator(task_id="write", query=letters, query_kwargs={"rows": 4}, sink=sink)
    message = failure(airflow.run_task(write, max_tries=1))
    assert message.startswith("ConfigurationError: The connection 'empty' gives no AWS credentials")


@each_compute
@pytest.mark.usefixtures("results_path")
def test_failed_query_leaves_the_earlier_object(airflow: InMemoryAirflow, bucket: Any, compute: LocalCompute) -> None:
    """An object is replaced only by one that is complete, however late the query fails."""
    sink = ParquetSink("s3://lake/letters.parquet", aws_conn_id="lake")
    succeeded(write_and_sum(airflow, compute, sink=sink)[0])

    @polars_task(sink=sink, compute=compute)
    def failing() -> Any:
        import polars as pl

        return pl.LazyFrame({"number": range(100_000)}).select(pl.col("number").cast(pl.Int16))

    heights = []
    for run in range(5):
        assert "SchemaError" in failure(airflow.run_task(failing(), run_id=f"run {run}"))
        heights.append(frame_at(bucket, "letters.parquet").height)
    assert heights == [4] * 5


@each_compute
@pytest.mark.usefixtures("results_path", "bucket")
def test_rows_on_their_way_leave_nothing_in_the_temporary_folder(
    airflow: InMemoryAirflow, compute: LocalCompute, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither when they arrive nor when the store refuses them."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for bucket_name, state in (("lake", "success"), ("absent", "failed")):
        sink = ParquetSink(f"s3://{bucket_name}/letters.parquet", aws_conn_id="lake")
        write = PolarsRemoteOperator(
            task_id=bucket_name, query=letters, query_kwargs={"rows": 4}, compute=compute, sink=sink
        )
        assert airflow.run_task(write).state == state
        assert list(tmp_path.iterdir()) == []


@each_compute
@pytest.mark.usefixtures("results_path")
def test_lineage_names_buckets_and_keys_and_no_secret(
    airflow: InMemoryAirflow, compute: LocalCompute, tmp_path: Path
) -> None:
    with listening(tmp_path / "events.ndjson") as events:
        for written in write_and_sum(airflow, compute, sink=ParquetSink("s3://lake/letters/", aws_conn_id="lake")):
            succeeded(written)

    assert names(events.one("s3.write", "COMPLETE")["outputs"]) == [("s3://lake", "letters")]
    assert names(events.one("s3.total", "COMPLETE")["inputs"]) == [("s3://lake", "letters")]
    assert SECRET not in events.text
