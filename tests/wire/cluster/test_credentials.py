"""No credential travels in a plan, unless the compute allows it, and then over TLS alone."""

from __future__ import annotations

import dataclasses
import json
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest

from airflow_provider_polars import ClusterCompute, LocalCompute, ParquetSink
from airflow_provider_polars.exceptions import ConfigurationError
from tests.unit.outcomes import failure, succeeded

if TYPE_CHECKING:
    from airflow_provider_polars.testing import DevCluster
    from tests.harness.in_memory import InMemoryAirflow, TaskOutcome
    from tests.wire.cluster.conftest import Plans, Run

KEY_ID = "AKIALOOPBACK"
SECRET = "correct-horse-battery-staple"
SECRETS = (KEY_ID, SECRET)
REGION = "eu-west-1"
FRAME = pl.LazyFrame({"id": range(10)})
SENT = "The secrets of the connection 'lake' travel to {} inside of the plan"


@pytest.fixture
def public(endpoint: str) -> dict[str, str]:
    """Return storage options without secrets that lead to the server."""
    return {"aws_endpoint_url": endpoint, "aws_region": REGION, "aws_allow_http": "true"}


@pytest.fixture(autouse=True)
def lake(in_memory_airflow: InMemoryAirflow, endpoint: str) -> None:
    """Make the connection ``lake``, which leads to the server."""
    extra = {"endpoint_url": endpoint, "region_name": REGION}
    in_memory_airflow.add_connection("lake", "aws", login=KEY_ID, password=SECRET, extra=extra)


def sending(cluster: DevCluster, **options: Any) -> ClusterCompute:
    """Return a cluster as a compute that may send credentials."""
    return ClusterCompute(uri=cluster.uri, observatory=cluster.observatory, send_credentials=True, **options)


def shown(outcome: TaskOutcome, cluster: DevCluster) -> str:
    """Return all that a task leaves behind, and what the cluster notes of it."""
    error = outcome.error
    parts = [
        *(repr(request) for request in outcome.requests if "/connections/" not in request.path),
        json.dumps([outcome.xcoms, outcome.rendered_fields, outcome.state_store], default=str),
        "".join(traceback.format_exception(error)) if error else "",
        *(json.dumps(cluster.get(path)) for path in ("/_dev/records", "/_dev/queries")),
    ]
    return "\n".join(parts)


