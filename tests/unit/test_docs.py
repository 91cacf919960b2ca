"""The guide is true: its code runs, its tables agree with the code, its links lead somewhere."""

from __future__ import annotations

import ast
import configparser
import dataclasses
import importlib.metadata
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
from packaging.requirements import Requirement

import airflow_provider_polars
from airflow_provider_polars import exceptions
from airflow_provider_polars.backends.polars_client import CLIENT_OF_POLARS
from airflow_provider_polars.compute.base import Compute
from airflow_provider_polars.compute_lifecycle import Usage
from airflow_provider_polars.credentials import _json_halves, _Value
from airflow_provider_polars.exceptions import PolarsProviderError
from airflow_provider_polars.get_provider_info import get_provider_info
from airflow_provider_polars.hooks.cloud import PolarsCloudHook
from airflow_provider_polars.hooks.polars import hook_class
from airflow_provider_polars.operators.base import PolarsBaseOperator
from airflow_provider_polars.operators.clean_results import PolarsCleanResultsOperator
from airflow_provider_polars.operators.query_waiting import QueryWaitingOperator
from airflow_provider_polars.operators.remote import PolarsRemoteOperator
from airflow_provider_polars.operators.start_compute import PolarsStartComputeOperator
from airflow_provider_polars.operators.stop_compute import PolarsStopComputeOperator
from airflow_provider_polars.operators.sweep_computes import PolarsSweepComputeOperator
from airflow_provider_polars.query import result
from airflow_provider_polars.query.sinks import FileSink, Sink
from tests.unit.guide import DOCS, PAGES, REPOSITORY, Block, blocks, code, load_tool, prose, section, table
from tests.wire.clients.expected import CLIENTS

if TYPE_CHECKING:
    from tests.harness.in_memory import InMemoryAirflow

OPTIONS: dict[str, dict[str, str]] = get_provider_info()["config"]["polars"]["options"]
ERRORS = {
    name: found
    for name, found in vars(exceptions).items()
    if isinstance(found, type) and issubclass(found, PolarsProviderError)
}


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


PYTHON = blocks("python")
RUN = [block for block in PYTHON if not {"by-hand", "policy", "pytest"} & block.words]


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
    assert [block.page.name for block in PYTHON if "by-hand" in block.words] == ["compute-lifecycle.md"]


@pytest.mark.parametrize("block", blocks("json"), ids=str)
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


@pytest.mark.parametrize("block", blocks("ini"), ids=str)
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
    for value in [*values, next(block.text for block in blocks("json") if block.page.name == "credentials.md")]:
        monkeypatch.setenv("AIRFLOW_CONN_POLARS_CLOUD_DEFAULT", value)
        hook = PolarsCloudHook("polars_cloud_default")
        account = hook.service_account()
        assert (account.client_id, account.client_secret) == ("5b6d0e1c-client-id", "the-client-secret")
        assert (hook.workspace, hook.connection_mode) == ("production", "proxy")


def test_fields_of_the_connection_to_polars_cloud_are_documented() -> None:
    documented = {code(row[0]) for row in table(section("credentials.md", "A connection")) if row[0].startswith("`")}
    (fields,) = (
        entry["conn-fields"]
        for entry in get_provider_info()["connection-types"]
        if entry["connection-type"] == PolarsCloudHook.conn_type
    )
    assert documented == set(fields)


def test_table_of_errors_has_every_exception_and_tells_which_are_retried() -> None:
    rows = table(section("errors.md", "Errors"))
    documented = {code(row[0]): row[1] for row in rows}
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
    rows = table(section("settings.md", "The `[polars]` section"))
    assert {code(row[0]): code(row[2]).replace("empty", "") for row in rows} == {
        name: option["default"] for name, option in OPTIONS.items()
    }


def test_every_field_of_every_connection_is_documented_with_its_label() -> None:
    for entry in get_provider_info()["connection-types"]:
        rows = table(section("settings.md", f"Connections of type `{entry['connection-type']}`"))
        documented = {code(row[0]): row[1] for row in rows}
        labels = {name: field["label"] for name, field in entry["conn-fields"].items()}
        assert documented.items() >= (labels | entry["ui-field-behaviour"]["relabeling"]).items()
        assert not documented.keys() & set(entry["ui-field-behaviour"]["hidden-fields"])
        assert all(row[3] for row in rows if code(row[0]) in labels)


