"""The environment of a test is exchanged without a change of its size, which could crash threads that read it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from airflow_provider_polars.testing.environment import _SPARE_PREFIX, set_environment


def shown() -> dict[str, str]:
    """Return the environment but for spare variables, and for what pytest changes."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_SPARE_PREFIX) and name != "PYTEST_CURRENT_TEST"
    }


@pytest.fixture(autouse=True)
def no_spare_variable_is_left() -> Iterator[None]:
    yield
    for name in [name for name in os.environ if name.startswith(_SPARE_PREFIX)]:
        del os.environ[name]


def test_the_environment_is_that_and_no_other_and_is_what_it_was_at_the_end() -> None:
    before = shown()
    environment = {name: value for name, value in before.items() if name != "HOME"} | {"PATH": "/bin", "MORE": "1"}

    with pytest.MonkeyPatch.context() as monkeypatch:
        set_environment(environment, monkeypatch)
        assert shown() == environment

    assert shown() == before


@pytest.mark.parametrize(("first", "second"), [(0, 15), (15, 18), (18, 15), (15, 0), (18, 18)])
def test_the_number_of_variables_stays_the_same_from_the_first_change_on(first: int, second: int) -> None:
    base = shown()
    counts = []
    with pytest.MonkeyPatch.context() as monkeypatch:
        set_environment(base | {f"FIRST_{number}": "1" for number in range(15)}, monkeypatch)
        counts.append(len(os.environ))
    for count in (first, second):
        with pytest.MonkeyPatch.context() as monkeypatch:
            set_environment(base | {f"OTHER_{number}": "1" for number in range(count)}, monkeypatch)
            counts.append(len(os.environ))
        counts.append(len(os.environ))

    assert len(set(counts)) == 1


def test_environments_can_be_changed_twice_in_one_test() -> None:
    before = shown()
    with pytest.MonkeyPatch.context() as monkeypatch:
        set_environment(before | {f"FIRST_{number}": "1" for number in range(20)}, monkeypatch)
        second = {f"SECOND_{number}": "1" for number in range(40)}
        set_environment(second, monkeypatch)
        assert shown() == second

    assert shown() == before
