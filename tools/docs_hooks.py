"""Hooks of MkDocs for the user guide, whose pages are read on GitHub too; mkdocs.yml names this file.

What is reported under ``mkdocs`` as a warning fails ``make docs``.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
log = logging.getLogger("mkdocs.hooks.guide")

_OUTSIDE = re.compile(r"(?<=\]\()\.\./([^)\s#]*)")
_WORDS_OF_FENCE = re.compile(r"^(```\w+)((?: [\w.-]+)+)(?= |$)", re.MULTILINE)
_ROLE = re.compile(r":[a-z]+:<code>(?:~[\w.]*\.)?")
_NOT_READ = re.compile(r"^(?:<p>)?```|--8&lt;--|--8<--|<p>(?:(?!</p>).)*^(?:[-*] |\||\d+\. )", re.MULTILINE | re.DOTALL)
_FETCHES = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["']?(?:https?:)?//[^>]*>"""
    r"""|<link\b(?=[^>]*\bstylesheet\b)[^>]*\bhref=["']?(?:https?:)?//[^>]*>"""
    r"""|<a\b[^>]*\bdata-md-component="source"[^>]*>|<pre\b[^>]*\bclass="mermaid"[^>]*>"""
)


def on_page_markdown(markdown: str, page: Any, config: Any, **_: Any) -> str:
    """Lead links out of ``docs/`` to the repository, and drop the words by which tests know blocks of code."""

    def lead(link: re.Match[str]) -> str:
        target = REPOSITORY / link[1]
        if not target.exists():
            log.warning("%s links to ../%s, which does not exist", page.file.src_uri, link[1])
        return f"{config.extra['repository']}/{'tree' if target.is_dir() else 'blob'}/main/{link[1]}"

    return _OUTSIDE.sub(lead, _WORDS_OF_FENCE.sub(r"\1", markdown))


def on_page_content(html: str, page: Any, **_: Any) -> str:
    """Take Sphinx's roles out of docstrings, and complain of what GitHub shows and MkDocs does not."""
    if _NOT_READ.search(html):
        log.warning("%s has a fence, include, list or table that Markdown did not understand", page.file.src_uri)
    return _ROLE.sub("<code>", html)


def on_post_build(config: Any, **_: Any) -> None:
    """Complain of pages that fetch something from elsewhere when they are read."""
    for file in sorted(Path(config.site_dir).rglob("*.html")):
        if found := _FETCHES.search(file.read_text()):
            log.warning("%s fetches from elsewhere: %s", file.name, found[0])
