"""``KeptRuns``: what a task keeps of its queries for its next try, in Airflow's ``task_state_store``."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from airflow_provider_polars.backends.base import Run
from airflow_provider_polars.query.result import ResultRef

STORE_KEY = "polars_runs"


class RunStore(Protocol):
    """Memory of a task that outlives its tries: Airflow's ``task_state_store``."""

    def get(self, key: str) -> Any:
        """Return the value of ``key``, None if there is none."""

    def set(self, key: str, value: Any) -> None:
        """Keep a JSON value."""

    def delete(self, key: str) -> None:
        """Forget ``key``, if it is there."""


class Try(NamedTuple):
    """Which try of a task this is.

    Clearing a task sets ``max_tries`` to its ``number`` and ``retries`` (``clear_task_instances`` of Airflow 3.3),
    which is the ``max_tries`` of before if ``retries`` was lowered meanwhile.

    :param number: ``ti.try_number``, from 1.
    :param max_tries: ``ti.max_tries``, which an automatic retry keeps.
    :param retries: of the task.
    """

    number: int = 1
    max_tries: int = 0
    retries: int = 0

    @property
    def is_last(self) -> bool:
        """Whether no other one follows if this one fails."""
        return self.number > self.max_tries

    def is_retry_of(self, earlier: Try | None) -> bool:
        """Return whether nobody has cleared the task since an earlier one, None for one that is not known."""
        return earlier is not None and self[1:] == earlier[1:]


@dataclasses.dataclass(frozen=True)
class KeptRuns:
    """What the last try has left.

    :param owner: that try, None if no other one may take its queries over.
    :param runs: its queries; none if it was lost while it submitted.
    :param noted_at: when it was about to submit, in epoch seconds; None once a query was kept.
    :param results: of every output, once it had them. Airflow may not have heard of it.
    :param place: which compute they are on, as its backend tells; "" where nobody has kept that.
    :param ended: whether that try has seen the end of all of them.
    """

    owner: Try | None
    runs: Sequence[Run]
    noted_at: float | None = None
    results: Mapping[str, ResultRef] | None = None
    place: str = ""
    ended: bool = False

    def is_elsewhere(self, place: str) -> bool:
        """Return whether another compute has the queries than the one at ``place``, which cannot tell of them."""
        return bool(self.place) and self.place != place

    @classmethod
    def load(cls, store: RunStore) -> KeptRuns | None:
        """Return what is kept, None for nothing that is ours."""
        kept = store.get(STORE_KEY)
        if not isinstance(kept, dict):
            return None
        owner, results = kept.get("owner"), kept.get("results")
        return cls(
            owner=Try(**owner) if owner else None,
            runs=[Run.from_dict(run) for run in kept.get("runs", [])],
            noted_at=kept.get("noted_at"),
            results={name: ResultRef(result) for name, result in results.items()} if results else None,
            place=kept.get("place", ""),
            ended=kept.get("ended", False),
        )

    @classmethod
    def note(cls, store: RunStore, owner: Try | None, place: str) -> None:
        """Keep that a try is about to submit."""
        cls(owner, [], time.time(), place=place).save(store)

    def save(self, store: RunStore) -> None:
        """Keep it."""
        value: dict[str, Any] = {
            "owner": self.owner and self.owner._asdict(),
            "runs": [run.to_dict() for run in self.runs],
            "noted_at": self.noted_at,
            "results": self.results and {name: dict(result) for name, result in self.results.items()},
            "place": self.place or None,
            "ended": self.ended or None,
        }
        store.set(STORE_KEY, {name: part for name, part in value.items() if part is not None})


def stored_runs(store: RunStore) -> list[Run]:
    """Return the Runs that the last try has stored."""
    kept = KeptRuns.load(store)
    return list(kept.runs) if kept else []