def test_page_of_options_and_fields_is_made_from_the_metadata() -> None:
    made = load_tool("settings_page").page(get_provider_info())
    assert (DOCS / "settings.md").read_text() == made, "Run python tools/settings_page.py, as make docs does."


def _fields_table(page: str, *headings: str) -> dict[str, str]:
    return {code(row[0]): row[1] for heading in headings for row in table(section(page, heading))}


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
            assert ast.literal_eval(code(documented[name])) == default, name


def test_every_field_of_every_compute_is_documented_with_its_default() -> None:
    Compute.from_dict({"kind": "local"})
    for kind in Compute.registry.values():
        page = {"CloudCompute": "polars-cloud.md"}.get(kind.__name__, "compute.md")
        _assert_documented(_fields_table(page, kind.__name__), _fields(kind))


def test_every_field_of_every_sink_is_documented_with_its_default() -> None:
    Sink.find_kind("parquet")
    for kind in Sink.registry.values():
        headings = ["All sinks", *(["Sinks of files"] if issubclass(kind, FileSink) else []), kind.__name__]
        _assert_documented(_fields_table("sinks.md", *headings), _fields(kind))


def test_kinds_of_compute_that_do_not_exist_are_called_not_yet() -> None:
    Compute.from_dict({"kind": "local"})
    working = {kind.__name__ for kind in Compute.registry.values()}
    states = {code(row[0]): row[2] for row in table(section("compute.md", "Kinds of compute"))}
    assert {name for name, state in states.items() if state == "works"} == working
    for name in states.keys() - working:
        assert states[name] == "not yet"
        assert not hasattr(airflow_provider_polars, name)


def test_table_of_sinks_by_compute_agrees_with_the_sinks() -> None:
    Sink.find_kind("parquet")
    columns = [["local"], ["cluster", "cloud"], ["slurm"], ["dask"], ["polarway"]]
    documented = {code(row[0]): row[1:] for row in table(section("sinks.md", "Which compute can write which sink"))}
    for kind in Sink.registry.values():
        for kinds, cell in zip(columns, documented.pop(kind.__name__), strict=True):
            assert {name in kind.computes for name in kinds} == {cell != "no"}, (kind, kinds)
    assert documented == {}


def test_clients_of_the_guide_are_those_that_messages_name() -> None:
    rows = {code(row[0]): code(row[1]) for row in table(section("on-premises.md", "Versions"))}
    clients = {polars: client for polars, client in rows.items() if client.startswith("polars-cloud==")}
    assert clients == {polars: f"polars-cloud=={client}" for polars, client in CLIENT_OF_POLARS.items()}
    pairs = _polars_of_clients()
    assert {pairs.get(client): client for client in CLIENT_OF_POLARS.values()} == CLIENT_OF_POLARS
    assert set(pairs.values()) == set(CLIENT_OF_POLARS)


def _polars_of_clients() -> dict[str, str]:
    rows = [row for row in table(section("getting-started.md", "Versions")) if not row[0].startswith("`")]
    return {client: polars for clients, polars in rows for client in clients.split(", ")}


def test_the_guide_has_the_polars_that_the_installed_client_pins() -> None:
    pins = map(Requirement, importlib.metadata.requires("polars-cloud") or ())
    pinned = [str(pin.specifier) for pin in pins if pin.name == "polars"]
    assert pinned == [f"=={_polars_of_clients()[importlib.metadata.version('polars-cloud')]}"]


def test_clients_that_the_tests_run_with_are_named() -> None:
    assert f"\nCLIENTS ?= {' '.join(CLIENTS)}\n" in (REPOSITORY / "Makefile").read_text()
    told = f"{', '.join(CLIENTS[:-1])} and {CLIENTS[-1]}"
    for page in ("contributing.md", "control-plane.md", "dev-cluster.md", "index.md"):
        assert told in (DOCS / page).read_text(), page
    (row,) = re.findall(r"^\| On Polars Cloud \| (.*) \|$", (DOCS / "client-versions.md").read_text(), re.MULTILINE)
    assert row.split(" | ") == [*CLIENTS]


def test_arguments_of_the_operators_are_documented_with_what_is_templated() -> None:
    rows = table(section("queries.md", "Arguments of a task"))
    documented = {code(row[0]): row[1].startswith("yes") for row in rows}
    given = (PolarsRemoteOperator, QueryWaitingOperator, PolarsBaseOperator)
    arguments = {name for operator in given for name in inspect.signature(operator.__init__).parameters}
    known = arguments - {"self", "kwargs"}
    assert documented == {name: name in PolarsRemoteOperator.template_fields for name in known}


