"""Answers of the REST interface: JSON, pages, errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

LONGEST_BODY = 1_000_000
LARGEST_PAGE = 1000
SHOWN = 80
"""Letters of what was sent that a message repeats at most."""

T = TypeVar("T")


class ApiError(Exception):
    """A request that is refused.

    :param status: of HTTP.
    :param errors: what is wrong with which field.
    """

    def __init__(self, status: int, message: str, errors: dict[str, list[str]] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.errors = errors or {}

    @property
    def body(self) -> dict[str, Any]:
        """The JSON that clients get."""
        return problem(str(self), self.errors)


def problem(message: str | None, errors: dict[str, list[str]] | None = None) -> dict[str, Any]:
    """Return the JSON of a refusal."""
    return {"message": message or "", "errors": errors or {}}


def answer(value: Any, status: int = 200) -> Response:
    """Return a value as JSON."""
    return Response(msgspec.json.encode(value), status, media_type="application/json")


async def body(request: Request, kind: type[T]) -> T:
    """Return the body of a request as a value of that type.

    :raises ApiError: 400 for what is no JSON, 413 for what is too long, 422 for what does not fit.
    """
    data = await content(request, LONGEST_BODY)
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as error:
        reason, _, place = str(error).rpartition(" - at `")
        field = place.rstrip("`").removeprefix("$.") if reason else "body"
        raise ApiError(422, "the request is not valid", {field[:SHOWN]: [(reason or place)[:SHOWN]]}) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ApiError(400, f"the body is no JSON: {error}") from None


async def content(request: Request, longest: int) -> bytes:
    """Return the bytes of a body.

    :raises ApiError: 413 for what is too long, 400 for what breaks off.
    """
    data = bytearray()
    try:
        async for part in request.stream():
            data += part
            if len(data) > longest:
                raise ApiError(413, f"a body has at most {longest} bytes")
    except ClientDisconnect:
        raise ApiError(400, "the body breaks off") from None
    return bytes(data)


def page(request: Request, items: Sequence[Any]) -> dict[str, Any]:
    """Return the page that a request asks for by ``page``, ``limit`` and ``offset``.

    :raises ApiError: 400 for what is no page.
    """
    number, limit, offset = (_count(request, name, default) for name, default in _PAGE.items())
    if not number or not 1 <= limit <= LARGEST_PAGE:
        raise ApiError(400, f"page= begins at 1, limit= is between 1 and {LARGEST_PAGE}")
    begin = offset + (number - 1) * limit
    shown = list(items[begin : begin + limit])
    pagination = {
        "page": number,
        "limit": limit,
        "amount": len(shown),
        "total_pages": -(-len(items) // limit),
        "total_count": len(items),
    }
    return {"pagination": pagination, "result": shown}


_PAGE = {"page": 1, "limit": LARGEST_PAGE, "offset": 0}


def _count(request: Request, name: str, default: int) -> int:
    given = request.query_params.get(name, str(default))
    if not (given.isascii() and given.isdecimal() and len(given) <= 9):
        raise ApiError(400, f"{name}= is a whole number, got {given[:40]!r}")
    return int(given)
