"""Reads MessagePack (https://github.com/msgpack/msgpack/blob/master/spec.md), as far as Polars' plans go."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

_FIXED = {0xC0: None, 0xC2: False, 0xC3: True}
_NUMBERS = {
    0xCA: ">f",
    0xCB: ">d",
    0xCC: ">B",
    0xCD: ">H",
    0xCE: ">I",
    0xCF: ">Q",
    0xD0: ">b",
    0xD1: ">h",
    0xD2: ">i",
    0xD3: ">q",
}
_SIZES = {1: ">B", 2: ">H", 4: ">I"}


def read(data: bytes, at: int) -> tuple[Any, int]:
    """Return the value that begins at a position, and the position after it.

    :raises ValueError: for bytes that are no MessagePack, and for its extension types.
    """
    try:
        return _read(data, at)
    except (IndexError, struct.error, UnicodeDecodeError, RecursionError, TypeError) as error:
        raise ValueError("these bytes are no MessagePack") from error


def write_text(value: str) -> bytes:
    """Return a text as MessagePack."""
    data = value.encode()
    if len(data) < 32:
        return bytes([0xA0 | len(data)]) + data
    for head, size in ((0xD9, 1), (0xDA, 2), (0xDB, 4)):
        if len(data) < 1 << 8 * size:
            return bytes([head]) + len(data).to_bytes(size, "big") + data
    raise ValueError("the text is too long for MessagePack")


def _read(data: bytes, at: int) -> tuple[Any, int]:
    head = data[at]
    at += 1
    if head <= 0x7F or head >= 0xE0:
        return head if head <= 0x7F else head - 256, at
    if head in _FIXED:
        return _FIXED[head], at
    if head in _NUMBERS:
        return _number(_NUMBERS[head], data, at)
    if head <= 0x8F:
        return _map(data, at, head & 0x0F)
    if head <= 0x9F:
        return _list(data, at, head & 0x0F)
    if head <= 0xBF:
        return _bytes(data, at, head & 0x1F, bytes.decode)
    sized: dict[int, tuple[int, Callable[..., tuple[Any, int]], tuple[Any, ...]]] = {
        **{0xC4 + step: (1 << step, _bytes, (bytes,)) for step in range(3)},
        **{0xD9 + step: (1 << step, _bytes, (bytes.decode,)) for step in range(3)},
        **{0xDC + step: (2 << step, _list, ()) for step in range(2)},
        **{0xDE + step: (2 << step, _map, ()) for step in range(2)},
    }
    if head not in sized:
        raise ValueError(f"MessagePack type {head:#x} is not read")
    width, build, arguments = sized[head]
    size, at = _number(_SIZES[width], data, at)
    return build(data, at, size, *arguments)


def _number(form: str, data: bytes, at: int) -> tuple[Any, int]:
    return struct.unpack_from(form, data, at)[0], at + struct.calcsize(form)


def _bytes(data: bytes, at: int, size: int, convert: Callable[[bytes], Any]) -> tuple[Any, int]:
    if at + size > len(data):
        raise ValueError("these bytes are no MessagePack")
    return convert(data[at : at + size]), at + size


def _list(data: bytes, at: int, size: int) -> tuple[list[Any], int]:
    items = []
    for _ in range(size):
        item, at = _read(data, at)
        items.append(item)
    return items, at


def _map(data: bytes, at: int, size: int) -> tuple[dict[Any, Any], int]:
    pairs = {}
    for _ in range(size):
        key, at = _read(data, at)
        pairs[key], at = _read(data, at)
    return pairs, at
