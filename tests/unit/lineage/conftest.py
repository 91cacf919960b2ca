"""Tasks of these tests are listened to."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.lineage import Events, listening


@pytest.fixture
def events(tmp_path: Path) -> Iterator[Events]:
    """Have tasks listened to, and return what is written of them."""
    with listening(tmp_path / "events.ndjson") as events:
        yield events
