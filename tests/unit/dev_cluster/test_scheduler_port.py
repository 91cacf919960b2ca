"""Sockets of the servers of a development cluster."""

from __future__ import annotations

import asyncio
import socket

import pytest

from airflow_provider_polars.dev_cluster.scheduler_port import PortInUseError, bind, listen


def test_answers_of_two_writes_are_not_held_back_for_an_acknowledgement() -> None:
    async def no_delay() -> int:
        option: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            accepted = writer.get_extra_info("socket")
            option.set_result(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        listening = listen("127.0.0.1", 0)
        async with await asyncio.start_server(connected, sock=listening):
            _, writer = await asyncio.open_connection(*listening.getsockname())
            writer.close()
            return await option

    assert asyncio.run(no_delay()) != 0


def test_a_port_that_is_held_refuses_connections_and_is_free_for_its_holder_alone() -> None:
    with bind("127.0.0.1", 0) as held, socket.socket() as caller:
        port = held.getsockname()[1]
        assert caller.connect_ex(("127.0.0.1", port)) != 0

        with listen("127.0.0.1", port), pytest.raises(PortInUseError, match=rf"cannot listen on 127\.0\.0\.1:{port}"):
            listen("127.0.0.1", port)
