"""Locations: what is refused, what is the same place, and what lies below what."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_polars.exceptions import ConfigurationError
from airflow_provider_polars.query.paths import (
    canonical,
    check_location,
    is_under,
    local_path,
    public_text,
    static_prefix,
)

WHERE = "ParquetSink(path=)"
parts = st.sampled_from(["..", ".", "", "a", "inside", "outside", "link", "%2e%2e", "..%2f..", "loop"])


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with ``inside`` and ``outside``; in both, ``link`` leads to the other and ``loop`` to itself."""
    root = tmp_path_factory.mktemp("tree").resolve()
    for name, other in (("inside", "outside"), ("outside", "inside")):
        (root / name / "a").mkdir(parents=True)
        (root / name / "link").symlink_to(root / other)
        (root / name / "loop").symlink_to(root / name / "loop")
    return root


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("/lake/x", "/lake/x"),
        ("file:///lake/x", "/lake/x"),
        ("FILE:///lake/x", "/lake/x"),
        ("file:///lake/two%20words", "/lake/two words"),
        ("file:///lake/a#1?b", "/lake/a#1?b"),
        ("file://[", "["),
        ("s3://lake/x", None),
        ("https://example.invalid/x", None),
    ],
)
def test_the_local_path_of_a_location(location: str, path: str | None) -> None:
    assert local_path(location) == path


