"""Inputs for servers that no client of good will sends, and how long to try them."""

from __future__ import annotations

import contextlib
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS = 0, 1, 4
END_STREAM, END_HEADERS = 1, 4
NESTING = 4
SILENCE_SECONDS = 0.05
_KIND = FieldDescriptor
_INTEGERS = {
    _KIND.TYPE_INT32: (-(2**31), 2**31 - 1),
    _KIND.TYPE_ENUM: (-(2**31), 2**31 - 1),
    _KIND.TYPE_UINT32: (0, 2**32 - 1),
    _KIND.TYPE_INT64: (-(2**63), 2**63 - 1),
    _KIND.TYPE_UINT64: (0, 2**64 - 1),
}


repeatable = settings(
    derandomize=True,
    database=None,
    max_examples=100_000,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)


class TimeIsUp(BaseException):
    """Ends a test of hypothesis, which lets it through, without a verdict."""


class Budget:
    """Ends a test after some time, unless it has failed: then hypothesis looks for a small input that fails."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds
        self._failed = False
        self.outcomes: Counter[Any] = Counter()

    def spend(self, test: Callable[[], None]) -> None:
        """Run a test."""
        with contextlib.suppress(TimeIsUp):
            test()

    def __enter__(self) -> None:
        if time.monotonic() > self._end and not self._failed:
            raise TimeIsUp

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._failed |= isinstance(error, Exception)


def messages(descriptor: Descriptor, nesting: int = NESTING) -> st.SearchStrategy[Any]:
    """Return well-formed messages with anything in their fields, numbers that no enum has included."""
    fields = {field.name: _values(field, nesting) for field in descriptor.fields if nesting or not field.message_type}
    return st.fixed_dictionaries({}, optional=fields).map(lambda values: _build(GetMessageClass(descriptor), values))


def _build(kind: type[Message], values: dict[str, Any]) -> Message:
    for group in kind.DESCRIPTOR.oneofs:
        given = [field.name for field in group.fields if field.name in values]
        for name in given[1:]:
            del values[name]
    return kind(**values)


def _values(field: FieldDescriptor, nesting: int) -> st.SearchStrategy[Any]:
    if field.type in _INTEGERS:
        low, high = _INTEGERS[field.type]
        one: st.SearchStrategy[Any] = st.integers(0, 5).filter(lambda number: low <= number) | st.integers(low, high)
        if field.enum_type:
            known = [value.number for value in field.enum_type.values]
            one = st.sampled_from(known * 3 + [-1, max(known) + 1, low, high])
    elif field.message_type:
        one = messages(field.message_type, nesting - 1)
    else:
        simple: dict[int, st.SearchStrategy[Any]] = {
            _KIND.TYPE_BOOL: st.booleans(),
            _KIND.TYPE_BYTES: st.binary(max_size=64),
            _KIND.TYPE_STRING: st.text(st.characters(exclude_categories=["Cs"]), max_size=64),
        }
        one = simple[field.type]
    return st.lists(one, max_size=3) if field.is_repeated else one


@st.composite
def mutations(draw: st.DrawFn, originals: Sequence[bytes], protected: int) -> bytes:
    """Return one of some byte strings, cut off or changed at a few places behind its first ``protected`` bytes."""
    data = bytearray(draw(st.sampled_from(originals)))
    if draw(st.booleans()):
        return bytes(data[: draw(st.integers(0, len(data)))])
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(protected, len(data) - 1))
        # 0xc6, 0xdd and 0xdf: what follows is the length, in four bytes, of bytes, of an array, of a map.
        new = draw(
            st.sampled_from([b"\x00", b"\xff", b"\xc6\xff\xff\xff\xff", b"\xdd\x7f\xff\xff\xff", b"\xdf" * 5, b""])
        )
        data[at : at + draw(st.integers(0, 4))] = new or draw(st.binary(max_size=4))
    return bytes(data)


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return a frame of HTTP/2."""
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def call(path: bytes, metadata: Sequence[tuple[bytes, bytes]], body: bytes) -> bytes:
    """Return the bytes of a connection with one gRPC call, in which names and values stand as they are."""
    pairs = [
        *((b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"fuzz")),
        *((b"te", b"trailers"), (b"content-type", b"application/grpc")),
        *metadata,
    ]
    headers = b"".join(b"\x00" + _length(name) + name + _length(value) + value for name, value in pairs)
    return b"".join(
        [
            PREFACE,
            frame(SETTINGS, 0, 0, b""),
            frame(HEADERS, END_HEADERS, 1, headers),
            frame(DATA, END_STREAM, 1, body),
        ]
    )


def _length(text: bytes) -> bytes:
    rest, coded = len(text) - 127, [127]
    while rest >= 128:
        coded.append(rest % 128 + 128)
        rest //= 128
    return bytes([len(text)]) if len(text) < 127 else bytes([*coded, rest])


def exchange(port: int, sent: bytes, timeout: float) -> bytes:
    """Send bytes, wait for the status of a call or for silence, hang up, and return all that was answered.

    :raises TimeoutError: if the other side does not hang up then.
    """
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout) as connection, contextlib.suppress(ConnectionError):
        connection.sendall(sent)
        connection.settimeout(SILENCE_SECONDS)
        with contextlib.suppress(TimeoutError):
            while b"grpc-status" not in received and (part := connection.recv(65536)):
                received += part
        connection.settimeout(timeout)
        connection.shutdown(socket.SHUT_WR)
        while part := connection.recv(65536):
            received += part
    return received
