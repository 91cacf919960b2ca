"""What starts, looks at and stops computes of a kind that has to be started before its queries."""

from __future__ import annotations

import abc
import dataclasses
import enum
from collections.abc import Collection, Mapping, Sequence
from typing import Generic

from airflow_provider_polars.backends.base import C
from airflow_provider_polars.exceptions import (
    ControlPlaneRefusedError,
    ControlPlaneUnavailableError,
    CredentialsError,
    CredentialsUnavailableError,
    QuotaExceededError,
)
from airflow_provider_polars.marks import Owner

PASSING = (
    ControlPlaneUnavailableError,
    ControlPlaneRefusedError,
    CredentialsError,
    CredentialsUnavailableError,
    QuotaExceededError,
)
"""Errors that may have gone at the next look. Of a compute that costs it is asked again, also after a refusal."""


class ComputeState(str, enum.Enum):
    """State of a compute. ``GONE`` means that nobody knows it any more."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"
    GONE = "gone"

    @property
    def is_over(self) -> bool:
        """Whether it costs no more, and will not come back."""
        return self in (ComputeState.STOPPED, ComputeState.FAILED, ComputeState.GONE)

    def may_become_ready(self, *, adopted: bool) -> bool:
        """Whether a start is to be waited for. What was not adopted but started may not be known yet."""
        return self is ComputeState.STARTING or (self is ComputeState.GONE and not adopted)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComputeStatus:
    """What is known of a compute now.

    :param compute_id: the id its service knows it by.
    :param words: the state in the words of its service.
    :param reason: why it ended, as words.
    :param requested: when it was asked for, in epoch seconds.
    :param ended: when it ended, in epoch seconds.
    :param vcpus: of all nodes together, None where nobody says.
    :param name: that its service shows.
    """

    compute_id: str
    state: ComputeState
    words: str
    reason: str = ""
    requested: float | None = None
    ended: float | None = None
    vcpus: int | None = None
    name: str | None = None

    def __str__(self) -> str:
        return f"{self.words} ({self.reason})" if self.reason else self.words


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found(Generic[C]):
    """A compute that was found where this deployment starts its own.

    :param owner: whom it was started for; None if that is not known, or it is not of this deployment.
    :param max_lifetime: hours after which it is to be stopped whatever runs; None where it does not say.
    :param handle: to look at it and to stop it; None for one that is not ours.
    """

    status: ComputeStatus
    owner: Owner | None = None
    max_lifetime: float | None = None
    handle: C | None = None


class ComputeManager(abc.ABC, Generic[C]):
    """Starts and stops computes of one kind.

    A *handle* is the compute that a start returns: the one that was asked for, with what it takes to find it again.
    What a start makes carries the mark of its :class:`Owner`, and nothing else is ever adopted or stopped. Every
    method raises only errors of :mod:`airflow_provider_polars.exceptions`.

    :param compute: what to start, or the handle of one that was started.
    """

    def __init__(self, compute: C) -> None:
        self.compute = compute

    @abc.abstractmethod
    def check(self) -> None:
        """Refuse what could not be started from here, before anything is called.

        :raises RefusedOptionError: for a parameter that the installed client does not know.
        """

    @abc.abstractmethod
    def find(self, owner: Owner) -> C | None:
        """Return the handle of the compute of ``owner`` that lives, None if there is none."""

    @abc.abstractmethod
    def start(self, owner: Owner) -> C:
        """Return the handle of the one compute of ``owner`` that lives, started if there is none; do not wait for it.

        It may be called again after any end of an earlier call, a lost answer or a killed process included.

        :raises ConfigurationError: if it cannot be started as it is asked for.
        :raises ControlPlaneUnavailableError: if its service does not answer; what became of the request is not known.
        """

    def may_come(self, owner: Owner) -> bool:
        """Return whether a start of ``owner`` that raised, and has no compute yet, may still make one."""
        return False

    def ready(self, handle: C, at: float) -> C:
        """Return the handle of a compute that is ready since ``at`` (epoch seconds)."""
        return handle

    def is_ours(self, handle: C) -> bool:
        """Return whether a compute was started by us, and is ours to stop.

        :raises ConfigurationError: if another deployment has started it.
        """
        return True

    @abc.abstractmethod
    def status(self, handle: C) -> ComputeStatus:
        """Return the state of a compute."""

    def statuses(self, handles: Collection[C]) -> Mapping[C, ComputeStatus]:
        """Return the states of computes of one place, with fewer requests than one for each where that is possible."""
        return {handle: self.status(handle) for handle in handles}

    @abc.abstractmethod
    def stop(self, handle: C) -> None:
        """Ask for the end of all that carries the mark of ``handle``; what has ended, or has no mark, is left alone."""

    @abc.abstractmethod
    def forget(self, handle: C) -> None:
        """Remove what is left of a compute that has ended."""

    @abc.abstractmethod
    def give_up(self, owner: Owner, handle: C | None = None) -> None:
        """Have a start that is under way end soon, and ask for the end of what it may have started.

        For signal handlers: it takes 3 seconds at most, uses no connection of before, and raises nothing.

        :param handle: what it has started, if that is known.
        """

    @abc.abstractmethod
    def found(self) -> Sequence[Found[C]]:
        """Return all computes of the place that have not ended, whoever has started them."""

    def link(self, handle: C) -> str:
        """Return where people can look at a compute, "" for nowhere."""
        return ""

    def close(self) -> None:
        """Release what this process holds."""
