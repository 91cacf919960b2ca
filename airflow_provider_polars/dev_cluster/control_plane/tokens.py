"""Access tokens: JSON Web Tokens that this control plane signs, and that it alone can check."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import time
from typing import Any

SCHEME = "Bearer "


class TokenRefusedError(Exception):
    """A token that does not let its bearer in; the text says why."""


class Tokens:
    """Issues, checks and withdraws tokens.

    :param seconds: for which a token is good.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._key = secrets.token_bytes(32)
        self._issued: dict[str, tuple[str, float]] = {}
        """To which account, and when they expire; the oldest first."""

        self._withdrawn: dict[str, str] = {}
        """Why."""

    def issue(self, account_id: str) -> str:
        """Return a token for an account."""
        now = time.time()
        claims = {"sub": account_id, "iat": int(now), "exp": int(now + self.seconds), "jti": secrets.token_hex(8)}
        # The client refuses a payload with - or _, which stand for nothing but > ? ~ and DEL in JSON of ASCII.
        head = f"{_encode({'alg': 'HS256', 'typ': 'JWT'})}.{_encode(claims)}"
        self._forget_expired(now)
        self._issued[str(claims["jti"])] = account_id, now + self.seconds
        return f"{head}.{self._signature(head)}"

    def withdraw(self, reason: str, account_id: str | None = None) -> int:
        """Make the tokens of an account, or all, worthless, and return how many: ``expired`` or ``revoked``."""
        owned = {token for token, (owner, _) in self._issued.items() if account_id in (None, owner)}
        hit = owned - self._withdrawn.keys()
        self._withdrawn |= dict.fromkeys(hit, reason)
        return len(hit)

    def reinstate(self) -> None:
        """Have the tokens that were withdrawn be good again."""
        self._withdrawn.clear()

    def bearer(self, header: str | None) -> str:
        """Return the id of the account that an ``authorization`` header stands for.

        :raises TokenRefusedError: if it stands for none.
        """
        if not (header or "").startswith(SCHEME):
            raise TokenRefusedError("no bearer token was sent")
        head, _, signature = str(header).removeprefix(SCHEME).rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(head).encode()):
            raise TokenRefusedError("the token was not issued here")
        claims: dict[str, Any] = json.loads(_decode(head.partition(".")[2]))
        if claims["jti"] in self._withdrawn:
            raise TokenRefusedError(f"the token is {self._withdrawn[claims['jti']]}")
        if claims["exp"] <= time.time():
            raise TokenRefusedError("the token is expired")
        return str(claims["sub"])

    def admits(self, header: str | None, account_ids: set[str]) -> bool:
        """Return whether an ``authorization`` header stands for one of these accounts."""
        try:
            return self.bearer(header) in account_ids
        except TokenRefusedError:
            return False

    def _forget_expired(self, now: float) -> None:
        while self._issued and next(iter(self._issued.values()))[1] <= now:
            token = next(iter(self._issued))
            del self._issued[token]
            self._withdrawn.pop(token, None)

    def _signature(self, head: str) -> str:
        return _base64(hmac.new(self._key, head.encode(), hashlib.sha256).digest())


def _encode(value: dict[str, Any]) -> str:
    return _base64(json.dumps(value, separators=(",", ":")).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
