"""``make compose-secrets``: what it makes, for whom, and that it keeps what is there."""

from __future__ import annotations

import re
import subprocess
import uuid
from configparser import ConfigParser
from pathlib import Path

import pytest
from cryptography.fernet import Fernet

from tests.compose.composition import REPOSITORY


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """Run the script in a checkout of its own, and return the folder that it makes."""
    (tmp_path / "docker").mkdir()
    (tmp_path / "docker" / "secrets.sh").write_bytes((REPOSITORY / "docker" / "secrets.sh").read_bytes())
    make(tmp_path)
    return tmp_path / ".compose" / "secrets"


def make(checkout: Path) -> str:
    """Run the script; return what it prints."""
    done = subprocess.run(
        ["sh", checkout / "docker" / "secrets.sh"], cwd="/", capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout


def contents(secrets: Path) -> dict[str, str]:
    """Return what is in each file."""
    return {file.name: file.read_text() for file in secrets.iterdir()}


def test_secrets_are_what_their_readers_take(secrets: Path) -> None:
    made = contents(secrets)

    Fernet(made["fernet_key"].encode()).encrypt(b"a password")
    assert made["database_url"] == f"postgresql+psycopg2://airflow:{made['postgres_password']}@postgres:5432/airflow"
    account_id, _, secret = made["dev_cloud_account"].partition(":")
    assert uuid.UUID(account_id).version == 4
    assert len(secret) == 48
    keys = ConfigParser()
    keys.read_string(made["aws_credentials"])
    assert keys["default"].keys() == {"aws_access_key_id", "aws_secret_access_key"}
    assert re.fullmatch(r"[0-9a-f]{16}", made["admin_password"])


def test_no_secret_ends_with_a_line_end(secrets: Path) -> None:
    """Airflow takes all that a command prints: a name of a database with a line end is not found."""
    assert [name for name, text in contents(secrets).items() if text != text.strip()] == []


def test_only_their_owner_reaches_the_files_and_any_user_of_a_container_reads_them(secrets: Path) -> None:
    assert secrets.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in secrets.iterdir()} == {0o644}


def test_a_second_time_keeps_what_is_there_and_makes_what_is_not(secrets: Path) -> None:
    first = contents(secrets)
    (secrets / "jwt_secret").unlink()

    said = make(secrets.parents[1])

    second = contents(secrets)
    assert second.pop("jwt_secret") != first.pop("jwt_secret")
    assert second == first
    assert [text for text in first.values() if text in said] == []


def test_two_checkouts_share_no_secret(secrets: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / "docker").mkdir()
    (other / "docker" / "secrets.sh").write_bytes((REPOSITORY / "docker" / "secrets.sh").read_bytes())
    make(other)

    assert set(contents(secrets).values()) & set(contents(other / ".compose" / "secrets").values()) == set()
