"""Local writes that are all or nothing: staged beside the target, then put into place in one step.

A file is replaced by ``rename``. A directory is exchanged with its predecessor by
``renameat2(RENAME_EXCHANGE)``; on a file system that has none, the new files are moved in beside the old
ones and a manifest, written last, decides which of them count.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import shutil
import time
import uuid
from pathlib import Path

from airflow_provider_polars.exceptions import SinkWriteError

MANIFEST = "_manifest.json"
_DISCARD_ATTEMPTS = 10
_NO_EXCHANGE = {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP}


class Staging:
    """The place of one write until it is known to be good.

    :param target: absolute path of the file or directory.
    :param directory: whether the target is a directory.
    :param extension: that of the data files; a directory that holds anything else is never replaced.
    :param mark: identifies run, task and output over all tries; what an earlier try left is removed.
    :raises SinkWriteError: if the target's folder cannot be written.
    """

    def __init__(self, target: str, *, directory: bool, extension: str, mark: str) -> None:
        self.target = Path(os.path.normpath(target))
        self.directory = directory
        self.extension = extension
        name = self.target.name.encode()[:150].decode(errors="ignore")
        prefix = f".{name}.{mark}."
        try:
            self.target.parent.mkdir(parents=True, exist_ok=True)
            self._check_target()
            for leftover in self.target.parent.glob(f"{_escaped(prefix)}*"):
                shutil.rmtree(leftover, ignore_errors=True)
            self.folder = self.target.parent / f"{prefix}{uuid.uuid4().hex[:8]}.staging"
            self.folder.mkdir(mode=0o700)
        except OSError as error:
            raise write_error(error, str(self.target)) from error

    @property
    def path(self) -> str:
        """Where the query writes instead of the target: a path of the same name."""
        return str(self.folder / self.target.name)

    def commit(self) -> list[str]:
        """Put what was written into the place of the target; return its files.

        :raises SinkWriteError: if that fails; the earlier content is then still there.
        """
        try:
            if not self.directory:
                os.replace(self.path, self.target)
                return [str(self.target)]
            written = [str(self.target / file.relative_to(self.path)) for file in _files(Path(self.path))]
            if not self.target.exists():
                os.rename(self.path, self.target)
                return sorted(written)
            self._check_target()
            return sorted(self._replace_directory(written))
        except OSError as error:
            raise write_error(error, str(self.target)) from error
        finally:
            self.discard()

    def discard(self) -> None:
        """Remove what was staged. Polars may create a file a moment after a query has failed."""
        for _ in range(_DISCARD_ATTEMPTS):
            shutil.rmtree(self.folder, ignore_errors=True)
            if not self.folder.exists():
                return
            time.sleep(0.01)

    def _check_target(self) -> None:
        if self.target.is_dir() != self.directory and self.target.exists():
            kind = "directory" if self.target.is_dir() else "file"
            wanted = "directory (a trailing slash, partition_by or max_rows_per_file)" if self.directory else "file"
            raise SinkWriteError(
                f"{self.target} is a {kind} already and the sink writes a {wanted}. Choose another path."
            )
        if not self.directory or not self.target.exists():
            return
        for folder, _, names in os.walk(self.target):
            for name in names:
                if not name.endswith(f".{self.extension}") and not name.startswith((".", "_")):
                    raise SinkWriteError(
                        f"{self.target} holds {os.path.join(folder, name)!r}, which is no .{self.extension} file. "
                        "A directory is replaced as a whole: give the sink one of its own."
                    )

    def _replace_directory(self, written: list[str]) -> list[str]:
        try:
            _exchange(self.path, str(self.target))
            return written
        except OSError as error:
            if error.errno not in _NO_EXCHANGE:
                raise
            return self._move_in_with_manifest()

    def _move_in_with_manifest(self) -> list[str]:
        earlier = _files(self.target)
        if not (self.target / MANIFEST).exists():
            self._write_manifest([file for file in earlier if not file.name.startswith((".", "_"))])
        unique = uuid.uuid4().hex[:8]
        moved = []
        for file in _files(Path(self.path)):
            place = self.target / file.relative_to(self.path)
            place = place.with_name(f"{place.stem}-{unique}{place.suffix}")
            place.parent.mkdir(parents=True, exist_ok=True)
            os.rename(file, place)
            moved.append(place)
        self._write_manifest(moved)
        for file in earlier:
            with contextlib.suppress(FileNotFoundError):
                file.unlink()
        return [str(file) for file in moved]

    def _write_manifest(self, files: list[Path]) -> None:
        manifest = self.folder / MANIFEST
        names = sorted(str(file.relative_to(self.target)) for file in files)
        manifest.write_text(json.dumps({"files": names}))
        os.replace(manifest, self.target / MANIFEST)


def write_error(error: OSError, target: str) -> SinkWriteError:
    """Return the error that tells people why ``target`` cannot be written."""
    advice = {
        errno.ENOSPC: "The disk is full: free space or choose another place",
        errno.EDQUOT: "The disk quota is used up: free space or choose another place",
        errno.EACCES: f"Give the user {_user()} of the worker write permission, or choose another place",
        errno.EPERM: f"Give the user {_user()} of the worker write permission, or choose another place",
        errno.EROFS: "The file system is read-only: choose another place",
    }.get(error.errno or 0, "Check the path and the disk")
    return SinkWriteError(f"Cannot write {target}: {error.strerror or error}. {advice}. Earlier results are untouched.")


def _user() -> str:
    return str(os.geteuid())


def _files(directory: Path) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file() and path.name != MANIFEST]


def _escaped(text: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in text)


def _exchange(first: str, second: str) -> None:
    """Swap two paths in one step (renameat2(2), Linux 3.15).

    :raises OSError: with EINVAL, ENOSYS or ENOTSUP where the system or the file system has no exchange.
    """
    current_directory, exchange_flag = -100, 2
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        raise OSError(errno.ENOSYS, "renameat2 is not available") from None
    if rename(current_directory, first.encode(), current_directory, second.encode(), exchange_flag) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), second)
