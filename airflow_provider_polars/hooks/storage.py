"""Credentials of object stores, from an Airflow connection, in the words of Polars."""

from __future__ import annotations

from typing import Any

from airflow.sdk.log import mask_secret

from airflow_provider_polars.exceptions import ConfigurationError
from airflow_provider_polars.hooks.connections import find_connection


def storage_options(conn_id: str) -> dict[str, str]:
    """Return the storage options for ``s3://`` that the ``aws`` connection stands for; its secrets are masked in logs.

    :raises ConfigurationError: if the connection or the amazon provider is missing, or it gives no credentials.
    """
    try:
        from airflow.providers.amazon.aws.hooks.base_aws import AwsGenericHook
    except ImportError as error:
        raise ConfigurationError(
            f"The connection {conn_id!r} needs the amazon provider, which is not installed ({error}). "
            "Install airflow-provider-polars[amazon] on the workers."
        ) from error
    find_connection(conn_id, "aws_conn_id")  # for one that does not exist, the amazon provider takes what is around
    hook: AwsGenericHook[Any] = AwsGenericHook(aws_conn_id=conn_id, client_type="s3")
    found = hook.get_session(region_name=hook.region_name).get_credentials()
    credentials = found.get_frozen_credentials() if found else None
    if credentials is None or not credentials.access_key or not credentials.secret_key:
        raise ConfigurationError(f"The connection {conn_id!r} gives no AWS credentials; fill in login and password.")
    options = {"aws_access_key_id": credentials.access_key, "aws_secret_access_key": credentials.secret_key}
    if credentials.token:
        options["aws_session_token"] = credentials.token
    for secret in options.values():
        mask_secret(secret)
    if hook.region_name:
        options["aws_region"] = hook.region_name
    endpoint = hook.conn_config.get_service_endpoint_url("s3")
    if endpoint:
        options["aws_endpoint_url"] = endpoint
        if endpoint.startswith("http://"):
            options["aws_allow_http"] = "true"
    return options
