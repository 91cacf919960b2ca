"""``ComputePlane``: a client of a cluster's scheduler, without polars and polars_cloud."""

from __future__ import annotations

import dataclasses
import functools
import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_polars import __version__
from airflow_provider_polars.clients.access import SCHEDULER_PORT, ClusterAccess, ssl_context, system_bundle
from airflow_provider_polars.clients.certificates import common_name, holds_now, names, peer_certificate, pem
from airflow_provider_polars.clients.deadlines import hang_up
from airflow_provider_polars.clients.sockets import Deadline
from airflow_provider_polars.exceptions import ClusterAccessError, ClusterUnreachableError, PolarsProviderError

if TYPE_CHECKING:
    from airflow_provider_polars.protocol import compute_plane_pb2 as wire

CALL_SECONDS = 10.0
CANCEL_SECONDS = 3.0
DONE = (3, 4, 5)
_USER_NAME_LENGTH = 64
_DETAILS_LENGTH = 400
_PAUSE_SECONDS = 0.5
_FIRST_POLL_SECONDS, _POLL_GROWTH, _LONGEST_POLL_SECONDS = 0.05, 1.5, 1.0
_CHANNEL_OPTIONS = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.primary_user_agent", f"airflow-provider-polars/{__version__}"),
)
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class ComputeVersions:
    """What a cluster says it runs."""

    compute_plane: str
    polars: str
    revision: str


