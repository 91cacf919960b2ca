"""The pages of the user guide, as tests read them: blocks of code with their includes, sections and tables."""

from __future__ import annotations

import dataclasses
import importlib.util
import re
import types
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]

_FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INCLUDE = re.compile(r'^--8<-- "([^":]+)(?::([\w-]+))?"\n', re.MULTILINE)
_TITLE = re.compile(r'title="([^"]*)"')


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block of code: the words after its fence, its text with what it includes, and where it is."""

    page: Path
    line: int
    info: str
    text: str
    includes: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"

    @property
    def words(self) -> set[str]:
        """The words after the language, by which tests know what to do with it."""
        return set(_TITLE.sub("", self.info).split()[1:])

    @property
    def title(self) -> str | None:
        """The name of the file that it is shown as, if any."""
        found = _TITLE.search(self.info)
        return found and found[1]


def blocks(language: str, pages: list[Path] | None = None) -> list[Block]:
    """Return the blocks of one language, in the order of the guide."""
    return [
        Block(
            page,
            page.read_text()[: match.start()].count("\n") + 2,
            match[1],
            _INCLUDE.sub(lambda include: included(include[1], include[2]), match[2]),
            tuple(include[1] for include in _INCLUDE.finditer(match[2])),
        )
        for page in pages or PAGES
        for match in _FENCE.finditer(page.read_text())
        if match[1].split(" ")[0] == language
    ]


def included(path: str, section: str | None) -> str:
    """Return what MkDocs puts in the place of an include: a file, or what stands between two marks in it."""
    text = (REPOSITORY / path).read_text()
    if section is None:
        return text
    match = re.search(rf"^.*\[start:{section}\].*\n(.*?)^.*\[end:{section}\].*$", text, re.MULTILINE | re.DOTALL)
    assert match is not None, f"{path} has no section {section!r}"
    return match[1]


def prose(page: Path) -> str:
    """Return the text of a page without its blocks of code."""
    return _FENCE.sub("", page.read_text())


def section(page: str, heading: str) -> str:
    """Return the text below a heading, up to the next one of any level."""
    text = (DOCS / page).read_text()
    match = re.search(rf"^#+ `?{re.escape(heading)}`?$(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL)
    assert match is not None, f"{page} has no heading {heading!r}"
    return match[1]


def table(text: str) -> list[list[str]]:
    """Return the cells of the tables in ``text``, without their headings."""
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    rules = {index for index, row in enumerate(rows) if set("".join(row)) == {"-"}}
    return [row for index, row in enumerate(rows) if index not in rules and index + 1 not in rules]


def code(cell: str) -> str:
    """Return the text of a cell without the marks of code."""
    return cell.strip("`")


def load_tool(name: str) -> types.ModuleType:
    """Load a file of ``tools/``, which is no package."""
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
