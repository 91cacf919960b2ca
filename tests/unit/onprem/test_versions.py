"""Versions of the server."""

from __future__ import annotations

import pytest

from airflow_provider_polars.exceptions import ConfigurationError
from airflow_provider_polars.onprem import versions


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("0.6.3", (0, 6, 3)),
        ("v0.6.3", (0, 6, 3)),
        ("0.2", (0, 2, 4)),
        ("0.5", (0, 5, 2)),
        ("0.8", (0, 8, 0)),
        ("0.11", (0, 11, 0)),
        ("1.0.0", (1, 0, 0)),
    ],
)
def test_a_line_stands_for_its_newest_known_release(text: str, version: tuple[int, int, int]) -> None:
    assert versions.parse(text) == version


@pytest.mark.parametrize("text", ["", "6", "latest", "0.6.x", "0.6.3.1"])
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"is written like 0\.6\.3 or 0\.6, got"):
        versions.parse(text)


def test_a_server_whose_configuration_had_other_keys_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"Server 0\.1\.1 is older than 0\.2\.3"):
        versions.parse("0.1.1")


def test_releases_are_in_order_and_known_ones_name_polars_and_client() -> None:
    listed = [release.server for release in versions.RELEASES]
    assert listed == sorted(listed)
    assert (versions.shown(versions.OLDEST), versions.shown(versions.NEWEST)) == ("0.2.3", "0.10.1")
    assert all((release.polars is None) == (release.client is None) for release in versions.RELEASES)
