"""Five ways to hand a service account of Polars Cloud to a DAG; docs/credentials.md says which wins over which.

Each task checks the account with Polars Cloud and returns where it was found, never the account itself. A task does not
know which way is used, except for the connection that it names: the deployment decides.
"""

from __future__ import annotations

from airflow.sdk import dag, task

from airflow_provider_polars.hooks.cloud import PolarsCloudHook


@task
def check(conn_id: str | None = None):
    return PolarsCloudHook(conn_id).check_credentials()


@task
def check_variables(client_id: str, client_secret: str):
    return PolarsCloudHook(client_id_variable=client_id, client_secret_variable=client_secret).check_credentials()


@dag(schedule=None, catchup=False, tags=["polars", "example"])
def example_credentials_connection():
    """The account is login and password of a connection.

    The deployment makes it once, in the UI or by this command; type `http` works too:

        airflow connections add polars_cloud_default --conn-type polars_cloud \
            --conn-login CLIENT_ID --conn-password CLIENT_SECRET
    """
    check("polars_cloud_default")


@dag(schedule=None, catchup=False, tags=["polars", "example"])
def example_credentials_vault():
    """The account is in AWS Secrets Manager, and the task reads it there. Airflow keeps no copy.

    The deployment makes a secret, a JSON object with `client_id` and `client_secret`, and a connection that names it:

        airflow connections add polars_cloud_vault --conn-type polars_cloud \
            --conn-extra '{"client_secret_id": "polars/airflow", "vault_conn_id": "aws_default"}'
    """
    check("polars_cloud_vault")


@dag(schedule=None, catchup=False, tags=["polars", "example"])
def example_credentials_secrets_backend():
    """The account is two Airflow Variables that a secrets backend has.

    The deployment configures the backend on the workers, here AWS Secrets Manager, and makes the secrets
    `airflow/variables/POLARS_CLOUD_CLIENT_ID` and `airflow/variables/POLARS_CLOUD_CLIENT_SECRET`:

        AIRFLOW__SECRETS__BACKEND=airflow.providers.amazon.aws.secrets.secrets_manager.SecretsManagerBackend
    """
    check()


@dag(schedule=None, catchup=False, tags=["polars", "example"])
def example_credentials_environment():
    """The account is two Airflow Variables in the environment of the workers.

    The deployment sets them there, from what its platform has for secrets:

        AIRFLOW_VAR_POLARS_CLOUD_CLIENT_ID=...
        AIRFLOW_VAR_POLARS_CLOUD_CLIENT_SECRET=...
    """
    check()


@dag(schedule=None, catchup=False, tags=["polars", "example"])
def example_credentials_variables():
    """The account is two Airflow Variables, here with names of their own.

    The deployment sets them once, in the UI or by these commands; a name with `secret` in it makes Airflow hide the
    value:

        airflow variables set polars_etl_client_id CLIENT_ID
        airflow variables set polars_etl_client_secret CLIENT_SECRET
    """
    check_variables("polars_etl_client_id", "polars_etl_client_secret")


example_credentials_connection()
example_credentials_vault()
example_credentials_secrets_backend()
example_credentials_environment()
example_credentials_variables()
