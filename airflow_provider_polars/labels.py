"""Labels of queries: the rules that clusters have for them, and those that name a DAG, task and run."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence

from airflow_provider_polars.exceptions import ConfigurationError
from airflow_provider_polars.spec import is_template

MAX_LABELS = 64
MAX_LABEL_BYTES = 32
AIRFLOW_LABELS = 4
"""How many labels :func:`airflow_labels` makes."""

_HASH_LETTERS = 8


def airflow_labels(dag_id: str, task_id: str, run_id: str, map_index: int = -1) -> tuple[str, ...]:
    """Return the labels of a task's queries, the same for every try: ``airflow``, ``dag:``, ``task:`` and ``run:``.

    A name too long for a label is cut, and ends in a part of its hash, so that two never share one. Those of a mapped
    task instance have its index.
    """
    task = task_id if map_index < 0 else f"{task_id}[{map_index}]"
    return ("airflow", *(_named(word, name) for word, name in (("dag", dag_id), ("task", task), ("run", run_id))))


def check_labels(labels: Sequence[str], reserved: int = 0) -> None:
    """Refuse what a cluster would not take (the rules of polars_cloud from 0.11 on).

    :param reserved: how many labels come on top of these.
    :raises ConfigurationError: naming the label.
    """
    if len(labels) + reserved > MAX_LABELS:
        own = f" besides the {reserved} that name DAG, task and run" if reserved else ""
        raise ConfigurationError(
            f"labels= has {len(labels)} labels, at most {MAX_LABELS - reserved} are possible{own}."
        )
    for label in labels:
        if is_template(label):
            continue
        size = len(label.encode())
        if not label or label != label.strip() or any(unicodedata.category(letter) == "Cc" for letter in label):
            raise ConfigurationError(
                f"labels= has {label!r}: a label is not empty, has no space around it and no control character in it."
            )
        if size > MAX_LABEL_BYTES:
            raise ConfigurationError(f"labels= has {label!r} of {size} bytes, at most {MAX_LABEL_BYTES} are possible.")


def _named(word: str, name: str) -> str:
    label = f"{word}:{name}"
    if len(label.encode()) <= MAX_LABEL_BYTES:
        return label
    digest = hashlib.sha256(name.encode()).hexdigest()[:_HASH_LETTERS]
    room = MAX_LABEL_BYTES - len(f"{word}:~{digest}")
    return f"{word}:{name.encode()[:room].decode(errors='ignore')}~{digest}"
