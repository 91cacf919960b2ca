"""What the cluster received, for assertions."""

from __future__ import annotations

import itertools
import re
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

KEPT = 10_000
_SECRET = re.compile(r"authorization|cookie|credential|key|password|secret|token")


class Recorder:
    """The last calls, oldest first. No plan and no credential is kept."""

    def __init__(self) -> None:
        self._records: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._index = itertools.count()

    def add(self, call: str, headers: Iterable[tuple[str, str | bytes]], **details: Any) -> None:
        """Note a call with its headers; values of those that seem to be a credential are left out."""
        shown = {name: "***" if _SECRET.search(name.lower()) else str(value) for name, value in headers}
        self._records.append(
            {"index": next(self._index), "time": time.time(), "call": call, "headers": shown, **details}
        )

    def since(self, index: int) -> list[dict[str, Any]]:
        """Return the records from an index on."""
        return [record for record in self._records if record["index"] >= index]
