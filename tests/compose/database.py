"""What PostgreSQL's image does before it becomes its command."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.harness.postgres import SERVER_USER, postgres_binaries


def prepare(command: list[str], env: Mapping[str, str]) -> list[str]:
    """Make what the environment names: data, user and database; return the command that serves them on loopback."""
    data = Path(env["PGDATA"])
    binaries = postgres_binaries()
    if binaries is None:
        raise RuntimeError("no PostgreSQL server below /usr/lib/postgresql")
    as_server: list[str] = []
    if os.geteuid() == 0:  # which the server refuses
        shutil.chown(data, SERVER_USER, SERVER_USER)
        as_server = ["setpriv", f"--reuid={SERVER_USER}", f"--regid={SERVER_USER}", "--clear-groups"]

    def run(*arguments: str, text: str | None = None) -> None:
        subprocess.run(
            [*as_server, *arguments], env=env, cwd="/", input=text, check=True, capture_output=True, text=True
        )

    password, user = env["POSTGRES_PASSWORD_FILE"], env["POSTGRES_USER"]
    run(f"{binaries}/initdb", "-D", str(data), "-U", user, f"--pwfile={password}", "-A", "scram-sha-256", "--no-sync")
    make = f"CREATE DATABASE {env['POSTGRES_DB']}\n"
    run(f"{binaries}/postgres", "--single", "-D", str(data), "postgres", text=make)
    on_loopback = ["-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={data}"]
    return [*as_server, *command, *on_loopback]
