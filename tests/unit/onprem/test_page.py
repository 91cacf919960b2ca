"""The page on configurations of nodes: its commands are run, its files compared, its tables agree with the code."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest

from airflow_provider_polars.onprem import files, keys, versions
from airflow_provider_polars.onprem.addresses import parse
from airflow_provider_polars.onprem.cli import main
from airflow_provider_polars.onprem.description import ClusterDescription
from airflow_provider_polars.onprem.keys import TASK, Key
from tests.unit.guide import DOCS, Block, blocks, code, section, table
from tests.unit.onprem.clusters import put

PAGE = DOCS / "node-configuration.md"


def block(language: str, number: int) -> Block:
    return blocks(language, [PAGE])[number]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder to be in, with the description of the page."""
    monkeypatch.chdir(tmp_path)
    described = block("toml", 0)
    assert described.title == "cluster.toml"
    (tmp_path / "cluster.toml").write_text(described.text)
    return tmp_path


def run(shell: Block) -> list[int]:
    """Run the lines of a block, all of which are calls of the command."""
    calls = [line.split() for line in shell.text.splitlines()]
    assert {call[0] for call in calls} == {"polars-node"}
    return [main(call[1:]) for call in calls]


def test_commands_of_the_page_write_and_print_what_it_says(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(block("bash", 0)) == [0, 0]
    assert capsys.readouterr() == (block("text", 0).text, "")
    written = block("toml", 1)
    assert (folder / str(written.title)).read_text() == written.text
    assert run(block("bash", 1)) == [0]


def test_breaches_of_the_page_are_told_as_it_says(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["render", "cluster.toml", "--out", "."]) == 0
    for file, key, value in (
        ("node-1.toml", "scheduler.n_workers", 3),
        ("node-2.toml", TASK.public, "10.0.0.11:5052"),
    ):
        data = files.read(file)
        put(data, key, value)
        Path(file).write_text(files.dumps(data))
    capsys.readouterr()
    assert main(["check", "node-1.toml", "node-2.toml"]) == 1
    assert capsys.readouterr().out.startswith(block("text", 1).text)


def test_fields_of_a_description_are_documented_with_their_defaults() -> None:
    documented = {code(row[0]): code(row[1]) for row in table(section(PAGE.name, "The description"))}
    assert (documented.pop("ports"), documented.pop("first_port")) == ("server's", "none")
    fields = {field.name: field for field in dataclasses.fields(ClusterDescription)}
    assert documented.keys() == fields.keys()
    for name, field in fields.items():
        if documented[name] == "required":
            assert field.default is dataclasses.MISSING
            assert field.default_factory is dataclasses.MISSING
        elif field.default_factory is not dataclasses.MISSING:
            assert json.loads(documented[name]) == field.default_factory()
        else:
            assert (None if documented[name] == "none" else json.loads(documented[name])) == field.default, name


def row(key: Key) -> list[str]:
    default = (
        "" if key.default is None else f"`{key.default if isinstance(key.default, str) else json.dumps(key.default)}`"
    )
    since = "" if key.since == keys.FIRST else versions.shown(key.since)
    note = "; ".join(part for part in (key.note, "secret" if key.secret else "") if part)
    return [f"`{key.path}`", key.kind.name.replace('"', "`"), default, since, note]


def test_table_of_keys_is_that_of_the_code() -> None:
    assert table(section(PAGE.name, "Keys")) == [row(key) for key in keys.ALL]


def test_addresses_of_the_page_are_read() -> None:
    for form, _ in table(section(PAGE.name, "Addresses")):
        parse(files.loads(f"a = {code(form)}", "page")["a"])


def test_exit_codes_and_ports_of_the_page_are_those_of_the_code() -> None:
    assert [row[0] for row in table(section(PAGE.name, "What is checked")) if row[0].isdigit()] == ["0", "1", "2"]
    ports = re.findall(
        r"`(\w+)`", next(row[2] for row in table(section(PAGE.name, "The description")) if "`ports`" in row)
    )
    assert ports == list(keys.SERVICES)
