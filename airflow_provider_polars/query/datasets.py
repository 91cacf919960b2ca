"""Data sets: what queries read and write, named without the single files, patterns and secrets of a location.

One is a pair, as JSON holds it: a format (``files``, ``delta`` or ``iceberg``) and a location.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from airflow_provider_polars.query.paths import public_location
from airflow_provider_polars.query.result import fitting
from airflow_provider_polars.query.source import Input, Query, map_inputs

Dataset = tuple[str, str]
MAX_BYTES = 8192
"""Of the JSON for the inputs of one query, which travel with its handle; further ones are left out."""

_TABLES = ("delta", "iceberg")
_ESCAPED = re.compile(r"\[([*?\[])\]")
_PATTERN = re.compile(r"[*?\[]")
_PARTITION = re.compile(r"[^=]+=")
_NUMBERED = re.compile(r"0\d{3,}[\w-]*\.\w+(\.\w+)*")
"""A file that a query numbers, in a directory that it writes."""

_METADATA = re.compile(r"/metadata/[^/]+\.metadata\.json(\.gz)?$|/metadata/[^/]+\.gz\.metadata\.json$")


def datasets(kind: str, locations: Iterable[str]) -> list[Dataset]:
    """Return the data sets that locations of one format are part of, each once.

    Files of a pattern, of partitions or with numbers for names, and several files of one folder are that folder.
    """
    if kind in _TABLES:
        return [(kind, _METADATA.sub("", public_location(place))) for place in dict.fromkeys(locations)]
    roots = list(dict.fromkeys(_root(public_location(place)) for place in locations))
    siblings = Counter(posixpath.dirname(root) for root in roots)
    folded = (folder if siblings[folder := posixpath.dirname(root)] > 1 else root for root in roots)
    return [("files", root) for root in dict.fromkeys(folded)]


def known_inputs(query: Query) -> list[Dataset]:
    """Return the data sets among the arguments of a query: upstream results and tables."""
    found: list[Dataset] = []

    def take(given: Input) -> Input:
        found.extend(datasets(given.scan["format"], given.scan["locations"]))
        return given

    map_inputs((query.args, dict(query.kwargs)), take)
    return found


def all_inputs(query: Query, scanned: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the data sets that a query reads, as JSON: those among its arguments, and those that its plan scans.

    An Iceberg table among the arguments has the name that its catalog knows it by; the plan has its folder, which is
    left out then.

    :param scanned: as :func:`runner.scans` returns them.
    """
    known = known_inputs(query)
    tables = {place.rpartition(".")[2] for kind, place in known if kind == "iceberg"}
    for kind in ("files", *_TABLES):
        found = datasets(kind, [place for scanned_kind, place in scanned if scanned_kind == kind])
        known += [each for each in found if kind != "iceberg" or posixpath.basename(each[1]) not in tables]
    return fitting([list(each) for each in dict.fromkeys(known)], MAX_BYTES)


def result_datasets(ref: Any) -> list[Dataset]:
    """Return the data sets of a :class:`ResultRef`."""
    return datasets(ref["format"], ref["locations"])


def _root(place: str) -> str:
    """Return a location up to the first folder that is no part of the name of its data set."""
    scheme, separator, path = place.rpartition("://")
    kept: list[str] = []
    segments = path.rstrip("/").split("/")
    for index, segment in enumerate(segments):
        is_part = _PARTITION.match(segment) or _PATTERN.search(_ESCAPED.sub("", segment))
        if index and (is_part or (index == len(segments) - 1 and _NUMBERED.fullmatch(segment))):
            break
        kept.append(_ESCAPED.sub(r"\1", segment))
    return scheme + separator + "/".join(kept)
