"""The guide is true: its code runs, its tables agree with the code, its links lead somewhere."""

from __future__ import annotations

import ast
import configparser
import dataclasses
import inspect
import json
import pkgutil
import re
import textwrap
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import DAG, Connection
from airflow.serialization.serialized_objects import DagSerialization

import airflow_provider_polars
from airflow_provider_polars import exceptions
from airflow_provider_polars.backends.polars_client import CLIENT_OF_POLARS
from airflow_provider_polars.compute.base import Compute
from airflow_provider_polars.credentials import _json_halves, _Value
from airflow_provider_polars.exceptions import PolarsProviderError
from airflow_provider_polars.get_provider_info import get_provider_info
from airflow_provider_polars.hooks.cloud import PolarsCloudHook
from airflow_provider_polars.hooks.polars import hook_class
from airflow_provider_polars.operators.clean_results import PolarsCleanResultsOperator
from airflow_provider_polars.operators.remote import PolarsRemoteOperator
from airflow_provider_polars.query import result
from airflow_provider_polars.query.sinks import FileSink, Sink

if TYPE_CHECKING:
    from tests.harness.in_memory import InMemoryAirflow

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"
PAGES = [REPOSITORY / "README.md", REPOSITORY / "CHANGELOG.md", *sorted(DOCS.glob("*.md"))]
OPTIONS: dict[str, dict[str, str]] = get_provider_info()["config"]["polars"]["options"]
ERRORS = {
    name: found
    for name, found in vars(exceptions).items()
    if isinstance(found, type) and issubclass(found, PolarsProviderError)
}
_FENCE = re.compile(r"^```([^\n`]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block of code: the words after its fence, its text, and where it is."""

    page: Path
    line: int
    info: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def _blocks(language: str) -> list[Block]:
    return [
        Block(page, page.read_text()[: match.start()].count("\n") + 2, match[1], match[2])
        for page in PAGES
        for match in _FENCE.finditer(page.read_text())
        if match[1].split(" ")[0] == language
    ]


def _prose(page: Path) -> str:
    return _FENCE.sub("", page.read_text())


def _section(page: str, heading: str) -> str:
    """Return the text below a heading, up to the next one of any level."""
    text = (DOCS / page).read_text()
    match = re.search(rf"^#+ `?{re.escape(heading)}`?$(.*?)(?=^#+ |\Z)", text, re.MULTILINE | re.DOTALL)
    assert match is not None, f"{page} has no heading {heading!r}"
    return match[1]


def _table(text: str) -> list[list[str]]:
    """Return the cells of the tables in ``text``, without their headings."""
    rows = [
        [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    rules = {index for index, row in enumerate(rows) if set("".join(row)) == {"-"}}
    return [row for index, row in enumerate(rows) if index not in rules and index + 1 not in rules]


def _code(cell: str) -> str:
    return cell.strip("`")


def _dags(block: Block, folder: Path) -> dict[str, DAG]:
    """Parse a block as Airflow parses a DAG file; tasks that stand outside of a DAG get one."""
    text = block.text
    if not re.search(r"\bdag\(|\bDAG\(", text):
        text = f'from airflow.sdk import DAG\n\nwith DAG("docs", schedule=None):\n{textwrap.indent(text, "    ")}'
    file = folder / "docs_block.py"
    file.write_text(text)
    bag = DagBag(dag_folder=str(file), safe_mode=False)
    assert bag.import_errors == {}, block
    return dict(bag.dags)


PYTHON = _blocks("python")
RUN = [block for block in PYTHON if not {"no-run", "policy", "pytest"} & set(block.info.split(" "))]


@pytest.mark.parametrize("block", RUN, ids=str)
def test_python_of_the_guide_makes_dags_with_tasks_that_airflow_can_store(block: Block, tmp_path: Path) -> None:
    dags = _dags(block, tmp_path)
    assert dags
    for dag in dags.values():
        assert dag.tasks, f"{dag.dag_id} has no task"
        dag.check_cycle()
        assert DagSerialization.to_dict(dag)["dag"]["dag_id"] == dag.dag_id


def test_almost_all_python_of_the_guide_is_run() -> None:
    assert len(RUN) >= 20
    for block in PYTHON:
        compile(block.text, str(block), "exec")
    assert len([block for block in PYTHON if "no-run" in block.info]) <= 2


@pytest.mark.parametrize("block", _blocks("json"), ids=str)
def test_json_of_the_guide_parses_and_means_something(block: Block) -> None:
    value = json.loads(block.text)
    if result.MARKER in value:
        assert set(value) <= set(result.ResultRef.parse(value))
    elif "client_secret" in value:
        halves = _json_halves(_Value("docs", block.text))
        assert halves is not None
        assert {name: half.text for name, half in halves.items()} == value
    else:
        connection = Connection.from_json(block.text, conn_id="docs")
        known = {entry["connection-type"]: entry["conn-fields"] for entry in get_provider_info()["connection-types"]}
        assert set(connection.extra_dejson) <= set(known.get(connection.conn_type, ()))
        compute = hook_class(connection.conn_type).compute_of(connection)
        assert compute is not None or "default_compute" not in connection.extra_dejson


@pytest.mark.parametrize("block", _blocks("ini"), ids=str)
def test_ini_of_the_guide_parses_and_names_known_options(block: Block) -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(block.text)
    assert parser.sections()
    if parser.has_section("polars"):
        assert set(parser["polars"]) <= set(OPTIONS)


def test_connections_of_the_guide_name_a_compute() -> None:
    values = re.findall(r"^export AIRFLOW_CONN_\w+='(.*)'$", (DOCS / "configuration.md").read_text(), re.MULTILINE)
    assert len(values) == 2
    for value in values:
        make = Connection.from_json if value.startswith("{") else Connection.from_uri
        compute = make(value, conn_id="docs").extra_dejson["default_compute"]
        known = Compute.from_dict(json.loads(compute) if isinstance(compute, str) else compute)
        assert known.to_dict() == {"kind": "local", "threads": 4}


@pytest.mark.usefixtures("masks_forgotten")
def test_connections_to_polars_cloud_of_the_guide_say_the_same_as_json_and_as_uri(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = (DOCS / "credentials.md").read_text()
    values = re.findall(r"^export AIRFLOW_CONN_POLARS_CLOUD_DEFAULT='(.*)'$", text, re.MULTILINE)
    assert len(values) == 2
    for value in [*values, next(block.text for block in _blocks("json") if block.page.name == "credentials.md")]:
        monkeypatch.setenv("AIRFLOW_CONN_POLARS_CLOUD_DEFAULT", value)
        hook = PolarsCloudHook("polars_cloud_default")
        account = hook.service_account()
        assert (account.client_id, account.client_secret) == ("5b6d0e1c-client-id", "the-client-secret")
        assert (hook.workspace, hook.connection_mode) == ("production", "proxy")


def test_fields_of_the_connection_to_polars_cloud_are_documented() -> None:
    documented = {_code(row[0]) for row in _table(_section("credentials.md", "A connection")) if row[0].startswith("`")}
    (fields,) = (
        entry["conn-fields"]
        for entry in get_provider_info()["connection-types"]
        if entry["connection-type"] == PolarsCloudHook.conn_type
    )
    assert documented == set(fields)


def test_table_of_errors_has_every_exception_and_tells_which_are_retried() -> None:
    rows = _table(_section("errors.md", "Errors"))
    documented = {_code(row[0]): row[1] for row in rows}
    assert documented == {
        f"{found.__module__}.{name}": "permanent" if found.permanent else "transient" for name, found in ERRORS.items()
    }
    assert all(len(row) == 4 and row[2] and row[3] for row in rows)


def test_retry_policy_of_the_guide_delays_one_error_and_ends_on_another(
    in_memory_airflow: InMemoryAirflow, tmp_path: Path
) -> None:
    from airflow_provider_polars import LocalCompute, ParquetSink, polars_task

    block = next(block for block in RUN if block.page.name == "errors.md")
    namespace: dict[str, Any] = {"__name__": "docs"}
    with DAG("docs", schedule=None):
        exec(block.text, namespace)

    def slow() -> Any:
        import polars as pl

        rows = pl.LazyFrame({"a": range(10_000)})
        return rows.join(pl.LazyFrame({"b": range(1_000_000)}), how="cross").select(
            pl.col("a").sum() + pl.col("b").max()
        )

    def quick() -> Any:
        import polars as pl

        return pl.LazyFrame({"a": [1]})

    (tmp_path / "taken").mkdir()
    kwargs: dict[str, Any] = {"retries": 4, "retry_policy": namespace["POLICY"]}
    unwritable = polars_task(sink=ParquetSink(str(tmp_path / "taken")), **kwargs)(quick)
    outcome = in_memory_airflow.run_task(unwritable(), max_tries=4)
    assert (outcome.state, type(outcome.error).__name__) == ("up_for_retry", "SinkWriteError")
    assert outcome.msg.retry_delay_seconds == timedelta(minutes=15).total_seconds()
    too_slow = polars_task(timeout=0.1, compute=LocalCompute(threads=1), **kwargs)(slow)
    outcome = in_memory_airflow.run_task(too_slow(), max_tries=4)
    assert (outcome.state, type(outcome.error).__name__) == ("failed", "QueryTimeoutError")


def test_every_option_of_the_polars_section_is_documented_with_its_default() -> None:
    rows = _table(_section("configuration.md", "The `[polars]` section"))
    assert {_code(row[0]): _code(row[1]).replace("empty", "") for row in rows} == {
        name: option["default"] for name, option in OPTIONS.items()
    }


def _fields_table(page: str, *headings: str) -> dict[str, str]:
    return {_code(row[0]): row[1] for heading in headings for row in _table(_section(page, heading))}


def _fields(kind: type[Any]) -> dict[str, dataclasses.Field[Any]]:
    return {field.name: field for field in dataclasses.fields(kind)}


def _assert_documented(documented: dict[str, str], fields: dict[str, dataclasses.Field[Any]]) -> None:
    assert set(documented) == set(fields)
    for name, field in fields.items():
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        if default is dataclasses.MISSING:
            assert documented[name] == "required", name
        else:
            assert ast.literal_eval(_code(documented[name])) == default, name


def test_every_field_of_every_compute_is_documented_with_its_default() -> None:
    Compute.from_dict({"kind": "local"})
    for kind in Compute.registry.values():
        _assert_documented(_fields_table("compute.md", kind.__name__), _fields(kind))


def test_every_field_of_every_sink_is_documented_with_its_default() -> None:
    Sink.find_kind("parquet")
    for kind in Sink.registry.values():
        headings = ["All sinks", *(["Sinks of files"] if issubclass(kind, FileSink) else []), kind.__name__]
        _assert_documented(_fields_table("sinks.md", *headings), _fields(kind))


def test_kinds_of_compute_that_do_not_exist_are_called_not_yet() -> None:
    Compute.from_dict({"kind": "local"})
    working = {kind.__name__ for kind in Compute.registry.values()}
    states = {_code(row[0]): row[2] for row in _table(_section("compute.md", "Kinds of compute"))}
    assert {name for name, state in states.items() if state == "works"} == working
    for name in states.keys() - working:
        assert states[name] == "not yet"
        assert not hasattr(airflow_provider_polars, name)


def test_table_of_sinks_by_compute_agrees_with_the_sinks() -> None:
    Sink.find_kind("parquet")
    columns = [["local"], ["cluster"], ["cloud", "slurm"], ["dask"], ["polarway"]]
    documented = {_code(row[0]): row[1:] for row in _table(_section("sinks.md", "Which compute can write which sink"))}
    for kind in Sink.registry.values():
        for kinds, cell in zip(columns, documented.pop(kind.__name__), strict=True):
            assert {name in kind.computes for name in kinds} == {cell != "no"}, (kind, kinds)
    assert documented == {}


def test_clients_of_the_guide_are_those_that_messages_name() -> None:
    rows = {_code(row[0]): _code(row[1]) for row in _table(_section("on-premises.md", "Versions"))}
    clients = {polars: client for polars, client in rows.items() if client.startswith("polars-cloud==")}
    assert clients == {polars: f"polars-cloud=={client}" for polars, client in CLIENT_OF_POLARS.items()}


def test_arguments_of_the_operators_are_documented_with_what_is_templated() -> None:
    rows = _table(_section("queries.md", "Arguments of a task"))
    documented = {_code(row[0]): row[1].startswith("yes") for row in rows}
    arguments = {*inspect.signature(PolarsRemoteOperator.__init__).parameters, "compute", "conn_id"}
    known = arguments - {"self", "kwargs"}
    assert documented == {name: name in PolarsRemoteOperator.template_fields for name in known}
    cleaning = _fields_table("results.md", "Retention")
    parameters = inspect.signature(PolarsCleanResultsOperator.__init__).parameters
    assert {name: ast.literal_eval(_code(default)) for name, default in cleaning.items()} == {
        name: parameters[name].default for name in parameters if name not in ("self", "kwargs")
    }


def test_fields_of_a_result_are_documented() -> None:
    documented = {_code(row[0]) for row in _table(_section("results.md", "ResultRef"))}
    assert documented == set(result._FIELDS)


def test_every_public_name_is_in_the_guide() -> None:
    text = "".join(page.read_text() for page in PAGES)
    missing = [name for name in airflow_provider_polars.__all__ if name != "Compute" and name not in text]
    assert missing == []


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", _prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_to_files_and_headings(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", _prose(page)):
        if re.match(r"[a-z]+://", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), target
        if anchor:
            assert anchor in _anchors(found), target


def test_index_leads_to_every_page() -> None:
    linked = set(re.findall(r"\]\(([\w-]+\.md)\)", (DOCS / "index.md").read_text()))
    assert linked == {page.name for page in DOCS.glob("*.md")} - {"index.md"}


def test_commands_of_the_guide_are_targets_of_the_makefile() -> None:
    text = "".join(page.read_text() for page in PAGES)
    named = set(re.findall(r"^make ([a-z-]+)", text, re.MULTILINE)) | set(re.findall(r"`make ([a-z-]+)`", text))
    targets = set(re.findall(r"^([a-z-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert named
    assert named - targets == set()


def test_modules_and_folders_of_the_layout_exist() -> None:
    rows = _table(_section("contributing.md", "Layout"))
    paths = [path for row in rows for path in re.findall(r"`([^`]+)`", row[0])]
    assert [path for path in paths if not (REPOSITORY / path).exists()] == []


def test_changelog_has_this_version_with_upgrade_notes() -> None:
    text = (REPOSITORY / "CHANGELOG.md").read_text()
    releases = re.split(r"^## ", text, flags=re.MULTILINE)[1:]
    assert releases[0].startswith("[Unreleased]")
    assert releases[1].startswith(f"[{airflow_provider_polars.__version__}]")
    assert all("### Upgrade notes" in release for release in releases[1:])


def test_dotted_paths_of_the_guide_can_be_imported() -> None:
    text = "".join(page.read_text() for page in PAGES)
    paths = set(re.findall(r"\bairflow_provider_polars(?:\.\w+)+", text))
    assert "airflow_provider_polars.exceptions.SchemaError" in paths
    for path in paths:
        assert pkgutil.resolve_name(path) is not None
