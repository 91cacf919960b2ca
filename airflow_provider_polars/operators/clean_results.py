"""``PolarsCleanResultsOperator``: removes old results that no sink of an author's own holds."""

from __future__ import annotations

import contextlib
import datetime
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import ObjectStoragePath

from airflow_provider_polars.exceptions import ConfigurationError
from airflow_provider_polars.hooks import settings
from airflow_provider_polars.operators.arguments import check_names
from airflow_provider_polars.operators.base import FailFastOperator
from airflow_provider_polars.query.paths import is_below, is_under, local_path

if TYPE_CHECKING:
    from airflow.sdk import Context

PARTS_BELOW_ROOT = 4
"""A result lies at ``<dag>/<run>/<task>/<output>.parquet`` below ``[polars] results_path``."""


class PolarsCleanResultsOperator(FailFastOperator):
    """Remove results below ``[polars] results_path`` that are older than ``retention_days``.

    Only files with the place and name of a result are removed, and never one that a link leads outside to.

    :param retention_days: age in days; default ``[polars] results_retention_days``.
    :param dry_run: log and count what would be removed, and remove nothing; default False.
    :return: ``{"removed": files, "bytes": bytes, "kept": files, "dry_run": bool}``.
    """

    ui_color = "#e8f0fe"

    def __init__(self, *, retention_days: int | None = None, dry_run: bool = False, **kwargs: Any) -> None:
        check_names(type(self).__name__, kwargs, type(self))
        super().__init__(**kwargs)
        self.retention_days = retention_days
        self._only_count = dry_run

    def perform(self, context: Context) -> dict[str, Any]:
        """Remove what is old; see the class."""
        days = settings.results_retention_days() if self.retention_days is None else self.retention_days
        if days < 1:
            raise ConfigurationError(f"retention_days= must be at least 1, got {days}.")
        root = settings.results_path()
        oldest = datetime.datetime.now(tz=datetime.timezone.utc) - datetime.timedelta(days=days)
        local = local_path(root)
        store = ObjectStoragePath(root if local is None else f"file://{local}", conn_id=settings.results_conn_id())
        removed: list[str] = []
        kept, size = 0, 0
        for name, info in _results(_connected(store)).items():
            if _written(info) >= oldest or (local is not None and not is_under(name, [local])):
                kept += 1
                continue
            self.log.info("%s %s", "Would remove" if self._only_count else "Removing", name)
            removed.append(name)
            size += int(info.get("size") or 0)
            if not self._only_count:
                store.fs.rm_file(name)
        if local is not None and not self._only_count:
            _remove_empty_folders(os.path.realpath(local), removed, oldest)
        return {"removed": len(removed), "bytes": size, "kept": kept, "dry_run": self._only_count}


def _connected(store: ObjectStoragePath) -> ObjectStoragePath:
    """Return ``store`` once its file system has been found to be installed."""
    try:
        assert store.fs
    except ImportError as error:
        raise ConfigurationError(
            f"{store} cannot be listed here: {error}. Install the fsspec package of that object store on the workers "
            "(s3fs for s3://)."
        ) from error
    return store


def _results(store: ObjectStoragePath) -> dict[str, dict[str, Any]]:
    """Return the files that lie where results do, by name."""
    root = store.path.rstrip("/")
    if "/" not in root or os.path.realpath(root) == "/":
        raise ConfigurationError(f"[polars] results_path is {str(store)!r}, too short to clean safely: name a folder.")
    if not store.fs.exists(root):
        return {}
    found: dict[str, dict[str, Any]] = store.fs.find(root, detail=True)
    return {name: info for name, info in found.items() if _is_result(name[len(root) :].strip("/"))}


def _is_result(below_root: str) -> bool:
    parts = below_root.split("/")
    staged = len(parts) == PARTS_BELOW_ROOT + 1 and parts[-2].endswith(".staging")
    return (len(parts) == PARTS_BELOW_ROOT or staged) and parts[-1].endswith(".parquet")


def _written(info: dict[str, Any]) -> datetime.datetime:
    written = info.get("LastModified") or info.get("mtime") or info.get("updated") or info.get("last_modified")
    if isinstance(written, int | float):
        return datetime.datetime.fromtimestamp(written, tz=datetime.timezone.utc)
    if isinstance(written, str):
        return datetime.datetime.fromisoformat(written.replace("Z", "+00:00"))
    if isinstance(written, datetime.datetime):
        return written
    return datetime.datetime.now(tz=datetime.timezone.utc)


def _remove_empty_folders(root: str, removed: list[str], oldest: datetime.datetime) -> None:
    """Remove the folders that held what was removed, and what a killed try left; none that holds anything."""
    left = [path for path in Path(root).glob("*/*/*/.*.staging") if path.stat().st_mtime < oldest.timestamp()]
    for place in [*left, *(Path(name).parent for name in removed)]:
        folder = os.path.realpath(place)
        with contextlib.suppress(OSError):
            while folder != root and is_below(folder, root):
                os.rmdir(folder)
                folder = os.path.dirname(folder)
