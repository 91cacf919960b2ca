"""Locations: local paths and object-store URLs, told apart and checked without touching them."""

from __future__ import annotations

import os.path
import re
from urllib.parse import unquote, urlsplit

from airflow_provider_polars.exceptions import ConfigurationError, nearest
from airflow_provider_polars.spec import is_template

_SAME_STORE = {"s3a": "s3", "gcs": "gs", "azure": "az", "adl": "az", "abfs": "az", "abfss": "az"}
OBJECT_STORES = frozenset({"s3", "s3a", "gs", "gcs", "az", "azure", "adl", "abfs", "abfss"})
MAX_LOCATION_BYTES = 1024
_SCHEME = re.compile(r"^([a-zA-Z][a-zA-Z0-9+.-]*)://")
_URL = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://(?:(?![a-zA-Z][a-zA-Z0-9+.-]*://)[^\s\"<>])+")
_AROUND_URL = "'`)]},.;:"
"""Characters that end the sentence or the brackets that a URL stands in, rather than the URL."""

_UNUSABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


def local_path(location: str) -> str | None:
    """Return the local path that ``location`` (a path or a ``file://`` URL) names, or None for an object store."""
    match = _SCHEME.match(location)
    if match is None:
        return location
    return unquote(location[match.end() :]) if match[1].lower() == "file" else None


def is_usable(location: str) -> bool:
    """Return True if ``location`` is text that can be a name: not empty, no control character in it."""
    return bool(location) and not _UNUSABLE.search(unquote(location))


def check_location(location: str, where: str) -> None:
    """Refuse what cannot be a target: an empty, relative or over-long path, an unknown scheme.

    Templates are checked again once rendered.

    :raises ConfigurationError: naming ``where``.
    """
    if not location:
        raise ConfigurationError(f"{where} is empty; give an absolute path or an object-store URL.")
    if not is_template(location) and not is_usable(location):
        raise ConfigurationError(f"{where} has a control character in it, remove it: {location[:80]!r}.")
    size = len(location.encode(errors="replace"))
    if size > MAX_LOCATION_BYTES:
        raise ConfigurationError(
            f"{where} is {size} bytes long, the limit is {MAX_LOCATION_BYTES}: {location[:80]!r}..."
        )
    if location.lstrip().startswith(("{{", "{%", "{#")):
        return
    match = _SCHEME.match(location)
    if match and match[1].lower() not in {*OBJECT_STORES, "file"}:
        raise ConfigurationError(
            f"{where} has the scheme {match[1]!r}{nearest(match[1], OBJECT_STORES)} "
            f"Known: file, {', '.join(sorted(OBJECT_STORES))}."
        )
    path = local_path(location)
    if path is not None and not path.startswith("/"):
        raise ConfigurationError(
            f"{where} is the relative path {path!r}, which would depend on the working directory of the "
            "worker. Give an absolute path or an object-store URL."
        )


def canonical(location: str) -> str:
    """Return ``location`` in the one form that two names of the same place share."""
    path = local_path(location)
    if path is not None:
        return os.path.normpath(path)
    scheme, _, rest = location.partition("://")
    return f"{_SAME_STORE.get(scheme.lower(), scheme.lower())}://{rest.rstrip('/')}"


def is_under(location: str, prefixes: list[str]) -> bool:
    """Return True if ``location`` lies at or below one of ``prefixes``, ``..`` and links resolved."""
    path = local_path(location)
    if not is_usable(location):
        return False
    if path is None:
        if ".." in unquote(location).split("/"):
            return False
        return any(is_below(location.rstrip("/"), prefix.rstrip("/")) for prefix in prefixes)
    real = os.path.realpath(path)
    roots = (local_path(prefix) for prefix in prefixes if is_usable(prefix))
    return any(is_below(real, os.path.realpath(root)) for root in roots if root is not None)


def is_below(location: str, root: str) -> bool:
    """Return True if ``location`` is ``root`` or lies below it, both as they are written."""
    return location == root or location.startswith(root.rstrip("/") + "/")


def static_prefix(target: str, owner: str) -> str:
    """Return ``target`` as a URI, cut to the folder above its first template.

    :raises ConfigurationError: if nothing is left.
    """
    uri = target
    if is_template(target):
        uri = re.split(r"{{|{%|{#", target)[0]
        uri = uri[: uri.rfind("/") + 1]
    if not _SCHEME.match(uri) and uri.startswith("/"):
        uri = f"file://{uri}"
    if not _SCHEME.match(uri) or uri.endswith("://") or uri == "file:///":
        raise ConfigurationError(
            f"{owner}.asset() needs a target with a fixed beginning, got {target!r}. "
            "Name the bucket or folder outside the template."
        )
    return uri


def public_location(location: str) -> str:
    """Return ``location``, a ``file://`` URL as its path, without what may be a secret of it.

    That is a password, and of an address of the web its user and what follows its path, such as a signature.
    """
    path = local_path(location)
    if path is not None:
        return path
    parts = urlsplit(location)
    user, _, host = parts.netloc.rpartition("@")
    is_web = parts.scheme in ("http", "https")
    if is_web or ":" in user:
        location = location.replace(parts.netloc, host, 1)
    return re.split("[?#]", location, maxsplit=1)[0] if is_web else location


def public_text(text: str) -> str:
    """Return ``text`` with each URL in it as :func:`public_location` has it."""

    def shown(match: re.Match[str]) -> str:
        url = match[0].rstrip(_AROUND_URL)
        if local_path(url) is not None:
            return match[0]
        try:
            return public_location(url) + match[0][len(url) :]
        except ValueError:  # urlsplit: no URL after all
            return f"{url.partition('://')[0]}://..."

    return _URL.sub(shown, text)
