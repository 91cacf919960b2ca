"""Signed-in HTTP client of an Airflow API server."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import httpx

PAGE = 100
ATTEMPTS = 5
"""At a request that finds the database locked, which was not done then: on a busy machine SQLite's wait may be over."""


class RestError(RuntimeError):
    """An answer with an error status; ``status`` is the number, the text holds the body."""

    def __init__(self, response: httpx.Response) -> None:
        """Keep what ``response`` says."""
        self.status = response.status_code
        super().__init__(f"{response.request.method} {response.request.url}: {self.status} {response.text}")


class RestClient:
    """One signed-in user of the API at ``base_url``; signs in on the first request.

    ``diagnose`` returns text, such as ends of logs, that is added to the message of a time-out.
    """

    def __init__(
        self,
        base_url: str,
        *,
        username: str = "admin",
        password: str = "admin",
        diagnose: Callable[[], str] = lambda: "",
    ) -> None:
        """Take the address without a slash at the end, and the credentials."""
        self._credentials = {"username": username, "password": password}
        self.diagnose = diagnose
        self._client = httpx.Client(base_url=base_url, timeout=30, trust_env=False)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """Send one request, ``path`` with its leading slash, and return the decoded answer (``None`` if empty).

        Raises :class:`RestError` for statuses from 400 on.
        """
        if "Authorization" not in self._client.headers:
            answer = self._client.post("/auth/token", json=self._credentials)
            if answer.is_error:
                raise RestError(answer)
            self._client.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        for _ in range(ATTEMPTS):
            response = self._client.request(method, path, params=params, json=body, headers=headers)
            if response.status_code != 500 or "Database error" not in response.text:
                break
        if response.is_error:
            raise RestError(response)
        return response.json() if response.content else None

    def get(self, path: str, **params: Any) -> Any:
        """Return the answer to ``GET /api/v2`` + ``path``."""
        return self.request("GET", f"/api/v2{path}", params=params)

    def get_all(self, path: str, collection: str, **params: Any) -> list[Any]:
        """Return all items of a paged answer, where ``collection`` is the key of the list."""
        items: list[Any] = []
        while True:
            page = self.get(path, limit=PAGE, offset=len(items), **params)
            items += page[collection]
            if not page[collection] or len(items) >= page["total_entries"]:
                return items
