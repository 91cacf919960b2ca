"""Serves a web application on a socket, in an event loop that others use too."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import uvicorn

KEEP_ALIVE_SECONDS = 120
"""For which an idle connection stays open: longer than clients use one again (90 s), or their next call could meet its
end and fail."""


@contextlib.asynccontextmanager
async def serving(app: Any, listening: socket.socket, files: tuple[Path, Path] | None = None) -> AsyncIterator[None]:
    """Answer requests until the block ends.

    :param app: by ASGI.
    :param files: of a certificate and its key, for TLS.
    """
    certificate, key = files or (None, None)
    server = _Server(
        uvicorn.Config(
            app,
            http="h11",  # which limits what a caller can send before an application sees it
            ws="none",
            log_level="warning",
            access_log=False,
            lifespan="off",
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            ssl_certfile=certificate,
            ssl_keyfile=key,
        )
    )
    task = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        yield
    finally:
        server.should_exit = server.force_exit = True
        await task


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals of the process alone."""
        yield
