"""Where there is no browser, the tests that need one say what to install."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.browser.chromium import why_not


@pytest.mark.parametrize(
    ("there", "missing"),
    [
        ((), "no chromium and no chromedriver on the PATH"),
        (("chromium",), "no chromedriver on the PATH"),
        (("chromedriver",), "no chromium on the PATH"),
    ],
)
def test_what_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, there: tuple[str, ...], missing: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in there:
        (tmp_path / name).touch(0o755)
    assert why_not() == f"{missing}: install Debian's chromium and chromium-driver"


def test_a_browser_that_is_there_has_no_reason_to_be_skipped(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in ("chromium", "chromedriver"):
        (tmp_path / name).touch(0o755)
    assert why_not() is None