@pytest.mark.parametrize(
    "location",
    [
        "/lake/x.parquet",
        "/lake/{{ run_id }}/",
        "{{ params.path }}",
        " {{ params.path }}",
        "{% if x %}/a{% endif %}",
        "/lake/{{\n run_id }}",
        "file:///lake/x",
        "s3://lake/x",
        "S3://lake/x",
        "abfss://lake@account.dfs.core.windows.net/x",
        "/" + "x" * 1023,
        "/lake/größe",
    ],
)
def test_a_location_that_can_be_a_target_is_accepted(location: str) -> None:
    check_location(location, WHERE)
    assert canonical(location)


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("", "is empty; give an absolute path or an object-store URL"),
        ("lake/x", "is the relative path 'lake/x', which would depend on the working directory"),
        ("./x", "is the relative path"),
        ("~/x", "is the relative path '~/x'"),
        ("file://lake/x", "is the relative path 'lake/x'"),
        ("file:/lake/x", "is the relative path"),
        ("s4://lake/x", "has the scheme 's4'; did you mean 's3'?"),
        ("http://lake/x", "has the scheme 'http'"),
        ("/lake/\0x", "has a control character in it"),
        ("/lake/x\n", "has a control character in it"),
        ("file:///lake/%00x", "has a control character in it"),
        ("/lake/\ud800", "has a control character in it"),
        ("/" + "x" * 1024, "is 1025 bytes long, the limit is 1024"),
        ("/" + "ä" * 512, "is 1025 bytes long"),
    ],
)
def test_a_location_that_cannot_be_a_target_is_refused_with_its_place(location: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_location(location, WHERE)
    assert str(caught.value).startswith(f"{WHERE} ")
    assert message in str(caught.value)


@given(location=st.text())
def test_any_text_is_accepted_or_refused_and_nothing_else(location: str) -> None:
    try:
        check_location(location, WHERE)
    except ConfigurationError:
        return
    assert canonical(location)


@pytest.mark.parametrize(
    "names",
    [
        ("/lake/x", "/lake//x", "/lake/./x", "/lake/y/../x", "/lake/x/", "file:///lake/x", "file:///lake/y/../x/"),
        ("s3://lake/x", "s3://lake/x/"),
        ("/lake/{{ run_id }}", "/lake/{{ run_id }}/"),
    ],
)
def test_names_of_one_place_have_one_canonical_form(names: tuple[str, ...]) -> None:
    assert len({canonical(name) for name in names}) == 1


@pytest.mark.parametrize(
    ("location", "prefix", "expected"),
    [
        ("/lake/x", "/lake", True),
        ("/lake/x", "/lake/", True),
        ("/lake", "/lake/", True),
        ("/lake2/x", "/lake", False),
        ("/lake/../etc/passwd", "/lake", False),
        ("/etc/../lake/x", "/lake", True),
        ("/anything", "/", True),
        ("file:///lake/x", "/lake", True),
        ("file:///lake/%2e%2e/etc", "/lake", False),
        ("/lake/x", "file:///lake", True),
        ("s3://lake/a/x", "s3://lake/a", True),
        ("s3://lake/a", "s3://lake/a/", True),
        ("s3://lake/ab/x", "s3://lake/a", False),
        ("s3://lake/a/../b", "s3://lake/a", False),
        ("s3://lake/a/%2e%2E/b", "s3://lake/a", False),
        ("s3://lake/a/..%2Fb", "s3://lake/a", False),
        ("s3://lake/a/.\t./b", "s3://lake/a", False),
        ("s3://lake/a/..x", "s3://lake/a", True),
        ("gs://lake/a", "s3://lake/a", False),
        ("/lake/x", "s3://lake", False),
        ("s3://lake/x", "/", False),
        ("", "/", False),
        ("/lake/\0", "/lake", False),
        ("/lake/\udc80", "/lake", False),
    ],
)
def test_whether_a_location_lies_below_a_prefix(location: str, prefix: str, expected: bool) -> None:
    assert is_under(location, [prefix]) is expected


def test_no_prefix_holds_nothing() -> None:
    assert not is_under("/lake/x", [])


def test_one_of_several_prefixes_is_enough() -> None:
    assert is_under("/lake/x", ["s3://lake", "/other", "/lake"])


@given(names=st.lists(parts, max_size=6), scheme=st.sampled_from(["", "file://"]))
@example(names=["link", "a"], scheme="")
@example(names=["a", "..", "link"], scheme="file://")
def test_neither_dots_nor_links_lead_out_of_a_prefix(tree: Path, names: list[str], scheme: str) -> None:
    location = scheme + "/".join([str(tree / "inside"), *names])
    real = Path(os.path.realpath(local_path(location) or ""))
    assert is_under(location, [str(tree / "inside")]) == real.is_relative_to(tree / "inside")


def test_a_link_that_leads_out_is_not_below_and_one_that_leads_in_is(tree: Path) -> None:
    inside = [str(tree / "inside")]
    assert not is_under(str(tree / "inside" / "link" / "a"), inside)
    assert is_under(str(tree / "outside" / "link" / "a"), inside)


@given(names=st.lists(parts, max_size=6))
def test_dots_in_a_url_never_lead_out_of_a_prefix(names: list[str]) -> None:
    location = "/".join(["s3://lake/inside", *names])
    dotted = any(".." in name or "%2e" in name for name in names)
    assert is_under(location, ["s3://lake/inside"]) == (not dotted)


@given(location=st.text(), prefix=st.text())
@example(location="/lake", prefix="/\0")
@example(location="/lake", prefix="/\ud800")
@example(location="file://[", prefix="file://]")
def test_no_text_makes_the_question_fail(location: str, prefix: str) -> None:
    assert is_under(location, [prefix]) in (True, False)


@pytest.mark.parametrize(
    ("target", "uri"),
    [
        ("/lake/x.parquet", "file:///lake/x.parquet"),
        ("/lake/{{ run_id }}/x.parquet", "file:///lake/"),
        ("/lake/day={{ run_id }}/x.parquet", "file:///lake/"),
        ("/lake/{% if x %}a{% endif %}", "file:///lake/"),
        ("/lake/x{# a/b #}y", "file:///lake/"),
        ("s3://lake/{{ run_id }}/", "s3://lake/"),
        ("file:///lake/x", "file:///lake/x"),
        ("iceberg://default/sales.orders", "iceberg://default/sales.orders"),
    ],
)
def test_the_uri_of_a_target_ends_above_its_first_template(target: str, uri: str) -> None:
    assert static_prefix(target, "ParquetSink") == uri


@pytest.mark.parametrize("target", ["{{ params.path }}", "/{{ run_id }}/x", "s3://{{ params.bucket }}/x"])
def test_a_target_without_a_fixed_beginning_has_no_uri(target: str) -> None:
    with pytest.raises(ConfigurationError, match=r"ParquetSink.asset\(\) needs a target with a fixed beginning"):
        static_prefix(target, "ParquetSink")


@pytest.mark.parametrize(
    ("text", "public"),
    [
        ("(path: https://me:secret@lake.invalid/a?sig=secret)", "(path: https://lake.invalid/a)"),
        ("GET 'https://secret@lake.invalid/a#secret', then", "GET 'https://lake.invalid/a', then"),
        ("s3://key:secret@lake/a and s3://lake/b.", "s3://lake/a and s3://lake/b."),
        ("https://lake.invalid/a[1].csv?sig=secret", "https://lake.invalid/a[1].csv"),
        ("['https://lake.invalid/o's.csv?sig=secret']", "['https://lake.invalid/o's.csv']"),
        ("https://me:se(cret@lake.invalid/a", "https://lake.invalid/a"),
        ("http://me:secret@[::1]:80/a?sig=secret", "http://[::1]:80/a"),
        ("'s3://k:secret@a/1','s3://k:secret@b/2'", "'s3://a/1','s3://b/2'"),
        ("http://[::secret/a is no URL", "http://... is no URL"),
        ("https://me:secret@lake\uff0finvalid/a is no URL", "https://... is no URL"),
        ("file:///a%20b?c is as it was", "file:///a%20b?c is as it was"),
        ("grpcs://lake.invalid:5051 refused the call", "grpcs://lake.invalid:5051 refused the call"),
    ],
)
def test_a_text_is_told_without_the_secrets_of_its_urls(text: str, public: str) -> None:
    assert public_text(text) == public


@given(st.text())
def test_any_text_can_be_told(text: str) -> None:
    assert public_text(text) == public_text(public_text(text))
