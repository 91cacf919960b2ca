"""The real Polars Cloud client at the stand-in for the identity service: our check asks what the client asks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provider_polars.clients.tokens import check_service_account
from airflow_provider_polars.credentials import ServiceAccount
from airflow_provider_polars.exceptions import CredentialsError
from airflow_provider_polars.testing import isolated_environment
from airflow_provider_polars.testing.environment import set_environment
from tests.harness.identity import IdentityStandIn

SIGN_IN = """
import sys, polars_cloud
polars_cloud.authenticate(client_id=sys.argv[1], client_secret=sys.argv[2], interactive=False)
"""


def sign_in(identity: IdentityStandIn, folder: Path, client_secret: str) -> bool:
    """Say whether the client, in a process of its own, signs in."""
    here = {"POLARS_CLOUD_API_ADDR": f"https://{identity.address}"}
    process = subprocess.run(
        [sys.executable, "-c", SIGN_IN, "some-client", client_secret],
        env=isolated_environment(folder) | identity.environment | here,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert process.returncode == 0 or "AuthLoadError" in process.stderr, process.stderr
    return process.returncode == 0


@pytest.mark.parametrize(("client_secret", "right"), [("a-secret & more+%20", True), ("another-secret", False)])
def test_our_check_posts_the_form_of_the_client_and_comes_to_the_same_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, client_secret: str, right: bool
) -> None:
    with IdentityStandIn(tmp_path, {"some-client": "a-secret & more+%20"}) as identity:
        assert sign_in(identity, tmp_path, client_secret) is right
        set_environment(isolated_environment(tmp_path) | identity.environment, monkeypatch)
        account = ServiceAccount("some-client", client_secret, "a test")
        if right:
            check_service_account(account)
        else:
            with pytest.raises(CredentialsError):
                check_service_account(account)
    of_the_client, ours = identity.asked
    assert ours == of_the_client
    both = ("content-type", "authorization", "host")
    assert [identity.headers[1][name] for name in both] == [identity.headers[0][name] for name in both]
