"""Data sets: what queries read and write, named without the single files, patterns and secrets of a location.

One is a pair, as JSON holds it: a format (``files``, ``delta`` or ``iceberg``) and a location.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any

from airflow_provider_polars.query.paths import is_below, public_location
from airflow_provider_polars.query.result import fitting
from airflow_provider_polars.query.source import Input, Query, map_inputs

Dataset = tuple[str, str]
MAX_BYTES = 8192
"""Of the JSON for the inputs of one query, which travel with its handle; further ones are left out."""

_TABLES = ("delta", "iceberg")
_ESCAPED = re.compile(r"\[([*?\[])\]")
_PATTERN = re.compile(r"[*?\[]")
_PARTITION = re.compile(r"[^=]+=")
_NUMBERED = re.compile(r"([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}-)?0\d{3,}[\w-]*\.\w+(\.\w+)*")
"""A file that a query numbers, in a directory that it writes; on a cluster after its own id."""

_METADATA = re.compile(r"/metadata/[^/]+\.metadata\.json(\.gz)?$|/metadata/[^/]+\.gz\.metadata\.json$")


def datasets(kind: str, locations: Iterable[str]) -> list[Dataset]:
    """Return the data sets that the locations of one scan, result or table are part of, each once.

    Files of a pattern, of partitions or with numbers for names, and several files of one folder are that folder.
    """
    if kind in _TABLES:
        return [(kind, _METADATA.sub("", public_location(place))) for place in dict.fromkeys(locations)]
    roots = {_root(place): _root(place) == _as_named(place) for place in map(public_location, locations)}
    siblings = Counter(posixpath.dirname(root) for root, is_file in roots.items() if is_file)
    folded = (folder if siblings[folder := posixpath.dirname(root)] > 1 else root for root in roots)
    return [("files", root) for root in dict.fromkeys(folded)]


def all_inputs(query: Query, scanned: Sequence[Sequence[str]]) -> list[list[str]]:
    """Return the data sets that a query reads, as JSON: those among its arguments, and those that its plan scans.

    The plan has the arguments too, by the names of their single files, which are left out. An Iceberg table among the
    arguments has the name that its catalog knows it by; the plan has its folder, which is left out then.

    :param scanned: as :func:`runner.scans` returns them.
    """
    given = _given(query)
    known = [each for scan in given for each in datasets(scan["format"], scan["locations"])]
    locations = [public_location(place) for scan in given for place in scan["locations"]]
    tables = {place.rpartition(".")[2] for kind, place in known if kind == "iceberg"}
    for kind, *places in scanned:
        found = datasets(kind, [place for place in places if not _is_given(public_location(place), locations)])
        known += [each for each in found if kind != "iceberg" or posixpath.basename(each[1]) not in tables]
    return fitting([list(each) for each in dict.fromkeys(known)], MAX_BYTES)


def result_datasets(ref: Any) -> list[Dataset]:
    """Return the data sets of a :class:`ResultRef`."""
    return datasets(ref["format"], ref["locations"])


def _given(query: Query) -> list[Mapping[str, Any]]:
    """Return the scans of the upstream results and tables among the arguments of a query."""
    found: list[Mapping[str, Any]] = []

    def take(given: Input) -> Input:
        found.append(given.scan)
        return given

    map_inputs((query.args, dict(query.kwargs)), take)
    return found


def _is_given(place: str, locations: Iterable[str]) -> bool:
    """Return whether a location is one of ``locations``, lies in a folder of them or fits a pattern of them."""
    name = _as_named(place)
    return any(is_below(name, given) or fnmatchcase(name, given.replace("**/", "*")) for given in locations)


def _as_named(place: str) -> str:
    return _ESCAPED.sub(r"\1", place)


def _root(place: str) -> str:
    """Return a location up to the first folder that is no part of the name of its data set."""
    scheme, separator, path = place.rpartition("://")
    kept: list[str] = []
    segments = path.rstrip("/").split("/")
    for index, segment in enumerate(segments):
        is_part = _PARTITION.match(segment) or _PATTERN.search(_ESCAPED.sub("", segment))
        if index and (is_part or (index == len(segments) - 1 and _NUMBERED.fullmatch(segment))):
            break
        kept.append(_as_named(segment))
    return scheme + separator + "/".join(kept)
