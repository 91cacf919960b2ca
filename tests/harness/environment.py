"""Environment variables for Airflow under test, free of what the caller's shell sets for Airflow."""

from __future__ import annotations

import base64
import json
import os
import secrets
import socket
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

AIRFLOW_PREFIXES = ("AIRFLOW_", "_AIRFLOW_", "__AIRFLOW_")


def clean_environment(base: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return ``base`` (default: ``os.environ``) without Airflow's variables and without proxies for loopback.

    The running interpreter's ``bin`` directory comes first in ``PATH``.
    """
    source = os.environ if base is None else base
    env = {key: value for key, value in source.items() if not key.startswith(AIRFLOW_PREFIXES)}
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env.get("PATH", os.defpath)])
    env.update(no_proxy="*", NO_PROXY="*", NO_COLOR="1", PYTHONUNBUFFERED="1")
    return env


def free_ports(count: int) -> list[int]:
    """Return ``count`` different TCP ports that were free on 127.0.0.1 a moment ago."""
    with ExitStack() as sockets:
        ports = []
        for _ in range(count):
            probe = sockets.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            probe.bind(("127.0.0.1", 0))
            ports.append(int(probe.getsockname()[1]))
        return ports


def library_environment(home: Path) -> dict[str, str]:
    """Return the variables for Airflow used as a library, with SQLite in ``home``.

    They must be in ``os.environ`` before Airflow is imported.  The directory ``home/dags`` is expected to exist.
    """
    return {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
    }


def bundle_config(dags_folders: Sequence[Path]) -> str:
    """Return the JSON of ``[dag_processor] dag_bundle_config_list``: one local bundle for each folder.

    The first bundle has Airflow's default name, ``dags-folder``; the others are numbered.
    """
    return json.dumps(
        [
            {
                "name": "dags-folder" if index == 0 else f"dags-folder-{index}",
                "classpath": "airflow.dag_processing.bundles.local.LocalDagBundle",
                "kwargs": {"path": str(folder.resolve())},
            }
            for index, folder in enumerate(dags_folders)
        ]
    )


def stack_environment(
    home: Path, dags_folders: Sequence[Path], sql_alchemy_conn: str, users: Mapping[str, str]
) -> dict[str, str]:
    """Return the Airflow variables of one stack of processes, with ports and secrets of its own.

    ``users`` maps a user's name to the role; the password equals the name.
    """
    api_port, worker_log_port, trigger_log_port = free_ports(3)
    base_url = f"http://127.0.0.1:{api_port}"
    passwords = home / "passwords.json"
    passwords.write_text(json.dumps({user: user for user in users}))
    options = {
        "DATABASE__SQL_ALCHEMY_CONN": sql_alchemy_conn,
        "API__HOST": "127.0.0.1",
        "API__PORT": str(api_port),
        "API__BASE_URL": base_url,
        "API__WORKERS": "1",
        "API__SECRET_KEY": secrets.token_hex(32),
        "API_AUTH__JWT_SECRET": secrets.token_hex(32),
        "CORE__EXECUTION_API_SERVER_URL": f"{base_url}/execution/",
        "CORE__FERNET_KEY": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        "CORE__DAGS_FOLDER": str(dags_folders[0].resolve()),
        "CORE__LOAD_EXAMPLES": "False",
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": "4",
        "CORE__TEST_CONNECTION": "Enabled",
        "CORE__SIMPLE_AUTH_MANAGER_USERS": ",".join(f"{user}:{role}" for user, role in users.items()),
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "LOGGING__BASE_LOG_FOLDER": str(home / "task_logs"),
        "LOGGING__WORKER_LOG_SERVER_PORT": str(worker_log_port),
        "LOGGING__TRIGGER_LOG_SERVER_PORT": str(trigger_log_port),
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
        "SCHEDULER__SCHEDULER_HEARTBEAT_SEC": "1",
        "TRIGGERER__JOB_HEARTBEAT_SEC": "1",
        "WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        # Airflow fails a task, without a log, whose start the API server does not answer in time; its default is 5.
        "WORKERS__EXECUTION_API_TIMEOUT": "60",
        "DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": bundle_config(dags_folders),
        "DAG_PROCESSOR__REFRESH_INTERVAL": "3",
        "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "2",
        "DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "1",
        "DAG_PROCESSOR__PRINT_STATS_INTERVAL": "5",
    }
    return {"AIRFLOW_HOME": str(home)} | {f"AIRFLOW__{key}": value for key, value in options.items()}
