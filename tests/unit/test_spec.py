"""What all kinds of Compute and Sink have in common."""

from __future__ import annotations

import copy
import dataclasses
import json
import pickle
from typing import Any, Literal

import pytest
from airflow.sdk import DAG, task
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_polars import CsvSink, IcebergSink, LocalCompute, ParquetSink
from airflow_provider_polars.compute.base import Compute
from airflow_provider_polars.exceptions import ConfigurationError, UnknownArgumentError, UnknownKindError
from airflow_provider_polars.query.sinks import Sink
from airflow_provider_polars.spec import Spec, coerce, is_sensitive, is_template, to_json
from tests.unit.specs import KINDS, SINKS, minimal, of

SECRET = "hunter2hunter2"
SECRET_KEYS = [
    "aws_secret_access_key",
    "AWS_ACCESS_KEY_ID",
    "secretAccessKey",
    "accessKey",
    "s3.secret-access-key",
    "s3.session-token",
    "aws_sse_customer_key_base64",
    "azure_storage_account_key",
    "azure_storage_master_key",
    "azure_storage_sas_key",
    "azure_storage_sas_token",
    "azure_client_secret",
    "connection_string",
    "google_service_account_key",
    "google_application_credentials",
    "bearer_token",
    "password",
]
kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.family}-{kind.kind}")
sinks = pytest.mark.parametrize("kind", SINKS, ids=lambda kind: kind.kind)


@kinds
@given(data=st.data())
def test_a_value_survives_json(kind: type[Spec], data: st.DataObject) -> None:
    spec = data.draw(of(kind))
    read = spec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert read == spec
    assert type(read) is kind


@kinds
@given(data=st.data())
def test_the_base_finds_the_class_of_a_value_by_its_kind(kind: type[Spec], data: st.DataObject) -> None:
    spec = data.draw(of(kind))
    base = Compute if isinstance(spec, Compute) else Sink
    assert base.from_dict(spec.to_dict()) == spec


@kinds
@given(data=st.data())
def test_rendering_replaces_every_template_and_nothing_else(kind: type[Spec], data: st.DataObject) -> None:
    spec = data.draw(of(kind))
    before = copy.deepcopy(spec.to_dict())
    seen: list[str] = []

    def render(template: str) -> str:
        seen.append(template)
        return template

    assert spec.map_templates(render) == spec
    assert sorted(seen) == sorted(text for text in _texts(before) if is_template(text))
    assert spec.to_dict() == before


@kinds
@given(data=st.data())
def test_copies_and_pickles_are_equal_and_hash_alike(kind: type[Spec], data: st.DataObject) -> None:
    spec = data.draw(of(kind))
    for twin in (copy.deepcopy(spec), copy.copy(spec), pickle.loads(pickle.dumps(spec))):
        assert twin == spec
        assert hash(twin) == hash(spec)


@kinds
@given(data=st.data())
def test_repr_str_and_serialized_form_show_no_address(kind: type[Spec], data: st.DataObject) -> None:
    spec = data.draw(of(kind))
    assert repr(spec) == str(spec) == repr(copy.deepcopy(spec))
    assert repr(spec).startswith(f"{kind.__name__}(")
    assert spec.serialize() == spec.to_dict()


@kinds
def test_a_value_cannot_be_changed(kind: type[Spec]) -> None:
    spec = minimal(kind)
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.engine = "gpu"  # type: ignore[attr-defined]


@sinks
def test_changing_the_json_form_does_not_change_the_value(kind: type[Sink]) -> None:
    field, key = ("catalog_properties", "uri") if kind is IcebergSink else ("storage_options", "aws_region")
    sink = minimal(kind, **{field: {key: "eu-west-1"}})
    sink.to_dict()[field][key] = "mars"
    assert sink.to_dict()[field] == {key: "eu-west-1"}


@kinds
def test_fields_at_their_default_are_left_out_of_the_json_form(kind: type[Spec]) -> None:
    spec = minimal(kind)
    required = {field.name for field in dataclasses.fields(kind) if _has_no_default(field)}
    assert set(spec.to_dict()) == {"kind", *required}


@kinds
def test_a_misspelt_field_names_the_nearest(kind: type[Spec]) -> None:
    for field in dataclasses.fields(kind):
        misspelt = f"{field.name}x"
        with pytest.raises(UnknownArgumentError) as caught:
            minimal(kind, **{misspelt: 1})
        assert f"{kind.__name__} has no argument {misspelt!r}; did you mean {field.name!r}?" in str(caught.value)


def test_a_misspelt_field_in_the_json_form_names_the_nearest() -> None:
    with pytest.raises(UnknownArgumentError, match="did you mean 'threads'"):
        Compute.from_dict({"kind": "local", "thread": 2})


