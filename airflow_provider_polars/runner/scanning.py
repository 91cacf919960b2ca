"""Which files and tables a query scans, told from its plan: nothing is run, and no code in it is loaded.

A plan is a MessagePack document of Polars' own classes, in which the sources of a scan stand as the author has written
them (seen with Polars 1.39.3 to 2.0.0). What cannot be read is left out.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pickletools
import re

import polars as pl

_SOURCES = b"\xa7sources\x81\xa5Paths"
_PYTHON_DATASET = b"\xaedataset_object\x81\xaedataset_object"
_INNER = b"\x81\xa5inner"
_ROWS_IN_MEMORY = re.compile(r"^\s*DF \[", re.MULTILINE)
_SCAN_IN_WORDS = re.compile(r"^\s*\w+ SCAN \[(.*)\]$", re.MULTILINE)
_TABLES = {"table_uri_": "delta", "table_descriptor_": "iceberg"}
"""Fields of Polars' objects for tables, after which their location follows."""


def scanned(frame: pl.LazyFrame) -> list[list[str]]:
    """Return what a query on this machine scans: pairs of a format (``files``, ``delta``, ``iceberg``) and a location.

    Rows that it has in memory are not copied. It looks at the files as far as running the query would.
    """
    try:
        words = frame.explain(optimized=False)
        if not _ROWS_IN_MEMORY.search(words):
            return [[kind, _absolute(place)] for kind, place in scans(frame.serialize())]
    except BaseException:  # a panic of Polars is no Exception; the query itself will say what is wrong
        return []
    places = (place for listed in _SCAN_IN_WORDS.findall(words) for place in listed.split(", "))
    return [["files", place] for place in places if place.startswith("/") or "://" in place]


def scans(plan: bytes) -> list[list[str]]:
    """Return what a serialised plan scans, see :func:`scanned`."""
    found: list[list[str]] = []
    with contextlib.suppress(IndexError, ValueError):
        at = plan.find(_SOURCES)
        while at >= 0:
            paths, at = _paths(plan, at + len(_SOURCES))
            found += [["files", path] for path in paths]
            at = plan.find(_SOURCES, at)
        at = plan.find(_PYTHON_DATASET)
        while at >= 0:
            found += _table(_bytes(plan, at + len(_PYTHON_DATASET)))
            at = plan.find(_PYTHON_DATASET, at + 1)
    return found


def _absolute(place: str) -> str:
    return place if "://" in place else os.path.abspath(place)


def _table(pickled: bytes) -> list[list[str]]:
    """Return the location of a table, from its pickled object, of which only the texts are read."""
    texts = [text for _, text, _ in pickletools.genops(pickled[pickled.index(b"\x80") :]) if isinstance(text, str)]
    return [[_TABLES[name], place] for name, place in itertools.pairwise(texts) if name in _TABLES]


def _paths(plan: bytes, at: int) -> tuple[list[str], int]:
    count, at = _size(plan, at, {0x90: 0x0F}, {0xDC: 2, 0xDD: 4})
    paths = []
    for _ in range(count):
        at += len(_INNER) if plan.startswith(_INNER, at) else 0
        size, at = _size(plan, at, {0xA0: 0x1F}, {0xD9: 1, 0xDA: 2, 0xDB: 4})
        if at + size > len(plan):
            raise ValueError("the plan is cut off")
        paths.append(plan[at : at + size].decode())
        at += size
    return paths, at


def _bytes(plan: bytes, at: int) -> bytes:
    """Return bytes that are written as a list of numbers."""
    count, at = _size(plan, at, {0x90: 0x0F}, {0xDC: 2, 0xDD: 4})
    numbers = bytearray()
    for _ in range(count):
        at += plan[at] == 0xCC
        numbers.append(plan[at])
        at += 1
    return bytes(numbers)


def _size(plan: bytes, at: int, short: dict[int, int], long: dict[int, int]) -> tuple[int, int]:
    """Return the size that a list or text begins with, and the position after it.

    :param short: bits of the head for small sizes, and the mask of these.
    :param long: bytes that the size takes, by head.
    :raises ValueError: for anything else.
    """
    head, at = plan[at], at + 1
    if head in long:
        return int.from_bytes(plan[at : at + long[head]], "big"), at + long[head]
    for bits, mask in short.items():
        if head & ~mask == bits:
            return head & mask, at
    raise ValueError(f"no list or text begins with {head:#x}")
