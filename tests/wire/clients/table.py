"""The table of ``docs/client-versions.md``: made of what a run has seen."""

from __future__ import annotations

import re
from pathlib import Path

from tests.wire.clients.capabilities import FAILS
from tests.wire.clients.expected import FAILURES
from tests.wire.clients.fleet import Outcomes

PAGE = Path(__file__).resolve().parents[3] / "docs" / "client-versions.md"
BEGIN, END = "<!-- made by make test-clients -->\n", "<!-- end -->\n"
TITLES = {"cloud": "Polars Cloud", "clusters": "a cluster of your own"}


def tables(seen: dict[str, Outcomes]) -> str:
    """Return a table for each group, and the reasons of what fails.

    :param seen: outcomes by version of the client.
    """
    reasons = list(dict.fromkeys(failure.reason for failure in FAILURES.values()))
    lines, first = [], next(iter(seen.values()))
    for group, capabilities in first.items():
        lines += [f"| On {TITLES[group]} | {' | '.join(seen)} |", f"|---|{'---|' * len(seen)}"]
        for name in capabilities:
            cells = [_cell(name, outcomes[group][name], reasons) for outcomes in seen.values()]
            lines.append(f"| {name} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join([*lines, *(f"{number}. {reason}" for number, reason in enumerate(reasons, 1)), ""])


def _cell(name: str, outcome: str, reasons: list[str]) -> str:
    if not outcome.startswith(FAILS):
        return outcome
    return f"{FAILS} ({reasons.index(FAILURES[name].reason) + 1})" if name in FAILURES else FAILS


def documented() -> str:
    """Return what the page has between the marks."""
    return _parts()[1]


def write(text: str) -> None:
    """Put text between the marks of the page."""
    before, _, after = _parts()
    PAGE.write_text(f"{before}{BEGIN}{text}{END}{after}", encoding="utf-8")


def _parts() -> tuple[str, str, str]:
    found = re.fullmatch(f"(.*){BEGIN}(.*){END}(.*)", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None, f"{PAGE} has no marks {BEGIN!r} and {END!r}"
    return found[1], found[2], found[3]
