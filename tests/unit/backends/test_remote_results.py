"""From what a cluster answers about a query to the reference to its result."""

from __future__ import annotations

import io
import json
import logging
import traceback
from typing import Any

import polars as pl
import pytest

from airflow_provider_polars.backends.base import Run
from airflow_provider_polars.backends.cluster import ClusterBackend
from airflow_provider_polars.backends.remote_results import failure, reference
from airflow_provider_polars.clients.access import ClusterAccess
from airflow_provider_polars.compute.cluster import ClusterCompute
from airflow_provider_polars.exceptions import InvalidResultError
from airflow_provider_polars.operators.inputs import InputResolver
from airflow_provider_polars.protocol import compute_plane_pb2 as wire
from airflow_provider_polars.query.result import ResultRef
from airflow_provider_polars.query.sinks import CsvSink, Sink

SIGNATURE = "X-Amz-Signature=0f1e2d3c4b5a"
SIGNED = f"https://bucket.s3.invalid/results/{{}}.parquet?X-Amz-Credential=AKIA%2F20260101&{SIGNATURE}"
HEAD = pl.DataFrame({"id": [1, 2, 3], "name": ["a", "b", None]})


def submitted(sink: Sink | None = None, **details: Any) -> Run:
    details |= {"query": "module.query"} | ({"sink": sink.to_dict()} if sink else {})
    return Run(query_id="q", output="return_value", compute={"kind": "cluster"}, submitted_at=0.0, details=details)


def answer(
    locations: list[str], *, file_type: Any = wire.FILE_TYPE_PARQUET, rows: int = 3, head: pl.DataFrame | None = HEAD
) -> wire.GetQueryResultResponse:
    data = io.BytesIO()
    if head is not None:
        head.write_ipc(data)
    output = wire.QueryOutput(
        destination=[wire.Destination(destination=location) for location in locations],
        file_type=file_type,
        n_rows_result=rows,
    )
    return wire.GetQueryResultResponse(
        query_result=wire.QueryResult(output=output),
        compute_info=wire.ComputeQueryInfo(data=data.getvalue()),
        query_status=wire.QUERY_STATUS_SUCCESS,
    )


def refer(locations: list[str], run: Run | None = None, **answered: Any) -> ResultRef:
    return reference(run or submitted(), answer(locations, **answered), dict)


@pytest.mark.parametrize("count", [1, 3, 30])
def test_a_signature_is_nowhere_in_the_reference_and_it_cannot_be_read(count: int) -> None:
    result = refer([SIGNED.format(f"{number:04}") for number in range(count)], rows=7)

    assert not [text for text in ("X-Amz", "AKIA", "0f1e2d3c4b5a", "?") if text in json.dumps(result)]
    assert (result["signed"], result["files"], result["rows"]) == (1, count, 7)
    assert result["locations"][0].startswith("https://bucket.s3.invalid/results/00")
    assert ResultRef.parse(json.loads(json.dumps(result))) == result
    with pytest.raises(InvalidResultError) as refusal:
        InputResolver(here=False).convert(result, lambda: "lazy")
    assert str(refusal.value) == (
        "The result of the query q is kept by its cluster, which hands it out by signed URLs only, and those are "
        "secrets. Give the upstream task a sink."
    )


def test_the_log_says_that_nobody_can_read_it(caplog: pytest.LogCaptureFixture) -> None:
    """The answer is in place already, and the observatory away."""
    access = ClusterAccess(uri="http://127.0.0.1:1", observatory="http://127.0.0.1:1")
    backend = ClusterBackend(ClusterCompute(uri=access.uri), access)
    backend._answers["q"] = answer([SIGNED.format("0000")])

    with caplog.at_level(logging.WARNING):
        backend.result(submitted())

    (line,) = caplog.messages
    assert "hands out the result of query q by signed URLs, which are not passed on" in line
    assert SIGNATURE not in line


def test_urls_without_a_signature_can_be_read() -> None:
    result = refer(["https://lake.invalid/rows.parquet"])

    assert "signed" not in result
    given = InputResolver(here=False).convert(result, lambda: "lazy")
    assert given.scan["locations"] == ["https://lake.invalid/rows.parquet"]


@pytest.mark.parametrize(
    ("locations", "pattern"),
    [
        ([f"/lake/rows/q-{number:04}.parquet" for number in range(21)], "/lake/rows/q-00*.parquet"),
        ([f"s3://lake/rows/{number}.parquet" for number in range(21)], "s3://lake/rows/*.parquet"),
        ([f"s3://lake/day={number}/0.parquet" for number in range(21)], "s3://lake/**/*.parquet"),
        ([f"/lake/a/{number}/x.parquet" for number in range(21)], "/lake/a/**/*.parquet"),
        (
            ["/lake/a.parquet", *(f"/lake/ab/{number}.parquet" for number in range(20))],
            "/lake/**/*.parquet",
        ),
        ([f"/lake/[odd] *?/{number}.parquet" for number in range(21)], "/lake/[[]odd] [*][?]/*.parquet"),
    ],
)
def test_more_than_twenty_files_are_named_by_the_narrowest_pattern(locations: list[str], pattern: str) -> None:
    result = refer(locations)

    assert (result["locations"], result["files"]) == ([pattern], 21)


def test_a_sink_says_format_and_options_where_the_cluster_does_not() -> None:
    sink = CsvSink("s3://lake/rows.csv", separator=";", aws_conn_id="lake")

    result = refer([sink.path], submitted(sink), file_type=wire.FILE_TYPE_UNSPECIFIED)

    assert (result["format"], result["scan_options"], result["conn_id"]) == ("csv", {"separator": ";"}, "lake")


def test_rows_are_kept_as_far_as_they_were_asked_for_and_sent() -> None:
    assert "head" not in refer(["/lake/a.parquet"])
    assert refer(["/lake/a.parquet"], submitted(head_rows=2))["head"] == HEAD.head(2).to_dicts()
    assert refer(["/lake/a.parquet"], submitted(head_rows=50))["head"] == HEAD.to_dicts()


def test_an_answer_without_rows_gives_a_reference_without_a_schema() -> None:
    result = refer(["/lake/a.parquet"], submitted(head_rows=2), head=None)

    assert (result["rows"], result["schema"]) == (3, [])
    assert "head" not in result


def test_an_answer_without_an_output_gives_a_reference_without_a_place() -> None:
    """So does a query that writes by itself, with ``collect_all(lazy=True)``."""
    done = wire.GetQueryResultResponse(query_result=wire.QueryResult(), compute_info=wire.ComputeQueryInfo())

    result = reference(submitted(), done, lambda: {"timings": {"run": 1.25}, "stages": 2})

    assert (result["locations"], result["files"], result["rows"], result["format"]) == ([], 0, None, "unknown")
    assert (result["timings"], result["statistics"]) == ({"run": 1.25}, {"stages": 2})
    with pytest.raises(InvalidResultError, match="0 locations"):
        ResultRef.parse(result)


def test_secrets_of_a_url_that_a_worker_repeats_are_nowhere_in_the_error() -> None:
    told = "ComputeError: Error performing GET https://me:hidden@lake.invalid/a?sig=hidden"

    error = failure(submitted(), [json.dumps({"worker-1": told})], "http://127.0.0.1:5051")

    assert error is not None
    assert "https://lake.invalid/a" in str(error)
    assert "hidden" not in "".join(traceback.format_exception(error))
