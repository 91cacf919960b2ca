"""Asks and tells ``/_dev`` of a development cluster; with the standard library alone."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any

SECONDS = 10.0


class DevApiError(Exception):
    """An answer that is no success, or none of ``/_dev``; its text is the reason."""


@dataclass(frozen=True)
class DevClient:
    """Sends requests to one address.

    :raises DevApiError: from its methods, for answers that say no, or are no JSON.
    :raises OSError: from its methods, if nothing answers; :class:`urllib.error.URLError` where it cannot connect.
    :raises http.client.HTTPException: from its methods, if what answers does not speak HTTP/1.
    :raises ValueError: from its methods, for an address or a header that no request can have.
    """

    base: str
    """``http://127.0.0.1:3001``: what comes before ``/_dev``."""

    headers: dict[str, str] = field(default_factory=dict, repr=False)
    authority: bytes | None = field(default=None, repr=False)
    """Certificate (PEM) to trust, with TLS."""

    def get(self, path: str) -> Any:
        """Return what a path answers."""
        return self.ask("GET", path)

    def post(self, path: str, body: dict[str, Any], *, seconds: float = SECONDS) -> Any:
        """Tell it something and return its answer."""
        return self.ask("POST", path, body, seconds=seconds)

    def delete(self, path: str) -> None:
        """Remove what is at a path."""
        self.ask("DELETE", path)

    def ask(self, method: str, path: str, body: Any = None, *, seconds: float = SECONDS) -> Any:
        """Send a request, and return the JSON that answers it, or None where there is none."""
        data = None if body is None else json.dumps(body).encode()
        headers = self.headers if data is None else {**self.headers, "content-type": "application/json"}
        request = urllib.request.Request(self.base + path, data, headers, method=method)
        trust = ssl.create_default_context(cadata=self.authority.decode()) if self.authority else None
        handlers = [urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust)]
        try:
            with urllib.request.build_opener(*handlers).open(request, timeout=seconds) as answer:
                content = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                raise DevApiError(_reason(error.read()) or str(error)) from error
        try:
            return json.loads(content) if content else None
        except ValueError:
            raise DevApiError(f"{self.base} answers, but not with JSON: it is not the address of a /_dev") from None


def _reason(content: bytes) -> str | None:
    try:
        return str(json.loads(content)["error"])
    except (ValueError, LookupError, TypeError):
        return None
