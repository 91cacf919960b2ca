"""Credentials of S3 from an ``aws`` connection; the amazon provider is stood in for, so that no account is needed."""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass
from typing import Any

import pytest

from airflow_provider_polars import ParquetSink, PolarsRemoteOperator
from airflow_provider_polars.exceptions import ConfigurationError
from airflow_provider_polars.hooks import storage
from tests.harness.in_memory import InMemoryAirflow
from tests.unit.outcomes import failure

MODULE = "airflow.providers.amazon.aws.hooks.base_aws"


@dataclass
class Credentials:
    """What boto3 finds."""

    access_key: str | None = "AKIA"
    secret_key: str | None = "key-that-is-secret"
    token: str | None = None


def install(
    monkeypatch: pytest.MonkeyPatch, credentials: Credentials, endpoint: str | None, region: str | None
) -> None:
    """Put a hook into the provider's place that finds these."""

    class AwsGenericHook:
        def __init__(self, aws_conn_id: str, client_type: str) -> None:
            self.asked = (aws_conn_id, client_type)
            self.region_name = region
            self.conn_config = types.SimpleNamespace(get_service_endpoint_url=lambda service: endpoint)

        def get_session(self, region_name: str | None) -> types.SimpleNamespace:
            assert self.asked == ("lake", "s3")
            found = types.SimpleNamespace(get_frozen_credentials=lambda: credentials)
            return types.SimpleNamespace(get_credentials=lambda: found)

    monkeypatch.setenv("AIRFLOW_CONN_LAKE", "aws://")
    module = types.ModuleType(MODULE)
    module.AwsGenericHook = AwsGenericHook  # type: ignore[attr-defined]
    for name in ("airflow.providers.amazon", "airflow.providers.amazon.aws", "airflow.providers.amazon.aws.hooks"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, MODULE, module)


@pytest.mark.parametrize(
    ("credentials", "endpoint", "region", "more"),
    [
        (Credentials(), None, None, {}),
        (Credentials(), None, "eu-west-1", {"aws_region": "eu-west-1"}),
        (Credentials(token="tok"), None, None, {"aws_session_token": "tok"}),
        (Credentials(), "https://s3.invalid", None, {"aws_endpoint_url": "https://s3.invalid"}),
        (
            Credentials(),
            "http://127.0.0.1:9000",
            None,
            {"aws_endpoint_url": "http://127.0.0.1:9000", "aws_allow_http": "true"},
        ),
    ],
)
def test_connection_becomes_options_of_polars_and_its_secrets_are_masked(
    monkeypatch: pytest.MonkeyPatch,
    mocker: Any,
    credentials: Credentials,
    endpoint: str | None,
    region: str | None,
    more: dict[str, str],
) -> None:
    """Every secret goes to Airflow's masker before anyone can log it."""
    install(monkeypatch, credentials, endpoint, region)
    masked = mocker.patch.object(storage, "mask_secret")
    options = storage.storage_options("lake")
    assert options == {"aws_access_key_id": "AKIA", "aws_secret_access_key": "key-that-is-secret", **more}
    secrets = {value for value in (credentials.secret_key, credentials.token) if value}
    assert secrets <= {call.args[0] for call in masked.call_args_list}


def test_connection_without_credentials_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rather than a request without a signature later."""
    install(monkeypatch, Credentials(access_key=None), None, None)
    with pytest.raises(ConfigurationError, match="The connection 'lake' gives no AWS credentials"):
        storage.storage_options("lake")


def test_missing_provider_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the extra that brings it."""
    monkeypatch.setitem(sys.modules, MODULE, None)
    with pytest.raises(ConfigurationError, match=r"Install airflow-provider-polars\[amazon\] on the workers"):
        storage.storage_options("lake")


def test_connection_that_does_not_exist_is_named(
    in_memory_airflow: InMemoryAirflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The amazon provider would go on with whatever credentials the worker has."""
    install(monkeypatch, Credentials(), None, None)
    monkeypatch.delenv("AIRFLOW_CONN_LAKE")
    sink = ParquetSink("s3://lake.invalid/a.parquet", aws_conn_id="lake")
    work = PolarsRemoteOperator(task_id="t", query="builtins:dict", sink=sink)
    assert failure(in_memory_airflow.run_task(work)) == (
        "ConfigurationError: aws_conn_id='lake' names no connection. Create it, or correct the id."
    )
