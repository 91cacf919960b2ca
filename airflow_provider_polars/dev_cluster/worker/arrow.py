"""Arrow IPC streams, cut into their messages (https://arrow.apache.org/docs/format/Columnar.html)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO

CONTINUATION = b"\xff\xff\xff\xff"
END = CONTINUATION + bytes(4)
_BODY_LENGTH_SLOT = 10  # of the flatbuffers table Message: version 4, header_type 6, header 8, bodyLength 10


def messages(stream: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """Yield metadata and body of each message; the first one is the schema.

    :raises ValueError: if the stream ends in the middle of a message.
    """
    while prefix := stream.read(8):
        size = struct.unpack("<i", prefix[4:])[0] if len(prefix) == 8 and prefix[:4] == CONTINUATION else -1
        if size == 0:
            return
        metadata = stream.read(size) if size > 0 else b""
        length = _body_length(metadata) if size > 0 and len(metadata) == size else -1
        body = stream.read(length) if length > 0 else b""
        if length != len(body):
            raise ValueError("the Arrow IPC stream ends in the middle of a message")
        yield metadata, body


def encapsulated(metadata: bytes) -> bytes:
    """Return a message without a body as it stands in a stream."""
    return CONTINUATION + struct.pack("<i", len(metadata)) + metadata


def _body_length(metadata: bytes) -> int:
    (root,) = struct.unpack_from("<I", metadata, 0)
    table = root - struct.unpack_from("<i", metadata, root)[0]
    (table_size,) = struct.unpack_from("<H", metadata, table)
    offset = struct.unpack_from("<H", metadata, table + _BODY_LENGTH_SLOT)[0] if table_size > _BODY_LENGTH_SLOT else 0
    return int(struct.unpack_from("<q", metadata, root + offset)[0]) if offset else 0