def test_a_misspelt_field_is_a_type_error_as_in_python() -> None:
    with pytest.raises(TypeError):
        LocalCompute(thread=2)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("family", "kind", "nearest"), [(Compute, "locl", "local"), (Sink, "parqet", "parquet"), (Sink, "Delta", "delta")]
)
def test_an_unknown_kind_names_the_nearest_and_all_known(family: type[Spec], kind: str, nearest: str) -> None:
    with pytest.raises(UnknownKindError) as caught:
        family.from_dict({"kind": kind})
    assert f"There is no {family.family} of kind {kind!r}; did you mean {nearest!r}?" in str(caught.value)
    assert "Known kinds: " in str(caught.value)


@pytest.mark.parametrize("data", [{}, {"kind": 3}, {"kind": None}, [], "local", None, 3])
def test_what_has_no_kind_is_refused(data: Any) -> None:
    with pytest.raises(UnknownKindError, match="A compute as JSON is an object with a 'kind'"):
        Compute.from_dict(data)


@pytest.mark.parametrize("data", [{"kind": "parquet"}, {"kind": "delta", "path": "/lake/orders"}])
def test_the_json_form_without_a_required_field_is_refused_by_its_name(data: dict[str, Any]) -> None:
    missing = "path" if data["kind"] == "parquet" else "mode"
    with pytest.raises(ConfigurationError, match=f"needs {missing}="):
        Sink.from_dict(data)


# ---- outputs of tasks


@pytest.fixture
def upstream() -> Any:
    """Return the output of a task."""
    with DAG("dag", schedule=None):

        @task
        def path() -> str:
            return "/lake"

        return path()


@kinds
def test_the_output_of_a_task_in_any_field_is_refused_with_what_to_do(kind: type[Spec], upstream: Any) -> None:
    for field in dataclasses.fields(kind):
        for value in (upstream, f"{upstream}", f"s3://lake/{upstream}/", [upstream], {"aws_region": upstream}):
            with pytest.raises(ConfigurationError) as caught:
                minimal(kind, **{field.name: value})
            assert f"{kind.__name__}({field.name}=) was given the output of a task" in str(caught.value)
            assert "Pass the whole compute= or sink=" in str(caught.value)


def test_an_item_of_an_output_is_refused_too(upstream: Any) -> None:
    with pytest.raises(ConfigurationError, match="was given the output of a task"):
        ParquetSink(upstream["path"])


def test_a_template_that_pulls_an_xcom_by_hand_is_allowed() -> None:
    assert ParquetSink("{{ ti.xcom_pull('path') }}").path == "{{ ti.xcom_pull('path') }}"


# ---- secrets


@pytest.mark.parametrize("key", SECRET_KEYS)
@sinks
def test_a_secret_in_storage_options_is_refused_without_being_shown(kind: type[Sink], key: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        minimal(kind, storage_options={key: SECRET})
    assert f"storage_options=) holds {key!r}" in str(caught.value)
    assert "name a connection" in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    "key", ["aws_region", "aws_endpoint_url", "aws_sse_kms_key_id", "aws_allow_http", "azure_storage_account_name"]
)
def test_an_option_that_is_no_secret_is_kept(key: str) -> None:
    assert not is_sensitive(key)
    assert ParquetSink("s3://lake/x", storage_options={key: "x"}).storage_options == {key: "x"}


@pytest.mark.parametrize(
    "rendered",
    [
        {"aws_secret_access_key": SECRET},
        {"aws_region": {"aws_secret_access_key": SECRET}},
        f"{{'aws_secret_access_key': '{SECRET}'}}",
        [{"aws_secret_access_key": SECRET}],
    ],
)
def test_a_secret_that_a_template_brings_in_is_refused_without_being_shown(rendered: Any) -> None:
    sink = ParquetSink("s3://lake/x", storage_options="{{ var.json.options }}")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError) as caught:
        sink.map_templates(lambda _: rendered)
    assert SECRET not in str(caught.value)


