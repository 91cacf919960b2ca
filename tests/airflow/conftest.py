"""The shared stack with the data that the example DAGs read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.harness.stack import AirflowStack


@pytest.fixture(scope="session")
def stack_with_flights(airflow_stack: AirflowStack, flights_data: Path) -> AirflowStack:
    """Return the stack with the data set below its home, where the example DAGs look for it."""
    (airflow_stack.home / flights_data.name).symlink_to(flights_data)
    return airflow_stack
