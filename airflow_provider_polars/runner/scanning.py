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
_MANY_IN_WORDS = re.compile(r"(.*), \.\.\. (\d+) other sources?")
_NEXT_IN_WORDS = re.compile(r", (?=/|\w+://)")
_IN_PARTITION = re.compile(r"/[^/=]+=[^/]*/")
_TABLES = {"table_uri_": "delta", "table_descriptor_": "iceberg"}
"""Fields of Polars' objects for tables, after which their location follows."""


def scanned(frame: pl.LazyFrame) -> list[list[str]]:
    """Return what a query on this machine scans: for each scan its format and the locations that it lists.

    The format is ``files``, ``delta`` or ``iceberg``. Rows that it has in memory are not copied. It looks at the files
    as far as running the query would.
    """
    try:
        words = frame.explain(optimized=False)
        if not _ROWS_IN_MEMORY.search(words):
            return [[kind, *map(_absolute, places)] for kind, *places in scans(frame.serialize())]
        return [["files", *places] for listed in _SCAN_IN_WORDS.findall(words) if (places := _in_words(listed))]
    except (Exception, pl.exceptions.PanicException):  # the query itself will say what is wrong
        return []


def scans(plan: bytes) -> list[list[str]]:
    """Return what a serialised plan scans, see :func:`scanned`."""
    found: list[list[str]] = []
    with contextlib.suppress(IndexError, ValueError):
        at = plan.find(_SOURCES)
        while at >= 0:
            paths, at = _paths(plan, at + len(_SOURCES))
            found += [["files", *paths]] if paths else []
            at = plan.find(_SOURCES, at)
        at = plan.find(_PYTHON_DATASET)
        while at >= 0:
            found += _table(_bytes(plan, at + len(_PYTHON_DATASET)))
            at = plan.find(_PYTHON_DATASET, at + 1)
    return found


def _absolute(place: str) -> str:
    return place if "://" in place else os.path.abspath(place)


def _in_words(listed: str) -> list[str]:
    """Return the locations of a scan from the words of Polars for them; none where the words may mean several.

    It writes one source or two as they are, unquoted, and of more the first one and a number.
    """
    if not (listed.startswith("/") or "://" in listed):
        return []
    if (many := _MANY_IN_WORDS.fullmatch(listed)) is not None:
        first, count = many[1], 1 + int(many[2])
        return [f"{os.path.dirname(first)}/*"] if _may_hold(first, count) else []
    places = _NEXT_IN_WORDS.split(listed)
    is_clear = len(places) > 1 or ", " not in listed  # else its name has a comma, or a relative path follows
    return places if is_clear else []


def _may_hold(first: str, count: int) -> bool:
    """Return whether the folder of a file may hold ``count`` of them: a store is not asked, partitions are folders."""
    if "://" in first or _IN_PARTITION.search(first):
        return True
    extension = os.path.splitext(first)[1]
    return sum(name.endswith(extension) for name in os.listdir(os.path.dirname(first))) >= count


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
