"""What the cluster received, for assertions."""

from __future__ import annotations

import itertools
import re
import time
from collections import deque
from collections.abc import Iterable
from typing import Any

from airflow_provider_polars.dev_cluster.faults import present_hit

KEPT = 10_000
_SECRET = re.compile(r"auth|cookie|credential|key|password|secret|token")
_SHOWN = 200
_MOST_HEADERS = 50


class Recorder:
    """The last calls, oldest first. No plan and no credential is kept."""

    def __init__(self) -> None:
        self._records: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._index = itertools.count()

    def add(self, call: str, headers: Iterable[tuple[str, str | bytes]], **details: Any) -> None:
        """Note a call with its headers, and as ``fault`` what goes wrong with it.

        Values of headers that seem to be a credential are left out. Long ones are cut off, and so is the name.
        """
        if (hit := present_hit.get()) is not None:
            details["fault"], hit.recorded = hit.fault.do, True
        shown = {
            name[:_SHOWN]: "***" if _SECRET.search(name.lower()) else str(value[:_SHOWN])
            for name, value in itertools.islice(headers, _MOST_HEADERS)
        }
        self._records.append(
            {"index": next(self._index), "time": time.time(), "call": call[:_SHOWN], "headers": shown, **details}
        )

    def since(self, index: int) -> list[dict[str, Any]]:
        """Return the records from an index on."""
        return [record for record in self._records if record["index"] >= index]
