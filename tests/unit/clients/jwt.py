"""Access tokens as an identity service makes them, without a signature."""

from __future__ import annotations

import base64
import json
from typing import Any


def jwt(**claims: Any) -> str:
    """Return a token that says ``claims``."""
    return ".".join(_part(part) for part in ({"alg": "none"}, claims, {}))


def _part(content: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")
