"""What the cluster received, for assertions."""

from __future__ import annotations

import itertools
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

KEPT = 10_000
_HIDDEN = ("authorization",)


class Recorder:
    """The last calls, oldest first. No plan and no credential is kept."""

    def __init__(self) -> None:
        self._records: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._index = itertools.count()

    def add(self, call: str, headers: Iterable[tuple[str, str | bytes]], **details: Any) -> None:
        """Note a call with its headers; the value of a credential is left out."""
        shown = {name: "***" if name in _HIDDEN else str(value) for name, value in headers}
        self._records.append(
            {"index": next(self._index), "time": time.time(), "call": call, "headers": shown, **details}
        )

    def since(self, index: int) -> list[dict[str, Any]]:
        """Return the records from an index on."""
        return [record for record in self._records if record["index"] >= index]
