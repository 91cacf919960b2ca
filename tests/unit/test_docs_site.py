"""The guide as a site: its navigation, its reference, and what hooks make of pages that GitHub shows too."""

from __future__ import annotations

import importlib
import inspect
import logging
import pkgutil
import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import airflow_provider_polars
from airflow_provider_polars.get_provider_info import get_provider_info
from tests.unit.guide import DOCS, REPOSITORY, load_tool

SITE: dict[str, Any] = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text())


HOOKS = load_tool("docs_hooks")
PAGE = types.SimpleNamespace(file=types.SimpleNamespace(src_uri="page.md"))
CONFIG = types.SimpleNamespace(extra=SITE["extra"])


def pages_of(nav: Any) -> Iterator[str]:
    """Yield the pages of a navigation, at any depth."""
    if isinstance(nav, str):
        yield nav
    else:
        for entry in nav.values() if isinstance(nav, dict) else nav:
            yield from pages_of(entry)


def test_navigation_has_every_page_once() -> None:
    found = list(pages_of(SITE["nav"]))
    without = {page.name for page in DOCS.glob("*.md")} - set(found)
    assert without == set(), "Add these pages to nav in mkdocs.yml, and to the table of docs/index.md."
    assert sorted(found) == sorted({page for page in found if (DOCS / page).exists()})


def test_nothing_is_fetched_from_elsewhere() -> None:
    """No font of Google, no facts about the repository from GitHub; ``on_post_build`` looks at what was built."""
    assert SITE["theme"]["font"] is False
    assert "repo_url" not in SITE
    assert "extra_javascript" not in SITE
    assert all((DOCS / file).is_file() for file in SITE["extra_css"])


def test_reference_has_every_public_name() -> None:
    named = set(re.findall(r"^::: (\S+)$", (DOCS / "reference.md").read_text(), re.MULTILINE))
    package = airflow_provider_polars.__name__
    assert {f"{package}.{name}" for name in airflow_provider_polars.__all__} <= named
    objects = {pkgutil.resolve_name(name) for name in named if "testing" not in name}
    info = get_provider_info()
    for part in ("hooks", "operators", "sensors", "triggers"):
        for module in info[part][0]["python-modules"]:
            assert _classes(module) - objects == set(), f"docs/reference.md lacks {part}"


def _classes(module: str) -> set[type[Any]]:
    """Return the classes of a module that users name: they begin with Polars."""
    return {
        found
        for name, found in vars(importlib.import_module(module)).items()
        if inspect.isclass(found) and found.__module__ == module and name.startswith("Polars")
    }


def test_links_out_of_the_guide_lead_to_the_repository() -> None:
    text = (
        "[a](../dags/example_first.py), [b](../dags), [c](../CHANGELOG.md#x), [d](sinks.md#e), [f](https://g.example)"
    )
    repository = SITE["extra"]["repository"]
    assert HOOKS.on_page_markdown(text, page=PAGE, config=CONFIG) == (
        f"[a]({repository}/blob/main/dags/example_first.py), [b]({repository}/tree/main/dags), "
        f"[c]({repository}/blob/main/CHANGELOG.md#x), [d](sinks.md#e), [f](https://g.example)"
    )


def test_words_for_tests_are_taken_from_fences_and_titles_are_kept() -> None:
    text = '```toml leader.toml pytest\nx\n```\n\n```bash install title="a b.sh"\ny\n```\n\n```json\n{}\n```\n'
    made = HOOKS.on_page_markdown(text, page=PAGE, config=CONFIG)
    assert made == '```toml\nx\n```\n\n```bash title="a b.sh"\ny\n```\n\n```json\n{}\n```\n'


def test_roles_of_docstrings_become_names() -> None:
    html = "<p>see :class:<code>Sink</code> and :meth:<code>~package.module.Class.method</code></p>"
    assert HOOKS.on_page_content(html, page=PAGE) == "<p>see <code>Sink</code> and <code>method</code></p>"


@pytest.mark.parametrize(
    ("hook", "text", "complaint"),
    [
        ("on_page_markdown", "[x](../dags/none.py)", "page.md links to ../dags/none.py, which does not exist"),
        ("on_page_content", "<p>```python a=b c\nx</p>", "page.md has a fence, include, list or table"),
        (
            "on_page_content",
            "<p>text\n- a list without an empty line before it</p>",
            "page.md has a fence, include, list",
        ),
        ("on_page_content", "<p>text\n| a | table |</p>", "page.md has a fence, include, list or table"),
        ("on_page_content", "<pre>--8&lt;-- &quot;x&quot;</pre>", "page.md has a fence, include, list or table"),
    ],
)
def test_what_github_or_markdown_would_not_understand_fails_the_build(
    hook: str, text: str, complaint: str, caplog: pytest.LogCaptureFixture
) -> None:
    """MkDocs counts the warnings of loggers below its own; with ``--strict`` one is enough."""
    getattr(HOOKS, hook)(text, page=PAGE, config=CONFIG)
    assert [(record.levelno, record.name.split(".")[0]) for record in caplog.records] == [(logging.WARNING, "mkdocs")]
    assert complaint in caplog.text


@pytest.mark.parametrize(
    "html",
    [
        '<script src="https://cdn.invalid/x.js"></script>',
        '<link href="//fonts.invalid/css" rel="stylesheet">',
        '<link rel="stylesheet" href="https://fonts.invalid/css">',
        '<img alt="x" src="https://shields.invalid/x.svg">',
        '<a data-md-component="source" href="https://github.com/x">',
        '<pre class="mermaid"><code>graph</code></pre>',
    ],
)
def test_a_page_that_fetches_from_elsewhere_fails_the_build(
    html: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "page.html").write_text(f'<link rel="stylesheet" href="a.css"><a href="https://x.invalid">x</a>{html}')
    HOOKS.on_post_build(types.SimpleNamespace(site_dir=str(tmp_path)))
    assert "page.html fetches from elsewhere" in caplog.text


def test_a_page_with_links_and_files_of_its_own_does_not(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "page.html").write_text(
        '<link rel="canonical" href="https://x.invalid"><link rel="stylesheet" href="a.css">'
        '<script src="a.js"></script><a href="https://x.invalid">x</a>'
    )
    HOOKS.on_post_build(types.SimpleNamespace(site_dir=str(tmp_path)))
    assert caplog.records == []
