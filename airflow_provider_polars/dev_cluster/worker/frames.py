"""Messages between scheduler and worker: a JSON object, then bytes that are not looked at (a plan)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

CONNECT = "/airflow_provider_polars.dev_cluster.Workers/Connect"
"""The one call: a worker opens it, and both sides send frames until one of them ends it."""

CHANNEL_OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]

ROWS_FILE = "rows.arrows"
"""In the folder of a query: its rows for the client, an Arrow IPC stream."""

_SIZE_BYTES = 4


def pack(message: Mapping[str, Any], body: bytes = b"") -> bytes:
    """Return the frame of a message."""
    text = json.dumps(message).encode()
    return len(text).to_bytes(_SIZE_BYTES, "big") + text + body


def unpack(frame: bytes) -> tuple[dict[str, Any], bytes]:
    """Return message and bytes of a frame."""
    end = _SIZE_BYTES + int.from_bytes(frame[:_SIZE_BYTES], "big")
    return json.loads(frame[_SIZE_BYTES:end]), frame[end:]
