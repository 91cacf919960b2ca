"""Results that go to the client: the Arrow Flight calls of ``collect()`` (``protocol/flight.proto``)."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any, BinaryIO

import grpc

from airflow_provider_polars.dev_cluster.errors import abort_with
from airflow_provider_polars.dev_cluster.queries import SUCCESS, Query
from airflow_provider_polars.dev_cluster.recorder import Recorder
from airflow_provider_polars.dev_cluster.scheduler import Scheduler
from airflow_provider_polars.dev_cluster.worker import arrow
from airflow_provider_polars.dev_cluster.worker.frames import ROWS_FILE
from airflow_provider_polars.protocol import flight_pb2 as flight
from airflow_provider_polars.protocol.flight_pb2_grpc import FlightServiceServicer


class FlightService(FlightServiceServicer):
    """Hands out the rows of queries that wrote them for the client."""

    def __init__(self, scheduler: Scheduler, recorder: Recorder) -> None:
        self._scheduler = scheduler
        self._recorder = recorder

    async def PollFlightInfo(self, request: flight.FlightDescriptor, context: Any) -> flight.PollInfo:
        """Say where the rows are as soon as the query has ended: to "not yet" the client asks again without a pause."""
        query = await self._query("PollFlightInfo", "".join(request.path[:1]), context)
        with await self._rows_of(query, context) as stream:
            metadata, _ = await asyncio.to_thread(next, arrow.messages(stream))
        endpoint = flight.FlightEndpoint(ticket=flight.Ticket(ticket=query.id.encode()))
        return flight.PollInfo(
            info=flight.FlightInfo(
                schema=arrow.encapsulated(metadata),
                flight_descriptor=request,
                endpoint=[endpoint],
                total_records=-1 if query.output is None or query.output.rows is None else query.output.rows,
                total_bytes=-1,
                ordered=True,
            ),
            progress=1.0,
        )

    async def DoGet(self, request: flight.Ticket, context: Any) -> AsyncIterator[flight.FlightData]:
        """Send the rows."""
        query = await self._query("DoGet", request.ticket.decode(errors="replace"), context)
        with await self._rows_of(query, context) as stream:
            messages = arrow.messages(stream)
            while (message := await asyncio.to_thread(next, messages, None)) is not None:
                yield flight.FlightData(data_header=message[0], data_body=message[1])

    async def _query(self, call: str, given: str, context: Any) -> Query:
        self._recorder.add(call, context.invocation_metadata(), query_id=given[:36])
        try:
            query = self._scheduler.queries.get(str(uuid.UUID(given)))
        except ValueError:
            query = None
        if query is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"no query {given[:80]!r}")
        assert query is not None
        return query

    async def _rows_of(self, query: Query, context: Any) -> BinaryIO:
        """Return the file with the rows of a query, once it has ended."""
        await query.ended.wait()
        if query.state != SUCCESS:
            error = query.errors.get("scheduler", "RuntimeError: the query was canceled")
            await abort_with(context, error)
        try:
            return await asyncio.to_thread((self._scheduler.results / query.id / ROWS_FILE).open, "rb")
        except FileNotFoundError:
            await context.abort(
                grpc.StatusCode.NOT_FOUND,
                f"query {query.id} has no rows for the client: it wrote them elsewhere, or they are deleted",
            )
            raise