def test_a_value_that_is_no_json_form_is_not_shown_with_its_secrets() -> None:
    with pytest.raises(UnknownKindError) as caught:
        Sink.from_dict({"path": "s3://lake/x", "storage_options": {"aws_secret_access_key": SECRET}})
    assert SECRET not in str(caught.value)
    assert "s3://lake/x" in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("parquet", {"path": f"s3://key:{SECRET}@lake/orders"}),
        ("parquet", {"path": "s3://lake/x", "storage_options": {"aws_endpoint_url": f"http://key:{SECRET}@minio"}}),
        ("iceberg", {"catalog_properties": {"uri": f"postgresql://iceberg:{SECRET}@catalog/db"}}),
    ],
)
def test_a_url_with_a_password_is_refused_without_being_shown(kind: str, fields: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        minimal(Sink.registry[kind], **fields)
    assert "password" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_an_azure_url_that_names_its_container_before_the_at_sign_is_allowed() -> None:
    assert ParquetSink("abfss://lake@account.dfs.core.windows.net/x").path.startswith("abfss://lake@")


# ---- coercion


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        ("8", int, 8),
        (" 8 ", int, 8),
        (8.0, int, 8),
        ("8.0", int, 8),
        (2**53 + 1, int, 2**53 + 1),
        (str(2**53 + 1), int, 2**53 + 1),
        (8, float, 8.0),
        ("0.5", float, 0.5),
        ("True", bool, True),
        ("false", bool, False),
        ("1", bool, True),
        ("zstd", Literal["zstd", "lz4"], "zstd"),
        (["a", "b"], tuple[str, ...], ("a", "b")),
        ("a", tuple[str, ...], ("a",)),
        (["1", 2], tuple[int, ...], (1, 2)),
        ({"a": "1"}, dict[str, int], {"a": 1}),
        ({1: "x"}, dict[str, str], {"1": "x"}),
        (None, int | None, None),
        ("8", int | None, 8),
        (["a"], tuple[str, ...] | None, ("a",)),
        ({"stages": 3}, bool | dict[str, Any] | None, {"stages": 3}),
        ("true", bool | dict[str, Any] | None, True),
        (False, bool | dict[str, Any] | None, False),
        (object, Any, object),
    ],
)
def test_a_value_becomes_what_its_field_declares(value: Any, hint: Any, expected: Any) -> None:
    coerced = coerce(value, hint, "x=")
    assert coerced == expected
    assert type(coerced) is type(expected)


@pytest.mark.parametrize(
    ("value", "hint"),
    [
        ("many", int),
        (8.5, int),
        (True, int),
        (True, int | None),
        (True, float | None),
        ("nan", float),
        (float("nan"), float | None),
        (float("inf"), float),
        ("1e999", float),
        (10**400, float),
        (None, int),
        ("yes", bool),
        (1, bool),
        (1, str),
        (b"x", str),
        (1, str | None),
        ("warp", Literal["zstd", "lz4"]),
        ("ab", dict[str, str]),
        ({"a": 1}, tuple[str, ...]),
        ({"a", "b"}, tuple[str, ...]),
        ([["a"]], tuple[str, ...]),
        ({"a": 1}, dict[str, str]),
        ("maybe", bool | dict[str, Any] | None),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_its_place_and_type(value: Any, hint: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        coerce(value, hint, "Where(x=)")
    assert str(caught.value).startswith("Where(x=)")
    assert "must be" in str(caught.value)


@given(value=st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists))
@pytest.mark.parametrize("hint", [str, int, float, bool, Literal["a"], tuple[int, ...], dict[str, str], int | None])
def test_coercion_raises_nothing_but_a_configuration_error_and_is_stable(hint: Any, value: Any) -> None:
    try:
        coerced = coerce(value, hint, "x=")
    except ConfigurationError:
        return
    assert coerce(coerced, hint, "x=") == coerced


@given(number=st.integers())
def test_a_rendered_integer_is_exactly_the_integer(number: int) -> None:
    assert coerce(str(number), int, "x=") == coerce(number, int, "x=") == number


@pytest.mark.parametrize("template", ["{{ params.threads }}", "{% if x %}4{% endif %}", "4{# four #}"])
def test_a_template_passes_until_it_is_rendered(template: str) -> None:
    compute = LocalCompute(threads=template)  # type: ignore[arg-type]
    assert compute.threads == template  # type: ignore[comparison-overlap]
    assert compute.map_templates(lambda _: "4").threads == 4


def test_a_template_that_renders_to_something_else_is_refused() -> None:
    compute = LocalCompute(threads="{{ params.threads }}")  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"LocalCompute\(threads=\) must be int, got str: 'many'"):
        compute.map_templates(lambda _: "many")


def test_text_that_is_no_template_is_not_rendered() -> None:
    sink = CsvSink("/lake/{{ run_id }}.csv", line_terminator="\r\n", null_value="NA ")
    rendered = sink.map_templates(lambda text: text.replace("{{ run_id }}", "r1").strip())
    assert rendered == CsvSink("/lake/r1.csv", line_terminator="\r\n", null_value="NA ")


@pytest.mark.parametrize("value", [object(), {1, 2}, b"x", [object()]])
def test_what_is_not_json_is_refused_with_its_place(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"x= must hold JSON values only .* is not JSON serializable"):
        to_json(value, "x=")


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for item in value.values() for text in _texts(item)]
    if isinstance(value, list):
        return [text for item in value for text in _texts(item)]
    return [value] if isinstance(value, str) else []


def _has_no_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
