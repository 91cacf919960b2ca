"""Versions of the Polars on-premises server: which are known, and which came with which Polars and client."""

from __future__ import annotations

import dataclasses
import re

from airflow_provider_polars.exceptions import ConfigurationError


@dataclasses.dataclass(frozen=True)
class Release:
    """A release of the server.

    :param server: its version.
    :param polars: the Polars that it carries; None where that is unverified.
    :param client: the ``polars-cloud`` that belongs to it; None where that is unverified.
    """

    server: tuple[int, int, int]
    polars: str | None = None
    client: str | None = None


RELEASES = (
    Release((0, 2, 3), "1.39.3", "0.6.0"),
    Release((0, 2, 4), "1.39.3", "0.6.0"),
    Release((0, 3, 1), "1.40.1", "0.6.1"),
    Release((0, 4, 3), "1.40.1", "0.7.0"),
    Release((0, 5, 1), "1.41.2", "0.8.0"),
    Release((0, 5, 2), "1.41.2", "0.8.0"),
    Release((0, 6, 3), "1.42.1", "0.9.0"),
    Release((0, 7, 1)),
    Release((0, 8, 0)),
    Release((0, 9, 0)),
    Release((0, 10, 1)),
)
"""Known releases, oldest first. Source: release notes and charts; none of them was run."""

OLDEST = RELEASES[0].server
NEWEST = RELEASES[-1].server
_VERSION = re.compile(r"v?(\d{1,4})\.(\d{1,4})(?:\.(\d{1,4}))?")


def parse(text: str) -> tuple[int, int, int]:
    """Return the version that ``text`` names; ``"0.2"`` is the newest known release of that line.

    :raises ConfigurationError: for text that is no version, and for one before the oldest known: its files had
        other keys. A version after the newest known is taken: its files are read and written as those of the newest.
    """
    found = _VERSION.fullmatch(text.strip()) if isinstance(text, str) else None
    if found is None:
        raise ConfigurationError(f"The server's version is written like 0.6.3 or 0.6, got {text!r}.")
    major, minor = int(found[1]), int(found[2])
    if found[3] is None:
        known = [release.server for release in RELEASES if release.server[:2] == (major, minor)]
        version = known[-1] if known else (major, minor, 0)
    else:
        version = (major, minor, int(found[3]))
    if version[:2] < OLDEST[:2]:
        raise ConfigurationError(
            f"Server {text} is older than {shown(OLDEST)}, the oldest that is known here; take a newer one."
        )
    return version


def shown(version: tuple[int, ...]) -> str:
    """Return a version as text: ``"0.6.3"``."""
    return ".".join(map(str, version))
