"""What clients 0.6.3 to 0.12.0 can do with the development servers, and what the guide says of it."""

from __future__ import annotations

import os

import pytest

from tests.wire.clients import table
from tests.wire.clients.expected import CLIENTS, FAILURES, SINCE, expected, is_as_expected
from tests.wire.clients.fleet import Outcomes, outcomes

pytestmark = pytest.mark.other_client
UPDATE = "UPDATE_CLIENT_VERSIONS"


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> dict[str, Outcomes]:
    """Return what the clients can do; it is printed too."""
    versions = os.environ.get("CLIENTS", "").split() or list(CLIENTS)
    found = outcomes(versions, tmp_path_factory.mktemp("clients"))
    with request.config.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        print(f"\n\n{table.tables(found)}")
    return found


def test_every_client_can_do_what_it_should(seen: dict[str, Outcomes]) -> None:
    others = [
        f"{version}: {name}: {outcome} (expected: {expected(version, name)})"
        for version, groups in seen.items()
        for group in groups.values()
        for name, outcome in group.items()
        if not is_as_expected(version, name, outcome)
    ]

    assert others == []


def test_each_difference_is_one_of_a_capability_that_is_tried(seen: dict[str, Outcomes]) -> None:
    tried = {name for groups in seen.values() for group in groups.values() for name in group}

    assert tried >= SINCE.keys() | FAILURES.keys()


def test_the_guide_says_what_was_seen(seen: dict[str, Outcomes]) -> None:
    if os.environ.get(UPDATE):
        table.write(table.tables(seen))

    assert table.documented() == table.tables(seen), "make test-clients UPDATE=1 writes it anew"
