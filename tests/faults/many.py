"""A cell whose task has twenty instances, which wait at the same time."""

from __future__ import annotations

from typing import Any

from airflow_provider_polars.labels import airflow_labels
from tests.faults.case import OVER, POLL, TASK, Case

TWENTY = 20


class ManyCase(Case):
    """The run of one cell with a mapped task; each instance has a folder of its own below that of the run."""

    size = TWENTY

    def trigger(self, **conf: Any) -> None:
        for index in range(self.size):
            (self.folder / str(index)).mkdir()
        super().trigger(**conf)

    def wait_until_awaited(self) -> dict[str, Any]:
        return self.wait_until_triggered()

    def open(self, name: str = "all") -> None:
        for index in range(self.size):
            (self.folder / str(index) / f"{name}.go").touch()

    def conclude(self) -> str:
        self.open()

        def ended() -> str | None:
            states = [str(task["state"]) for task in self.tasks()]
            return " and ".join(sorted(set(states))) if set(states) <= set(OVER) else None

        return self.wait(ended, "end of all tasks", interval=POLL)

    def is_own(self, labels: list[str]) -> bool:
        names = [set(airflow_labels(self.dag_id, TASK, self.run_id, index)) for index in range(self.size)]
        return any(own <= set(labels) for own in names)

    def rows(self) -> int:
        return sum(self.rows_in(self.folder / str(index)) for index in range(self.size))
