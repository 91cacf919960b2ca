"""Tasks whose service account is wrong, and tasks that are careless with a right one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import dag, task

from airflow_provider_polars.hooks.cloud import PolarsCloudHook

WRONG = ["wrong_secret", "half", "denied", "missing", "broken", "absent"]


@dag(schedule=None, catchup=False)
def refused_credentials() -> None:
    """Every task fails; one is tried again."""

    @task
    def check(conn_id: str) -> Any:
        return PolarsCloudHook(conn_id).check_credentials()

    for conn_id in WRONG:
        again = {"retries": 1, "retry_delay": timedelta(seconds=0)} if conn_id == "wrong_secret" else {}
        check.override(task_id=conn_id, **again)(conn_id)


@dag(schedule=None, catchup=False)
def careless_credentials() -> None:
    """One task prints its account, one returns it, one fails with it."""

    @task
    def prints_it() -> None:
        account = PolarsCloudHook("polars_cloud_vault").service_account()
        print(f"My secret is {account.client_secret}, and I am {account.client_id}.")
        print(account, vars(account))

    @task
    def returns_it() -> Any:
        return PolarsCloudHook("polars_cloud_vault").service_account()

    @task
    def fails_with_it() -> None:
        account = PolarsCloudHook("polars_cloud_default").service_account()
        raise RuntimeError(f"It went wrong with {account.client_id}:{account.client_secret}")

    prints_it()
    returns_it()
    fails_with_it()


refused_credentials()
careless_credentials()