def test_scans_and_sinks_carry_neither_a_provider_nor_a_key(
    run: Run, cluster: ClusterCompute, plans: Plans, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plans are made, and then refused for their size: nothing is looked up anywhere."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEY_ID)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    compute = dataclasses.replace(cluster, max_plan_mb=1e-6)
    result = {"polars_result": 1, "format": "parquet", "locations": ["s3://lake/rows.parquet"]}

    def scans(upstream: pl.LazyFrame) -> pl.LazyFrame:
        return pl.concat([upstream, pl.scan_parquet("s3://lake/a.parquet"), pl.scan_csv("s3://lake/b.csv")])

    for sink in (ParquetSink("s3://lake/out/"), ParquetSink("s3://lake/out/", partition_by=["id"]), None):
        assert "PlanError" in failure(run(scans, result, sink=sink, compute=compute))

    assert len(plans) == 3
    for plan in plans:
        assert b"s3://lake/rows.parquet" in plan
        assert b"CredentialProvider" not in plan
        assert not [secret for secret in SECRETS if secret.encode() in plan]


def test_what_a_function_submits_by_itself_carries_no_provider_either(
    run: Run, cluster: ClusterCompute, plans: Plans
) -> None:
    def submits() -> None:
        FRAME.remote().distributed().sink_parquet("s3://lake/own/")

    outcome = run(submits, compute=dataclasses.replace(cluster, max_plan_mb=1e-6))

    assert "PlanError" in failure(outcome)
    (plan,) = plans
    assert b"s3://lake/own/" in plan
    assert b"CredentialProvider" not in plan


def test_the_providers_default_is_back_after_the_task(run: Run) -> None:
    succeeded(run(FRAME))

    plan = pl.scan_parquet("s3://lake/a.parquet").serialize()
    assert b"CredentialProvider" in plan


def test_options_without_secrets_travel_and_the_cluster_writes_with_its_own_role(
    run: Run, plans: Plans, public: dict[str, str]
) -> None:
    """The role is the keys in the environment of the workers."""
    result = succeeded(run(FRAME, sink=ParquetSink("s3://lake/role/rows.parquet", storage_options=public)))

    assert (result["locations"], result["rows"]) == (["s3://lake/role/rows.parquet"], 10)
    (plan,) = plans
    assert public["aws_endpoint_url"].encode() in plan
    assert REGION.encode() in plan
    assert not [secret for secret in SECRETS if secret.encode() in plan]


def test_the_connection_of_an_upstream_result_lends_its_address_and_no_secret(run: Run, plans: Plans) -> None:
    here = LocalCompute()
    local = succeeded(run(FRAME, sink=ParquetSink("s3://lake/worker/rows.parquet", aws_conn_id="lake"), compute=here))
    folder = succeeded(run(FRAME, sink=ParquetSink("s3://lake/worker/rows/", aws_conn_id="lake"), compute=here))
    assert (local["conn_id"], plans) == ("lake", [])

    for upstream in (local, folder):
        total = succeeded(run(lambda rows: rows.select(pl.col("id").sum()), upstream, head_rows=1))
        assert total["head"] == [{"id": 45}]

    for plan in plans:
        assert REGION.encode() in plan
        assert not [secret for secret in SECRETS if secret.encode() in plan]


def test_a_data_frame_of_such_a_result_is_read_here_with_the_secrets(run: Run, plans: Plans) -> None:
    sink = ParquetSink("s3://lake/eager/rows.parquet", aws_conn_id="lake")
    local = succeeded(run(FRAME, sink=sink, compute=LocalCompute()))

    def eager(rows: pl.DataFrame) -> pl.LazyFrame:
        return rows.lazy().select(pl.col("id").max())

    assert succeeded(run(eager, local, head_rows=1))["head"] == [{"id": 9}]
    assert not [secret for secret in SECRETS if secret.encode() in plans[0]]


def test_a_connection_for_a_remote_sink_is_refused_unless_the_compute_allows_it(run: Run) -> None:
    with pytest.raises(ConfigurationError) as refusal:
        run(FRAME, sink=ParquetSink("s3://lake/rows.parquet", aws_conn_id="lake"))

    assert str(refusal.value) == (
        "ParquetSink(aws_conn_id='lake'): its secrets would travel to the cluster inside of the plan. Remove "
        "aws_conn_id=, so that the cluster writes with a role of its own, or allow it with "
        "ClusterCompute(send_credentials=True)."
    )


def test_one_that_only_the_running_task_knows_is_refused_there(
    run: Run, in_memory_airflow: InMemoryAirflow, polars_dev_cluster: DevCluster
) -> None:
    compute = {"kind": "cluster", "uri": polars_dev_cluster.uri, "send_credentials": "{{ 'false' }}"}

    outcome = run(FRAME, sink=ParquetSink("s3://lake/rows.parquet", aws_conn_id="{{ 'lake' }}"), compute=compute)

    assert "its secrets would travel to the cluster inside of the plan" in failure(outcome)
    assert polars_dev_cluster.recorder.calls() == []
    assert not [request for request in outcome.requests if "connections" in request.path]


def test_secrets_are_not_sent_in_clear(
    run: Run, polars_dev_cluster: DevCluster, plans: Plans, capfd: pytest.CaptureFixture[str]
) -> None:
    called: list[None] = []

    outcome = run(
        lambda: called.append(None),
        sink=ParquetSink("s3://lake/rows.parquet", aws_conn_id="lake"),
        compute=sending(polars_dev_cluster),
    )

    assert failure(outcome) == (
        "ConfigurationError: send_credentials=True would send the secrets of the connection 'lake' in clear to "
        f"{polars_dev_cluster.uri}. Use https:// and a certificate that is verified, or let the cluster use a role of "
        "its own."
    )
    assert (called, plans, polars_dev_cluster.recorder.calls()) == ([], [], [])
    everything = shown(outcome, polars_dev_cluster) + "".join(capfd.readouterr())
    assert not [secret for secret in SECRETS if secret in everything]


@pytest.mark.own_cluster
class TestOverTls:
    """Secrets that may travel."""

    def test_they_write_and_read_and_only_the_connection_is_named(
        self,
        run: Run,
        start_cluster: Any,
        plans: Plans,
        tmp_path: Path,
        capfd: pytest.CaptureFixture[str],
        caplog: pytest.LogCaptureFixture,
        endpoint: str,
    ) -> None:
        cluster = start_cluster("--tls")
        (tmp_path / "ca.pem").write_bytes(cluster.authority)
        compute = sending(cluster, ca_cert=f"{tmp_path}/ca.pem")
        sink = ParquetSink("s3://lake/tls/rows.parquet", aws_conn_id="lake")

        with caplog.at_level("DEBUG"):
            written = run(FRAME, sink=sink, compute=compute)
            read = run(lambda rows: rows.select(pl.col("id").sum()), succeeded(written), compute=compute, head_rows=1)

        assert succeeded(read)["head"] == [{"id": 45}]
        assert set(succeeded(written)["timings"]) == {"queue", "plan", "run"}
        assert len([plan for plan in plans if SECRET.encode() in plan]) == 2
        assert [line for line in caplog.messages if "inside of the plan" in line] == [SENT.format(cluster.uri)] * 2
        output = "".join(capfd.readouterr())
        everything = shown(written, cluster) + shown(read, cluster) + output + caplog.text
        assert not [secret for secret in SECRETS if secret in everything]

    def test_they_are_in_no_error_either(
        self,
        run: Run,
        start_cluster: Any,
        tmp_path: Path,
        capfd: pytest.CaptureFixture[str],
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        cluster = start_cluster("--tls")
        (tmp_path / "ca.pem").write_bytes(cluster.authority)
        compute = sending(cluster, ca_cert=f"{tmp_path}/ca.pem")
        failing = FRAME.select(pl.col("id").cast(pl.String).str.to_date(strict=True))
        lake = ParquetSink("s3://lake/tls/never.parquet", aws_conn_id="lake")
        nowhere = ParquetSink("s3://nowhere/rows.parquet", aws_conn_id="lake")

        with caplog.at_level("DEBUG"):
            outcomes = [
                run(failing, sink=lake, compute=compute),
                run(FRAME, sink=nowhere, compute=compute),
                run(FRAME.select("missing"), sink=lake, compute=compute),
                run(FRAME, sink=lake, compute=compute, distributed={"planner": "magic", "sink_to_single_file": True}),
            ]

        assert [type(outcome.error).__name__ for outcome in outcomes] == [
            "QueryFailedError",
            "SinkWriteError",
            "SchemaError",
            "RefusedOptionError",
        ]
        everything = "".join(shown(outcome, cluster) for outcome in outcomes) + caplog.text
        everything += "".join(capfd.readouterr())
        assert not [secret for secret in SECRETS if secret in everything]

    def test_they_are_not_sent_to_whoever_answers(self, run: Run, start_cluster: Any, plans: Plans) -> None:
        cluster = start_cluster("--tls")

        outcome = run(
            FRAME,
            sink=ParquetSink("s3://lake/rows.parquet", aws_conn_id="lake"),
            compute=sending(cluster, insecure=True),
        )

        assert "would send the secrets of the connection 'lake' to whoever answers at" in failure(outcome)
        assert plans == []
