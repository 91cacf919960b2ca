"""What is made to go wrong on a server, call by call."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import math
from collections.abc import Collection, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field, fields
from fnmatch import fnmatchcase
from typing import Any

import grpc

DELAY, HANG, DROP, RESET, ANSWER, FAIL = "delay", "hang", "drop", "reset", "answer", "fail"
SUBMISSION = "SubmitQuery"
GRPC_STATUSES = {code.name: code for code in grpc.StatusCode if code is not grpc.StatusCode.OK}
HTTP_STATUSES = range(200, 600)
OWN_FIELDS: dict[str, Collection[str]] = {
    DELAY: ["seconds"],
    HANG: [],
    DROP: [],
    RESET: [],
    ANSWER: ["status", "message", "body"],
    FAIL: ["errors"],
}
"""What may be said beside ``call``, ``do``, ``times`` and ``skip``, by what is done."""

DOES_NOT_ACT = (HANG, RESET, ANSWER)
_ids = itertools.count(1)


class FaultError(ValueError):
    """A fault that cannot be set; the text names field and value."""

    def __init__(self, name: str, value: Any, wanted: str) -> None:
        super().__init__(f"{name} is {json.dumps(value, default=repr)[:200]}, but must be {wanted}")


@dataclass(frozen=True, eq=False)
class Fault:
    """One thing that goes wrong.

    :raises FaultError: for a value that means nothing.
    """

    call: str
    """The calls that it hits: a pattern (``*``, ``?``, ``[...]``) of their names in the recorder."""

    do: str
    """What becomes of such a call.

    ``delay``: it waits, then goes on. ``hang``: it is not answered until the caller hangs up or the fault is lifted.
    ``drop``: it acts, and the connection ends without its answer. ``reset``: the connection is reset before it acts.
    ``answer``: it is answered with ``status``, and does not act. ``fail``: its query is taken in and ends as FAILED.
    """

    seconds: float | None = None
    """How long a ``delay`` takes; it ends early when the fault is lifted."""

    status: str | int | None = None
    """Of an ``answer``: the name of a gRPC status, which fits gRPC calls alone, or a number, for HTTP alone."""

    message: str | None = None
    """Of an ``answer``."""

    body: Any = None
    """Of an ``answer`` over HTTP, in place of ``{"error": message}``: text is sent as it is, all else as JSON."""

    errors: tuple[str, ...] | None = None
    """Of a ``fail``: ``TypeName: message`` each, the first one also the scheduler's. It may be empty."""

    times: int | None = 1
    """How many calls it hits; None is all until it is lifted."""

    skip: int = 0
    """How many calls that it fits pass before the first hit."""

    id: int = field(default_factory=_ids.__next__, init=False)
    lifted: asyncio.Event = field(default_factory=asyncio.Event, init=False, repr=False)

    def __post_init__(self) -> None:
        if not (isinstance(self.call, str) and self.call):
            raise FaultError("call", self.call, "the name of a call, or a pattern such as Get*")
        if self.do not in list(OWN_FIELDS):  # which does not hash what was given
            raise FaultError("do", self.do, f"one of {', '.join(OWN_FIELDS)}")
        for do, names in OWN_FIELDS.items():
            for name in names:
                if do != self.do and getattr(self, name) is not None:
                    raise FaultError(name, getattr(self, name), f"left out: it is for {do}, not for {self.do}")
        if self.do == DELAY and not _is_duration(self.seconds):
            raise FaultError("seconds", self.seconds, "a number above 0")
        if self.do == ANSWER:
            self._check_answer()
        if self.do == FAIL:
            self._check_failure()
        if not (self.times is None or (_is_whole(self.times) and self.times > 0)):
            raise FaultError("times", self.times, "a whole number above 0, or null for all calls until it is lifted")
        if not (_is_whole(self.skip) and self.skip >= 0):
            raise FaultError("skip", self.skip, "a whole number, 0 or above")

    @classmethod
    def from_json(cls, data: Any) -> Fault:
        """Return the fault that a JSON object describes.

        :raises FaultError: for anything else.
        """
        if not isinstance(data, dict):
            raise FaultError("a fault", data, "a JSON object with call and do")
        known = [entry.name for entry in fields(cls) if entry.init]
        for name, value in data.items():
            if name not in known:
                raise FaultError(name, value, f"left out: the fields are {', '.join(known)}")
        return cls(**{"call": None, "do": None, **data})

    def to_json(self) -> dict[str, Any]:
        """Return the fault as JSON, with its id, and only the fields that count for it."""
        own = {name: getattr(self, name) for name in OWN_FIELDS[self.do]}
        common = {name: getattr(self, name) for name in ("id", "call", "do", "times", "skip")}
        return common | {name: value for name, value in own.items() if value is not None}

    def fits(self, call: str) -> bool:
        """Return whether it can hit a call of that name; over HTTP, names have a space: ``GET query``."""
        if self.do == ANSWER and isinstance(self.status, int) != (" " in call):
            return False
        return fnmatchcase(call, self.call) and (self.do != FAIL or call == SUBMISSION)

    async def wait(self, seconds: float | None = None) -> None:
        """Return after so many seconds, or as soon as it is lifted."""
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self.lifted.wait(), seconds)

    def _check_answer(self) -> None:
        if self.status not in (HTTP_STATUSES if _is_whole(self.status) else list(GRPC_STATUSES)):
            raise FaultError("status", self.status, f"one of {', '.join(GRPC_STATUSES)}, or a number from 200 to 599")
        if not isinstance(self.message, str | None):
            raise FaultError("message", self.message, "a text")
        if self.body is not None and not _is_whole(self.status):
            raise FaultError("body", self.body, f"left out: gRPC has none, and {self.status} is one of its statuses")

    def _check_failure(self) -> None:
        if not fnmatchcase(SUBMISSION, self.call):
            raise FaultError("call", self.call, f"{SUBMISSION} or a pattern of it: nothing else can fail")
        errors = self.errors
        if not (isinstance(errors, list | tuple) and all(isinstance(error, str) for error in errors)):
            raise FaultError("errors", errors, "a list of texts, TypeName: message each")
        object.__setattr__(self, "errors", tuple(errors))


