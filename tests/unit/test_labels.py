"""Labels that name a DAG, task and run, and the rules that clusters have for any label."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_polars import ClusterCompute
from airflow_provider_polars.exceptions import ConfigurationError
from airflow_provider_polars.labels import (
    AIRFLOW_LABELS,
    MAX_LABEL_BYTES,
    MAX_LABELS,
    airflow_labels,
    check_labels,
)
from airflow_provider_polars.query.options import QueryOptions

RUN_ID = "scheduled__2026-01-01T00:00:00+00:00"
names = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1, max_size=60)


def test_short_names_stand_in_the_labels_as_they_are() -> None:
    assert airflow_labels("sales", "etl.by_day", "manual") == ("airflow", "dag:sales", "task:etl.by_day", "run:manual")


def test_a_mapped_task_has_its_index() -> None:
    assert airflow_labels("sales", "by_day", "manual", 0)[2] == "task:by_day[0]"
    assert airflow_labels("sales", "by_day", "manual", -1)[2] == "task:by_day"


def test_a_long_name_is_cut_and_ends_in_a_part_of_its_hash() -> None:
    run = airflow_labels("sales", "by_day", RUN_ID)[3]
    assert run == "run:scheduled__2026-01-~" + run[-8:]
    assert len(run) == MAX_LABEL_BYTES
    assert set(run[-8:]) <= set("0123456789abcdef")


def test_names_that_differ_at_their_end_alone_have_labels_of_their_own() -> None:
    runs = {airflow_labels("d", "t", f"scheduled__2026-01-01T00:00:00.{n:06}+00:00")[3] for n in range(2000)}
    indices = {airflow_labels("d", "a_task_with_a_rather_long_name", "r", n)[2] for n in range(2000)}
    assert (len(runs), len(indices)) == (2000, 2000)


@pytest.mark.parametrize("letter", ["é", "語", "😀"])
def test_a_name_is_cut_between_two_letters(letter: str) -> None:
    for shift in range(4):
        label = airflow_labels("x" * shift + letter * 30, "t", "r")[1]
        kept, _, digest = label.removeprefix("dag:").partition("~")
        assert set(kept.lstrip("x")) == {letter}
        assert len(digest) == 8
        assert MAX_LABEL_BYTES - len(letter.encode()) < len(label.encode()) <= MAX_LABEL_BYTES


def test_a_name_that_just_fits_is_not_cut() -> None:
    fits = "x" * (MAX_LABEL_BYTES - len("dag:"))
    assert airflow_labels(fits, "t", "r")[1] == f"dag:{fits}"
    assert "~" in airflow_labels(f"{fits}x", "t", "r")[1]


@given(dag_id=names, task_id=names, run_id=names, map_index=st.integers(-1, 10**9))
def test_a_cluster_takes_the_labels_of_any_task_and_every_try_has_the_same(
    dag_id: str, task_id: str, run_id: str, map_index: int
) -> None:
    labels = airflow_labels(dag_id, task_id, run_id, map_index)
    assert len(labels) == AIRFLOW_LABELS
    assert [label.partition(":")[0] for label in labels] == ["airflow", "dag", "task", "run"]
    assert labels == airflow_labels(dag_id, task_id, run_id, map_index)
    for label in labels:
        assert len(label.encode()) <= MAX_LABEL_BYTES
        assert label == label.strip()
        assert not any(unicodedata.category(letter) == "Cc" for letter in label)
    check_labels(labels)


@given(names=st.lists(names, min_size=2, max_size=2, unique=True))
def test_two_names_never_share_a_label(names: list[str]) -> None:
    first, second = (airflow_labels(name, name, name) for name in names)
    assert set(first) & set(second) == {"airflow"}


# ---- the rules of clusters


@pytest.mark.parametrize("label", ["daily", "x" * MAX_LABEL_BYTES, "é" * 16, "two words", "{{ params.label }}", "a:b"])
def test_a_label_that_a_cluster_takes_passes(label: str) -> None:
    assert QueryOptions(labels=label).check_compute(ClusterCompute()) is None  # type: ignore[arg-type,func-returns-value]


@pytest.mark.parametrize("label", ["", " ", " daily", "daily ", "two\nlines", "a\tb", "nul\0", "del\x7f"])
def test_a_label_that_is_empty_or_has_space_around_it_or_control_characters_is_refused(label: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_labels(["good", label])
    assert str(caught.value) == (
        f"labels= has {label!r}: a label is not empty, has no space around it and no control character in it."
    )


@pytest.mark.parametrize(("label", "size"), [("x" * 33, 33), ("é" * 17, 34)])
def test_a_label_of_too_many_bytes_is_refused_with_their_number(label: str, size: int) -> None:
    with pytest.raises(ConfigurationError) as caught:
        check_labels([label])
    assert str(caught.value) == f"labels= has {label!r} of {size} bytes, at most 32 are possible."


def test_there_are_as_many_labels_as_a_cluster_takes_less_those_of_the_task() -> None:
    labels = tuple(str(number) for number in range(MAX_LABELS))
    unlabelled = ClusterCompute(airflow_labels=False)
    QueryOptions(labels=labels).check_compute(unlabelled)
    QueryOptions(labels=labels[:60]).check_compute(ClusterCompute())
    with pytest.raises(ConfigurationError) as caught:
        QueryOptions(labels=(*labels, "more")).check_compute(unlabelled)
    assert str(caught.value) == "labels= has 65 labels, at most 64 are possible."
    with pytest.raises(ConfigurationError) as caught:
        QueryOptions(labels=labels[:61]).check_compute(ClusterCompute())
    assert str(caught.value) == (
        "labels= has 61 labels, at most 60 are possible besides the 4 that name DAG, task and run."
    )


@pytest.mark.parametrize("labels", ["{{ params.labels }}", ["{{ params.long }}" * 3], [" {{ params.label }} "]])
def test_a_template_of_labels_is_left_to_the_task(labels: object) -> None:
    assert QueryOptions(labels=labels).check_compute(ClusterCompute()) is None  # type: ignore[arg-type,func-returns-value]
