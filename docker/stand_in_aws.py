"""Run moto, a stand-in for S3 and AWS Secrets Manager, with what the examples need: ``stand_in_aws.py HOST PORT``.

All is in memory: it ends with the process, and is made again by the next one. The bucket is made last, so who finds
it finds the secrets.
"""

import json
import os
import signal
import sys
from pathlib import Path

import boto3  # noqa: TID253
from moto.server import ThreadedMotoServer

BUCKET = "lake"


def connections(own_address: str) -> dict[str, dict[str, object]]:
    """Return the connections of Airflow by id, with their secrets from the files that the environment names."""
    keys = boto3.Session().get_credentials().get_frozen_credentials()
    client_id, _, client_secret = Path(os.environ["DEV_CLOUD_ACCOUNT_FILE"]).read_text().partition(":")
    return {
        "aws_default": {
            "conn_type": "aws",
            "login": keys.access_key,
            "password": keys.secret_key,
            "extra": {"endpoint_url": own_address, "region_name": os.environ["AWS_DEFAULT_REGION"]},
        },
        "polars_cluster_default": {
            "conn_type": "polars_cluster",
            "host": os.environ["DEV_CLUSTER"],
            "login": "airflow",
            "password": Path(os.environ["DEV_CLUSTER_TOKEN_FILE"]).read_text(),
            "extra": {"observatory": os.environ["DEV_CLUSTER_OBSERVATORY"]},
        },
        "polars_cloud_default": {
            "conn_type": "polars_cloud",
            "login": client_id,
            "password": client_secret,
            "extra": {"workspace": "development"},
        },
        "polars_onprem": {"conn_type": "polars_cluster", "host": os.environ["ONPREM_CLUSTER"], "login": "airflow"},
    }


def main(host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    server = ThreadedMotoServer(host, port, verbose=False)
    server.start()
    here = f"http://127.0.0.1:{port}"
    vault = boto3.client("secretsmanager", endpoint_url=here)
    for name, connection in connections(os.environ["OWN_ADDRESS"]).items():
        vault.create_secret(Name=f"airflow/connections/{name}", SecretString=json.dumps(connection))
    region = {"LocationConstraint": os.environ["AWS_DEFAULT_REGION"]}
    boto3.client("s3", endpoint_url=here).create_bucket(Bucket=BUCKET, CreateBucketConfiguration=region)
    print(f"moto, a stand-in for S3 and AWS Secrets Manager: bucket {BUCKET}", flush=True)
    signal.sigwait((signal.SIGTERM, signal.SIGINT))
    server.stop()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