@pytest.mark.parametrize(
    ("page", "heading", "operator"),
    [
        ("results.md", "Retention", PolarsCleanResultsOperator),
        ("compute-lifecycle.md", "PolarsStartComputeOperator", PolarsStartComputeOperator),
        ("compute-lifecycle.md", "PolarsStopComputeOperator", PolarsStopComputeOperator),
        ("compute-lifecycle.md", "The sweep", PolarsSweepComputeOperator),
    ],
)
def test_arguments_of_other_operators_are_documented_with_their_defaults(
    page: str, heading: str, operator: type[Any]
) -> None:
    rows = {code(row[0]): code(row[1]) for row in table(section(page, heading)) if len(row) == 3}
    documented = {name: "required" if text == "required" else ast.literal_eval(text) for name, text in rows.items()}
    parameters = dict(inspect.signature(operator.__init__).parameters)
    if issubclass(operator, PolarsBaseOperator):
        parameters["conn_id"] = inspect.signature(PolarsBaseOperator.__init__).parameters["conn_id"]
    assert documented == {
        name: "required" if parameter.default is inspect.Parameter.empty else parameter.default
        for name, parameter in parameters.items()
        if name not in ("self", "kwargs")
    }


def test_keys_of_what_a_compute_has_cost_are_documented() -> None:
    usage = Usage(compute_id="a", minutes=60.0, vcpus=8, end="StoppedByUser")
    told = PolarsStopComputeOperator(task_id="stop", compute=None)._report(usage, [], price=0.5)
    assert {code(row[0]) for row in table(section("polars-cloud.md", "Cost"))} == set(told)


def test_lines_of_the_example_that_the_guide_counts_are_those_of_the_file() -> None:
    rows = table(section("coming-from-polars-guide.md", "The complete example"))
    (counts,) = (row[1:] for row in rows if "dags/example_polars_guide.py" in row[0])
    lines = (REPOSITORY / "dags" / "example_polars_guide.py").read_text().splitlines()
    assert counts == [str(len(lines)), str(len([line for line in lines if line.strip()]))]


def test_extras_that_do_something_are_listed() -> None:
    text = (REPOSITORY / "pyproject.toml").read_text()
    declared = re.search(r"^\[project.optional-dependencies\]\n(.*?)^\[", text, re.MULTILINE | re.DOTALL)
    assert declared is not None
    extras = set(re.findall(r"^([\w-]+) = ", declared[1], re.MULTILINE)) - {"dev", "docs", "polarway", "ssh"}
    rows = {code(row[0]) for row in table(section("getting-started.md", "Versions")) if row[0].startswith("`")}
    assert rows == extras


def test_every_example_is_included_beside_a_link_to_it() -> None:
    """On GitHub an include is a line with a path: the link leads on from there."""
    page = DOCS / "examples.md"
    files = [*(REPOSITORY / "dags").glob("*.py"), *(REPOSITORY / "dags").glob("*/*.sql")]
    included = {path for language in ("python", "sql") for block in blocks(language, [page]) for path in block.includes}
    assert included == {file.relative_to(REPOSITORY).as_posix() for file in files}
    for block in PYTHON:
        assert all(f"](../{path})" in block.page.read_text() for path in block.includes), block


def test_no_block_repeats_an_example() -> None:
    """What five lines of a block have in common with an example is to be an include."""
    examples = {file.name: _lines(file.read_text()) for file in (REPOSITORY / "dags").glob("*.py")}
    for block in PYTHON:
        for name, lines in examples.items():
            runs = {tuple(lines[at : at + 5]) for at in range(len(lines) - 4)}
            own = [] if block.includes else _lines(block.text)
            assert not runs & {tuple(own[at : at + 5]) for at in range(len(own) - 4)}, f"{block} repeats {name}"


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def test_fields_of_a_result_are_documented() -> None:
    documented = {code(row[0]) for row in table(section("results.md", "ResultRef"))}
    assert documented == set(result._FIELDS)


def test_every_public_name_is_in_the_guide() -> None:
    text = "".join(page.read_text() for page in PAGES)
    missing = [name for name in airflow_provider_polars.__all__ if name != "Compute" and name not in text]
    assert missing == []


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_relative_links_lead_to_files_and_headings(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(page)):
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
    rows = table(section("contributing.md", "Layout"))
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
