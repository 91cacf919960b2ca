"""AWS Secrets Manager on loopback (moto), with identities that may and may not read it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.harness.s3 import s3_server

REGION = "eu-west-1"
_ALLOWED = {"reader": "secretsmanager:GetSecretValue", "owner": "*", "stranger": None}


@dataclass(frozen=True)
class SecretsManager:
    """The server, and the AWS keys of its identities: ``reader``, ``owner``, and ``stranger``, who may nothing."""

    url: str
    keys: Mapping[str, tuple[str, str]]

    def client(self, identity: str = "owner") -> Any:
        """Return a client of boto3."""
        return _client("secretsmanager", self.url, *self.keys[identity])

    def connection(self, identity: str = "reader", **extra: Any) -> dict[str, Any]:
        """Return type, login, password and extra of an ``aws`` connection that leads here."""
        login, password = self.keys[identity]
        leading = {"endpoint_url": self.url, "region_name": REGION}
        return {"conn_type": "aws", "login": login, "password": password, "extra": leading | extra}

    def environment(self, identity: str = "reader") -> dict[str, str]:
        """Return the variables of a process whose own AWS identity this is."""
        key, secret = self.keys[identity]
        return {
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }


@contextlib.contextmanager
def secrets_manager(folder: Path) -> Iterator[SecretsManager]:
    """Run a server until the block ends.

    :param folder: for its log.
    """
    with s3_server(folder) as url:
        iam, keys = _client("iam", url, "AKIASETUP", "setup"), {}
        for identity, action in _ALLOWED.items():
            iam.create_user(UserName=identity)
            if action:
                statement = {"Effect": "Allow", "Action": action, "Resource": "*"}
                document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
                iam.put_user_policy(UserName=identity, PolicyName="policy", PolicyDocument=document)
            key = iam.create_access_key(UserName=identity)["AccessKey"]
            keys[identity] = (key["AccessKeyId"], key["SecretAccessKey"])
        httpx.post(f"{url}/moto-api/reset-auth", content=b"0", trust_env=False).raise_for_status()  # now they count
        yield SecretsManager(url, keys)


def _client(service: str, url: str, key: str, secret: str) -> Any:
    import boto3

    return boto3.client(
        service, endpoint_url=url, region_name=REGION, aws_access_key_id=key, aws_secret_access_key=secret
    )
