"""What a task says of its queries at its end: a small table, whose lines stand one below the other in Airflow's log."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

from airflow_provider_polars.compute_lifecycle import Usage
from airflow_provider_polars.query.result import ResultRef

SHOWN_LOCATIONS = 3
_WORK = {
    "stages": ("stage", ""),
    "rows_read": ("row", " read"),
    "bytes_read": ("byte", " read"),
    "bytes_shuffled": ("byte", " shuffled"),
}
_GAP = "  "


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ended:
    """One query that has ended well.

    :param output: that it has written.
    :param seconds: from its submission until its result was there, None if nobody has waited for that.
    :param link: where people can look at it, "" for nowhere.
    """

    query_id: str
    output: str
    seconds: float | None
    result: ResultRef
    link: str = ""

    @property
    def place(self) -> str:
        """Where the result is: at most three locations."""
        locations = self.result.locations
        more = len(locations) - SHOWN_LOCATIONS
        shown = ", ".join(locations[:SHOWN_LOCATIONS]) + (f" and {more} more" if more > 0 else "")
        return shown or "no place of its own"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Summary:
    """The queries of a task, and what they ran on.

    :param where: what they ran on, as words.
    """

    queries: Sequence[Ended]
    where: str

    def lines(self, used: str = "") -> list[str]:
        """Return the table.

        :param used: what the compute has cost that was started for this task alone, as words.
        """
        common = {"ran on": self.where, "used": used}
        if len(self.queries) == 1:
            (query,) = self.queries
            return [f"Summary of query {query.query_id}", *_pairs({**_told(query), **common, "link": query.link})]
        title = f"Summary of {len(self.queries)} queries"
        return [title, *_table([_cells(query) for query in self.queries]), *_pairs(common)]


def cost(usage: Usage | None, vcpu_hour_price: float | None) -> str:
    """Return what a compute has cost as words.

    :param usage: None if it has not been seen to end.
    """
    if usage is None:
        return "not known: that its compute has ended is not confirmed"
    size = f" of {usage.vcpus} vCPUs" if usage.vcpus is not None else ""
    price = usage.cost(vcpu_hour_price)
    return f"{usage.minutes:.2f} minutes{size}" + (f", cost {price:g}" if price is not None else "")


def _told(query: Ended) -> dict[str, str]:
    """Return the lines of one query."""
    result = query.result
    size = f"{_counted(result.bytes, 'byte')} in " if result.bytes is not None else ""
    whole = f"{query.seconds:.2f} s" if query.seconds is not None else ""
    split = ", ".join(f"{name} {seconds:.2f}" for name, seconds in result["timings"].items())
    work = result.get("statistics", {})
    return {
        "rows": _number(result.rows),
        "size": f"{size}{_counted(result['files'], 'file')}, {result.format}",
        "written": query.place,
        "time": ": ".join(filter(None, (whole, split))),
        "work": ", ".join(_counted(work[name], one) + done for name, (one, done) in _WORK.items() if name in work),
    }


def _cells(query: Ended) -> dict[str, str]:
    """Return the row of one query among several."""
    result = query.result
    return {
        "output": query.output,
        "rows": _number(result.rows),
        "bytes": _number(result.bytes),
        "files": _number(result["files"]),
        "seconds": f"{query.seconds:.2f}" if query.seconds is not None else "",
        **{name: f"{seconds:.2f}" for name, seconds in result["timings"].items()},
        **{name.replace("_", " "): f"{count:,}" for name, count in result.get("statistics", {}).items()},
        "format": result.format,
        "written": query.place,
        "query": query.query_id,
        "link": query.link,
    }


def _counted(number: int, one: str) -> str:
    return f"{number:,} {one}" + ("" if number == 1 else "s")


def _number(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"


def _pairs(told: Mapping[str, str]) -> list[str]:
    """Return a line for each that says something, names and texts one below the other."""
    width = max(map(len, told))
    return [f"{_GAP}{name:{width}}{_GAP}{text}" for name, text in told.items() if text]


def _table(rows: Sequence[Mapping[str, str]]) -> list[str]:
    """Return a line of headings and one for each row, without the columns that no row fills; numbers to the right."""
    columns = [name for name in _in_order(rows) if any(row.get(name) for row in rows)]
    widths = {name: max(len(name), *(len(row.get(name, "")) for row in rows)) for name in columns}
    numbers = {name for name in columns if all(_is_number(row.get(name, "")) for row in rows)}

    def line(cells: Mapping[str, str]) -> str:
        texts = [
            f"{cells.get(name, ''):>{widths[name]}}" if name in numbers else f"{cells.get(name, ''):{widths[name]}}"
            for name in columns
        ]
        return f"{_GAP}{_GAP.join(texts)}".rstrip()

    return [line({name: name for name in columns}), *map(line, rows)]


def _in_order(rows: Iterable[Mapping[str, str]]) -> list[str]:
    """Return the columns of all rows: those that only some have stand where these have them."""
    names: list[str] = []
    for row in rows:
        before = 0
        for name in row:
            if name not in names:
                names.insert(before, name)
            before = names.index(name) + 1
    return names


def _is_number(text: str) -> bool:
    return text in ("", "?") or text.replace(",", "").replace(".", "", 1).isdecimal()
