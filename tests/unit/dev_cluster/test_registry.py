"""Which clusters of this user are known to run."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_polars.dev_cluster import registry
from airflow_provider_polars.dev_cluster.registry import Entry

DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path / f"polars-dev-clusters-{os.getuid()}"


@pytest.fixture
def process(request: pytest.FixtureRequest) -> Iterator[subprocess.Popen[str]]:
    code = getattr(request, "param", "print('ready', flush=True); import time; time.sleep(60)")
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        yield process
        process.kill()


def entry(pid: int, port: int = 5051, born: int | None = None) -> Entry:
    born = registry.started_at(pid) if born is None else born
    assert born is not None
    return Entry(pid, born, f"http://127.0.0.1:{port}", "http://127.0.0.1:3001", port, 2, "2.0.0")


def test_a_cluster_is_known_while_it_is_registered(place: Path) -> None:
    first, second = entry(os.getpid(), port=6000), entry(os.getpid(), port=5051)

    with registry.registered(first), registry.registered(second):
        assert registry.entries() == [second, first]
        assert place.stat().st_mode & 0o777 == 0o700
    assert registry.entries() == []
    assert list(place.iterdir()) == []


def test_a_cluster_whose_process_has_ended_is_forgotten(process: subprocess.Popen[str], place: Path) -> None:
    with registry.registered(entry(process.pid)):
        assert len(registry.entries()) == 1
        process.kill()
        process.wait()

        assert registry.entries() == []
        assert list(place.iterdir()) == []


def test_a_later_process_with_the_same_id_is_no_cluster() -> None:
    started = registry.started_at(os.getpid())
    assert started is not None

    stranger = entry(os.getpid(), born=started - 1)

    assert not stranger.alive
    assert stranger.stop()


def test_files_that_are_no_entry_are_passed_over(place: Path) -> None:
    good = entry(os.getpid())
    with registry.registered(good):
        for name, text in (
            ("half.json", '{"pid": 1'),
            ("list.json", "[]"),
            ("other.json", '{"pid": 1}'),
            ("more.json", json.dumps(dataclasses.asdict(good) | {"more": 1})),
            ("bytes.json", "\xff"),
            ("note.txt", "hello"),
        ):
            (place / name).write_text(text, encoding="latin-1")
        (place / "gone.json").symlink_to(place / "nowhere")

        assert registry.entries() == [good]


def test_a_link_in_place_of_the_folder_is_refused(place: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    place.symlink_to(tmp_path / "mine")

    with pytest.raises(PermissionError, match="belongs to another user"):
        registry.entries()


def test_a_folder_of_another_user_is_refused(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    place.mkdir()
    owner = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: owner + 1)
    place.rename(place.with_name(f"polars-dev-clusters-{owner + 1}"))

    with pytest.raises(PermissionError, match="belongs to another user"):
        registry.entries()


def test_a_process_is_asked_to_end_and_waited_for(process: subprocess.Popen[str]) -> None:
    assert entry(process.pid).stop()

    assert process.wait() == -15


@pytest.mark.parametrize("process", [DEAF], indirect=True)
def test_a_process_that_does_not_end_is_reported(
    process: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "STOP_SECONDS", 0.3)

    assert not entry(process.pid).stop()

    assert process.poll() is None