class ComputePlane:
    """Calls of the scheduler of one cluster, each with a deadline. Usable from several threads.

    Each method but :meth:`cancel`, :meth:`delete` and :meth:`close` raises :class:`ClusterUnreachableError` if the
    cluster does not answer, and :class:`ClusterAccessError` if it refuses the caller or is no cluster. A process that
    has made calls must not fork and make calls in the child: gRPC may hang there.

    :param access: the cluster.
    :param client_version: version of the Polars Cloud client to pass for.
    :param polars_version: version of Polars on this side.
    """

    def __init__(self, access: ClusterAccess, *, client_version: str, polars_version: str) -> None:
        self.access = access
        self.metadata = (
            *access.headers.items(),
            ("x-client-version", client_version),
            ("x-polars-version", polars_version),
            *([("x-polars-user", access.user_name[:_USER_NAME_LENGTH])] if access.user_name else ()),
        )

    def versions(self, seconds: float = CALL_SECONDS) -> ComputeVersions:
        """Return the versions of the cluster; needs the right token."""
        return self.ask_versions(seconds)()

    def ask_versions(self, seconds: float = CALL_SECONDS) -> Callable[[], ComputeVersions]:
        """Begin :meth:`versions`; what is returned waits for the answer."""
        import grpc

        from airflow_provider_polars.protocol import compute_plane_pb2 as wire

        call = self._stub.GetComputeVersions.future(wire.Empty(), timeout=seconds, metadata=self.metadata)

        def wait() -> ComputeVersions:
            try:
                versions = call.result().versions
            except grpc.RpcError as error:
                ours = self.error_for(error)
                if isinstance(ours, LookupError):
                    ours = ClusterAccessError(f"What answers at {self.access.uri} is no Polars scheduler: {ours}")
                raise ours from error
            return ComputeVersions(
                versions.compute_plane_version, versions.polars_python_version, versions.polars_rust_revision
            )

        return wait

    def status(self, query_id: str, seconds: float = CALL_SECONDS) -> int | None:
        """Return the status of a query, None if the cluster does not know it.

        1 is scheduled, 2 and 6 in progress, 3 success, 4 failed, 5 canceled.
        """
        try:
            return int(self._call("GetQueryStatus", _query(query_id), seconds).status)
        except LookupError:
            return None

    def result(self, query_id: str, seconds: float = CALL_SECONDS) -> wire.GetQueryResultResponse | None:
        """Return the result of a query as soon as it has ended, None if it has not within ``seconds``.

        :raises LookupError: if the cluster does not know the query.
        """
        import grpc

        try:
            answer: wire.GetQueryResultResponse = self._call("GetQueryResult", _query(query_id), seconds)
        except ClusterUnreachableError as error:
            if isinstance(error.__cause__, grpc.Call) and error.__cause__.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                return None
            raise
        return answer

    def wait(
        self, query_ids: Sequence[str], seconds: float, *, long_poll: bool = True
    ) -> dict[str, wire.GetQueryResultResponse]:
        """Wait until all queries have ended or are not known, or for ``seconds``. Signals interrupt it.

        It raises no :class:`ClusterUnreachableError`: a scheduler that is away is asked again after a pause.

        :param long_poll: let the scheduler hold the call until a query ends, as clients from 0.11 on do; False asks
            again and again, as older ones do.
        :return: the results that came with the waiting, by query; those of others are to be asked for.
        """
        deadline = time.monotonic() + seconds
        if long_poll:
            return self._wait_for_results(set(query_ids), deadline)
        self._poll(list(query_ids), deadline)
        return {}

    def cancel(self, query_id: str) -> None:
        """Ask for the end of a query. What becomes of it, its status tells."""
        self._try("CancelQuery", query_id)

    def delete(self, query_id: str) -> None:
        """Ask for the removal of a result that has no place of its own."""
        self._try("DeleteQueryResult", query_id)

    def close(self) -> None:
        """Hang up."""
        if "_channel" in self.__dict__:
            hang_up(self._channel)

    def open_channel(self, module: Any, *more: tuple[str, Any]) -> Any:
        """Return a new channel to the cluster, of ``grpc`` or of ``grpc.aio``.

        :param more: options of gRPC.
        """
        import grpc

        target = self.access.uri.partition("://")[2]
        options = [*_CHANNEL_OPTIONS, *more]
        if self.access.domain_name:
            options.append(("grpc.default_authority", self.access.domain_name))
        if not self.access.is_tls:
            return module.insecure_channel(target, options)
        roots, name = self.trust
        if name:
            options.append(("grpc.ssl_target_name_override", name))
        return module.secure_channel(target, grpc.ssl_channel_credentials(roots), options)

    @functools.cached_property
    def trust(self) -> tuple[bytes | None, str | None]:
        """The certificates to trust, and the name to look for in the cluster's if it is not its host. It may block.

        :raises ClusterUnreachableError: if the cluster is to be trusted as it is, and does not answer.
        """
        return self._trust() if self.access.is_tls else (None, None)

    @functools.cached_property
    def _channel(self) -> Any:
        import grpc

        return self.open_channel(grpc)

    def _trust(self) -> tuple[bytes | None, str | None]:
        if self.access.insecure:
            return self._trust_what_is_shown()
        if self.access.ca_cert is not None:
            ssl_context(self.access)  # says what is wrong with it; gRPC would not
            return self.access.ca_cert.encode(), self.access.domain_name
        bundle = system_bundle()
        return Path(bundle).read_bytes() if bundle else None, self.access.domain_name

    def _trust_what_is_shown(self) -> tuple[bytes, str | None]:
        """Trust the certificate that the cluster shows now, and no other: gRPC cannot do without verification."""
        certificate = peer_certificate(self.access, Deadline(CANCEL_SECONDS))
        if not holds_now(certificate):
            raise ClusterAccessError(
                f"The certificate of {self.access.uri} does not hold today, which insecure does not help against. Have "
                "it renewed, or check the clock here."
            )
        return pem(certificate), next(iter(names(certificate)), common_name(certificate))

    @functools.cached_property
    def _stub(self) -> Any:
        from airflow_provider_polars.protocol.compute_plane_pb2_grpc import ClientServiceStub

        return ClientServiceStub(self._channel)

    def _call(self, method: str, request: Any, seconds: float = CALL_SECONDS) -> Any:
        import grpc

        try:
            return getattr(self._stub, method)(request, timeout=seconds, metadata=self.metadata)
        except grpc.RpcError as error:
            raise self.error_for(error) from error

    def _try(self, method: str, query_id: str) -> None:
        try:
            self._call(method, _query(query_id), CANCEL_SECONDS)
        except (PolarsProviderError, LookupError, ValueError) as error:
            _log.debug("%s of %s: %s", method, query_id, error)

    def _wait_for_results(self, waiting: set[str], deadline: float) -> dict[str, wire.GetQueryResultResponse]:
        results: dict[str, wire.GetQueryResultResponse] = {}
        while waiting and (left := deadline - time.monotonic()) > 0:
            try:
                ended = self._ended(waiting, left)
                waiting -= ended.keys()
                results |= {query_id: result for query_id, result in ended.items() if result is not None}
            except ClusterUnreachableError as error:
                _log.debug("%s", error)
            if waiting:
                time.sleep(max(min(_PAUSE_SECONDS, deadline - time.monotonic()), 0))
        return results

    def _ended(self, query_ids: set[str], seconds: float) -> dict[str, wire.GetQueryResultResponse | None]:
        """Ask for all results at once; return those there are after ``seconds``, None for a query that is not known."""
        import grpc

        ask = self._stub.GetQueryResult.future
        calls = {name: ask(_query(name), timeout=seconds, metadata=self.metadata) for name in query_ids}
        try:
            _wait_for_all(calls.values(), seconds)
        finally:
            for call in calls.values():
                call.cancel()
        ended: dict[str, wire.GetQueryResultResponse | None] = {}
        for query_id, call in calls.items():
            if call.code() is grpc.StatusCode.OK:
                if call.result().query_status in DONE:
                    ended[query_id] = call.result()
                continue
            error = self.error_for(call)
            if isinstance(error, LookupError):
                ended[query_id] = None
            elif not isinstance(error, ClusterUnreachableError):
                raise error
        return ended

    def _poll(self, waiting: list[str], deadline: float) -> None:
        pause = _FIRST_POLL_SECONDS
        while (left := deadline - time.monotonic()) > 0:
            try:
                while waiting and self.status(waiting[0], min(CALL_SECONDS, left)) in (None, *DONE):
                    waiting.pop(0)
            except ClusterUnreachableError as error:
                _log.debug("%s", error)
            if not waiting:
                return
            time.sleep(max(min(pause, deadline - time.monotonic()), 0))
            pause = min(pause * _POLL_GROWTH, _LONGEST_POLL_SECONDS)

    def error_for(self, error: Any) -> Exception:
        """Return our error for one of gRPC, :class:`LookupError` for a query that is not known."""
        import grpc

        code, place = error.code(), self.access.uri
        reason = (error.details() or "no reason given").strip(". ")[:_DETAILS_LENGTH]
        if code is grpc.StatusCode.NOT_FOUND:
            return LookupError(reason)
        if code is grpc.StatusCode.UNAUTHENTICATED:
            if "authorization" in self.access.headers:
                return ClusterAccessError(
                    f"{place} refuses the token: {reason}. Correct the password of the connection of the cluster."
                )
            return ClusterAccessError(
                f"{place} asks for a token: {reason}. Write it into the password of a connection of type "
                "polars_cluster, and name that with conn_id=."
            )
        if code is grpc.StatusCode.PERMISSION_DENIED:
            user = f"the user {self.access.user_name!r}" if self.access.user_name else "a caller without a user name"
            return ClusterAccessError(
                f"{place} refuses {user}: {reason}. Set user_name= of the compute, or the login of the connection, to "
                "a user who may."
            )
        if code is grpc.StatusCode.UNIMPLEMENTED:
            return ClusterAccessError(
                f"What answers at {place} is no Polars scheduler: {reason}. Check the port; a scheduler's default is "
                f"{SCHEDULER_PORT}."
            )
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return ClusterUnreachableError(
                f"{place} did not answer in time ({reason}). See whether the cluster is well."
            )
        if code is grpc.StatusCode.UNAVAILABLE:
            return ClusterUnreachableError(f"{place} cannot be reached now: {reason}. See whether the cluster runs.")
        return ClusterUnreachableError(f"The call to {place} failed with {code.name}: {reason}.")


def _query(query_id: str) -> wire.QueryRequest:
    from airflow_provider_polars.protocol import compute_plane_pb2 as wire

    return wire.QueryRequest(query_id=wire.QueryId(query_id=query_id))


def _wait_for_all(calls: Collection[Any], seconds: float) -> None:
    """Return when all calls have ended, or after ``seconds``."""
    ended = threading.Semaphore(0)
    deadline = Deadline(seconds)
    for call in calls:
        call.add_done_callback(lambda _: ended.release())
    for _ in calls:
        if not ended.acquire(timeout=deadline.left):
            return