class Faults:
    """What goes wrong on one server."""

    def __init__(self) -> None:
        self._faults: dict[int, Fault] = {}
        self._fitted: dict[int, int] = {}

    def __iter__(self) -> Iterator[Fault]:
        return iter(self._faults.values())

    def add(self, fault: Fault) -> int:
        """Let it go wrong from now on; return the id."""
        self._faults[fault.id] = fault
        self._fitted[fault.id] = 0
        return fault.id

    def hit(self, call: str) -> Fault | None:
        """Return what goes wrong with a call of that name, and count it: the first fault that fits and is not spent.

        A call that passes because of ``skip`` is counted for that one fault alone.
        """
        for fault in self:
            if fault.fits(call) and (fault.times is None or self.hits(fault.id) < fault.times):
                self._fitted[fault.id] += 1
                return fault if self._fitted[fault.id] > fault.skip else None
        return None

    def hits(self, fault_id: int) -> int:
        """Return how many calls a fault has hit.

        :raises KeyError: if there is none of that id.
        """
        return max(0, self._fitted[fault_id] - self._faults[fault_id].skip)

    def lift(self, fault_id: int) -> None:
        """End a fault, and what it holds up.

        :raises KeyError: if there is none of that id.
        """
        self._faults.pop(fault_id).lifted.set()
        del self._fitted[fault_id]

    def clear(self) -> None:
        """Lift all."""
        for fault_id in [*self._faults]:
            self.lift(fault_id)

    def to_json(self) -> list[dict[str, Any]]:
        """Return all faults as JSON, with their ``hits``."""
        return [{**fault.to_json(), "hits": self.hits(fault.id)} for fault in self]


@dataclass
class Hit:
    """That the present call has hit a fault."""

    fault: Fault
    recorded: bool = False


present_hit: ContextVar[Hit | None] = ContextVar("present_hit", default=None)
"""Of the call that is answered: each is answered in a task, and so in a context, of its own."""


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_duration(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf
