"""Errors as clients decode them."""

from __future__ import annotations

from typing import Any

import grpc

DETAILS = "grpc-status-details-bin"
"""Trailer in which the client looks for ``TypeName: message``."""

MESSAGE_BYTES = 3000  # clients take 16 KiB of headers, and gRPC writes each byte of this one up to three times


async def abort_with(context: Any, error: str) -> None:
    """Refuse a call so that the client raises the class that ``error``, ``TypeName: message``, names.

    SubmitQuery alone makes that class of it; other calls raise EncodedPolarsError with the text.
    """
    text = error.encode()[:MESSAGE_BYTES].decode(errors="ignore")
    await context.abort(grpc.StatusCode.INVALID_ARGUMENT, text, trailing_metadata=((DETAILS, text.encode()),))
