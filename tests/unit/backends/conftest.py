"""File systems and interpreters as users have them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Snapshot = dict[str, bytes]


@pytest.fixture
def tree() -> Callable[[Path], Snapshot]:
    """Return ``tree(folder)``: the bytes of every file below a folder, hidden ones too, by relative path."""

    def snapshot(folder: Path) -> Snapshot:
        return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}

    return snapshot


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Return ``mounted(*mount_arguments)``, which mounts a file system of its own and returns its folder."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a file system")
    folders: list[Path] = []

    def mount(*arguments: str) -> Path:
        folder = tmp_path / f"mount{len(folders)}"
        folder.mkdir()
        done = subprocess.run(["mount", *arguments, str(folder)], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"this machine mounts nothing, not even for root: {done.stderr.strip()}")
        folders.append(folder)
        return folder

    yield mount
    for folder in reversed(folders):
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def small_disk(mounted: Callable[..., Path]) -> Path:
    """Mount a disk of 2 MB."""
    return mounted("-t", "tmpfs", "-o", "size=2m", "tmpfs")


def link_environment(folder: Path, *, with_packages: bool) -> str:
    """Return the interpreter of a virtual environment that shares this one's packages, or has none at all."""
    (folder / "bin").mkdir(parents=True)
    base = Path(os.path.realpath(sys.executable))
    (folder / "bin" / "python").symlink_to(base)
    (folder / "pyvenv.cfg").write_text(f"home = {base.parent}\ninclude-system-site-packages = false\n")
    packages = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    packages.parent.mkdir(parents=True)
    if with_packages:
        import polars

        packages.symlink_to(Path(polars.__file__).parent.parent)
    else:
        packages.mkdir()
    return str(folder / "bin" / "python")


@pytest.fixture
def other_python(tmp_path: Path) -> str:
    """Return the interpreter of another environment, in which Polars is installed."""
    return link_environment(tmp_path / "other", with_packages=True)


@pytest.fixture
def bare_python(tmp_path: Path) -> str:
    """Return the interpreter of an environment in which nothing is installed."""
    return link_environment(tmp_path / "bare", with_packages=False)
